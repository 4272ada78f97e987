"""memory_read against its Python model, and what its configuration refuses."""

import dataclasses

import pytest

from rtl.common.config import PRESETS
from rtl.memory.descriptor import check_config
from verif import runner

RUNS = [
    ("memory_read", "icarus", "tiny"),
    ("memory_read_wide", "verilator", "tiny"),
    ("memory_read_wide", "verilator", "edge"),
    ("memory_read_wide", "verilator", "server"),
    ("memory_read_lanes8", "verilator", "tiny"),
    ("memory_read_odd", "verilator", "tiny"),
]


@pytest.mark.parametrize(("bench", "simulator", "chip"), RUNS)
def test_memory_read_reads_what_the_model_says(bench, simulator, chip):
    assert runner.run_bench(bench, simulator, chip) > 0


def test_presets_can_be_read_for():
    for chip in PRESETS.values():
        check_config(chip)


def test_a_beat_longer_than_the_alignment_of_regions_is_refused():
    with pytest.raises(ValueError, match="ports is 4, expected 1 or 2"):
        check_config(dataclasses.replace(PRESETS["server"], ports=4))


def test_a_burst_longer_than_the_fifo_is_refused():
    with pytest.raises(ValueError, match="burst_beats is 64, expected 2 to fifo_beats .32."):
        check_config(dataclasses.replace(PRESETS["tiny"], fifo_beats=32))
