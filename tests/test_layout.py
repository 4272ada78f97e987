"""Bytes in memory: matrices there and back, and KV caches in which no two elements share an address."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mozg import mx
from mozg.layout import KVLayout, MatrixShape, ceil_div, pack_matrix, round_up, unpack_matrix


def weights(outputs: int, inputs: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    size = np.exp2(random.integers(-9, 9, (outputs, 1)))
    return (random.standard_normal((outputs, inputs)) * size).astype(np.float32)


@given(outputs=st.integers(1, 200), inputs=st.integers(1, 130), mxfp4=st.booleans(), ports=st.sampled_from([1, 2, 4]))
@settings(max_examples=40, deadline=None)
def test_matrix_comes_back_as_it_was_quantised(outputs: int, inputs: int, mxfp4: bool, ports: int) -> None:
    given_weights = weights(outputs, inputs)
    shape = MatrixShape(ceil_div(outputs, 32), ceil_div(inputs, 32), mxfp4, ports)
    data = pack_matrix(given_weights, shape)
    assert data.size == shape.bytes and data.dtype == np.uint8
    elements, scales = unpack_matrix(data, shape)
    padded = np.zeros((outputs, shape.k_blocks * 32), dtype=np.float32)
    padded[:, :inputs] = given_weights
    quantised, expected_scales = (mx.quantize_mxfp4 if mxfp4 else mx.quantize_mxint8)(padded)
    expected = mx.FP4_TWICE[quantised] if mxfp4 else quantised
    assert (elements[:, :outputs] == expected.reshape(outputs, -1, 32).swapaxes(0, 1)).all()
    assert (scales[:, :outputs] == expected_scales.T).all()
    assert (elements[:, outputs:] == 0).all() and (scales[:, outputs:] == 127).all(), "outputs past the last are zeros"


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize("mxfp4", [False, True])
def test_matrix_bytes_lie_where_the_document_says(mxfp4: bool, ports: int) -> None:
    """rtl/README.md, "Memory layouts", element by element."""
    outputs, inputs, factor = 6 * 32, 3 * 32, 2 if mxfp4 else 1
    given_weights = weights(outputs, inputs, 5)
    shape = MatrixShape(6, 3, mxfp4, ports)
    data, bus = pack_matrix(given_weights, shape), 32 * ports
    quantised, scales = (mx.quantize_mxfp4 if mxfp4 else mx.quantize_mxint8)(given_weights)
    for output in range(outputs):
        block, j = divmod(output, 32)
        group, column = divmod(block, factor * ports)
        port, n = divmod(column, factor)
        for k in range(3):
            start = (group * 3 + k) * (factor + 32) * bus
            assert data[start + n * bus + 32 * port + j] == scales[output, k]
            beat = start + (factor + j) * bus + 32 * port
            found = data[beat : beat + 32]
            expected = quantised[output, 32 * k : 32 * k + 32].view(np.uint8)
            assert ((found >> 4 * n & 15 if mxfp4 else found) == expected).all()


@pytest.mark.parametrize(
    ("head_blocks", "context", "ports"), [(1, 70, 1), (2, 64, 1), (4, 33, 2), (3, 130, 2), (1, 11, 2)]
)
def test_addresses_of_a_cache_never_overlap(head_blocks: int, context: int, ports: int) -> None:
    kv = KVLayout(head_blocks, context, ports)
    used: set[int] = set()
    count = 0
    for token in range(context):
        for block in range(head_blocks):
            elements, scale, value_scale = kv.key_address(token, block)
            mine = [*range(elements, elements + 32), scale] + ([value_scale] if block == 0 else [])
            used.update(mine)
            count += len(mine)
            assert max(mine) < kv.value_offset
        values = [int(a) for a in kv.value_addresses(token, 32 * head_blocks)]
        used.update(values)
        count += len(values)
        assert kv.value_offset <= min(values) and max(values) < kv.head_stride
    assert len(used) == count


def test_all_blocks_of_a_token_share_one_value_scale() -> None:
    kv = KVLayout(4, 64, 1)
    assert len({kv.key_address(40, block)[2] for block in range(4)}) == 1


def test_cache_of_a_head_is_read_in_order() -> None:
    """Keys of 32 * ports tokens are whole beats in a row; values of 32 tokens are 32 beats in a row."""
    kv = KVLayout(2, 128, 2)
    beats = sorted({kv.key_address(t, b)[0] // kv.bus_bytes for t in range(64) for b in range(2)})
    assert beats == [*range(2, 34), *range(35, 67)]
    values = np.concatenate([kv.value_addresses(t, 64) for t in range(32)]) - kv.value_offset
    assert sorted(values) == list(range(32 * kv.bus_bytes))


@given(context=st.integers(1, 1024), head_blocks=st.integers(1, 4), ports=st.sampled_from([1, 2]))
@settings(max_examples=50, deadline=None)
def test_regions_of_a_cache_start_on_pages(context: int, head_blocks: int, ports: int) -> None:
    kv = KVLayout(head_blocks, context, ports)
    assert kv.value_offset % 4096 == kv.head_stride % 4096 == kv.value_stride % (32 * kv.bus_bytes) == 0
    assert kv.value_offset >= kv.key_groups * kv.group_beats * kv.bus_bytes


def test_rounding_helpers() -> None:
    assert [ceil_div(a, 4) for a in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert [round_up(a, 64) for a in (0, 1, 64, 65)] == [0, 64, 64, 128]
