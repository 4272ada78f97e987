"""The chips that `ChipConfig` takes, and the message for every one that the RTL could not be."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from mozg.device.verilator_build import folder_name
from rtl.array.operand_bank import BANK_WORDS
from rtl.common.config import MOST_OPERAND_WORDS, PRESETS
from rtl.top.mozg import convert_chip
from verif.benches import UnknownName
from verif.synth.designs import chip_configuration

SHAPE = "ports 1, rows 4, lanes 4"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ports": 4}, "ChipConfig.ports is 4, expected 1 or 2: regions start on 64-byte boundaries"),
        ({"fifo_beats": 1}, "ChipConfig.burst_beats is 64, expected 2 to fifo_beats (1)"),
        ({"burst_beats": 1}, "ChipConfig.burst_beats is 1, expected 2 to fifo_beats (512)"),
        ({"burst_beats": 1024}, "ChipConfig.burst_beats is 1024, expected 2 to fifo_beats (512)"),
        ({"ring_words": 33}, "ChipConfig.ring_words is 33: expected a power of two"),
        ({"ring_words": 32}, "ChipConfig.ring_words is 32: expected 64 to 524288"),
        ({"ring_words": 1 << 20}, "ChipConfig.ring_words is 1048576: expected 64 to 524288"),
        ({"ring_words": 0}, "ChipConfig.ring_words is 0: expected a positive integer"),
        ({"vector_blocks": 0}, "ChipConfig.vector_blocks is 0: expected a positive integer"),
        ({"operand_blocks": 1 << 17}, "ChipConfig.operand_blocks is 131072: expected at most 65536"),
        ({"head_blocks": 256}, "ChipConfig.head_blocks is 256: expected at most 255"),
        ({"rows": 2.0}, "ChipConfig.rows is 2.0: expected a positive integer"),
        ({"rows": 3}, "ChipConfig.rows is 3: expected a power of two"),
        ({"rows": 1}, "ChipConfig.rows is 1: expected a power of two from 2 to 32"),
        ({"rows": 64}, "ChipConfig.rows is 64: expected a power of two from 2 to 32"),
        ({"rows": 8}, "ChipConfig.lanes is 4: expected rows (8) to 32"),
        ({"rows": 2, "lanes": 1}, "ChipConfig.lanes is 1: expected rows (2) to 32"),
        ({"lanes": 64}, "ChipConfig.lanes is 64: expected rows (4) to 32"),
        ({"context": 32}, f"ChipConfig.context is 32: expected 64 to 4096 with {SHAPE}"),
        ({"context": 8192}, f"ChipConfig.context is 8192: expected 64 to 4096 with {SHAPE}"),
        (
            {"context": 64, "ports": 2},
            "ChipConfig.context is 64: expected 128 to 4096 with ports 2, rows 4, lanes 4",
        ),
        (
            {"context": 4096},
            "ChipConfig.operand_blocks is 256: expected 258 to 512 with context 4096, rows 4, lanes 4",
        ),
        (
            {"operand_blocks": 65},
            "ChipConfig.operand_blocks is 65: expected 66 to 512 with context 1024, rows 4, lanes 4",
        ),
        (
            {"operand_blocks": 513},
            "ChipConfig.operand_blocks is 513: expected 66 to 512 with context 1024, rows 4, lanes 4",
        ),
        ({"slots": 1 << 29}, "ChipConfig.slots is 536870912: expected at most 268435456"),
        ({"fifo_beats": 1 << 25}, "ChipConfig.fifo_beats is 33554432: expected at most 16777216"),
        ({"vector_blocks": 65537}, "ChipConfig.vector_blocks is 65537: expected at most 65536"),
        ({"name": "my/chip"}, "ChipConfig.name is 'my/chip': expected letters, digits and _, no digit first"),
        ({"name": "2x"}, "ChipConfig.name is '2x': expected letters, digits and _, no digit first"),
    ],
    ids=str,
)
def test_refuses_a_chip_that_the_rtl_cannot_be(values: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        replace(PRESETS["edge"], **values)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 2, "lanes": 2},
        {"rows": 32, "lanes": 32},
        {"context": 64, "operand_blocks": 6},
        {"context": 128, "ports": 2, "operand_blocks": 10},
        {"context": 4096, "operand_blocks": 258},
        {"operand_blocks": 66},
        {"operand_blocks": 512},
        {"rows": 2, "lanes": 32, "context": 65536, "operand_blocks": 8192},
        {"ring_words": 64},
        {"ring_words": 1 << 19},
        {"vector_blocks": 1, "head_blocks": 1, "slots": 1, "fifo_beats": 2, "burst_beats": 2},
        {"vector_blocks": 1 << 16, "head_blocks": 255, "slots": 1 << 28, "fifo_beats": 1 << 24},
    ],
    ids=str,
)
def test_takes_the_smallest_and_the_largest_that_the_rtl_can_be(values: dict) -> None:
    chip = replace(PRESETS["edge"], **values)
    assert all(getattr(chip, field) == value for field, value in values.items())


def test_the_largest_operand_ram_is_that_of_the_rtl() -> None:
    assert MOST_OPERAND_WORDS == 8 * BANK_WORDS


def test_a_field_of_a_chip_is_given_once() -> None:
    with pytest.raises(UnknownName) as caught:
        chip_configuration("edge,rows=2,rows=4")
    assert str(caught.value) == "chip 'edge,rows=2,rows=4': rows is given twice, expected once"
    assert chip_configuration("edge,rows=8,lanes=8").rows == 8


def test_a_chip_with_the_name_of_a_preset_has_a_folder_of_its_own() -> None:
    names = [folder_name(chip) for chip in (PRESETS["edge"], replace(PRESETS["edge"], rows=2), PRESETS["tiny"])]
    assert names[0] == "edge" and names[2] == "tiny"
    assert names[1].startswith("edge_") and names[1] != folder_name(replace(PRESETS["edge"], lanes=8))


@pytest.mark.parametrize(
    "fields", [{"lanes": 8}, {"rows": 8, "lanes": 16}, {"packed_multiplier": False, "lanes": 32}], ids=str
)
def test_chips_between_the_presets_convert(fields, tmp_path):
    """A block that stands twice in a chip may get ports of different shapes in one of them alone."""
    chip = convert_chip(replace(PRESETS["edge"], name="between", **fields), tmp_path)
    assert chip.name == "mozg_between" and len(chip.files) > 100
    command = ["iverilog", "-g2001", "-Wall", "-t", "null", "-s", chip.name, *map(str, chip.files)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert (compiled.returncode, compiled.stderr) == (0, "")
