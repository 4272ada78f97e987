"""Every cycle of a step has one cause: counters of real runs of the Verilated chip, and what the program asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_models import image

from mozg.compiler import Image
from mozg.device import open_device
from mozg.device.memory import DDR4, IDEAL, MemoryConfig
from mozg.driver import Driver, Row
from mozg.layout import ceil_div
from rtl.common.config import BLOCK, PRESETS
from rtl.common.isa import Opcode
from rtl.common.registers import CAUSES

CHIP = PRESETS["tiny"]
MODELS = {
    "odd": {},
    "one block": {"layers": 1, "heads": 1, "width": 32, "hidden": 256},
    "wide": {"layers": 1, "heads": 2, "width": 160, "hidden": 96, "context": 128, "vocabulary": 300},
}


def counters(image: Image, *rows: Row, steps: int = 1, memory: MemoryConfig = DDR4) -> dict[str, int]:
    """The counters of one run after a first step."""
    with open_device("verilator", CHIP, image.memory.size, memory=memory) as device:
        driver = Driver(device, image)
        driver.step([Row(0, 0, 1)])
        return driver.step(rows, steps).counters


def beats(image: Image, rows: int, tokens: int) -> int:
    """Beats that one step of `rows` rows of one sequence with `tokens` tokens brings to the array, with sampling."""
    total = 0
    for instruction in image.program:
        fields = instruction.fields
        if instruction.opcode == Opcode.MATMUL:
            total += fields["groups"] * fields["k_blocks"] * (BLOCK + 1 + fields["mxfp4"])
        elif instruction.opcode == Opcode.ATTEND:
            blocks = fields["head_blocks"]
            keys = ceil_div(tokens, CHIP.group_tokens) * (1 + blocks * (BLOCK + 1))
            values = ceil_div(blocks, CHIP.ports) * ceil_div(tokens, BLOCK) * BLOCK
            total += fields["heads"] * (keys + values)
    return total


@pytest.mark.parametrize("weights", ("mxint8", "mxfp4"))
@pytest.mark.parametrize("model", MODELS)
def test_causes_add_up_to_the_cycles_of_prefill_and_decode(model, weights):
    compiled = image(weights=weights, **MODELS[model])
    last = compiled.context - 1
    for rows in (
        [Row(0, 0, 1, sample=True)],
        [Row(0, last, 1, sample=True)],
        [Row(0, 1, 1), Row(0, 2, 2)],
        [Row(0, 1, 1), Row(0, 2, 2, sample=True)],
        [Row(0, 1, 1, sample=True, temperature=0.7), Row(1, last, 2, sample=True, logits=True)],
    ):
        found = counters(compiled, *rows)
        assert sum(found[cause] for cause in CAUSES) == found["cycles"] > 0
        if any(row.sample for row in rows) and len({row.slot for row in rows}) == 1:
            assert found["array_beats"] == beats(compiled, len(rows), max(row.position for row in rows) + 1)


def test_causes_add_up_over_many_steps_of_one_run():
    compiled = image()
    one, many = counters(compiled, Row(0, 1, 1, sample=True)), counters(compiled, Row(0, 1, 1, sample=True), steps=20)
    assert sum(many[cause] for cause in CAUSES) == many["cycles"]
    assert many["array_beats"] == 20 * one["array_beats"], "all 20 steps lie within one block of tokens"
    assert many["instructions"] == 20 * one["instructions"]


@pytest.mark.parametrize(
    ("model", "row", "memory", "cause", "also"),
    (
        ("wide", {}, {"latency": 200}, "wait_memory", {"wait_kv_write", "fetch", "idle"}),
        ("wide", {}, {"turnaround": 200}, "wait_kv_write", {"wait_memory", "fetch", "idle"}),
        ("odd", {"temperature": 1.0}, {}, "wait_sampling", set()),
        ("odd", {"logits": True}, {}, "wait_sampling", set()),
    ),
    ids=("latency", "turnaround", "noise", "logits"),
)
def test_what_takes_longer_is_the_cause_that_grows(model, row, memory, cause, also):
    compiled, greedy = image(**MODELS[model]), Row(0, 1, 1, sample=True)
    before = counters(compiled, greedy, memory=IDEAL)
    after = counters(compiled, replace(greedy, **row), memory=replace(IDEAL, **memory))
    grown = {cause for cause in CAUSES if after[cause] > before[cause] + 30}
    assert cause in grown and grown <= {cause, *also}, f"{before} -> {after}"
    assert after["array_beats"] == before["array_beats"]


def test_power_up_state_does_not_matter():
    compiled = image()
    found = []
    for seed in range(1, 9):
        with open_device("verilator", CHIP, compiled.memory.size, memory=IDEAL, seed=seed) as device:
            found.append(Driver(device, compiled).step([Row(0, 0, 1, sample=True)]).counters)
    assert sum(found[0][cause] for cause in CAUSES) == found[0]["cycles"]
    assert all(each == found[0] for each in found)


def test_every_cause_arises_in_some_step():
    runs = [
        counters(image(weights="mxfp4", **MODELS["one block"]), Row(0, 1, 1), Row(0, 2, 2, sample=True)),
        counters(image(), Row(0, 1, 1, sample=True, temperature=1.0)),
    ]
    never = [cause for cause in CAUSES if not any(run[cause] for run in runs)]
    assert not never
