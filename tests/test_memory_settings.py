"""The DRAM model's presets: cycles follow from the figures of real memories, and the README shows them."""

from pathlib import Path

import pytest

from mozg.device.memory import DDR4, IDEAL, MEMORIES, REAL, Figure, MemoryConfig, table

README = Path(__file__).resolve().parents[1] / "verif" / "device" / "README.md"


def test_the_default_is_the_ddr4_channel_of_the_targets():
    """Refresh every 3,120 cycles for 140, latency 40, 8 KB rows, a row miss 18, 8 to turn around."""
    assert MEMORIES["ddr4"] == DDR4 == MemoryConfig()
    assert (DDR4.refresh_interval, DDR4.refresh_cycles, DDR4.latency) == (3120, 140, 40)
    assert (DDR4.row_bytes, DDR4.row_miss, DDR4.turnaround) == (8192, 18, 8)
    assert DDR4.reader_share == pytest.approx(0.955, abs=0.0005)


def test_nanoseconds_become_cycles_of_400_mhz():
    assert [Figure(ns, "").cycles for ns in (0, 2.5, 45.75, 350, 7800)] == [0, 1, 18, 140, 3120]


def test_every_figure_has_a_source():
    for preset in REAL.values():
        figures = [value for value in vars(preset).values() if isinstance(value, Figure)]
        assert len(figures) == 6 and all(figure.source and figure.value > 0 for figure in figures)


def test_shares_of_the_ideal_reader():
    shares = {name: round(memory.reader_share, 3) for name, memory in MEMORIES.items()}
    assert shares == {"ddr4": 0.955, "lpddr4": 0.928, "hbm2e": 0.91, "ideal": 1.0}
    assert IDEAL.refresh_interval == 0


def test_channels_beside_each_other_have_their_pages_beside_each_other():
    """A row is what the bus of the same line opens at once; where chips differ, the source says for which it is."""
    page, channels = 2048, {"edge": 2, "server": 4}
    assert REAL["lpddr4"].row.value == page * channels["edge"]
    assert "2 channels of `edge`" in REAL["lpddr4"].row.source
    assert f"`server` would have {page * channels['server']:,}" in REAL["lpddr4"].row.source


def test_the_readme_shows_the_presets_as_they_are():
    assert table() in README.read_text()
