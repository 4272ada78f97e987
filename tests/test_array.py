"""The array's bench (verif/array/bench_array.py): every chip in Verilator, the smallest in Icarus too."""

from __future__ import annotations

import shutil

import pytest

from verif import benches, runner

BENCH = benches.Bench("array", "verif.array.bench_array", {}, ("icarus", "verilator"), ("tiny", "edge", "server"))


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench can be found, whether verif/benches.py lists it or not."""
    others = tuple(bench for bench in benches.BENCHES if bench.name != BENCH.name)
    monkeypatch.setattr(benches, "BENCHES", (*others, BENCH))


@pytest.mark.parametrize("simulator, chip", [("icarus", "tiny"), *(("verilator", chip) for chip in BENCH.chips)])
def test_array_gives_the_bits_of_the_reference(simulator: str, chip: str) -> None:
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    assert runner.run_bench(BENCH.name, simulator, chip) == 7
