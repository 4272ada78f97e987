"""`mozg explore`: which chips are on the frontier, and how they are told apart."""

from __future__ import annotations

import json

import pytest

from mozg.cli import main
from mozg.explore import ALIKE, Choice, frontier, numbers

SHAPE = "gpt2-124m,layers=2,heads=4,width=128,vocabulary=512"


def choice(multipliers: int, cycles: float, lanes: int = 4, ram: int = 1) -> Choice:
    return Choice(multipliers // 32, 256, lanes, 512, multipliers, ram, {"decode": cycles})


def test_a_chip_that_is_hardly_better_than_a_smaller_one_is_not_on_the_frontier():
    small, alike, alike_still, better = choice(64, 1000), choice(128, 995), choice(256, 991), choice(512, 989)
    assert frontier([better, alike, small, alike_still], "decode") == [small, better]
    # Of one size the smaller chip stands for those alike, but only one that is better than the smaller size.
    few_lanes, many_lanes = choice(512, 994, lanes=2), choice(512, 986, lanes=8)
    assert frontier([small, few_lanes, better, many_lanes], "decode") == [small, better]


def test_neighbours_on_the_frontier_differ_by_more_than_what_is_alike(tmp_path, capsys):
    written = tmp_path / "chips.json"
    assert main(["explore", SHAPE, "--context", "100", "--prompt", "64", "--json", str(written)]) == 0
    chips = json.loads(written.read_text())["chips"]
    for kind in ("decode", "batch", "prefill"):
        best = [chip for chip in chips if kind in chip["frontier"]]
        cycles = [chip["cycles"][kind] for chip in sorted(best, key=lambda chip: chip["multipliers"])]
        assert all(after * (1 + ALIKE) < before for before, after in zip(cycles, cycles[1:], strict=False))


def test_chips_that_differ_in_the_fifo_alone_are_told_apart(tmp_path, capsys):
    written = tmp_path / "chips.json"
    sweep = ["--rows", "4", "--bus", "512", "--lanes", "8", "--context", "100", "--prompt", "64"]
    assert main(["explore", SHAPE, *sweep, "--fifo", "64,8192", "--json", str(written)]) == 0
    chips = json.loads(written.read_text())["chips"]
    for kind in ("decode", "batch", "prefill"):
        assert sum(kind in chip["frontier"] for chip in chips) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "frontier" in line).split() == (
        ["frontier", "rows", "bus", "lanes", "FIFO", "multipliers", "RAM", "cycles"]
    )
    assert main(["explore", SHAPE, *sweep]) == 0
    assert "FIFO " not in capsys.readouterr().out


def test_a_number_given_twice_counts_once():
    assert numbers((2, 32))("4,2,4") == [4, 2]


@pytest.mark.parametrize("given", ["2,2", "2"])
def test_the_same_chip_is_counted_once(given, capsys):
    sweep = ["--rows", given, "--bus", "256", "--lanes", "4", "--context", "32", "--prompt", "8"]
    assert main(["explore", SHAPE, *sweep]) == 0
    assert ": 1 chip " in " ".join(capsys.readouterr().out.split())
