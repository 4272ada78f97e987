"""The bit-exact model: the same bits however the work is cut, the reference's numbers, and every way to stop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import bits, checkpoint, driver, feed, image, prompt

from mozg.device import DeviceError
from mozg.device.model import ModelDevice
from mozg.driver import Driver, Row, RowError
from mozg.reference import ReferenceModel
from rtl.common import isa
from rtl.common.isa import Opcode
from rtl.common.registers import ErrorCode, RowFlag

IDS = prompt(70, 33)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """Logits on `tiny`, one token a step, memory filled with zeros."""
    return {weights: feed(driver(image("tiny", weights)), IDS, 1) for weights in ("mxint8", "mxfp4")}


# The same bits.


@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
@pytest.mark.parametrize(("chip", "chunk"), [("tiny", 2), ("edge", 4), ("edge", 3), ("server", 16), ("server", 1)])
@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_logits_do_not_depend_on_chip_chunk_or_what_memory_held(expected, weights, chip, chunk, fill) -> None:
    found = feed(driver(image(chip, weights), fill), IDS, chunk)
    assert (bits(found) == bits(expected[weights])).all()


def test_logits_do_not_depend_on_the_slot(expected) -> None:
    run = driver(image("edge"), 0xFF)
    assert (bits(feed(run, IDS, 4, slot=3)) == bits(expected["mxint8"])).all()
    assert (bits(feed(run, IDS, 2, slot=0)) == bits(expected["mxint8"])).all(), "a used slot changes nothing"


def test_sequence_alone_and_beside_others_has_the_same_logits(expected) -> None:
    """Two sequences at different positions and lengths share every step, in rows that change places."""
    run, other = driver(image("edge"), 0xFF), prompt(70, 33, seed=2)
    alone = feed(driver(image("edge")), other, 4)
    for step, position in enumerate(range(0, 32, 2)):
        ours = [Row(0, position + i, IDS[position + i], sample=True, logits=True) for i in range(2)]
        theirs = [Row(2, step, other[step], sample=True, logits=True)]
        rows = [*ours, *theirs] if step % 2 else [*theirs, *ours]
        run.step(rows)
        at = [rows.index(row) for row in (*ours, *theirs)]
        for i in range(2):
            assert (bits(run.logits(at[i])) == bits(expected["mxint8"][position + i])).all()
        assert (bits(run.logits(at[2])) == bits(alone[step])).all()


def test_rows_of_one_slot_in_any_order_have_the_same_logits(expected) -> None:
    run = driver(image("edge"), 0xFF)
    feed(run, IDS[:8], 4)
    order = (2, 0, 3, 1)
    run.step([Row(0, 8 + i, IDS[8 + i], sample=True, logits=True) for i in order])
    for row, i in enumerate(order):
        assert (bits(run.logits(row)) == bits(expected["mxint8"][8 + i])).all()


def test_more_rows_than_the_chip_has_give_the_same_logits(expected) -> None:
    from mozg.compiler import compile_model

    wide = compile_model(checkpoint(), image("tiny").chip, output_rows=64)
    run = Driver(ModelDevice(wide.chip, wide.memory.size, rows=64), wide, 0xFF)
    assert (bits(feed(run, IDS, 33)) == bits(expected["mxint8"])).all()


def test_prefill_without_sampling_leaves_the_same_cache(expected) -> None:
    sampled, silent = driver(image("edge")), driver(image("edge"))
    feed(sampled, IDS[:8], 4)
    for start in (0, 4):
        result = silent.step([Row(0, start + i, IDS[start + i]) for i in range(4)])
        assert result.tokens == [[None] * 4]
    assert (sampled.kv_bytes() == silent.kv_bytes()).all()


def test_attention_over_several_groups_of_tokens_is_the_same_on_every_chip() -> None:
    """140 tokens: more than a group of 32 or 64 of the K cache, and the last block is not full."""
    shape = {"layers": 1, "heads": 1, "width": 32, "hidden": 32, "context": 144, "vocabulary": 9}
    ids = prompt(9, 140)
    found = [feed(driver(image(chip, **shape), fill), ids, 4) for chip, fill in (("edge", 0), ("server", 0xFF))]
    assert (bits(found[0]) == bits(found[1])).all()
    reference = ReferenceModel(checkpoint(**shape), np.float64).forward(ids)
    assert np.abs(found[0] - reference).max() < 0.05 * np.abs(reference).max()


# The right numbers.


def relative_error(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.sqrt(((found - reference) ** 2).mean() / (reference**2).mean()))


@pytest.mark.parametrize(("weights", "limit"), [("mxint8", 0.05), ("mxfp4", 0.4)])
def test_logits_are_close_to_float32(expected, weights, limit) -> None:
    reference = ReferenceModel(checkpoint(), np.float32).forward(IDS)
    assert relative_error(expected[weights], reference) < limit


@given(
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([1, 5, 16, 32, 33, 40, 64]),
    layers=st.integers(1, 2),
    hidden=st.integers(1, 130),
    context=st.integers(2, 70),
    vocabulary=st.integers(1, 150),
    activation=st.sampled_from(["gelu", "gelu_new"]),
    tied=st.booleans(),
    chip=st.sampled_from(["edge", "server"]),
    seed=st.integers(0, 5),
)
@settings(max_examples=25, deadline=None, print_blob=True)
def test_random_shapes_are_close_to_float32(heads, head_dim, layers, chip, **shape) -> None:
    shape |= {"heads": heads, "width": heads * head_dim, "layers": layers}
    ids = prompt(shape["vocabulary"], min(shape["context"], 12), shape["seed"])
    found = feed(driver(image(chip, **shape), 0xFF), ids, 4)
    reference = ReferenceModel(checkpoint(**shape), np.float32).forward(ids)
    # A layer norm over few channels amplifies the rounding of what it normalises.
    assert relative_error(found, reference) < (0.1 if heads * head_dim >= 16 else 0.5)


def test_scaled_attention_by_layer_is_computed() -> None:
    keys = {"scale_attn_by_inverse_layer_idx": True, "layers": 3}
    found = feed(driver(image("edge", **keys)), IDS, 4)
    reference = ReferenceModel(checkpoint(**keys), np.float32).forward(IDS)
    plain = ReferenceModel(checkpoint(layers=3), np.float32).forward(IDS)
    assert relative_error(found, reference) < 0.05
    assert relative_error(found, plain) > relative_error(found, reference)


# Sampling and runs of several steps.


def test_greedy_token_is_the_first_largest_logit(expected) -> None:
    run = driver(image("edge"))
    for start in range(0, 32, 4):
        result = run.step([Row(0, start + i, IDS[start + i], sample=True) for i in range(4)])
        assert result.tokens[0] == [int(np.argmax(expected["mxint8"][start + i])) for i in range(4)]


def test_sampled_token_is_the_largest_of_logits_with_noise(expected) -> None:
    from mozg import functions, tables

    table, run = tables.build_tables("gelu_new"), driver(image("edge"))
    inverse = np.float32(np.log2(np.e) / 0.8)
    for position, token in enumerate(IDS):
        row = Row(0, position, token, sample=True, temperature=0.8, seed=1234)
        found = run.step([row]).tokens[0][0]
        noise = functions.noise(table, 1234, position, np.arange(70))
        assert found == int(np.argmax(expected["mxint8"][position] * inverse + noise))


def test_sampling_follows_the_softmax() -> None:
    """Frequencies over 4,000 seeds against the softmax at the same temperature."""
    from mozg import functions, tables
    from mozg.reference import softmax

    table, logits = tables.build_tables("gelu"), np.array([0.0, 1.0, 2.0, -1.0, 1.5], dtype=np.float32)
    scaled = logits * np.float32(np.log2(np.e) / 1.3)
    picks = [int(np.argmax(scaled + functions.noise(table, seed, 7, np.arange(5)))) for seed in range(4000)]
    frequency = np.bincount(picks, minlength=5) / 4000
    assert np.abs(frequency - softmax(logits / 1.3)).max() < 0.03


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("rows", [1, 2])
def test_one_run_of_many_steps_equals_many_runs_of_one(temperature, rows) -> None:
    def start(slot: int, position: int, token: int) -> Row:
        return Row(slot, position, token, sample=True, temperature=temperature, seed=9 + slot)

    at_once, one_by_one = driver(image()), driver(image())
    first = [start(slot, 0, 5 + slot) for slot in range(rows)]
    found = at_once.step(first, steps=12).tokens
    tokens = [row.token for row in first]
    expected = []
    for position in range(12):
        tokens = one_by_one.step([start(slot, position, tokens[slot]) for slot in range(rows)]).tokens[0]
        expected.append(tokens)
    assert found == expected
    assert (at_once.kv_bytes() == one_by_one.kv_bytes()).all()


def test_rows_that_do_not_sample_take_part_in_the_first_step_only() -> None:
    run = driver(image())
    result = run.step([Row(0, 0, 1), Row(0, 1, 2, sample=True)], steps=3)
    assert [step[0] for step in result.tokens] == [None] * 3
    assert all(step[1] is not None for step in result.tokens)
    assert not run.device.read_register("row0_control") >> RowFlag.ACTIVE & 1


@pytest.mark.parametrize("which", [0, 1])
def test_stop_id_ends_its_row_and_no_other(which) -> None:
    free = driver(image()).step([Row(i, 0, 5 + i, sample=True, temperature=2.0, seed=i) for i in range(2)], steps=10)
    stop = free.tokens[4][0]
    first = [step[0] for step in free.tokens].index(stop)
    stops = ((stop, 69), (69, stop))[which] if stop != 69 else (69,)
    run = driver(image())
    rows = [Row(0, 0, 5, sample=True, temperature=2.0, seed=0, stop=stops), Row(1, 0, 6, True, 2.0, 1)]
    rows[1] = Row(1, 0, 6, sample=True, temperature=2.0, seed=1)
    found = run.step(rows, steps=10).tokens
    ended = next(i for i, step in enumerate(found) if step[0] in stops)
    assert ended <= first
    assert [step[0] for step in found[ended + 1 :]] == [None] * (9 - ended)
    assert [step[1] for step in found] == [step[1] for step in free.tokens]
    assert run.device.read_register("row0_control") >> RowFlag.STOPPED & 1
    assert not run.device.read_register("row1_control") >> RowFlag.STOPPED & 1


def test_full_context_ends_a_row() -> None:
    run = driver(image())
    result = run.step([Row(0, 34, 5, sample=True)], steps=10)
    assert [step[0] is not None for step in result.tokens] == [True, True, True]
    assert run.device.read_register("row0_control") >> RowFlag.FULL & 1
    assert run.device.read_register("row0_position") == 37


# Every way to stop.


def test_position_past_the_context_is_a_fault_of_its_row() -> None:
    run = driver(image())
    with pytest.raises(RowError, match=r"row 0: slot 0 or position 37 is outside the KV cache \(2 slots of 37 pos"):
        run.step([Row(0, 37, 5, sample=True)])
    with pytest.raises(RowError, match="row 1: slot 2 or position 0 is outside the KV cache"):
        run.step([Row(0, 0, 5, sample=True), Row(2, 0, 5, sample=True)])
    assert run.step([Row(0, 0, 5, sample=True)]).tokens[0][0] is not None, "the machine goes on"


def test_row_count_is_checked() -> None:
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"{count} rows in a step: the chip takes 1 to 2"):
            driver(image()).step([Row(0, 0, 0)] * count)


def damaged(change) -> Driver:
    """A driver whose device's memory was changed by `change(memory, image)` after loading."""
    run = driver(image())
    memory = run.device._memory
    change(memory, run.image)
    run.device.machine.forget_weights()
    return run


def test_not_a_number_in_memory_is_a_fault_of_the_rows_that_use_it() -> None:
    address = next(a for a, name in image().names.items() if name == "token_embedding")

    def change(memory, image) -> None:
        memory[address + 5 * 256 : address + 5 * 256 + 4] = np.float32([np.nan]).view(np.uint8)

    run = damaged(change)
    healthy = driver(image()).step([Row(1, 0, 6, sample=True)]).tokens
    with pytest.raises(RowError, match="row 0: infinity or NaN at position 0: the weights or the activations exceed"):
        run.step([Row(0, 0, 5, sample=True), Row(1, 0, 6, sample=True)])
    word = run.device.read_memory(run.image.regions["output"].base, 8).view("<u4")
    assert [int(w) for w in word] == [0xFFFFFFFF, healthy[0][0]], "the other row's token is as it was"
    assert run.step([Row(0, 0, 6, sample=True)]).tokens == healthy


def test_scale_byte_255_in_the_weights_is_a_fault() -> None:
    address = next(a for a, name in image().names.items() if name == "layer1.mlp.in.weight")

    def change(memory, image) -> None:
        memory[address] = 255

    with pytest.raises(RowError, match="row 0: infinity or NaN"):
        damaged(change).step([Row(0, 0, 5, sample=True)])


def stop_of(run: Driver) -> tuple[str, int, int]:
    """Error code, address and instruction of the next step, which fails; the step after it then works."""
    registers: dict[str, int] = {}
    write = run.device.write_register

    def spy(name: str, value: int) -> None:
        if name == "control" and value == 2:
            registers.update({r: run.device.read_register(r) for r in ("error", "error_address_low")})
            registers["instruction"] = run.device.read_register("error_instruction")
        write(name, value)

    run.device.write_register = spy
    with pytest.raises(DeviceError) as caught:
        run.step([Row(0, 0, 5, sample=True)])
    name = ErrorCode(registers["error"]).name
    assert f"the chip stopped with error {name} at address {registers['error_address_low']:#x}" in str(caught.value)
    return name, registers["error_address_low"], registers["instruction"]


def put(index: int, opcode: Opcode, **fields: int):
    def change(memory, image) -> None:
        base = image.regions["program"].base + index * isa.INSTRUCTION_BYTES
        memory[base : base + isa.INSTRUCTION_BYTES] = np.frombuffer(isa.encode(opcode, **fields), np.uint8)

    return change


def test_unknown_opcode_stops_with_its_address() -> None:
    run = damaged(put(3, 0x77))
    assert stop_of(run) == ("OPCODE", run.image.regions["program"].base + 3 * 64, 3)


@pytest.mark.parametrize("side", ["below", "above"])
def test_read_outside_the_weights_stops_with_its_address(side) -> None:
    weights = image().regions["weights"]
    address = weights.base - 64 if side == "below" else weights.base + weights.size
    run = damaged(put(1, Opcode.NORM, address=address, address_b=weights.base, k_blocks=2, count=48))
    assert stop_of(run) == ("WINDOW", address, 1)


def test_write_outside_the_slot_stops() -> None:
    run = damaged(lambda memory, image: None)
    run.device.write_register("kv_stride_low", 64)
    assert stop_of(run)[0] == "WINDOW"


def test_program_without_end_stops() -> None:
    run = damaged(lambda memory, image: None)
    run.device.write_register("program_size", 64)
    assert stop_of(run) == ("PROGRAM_END", run.image.regions["program"].base + 64, 1)


def test_machine_works_again_after_an_error() -> None:
    run = driver(image())
    size = run.device.read_register("program_size")
    run.device.write_register("program_size", 64)
    stop_of(run)
    run.device.write_register("program_size", size)
    expected = driver(image()).step([Row(0, 0, 5, sample=True)]).tokens
    assert run.step([Row(0, 0, 5, sample=True)]).tokens == expected


def test_start_without_rows_is_an_error() -> None:
    device = driver(image()).device
    for row in range(2):
        device.write_register(f"row{row}_control", 0)
    device.run(1000)
    assert device.read_register("error") == ErrorCode.NO_ROWS


def test_driver_refuses_another_chip() -> None:
    with pytest.raises(DeviceError, match="the device has rows 4, the image was compiled for 2: compile for this chip"):
        Driver(ModelDevice(image("edge").chip, image().memory.size), image())
