"""The chips that `ChipConfig` takes, and the message for every one that the RTL could not be."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from mozg.device.verilator_build import folder_name
from rtl.common.config import PRESETS
from rtl.top.mozg import convert_chip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ports": 4}, "ChipConfig.ports is 4, expected 1 or 2: regions start on 64-byte boundaries"),
        ({"fifo_beats": 1}, "ChipConfig.burst_beats is 64, expected 2 to fifo_beats (1)"),
        ({"burst_beats": 1}, "ChipConfig.burst_beats is 1, expected 2 to fifo_beats (512)"),
        ({"burst_beats": 1024}, "ChipConfig.burst_beats is 1024, expected 2 to fifo_beats (512)"),
        ({"ring_words": 33}, "ChipConfig.ring_words is 33: expected a power of two"),
        ({"ring_words": 16}, "ChipConfig.ring_words is 16: expected at least 32"),
        ({"ring_words": 0}, "ChipConfig.ring_words is 0: expected a positive integer"),
        ({"vector_blocks": 0}, "ChipConfig.vector_blocks is 0: expected a positive integer"),
        ({"operand_blocks": 1 << 17}, "ChipConfig.operand_blocks is 131072: expected at most 65536"),
        ({"head_blocks": 256}, "ChipConfig.head_blocks is 256: expected at most 255"),
        ({"rows": 2.0}, "ChipConfig.rows is 2.0: expected a positive integer"),
        ({"rows": 3}, "ChipConfig.rows is 3: expected a power of two"),
        ({"rows": 8}, "ChipConfig.lanes is 4: expected rows (8) to 32"),
        ({"name": "my/chip"}, "ChipConfig.name is 'my/chip': expected letters, digits and _, no digit first"),
        ({"name": "2x"}, "ChipConfig.name is '2x': expected letters, digits and _, no digit first"),
    ],
    ids=str,
)
def test_refuses_a_chip_that_the_rtl_cannot_be(values: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        replace(PRESETS["edge"], **values)
    assert str(caught.value) == message


def test_a_chip_with_the_name_of_a_preset_has_a_folder_of_its_own() -> None:
    names = [folder_name(chip) for chip in (PRESETS["edge"], replace(PRESETS["edge"], rows=2), PRESETS["tiny"])]
    assert names[0] == "edge" and names[2] == "tiny"
    assert names[1].startswith("edge_") and names[1] != folder_name(replace(PRESETS["edge"], rows=1))


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
