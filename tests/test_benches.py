"""Every registered bench passes in its simulators, and the runner says clearly what is wrong."""

import pytest

from verif import benches, runner

RUNS = [
    pytest.param(
        bench.name,
        simulator,
        chip,
        id=f"{bench.name}-{simulator}-{chip}",
        marks=[pytest.mark.slow] if bench.slow else [],
    )
    for bench in benches.BENCHES
    for simulator in bench.simulators
    for chip in bench.chips
]


@pytest.mark.parametrize(("name", "simulator", "chip"), RUNS)
def test_bench_passes(name, simulator, chip):
    assert runner.run_bench(name, simulator, chip) > 0


def test_unknown_bench_lists_those_that_are():
    with pytest.raises(benches.UnknownName, match="no bench 'nothing'; there are: chip,"):
        runner.run_bench("nothing")


def test_unknown_simulator_lists_those_that_are():
    with pytest.raises(runner.SimulationError, match="no simulator 'vcs'; there are: icarus, verilator"):
        runner.run_bench("fifo", "vcs")


def test_missing_simulator_is_an_error(monkeypatch):
    monkeypatch.setattr(runner.shutil, "which", lambda tool, path=None: None)
    with pytest.raises(runner.SimulationError, match="iverilog is not installed: run `make setup`"):
        runner.run_bench("fifo", "icarus")


def test_filter_without_a_match_is_an_error():
    with pytest.raises(runner.SimulationError, match="no test ran that matches 'nonsense'"):
        runner.run_bench("ram", "icarus", only="nonsense")


def test_names_of_benches_are_unique():
    names = [bench.name for bench in benches.BENCHES]
    assert len(names) == len(set(names))
