"""Memory images: every shape that fits, every byte in its region, and what a model that does not fit is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_models import ODD, checkpoint, driver, feed, image, prompt

from mozg import bandwidth
from mozg.compiler import compile_model, listing
from mozg.device.memory import DDR4
from mozg.errors import MozgError
from mozg.fit import FitError, Plan, Sizes, check_fit, check_memory, shortages
from rtl.common import isa
from rtl.common.config import PRESETS
from rtl.common.isa import Opcode

SHAPES = [
    {},
    {"heads": 3, "width": 48, "vocabulary": 3, "context": 11},  # heads of 16
    {"heads": 1, "width": 96, "hidden": 33, "tied": False},
    {"heads": 2, "width": 80, "layers": 1, "vocabulary": 33},  # heads of 40: two blocks, the second not full
    {"heads": 1, "width": 1, "hidden": 1, "vocabulary": 1, "context": 1, "layers": 1},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("chip", PRESETS)
@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_regions_and_tensors_are_aligned_and_apart(chip: str, weights: str, shape: dict) -> None:
    found = image(chip, weights, **shape)
    regions = list(found.regions.values())
    assert [region.name for region in regions] == ["setup", "program", "weights", "kv", "output"]
    for before, after in zip(regions, regions[1:], strict=False):
        assert before.base + before.size <= after.base
    for name, alignment in {"setup": 64, "program": 64, "weights": 64, "kv": 4096, "output": 4096}.items():
        assert found.regions[name].base % alignment == 0
    assert found.memory.size == regions[-1].base + regions[-1].size
    assert found.slot_bytes % 4096 == 0 and found.regions["kv"].size == found.slots * found.slot_bytes
    inside = found.regions["weights"]
    assert all(address % 64 == 0 and inside.base <= address < inside.base + inside.size for address in found.names)
    assert not found.memory[found.regions["kv"].base :].any(), "KV cache and output are not initialised"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("chip", PRESETS)
@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_sizes_are_known_before_compiling(chip: str, weights: str, shape: dict) -> None:
    found, config = image(chip, weights, **shape), checkpoint(**shape).config
    sizes = Sizes.of(config, PRESETS[chip], weights)
    # Between two tensors there may be up to 63 bytes.
    assert 0 <= found.regions["weights"].size - sizes.resident < 64 * len(found.names)
    assert 0 <= found.streamed_bytes - sizes.streamed < 64 * len(found.names)
    assert sizes.kv_slot == found.slot_bytes
    assert sizes.useful == bandwidth.step_bytes(found, [])
    assert sizes.useful + 5 * sizes.kv_token == bandwidth.step_bytes(found, [5]) == bandwidth.step_bytes(found, [2, 3])
    assert sizes.useful <= sizes.streamed


def test_step_that_does_not_sample_ends_with_the_keys_of_the_last_layer() -> None:
    found = image("edge")
    left_out = [i for i in found.program if i.fields.get("sampling_only")]
    last = found.config.layers - 1
    names = [f"layer{last}.{name}" for name in ("q", "attention", "attention.out", "ln_2", "mlp.in", "mlp.out")]
    assert [i.name for i in left_out] == [*names, "ln_f", "lm_head"]
    weights = sum(bandwidth.weight_bytes(i.fields, i.opcode) for i in left_out)
    cache = bandwidth.kv_token_bytes(left_out[1].fields["head_blocks"], found.config.heads)
    assert bandwidth.step_bytes(found, [1]) - bandwidth.step_bytes(found, [1], samples=False) == weights + cache


def test_ideal_reader_loses_refreshes_only() -> None:
    found = image("server")
    assert bandwidth.ideal_cycles(found, DDR4, [7]) == pytest.approx(
        bandwidth.step_bytes(found, [7]) / 64 / (1 - 140 / 3120)
    )


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_odd_shapes_run(shape: dict) -> None:
    config = checkpoint(**shape).config
    ids = prompt(config.vocabulary, config.context)
    logits = feed(driver(image("edge", **shape), 0xFF), ids, 4)
    assert logits.shape == (config.context, config.vocabulary) and np.isfinite(logits).all()


def test_program_in_memory_is_the_program_listed() -> None:
    found = image("edge")
    for region, instructions in (("setup", found.setup), ("program", found.program)):
        base, size = found.regions[region].base, found.regions[region].size
        assert size == len(instructions) * isa.INSTRUCTION_BYTES
        for index, instruction in enumerate(instructions):
            data = found.memory[base + 64 * index : base + 64 * index + 64].tobytes()
            decoded = isa.decode(data)
            assert decoded["opcode"] == instruction.opcode
            assert all(decoded[name] == value for name, value in instruction.fields.items())
        assert instructions[-1].opcode == Opcode.END


def test_values_and_keys_are_written_before_queries_are_made() -> None:
    """So that they are in memory when the scores read them."""
    names = [instruction.name for instruction in image("edge").program]
    assert names[:9] == [
        "embedding",
        "layer0.ln_1",
        "layer0.v",
        "layer0.k",
        "layer0.q",
        "layer0.attention",
        "layer0.attention.out",
        "layer0.ln_2",
        "layer0.mlp.in",
    ]
    assert names[-3:] == ["ln_f", "lm_head", "end"]


def test_weights_lie_in_the_order_in_which_they_are_read() -> None:
    program = image("edge").program
    addresses = [i.fields["address"] for i in program if i.opcode in (Opcode.NORM, Opcode.MATMUL)]
    assert addresses == sorted(addresses)


def test_operand_blocks_of_an_instruction_do_not_overlap() -> None:
    for shape in SHAPES:
        found = image("edge", **shape)
        plan = Plan.of(found.config, found.chip)
        for instruction in found.program:
            if instruction.opcode == Opcode.ATTEND:
                f = instruction.fields
                count = f["heads"] * f["head_blocks"]
                starts = [(f["source"], count), (f["destination"], count)]
                starts.append((f["weight_block"], 2 * found.chip.context_blocks))
                for (a, size), (b, _) in zip(starts, [*starts[1:], (plan.operand_total, 0)], strict=True):
                    assert a + size <= b


def test_compiling_again_gives_the_same_bytes() -> None:
    first, again = (compile_model(checkpoint(), PRESETS["tiny"], "mxfp4") for _ in range(2))
    assert (first.memory == again.memory).all()


def test_listing_shows_map_tensors_and_program() -> None:
    found = image("edge")
    lines = listing(found).splitlines()
    assert lines[0] == "; 2 layers, width 48, chip edge, mxint8"
    assert f"; weights    {found.regions['weights'].base:>#12x} {found.regions['weights'].size:>14,}" in lines
    assert any(line.endswith(" layer1.mlp.out.weight") for line in lines)
    assert lines.index("setup:") < lines.index("program:")
    program = lines[lines.index("program:") + 1 :]
    assert len(program) == len(found.program)
    assert program[-1].split() == [str(len(program) - 1), "END", ";", "end"]
    matmul = next(line for line in program if line.endswith("; layer0.mlp.in"))
    address = found.program[8].fields["address"]
    assert "MATMUL  " in matmul and f"address={address:#x}" in matmul and "activate=1" in matmul


# What does not fit.


def config_of(**changes):
    return dataclasses.replace(checkpoint().config, **changes)


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"width": 768, "heads": 12, "hidden": 3072}, ["operand RAM 120 of 64 MX blocks a row", "vector RAM 48 of 16"]),
        ({"hidden": 1056}, ["parameter ring 1,056 of 1,024 FP32 words"]),
        ({"width": 144, "heads": 1}, ["head 5 of 4 blocks of 32 channels"]),
        ({"vocabulary": 32 * 65536}, ["vocabulary 65,536 of 65,535 blocks of 32 ids"]),
        ({"layers": 200_000}, ["KV cache 4,915,200,000 of 4,294,967,295 bytes a slot"]),
    ],
    ids=str,
)
def test_model_that_does_not_fit_is_told_what_is_short(changes: dict, short: list[str]) -> None:
    config = config_of(**changes)
    found = shortages(config, PRESETS["tiny"])
    for text in short:
        assert any(line.startswith(text) for line in found), found
    with pytest.raises(FitError) as caught:
        check_fit(config, PRESETS["tiny"])
    message = str(caught.value)
    assert message.startswith(f"the model (width {config.width}, hidden {config.hidden}, {config.heads} heads of ")
    assert "does not fit chip 'tiny': " + "; ".join(found) in message
    assert message.endswith("; use a larger chip or a smaller model") and "\n" not in message


def test_gpt2_fits_edge_and_server() -> None:
    config = config_of(layers=12, heads=12, width=768, hidden=3072, context=1024, vocabulary=50257)
    assert [shortages(config, PRESETS[chip]) for chip in ("edge", "server")] == [[], []]


def test_model_larger_than_memory_is_refused() -> None:
    with pytest.raises(
        FitError, match=r"the model needs 65.0 GiB of memory, the chip addresses 64.0 GiB; use a smaller"
    ):
        check_memory(65 << 30)
    check_memory(1 << 20)


def test_model_larger_than_this_computer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 18}.__getitem__)
    with pytest.raises(FitError, match=r"the model needs 2.0 GiB of memory, this computer has 1.0 GiB; use a smaller"):
        check_memory(2 << 30)


def test_context_is_that_of_the_shorter() -> None:
    assert image("tiny", context=200).context == 128
    assert image("edge", context=200).context == 200


def test_unknown_format_and_slots_are_refused() -> None:
    with pytest.raises(MozgError, match="weights 'int4' is unknown: expected one of mxint8, mxfp4"):
        compile_model(checkpoint(), PRESETS["tiny"], "int4")
    for slots in (0, 17):
        with pytest.raises(FitError, match=f"{slots} KV slots asked for: chip 'tiny' has 1 to 16"):
            compile_model(checkpoint(), PRESETS["tiny"], slots=slots)


def test_slots_may_be_more_than_rows() -> None:
    found = compile_model(checkpoint(), PRESETS["tiny"], slots=16)
    assert found.slots == 16
    run = driver(found)
    assert (feed(run, [1, 2, 3], 2, slot=15) == feed(run, [1, 2, 3], 2, slot=0)).all()


def test_shapes_of_these_tests_are_odd() -> None:
    assert all(ODD[name] % 32 for name in ("width", "hidden", "context", "vocabulary"))
