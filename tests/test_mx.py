"""MX quantisation against microxcaling, and its corners by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mozg import fp32, mx
from verif import shared_data

TIES = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], dtype=np.float32)


@pytest.mark.parametrize(
    ("quantize", "dequantize", "key"),
    [
        (mx.quantize_mxint8, mx.dequantize_mxint8, "int8.even"),
        (mx.quantize_mxfp4, mx.dequantize_mxfp4, "fp4_e2m1.even"),
    ],
)
def test_agrees_with_microxcaling(quantize, dequantize, key: str) -> None:
    data = np.load(shared_data.require("mx/mx_block32.npz"))
    got = dequantize(*quantize(data["x"]))
    # microxcaling keeps subnormals, the chip has none.
    np.testing.assert_array_equal(got, fp32.flush(data[key]))


def block_of(values: np.ndarray, top: float) -> np.ndarray:
    block = np.zeros(32, dtype=np.float32)
    block[: values.size] = values
    block[-1] = top
    return block


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_mxfp4_ties_go_to_the_even_code(sign: float) -> None:
    codes, scales = mx.quantize_mxfp4(block_of(sign * TIES, 4.0))
    assert scales.tolist() == [127]
    expected = [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    np.testing.assert_array_equal(mx.FP4_VALUES[codes[:7]], sign * np.array(expected))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_mxint8_ties_go_to_even(sign: float) -> None:
    elements, scales = mx.quantize_mxint8(block_of(sign * np.array([0.5, 1.5, 2.5, 63.5, 126.5]) / 64, 1.0))
    assert scales.tolist() == [127]
    np.testing.assert_array_equal(elements[:5], sign * np.array([0, 2, 2, 64, 126]))


def test_both_formats_saturate() -> None:
    just_below_two = np.nextafter(np.float32(2.0), np.float32(0.0))
    assert mx.quantize_mxint8(block_of(np.array([-just_below_two]), just_below_two))[0][[0, -1]].tolist() == [
        -127,
        127,
    ]
    codes, _ = mx.quantize_mxfp4(block_of(np.array([-7.9]), 7.9))
    assert mx.FP4_VALUES[codes[[0, -1]]].tolist() == [-6.0, 6.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_or_infinity_spoils_only_its_block(bad: float) -> None:
    x = np.ones((2, 64), dtype=np.float32)
    x[1, 40] = bad
    for quantize, dequantize in (
        (mx.quantize_mxint8, mx.dequantize_mxint8),
        (mx.quantize_mxfp4, mx.dequantize_mxfp4),
    ):
        elements, scales = quantize(x)
        assert (scales == 255).tolist() == [[False, False], [False, True]]
        assert not elements[1, 32:].any()
        values = dequantize(elements, scales)
        assert np.isnan(values[1, 32:]).all() and (values[1, :32] == 1).all()


def test_zero_block_has_scale_of_one() -> None:
    x = np.full(32, 1e-40, dtype=np.float32)
    x[3] = -0.0
    elements, scales = mx.quantize_mxint8(x)
    assert scales.tolist() == [127] and not elements.any()
    codes, scales = mx.quantize_mxfp4(x)
    assert scales.tolist() == [127] and codes[3] == 8 and not codes[4:].any()


@pytest.mark.parametrize("exponent", [1, 2, 3, 128, 253, 254])
def test_every_exponent_keeps_exact_values(exponent: int) -> None:
    top = fp32.from_bits(np.uint32((exponent << 23) | 0x400000))
    x = np.full(32, top, dtype=np.float32)
    elements, scales = mx.quantize_mxint8(x)
    assert scales.tolist() == [exponent] and (elements == 96).all()
    np.testing.assert_array_equal(mx.dequantize_mxint8(elements, scales), x)
    codes, scales = mx.quantize_mxfp4(x)
    assert scales.tolist() == [max(exponent - 2, 0)]
    np.testing.assert_array_equal(mx.dequantize_mxfp4(codes, scales), x)


def test_block_length_is_free_for_one_scale_per_head() -> None:
    x = np.random.default_rng(5).standard_normal((3, 128)).astype(np.float32)
    elements, scales = mx.quantize_mxint8(x, block=64)
    assert elements.shape == (3, 128) and scales.shape == (3, 2)
    values = mx.dequantize_mxint8(elements, scales)
    assert np.abs(values - x).max() <= np.abs(x).max() / 64
    with pytest.raises(ValueError, match="multiple of the block length 48"):
        mx.quantize_mxint8(x, block=48)
