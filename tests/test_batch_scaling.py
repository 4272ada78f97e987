"""The sweep over batch sizes: what it measures, keeps, prints and draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mozg import batch_scaling
from mozg.batch_scaling import Sweep, main, sizes

SHAPE = "gpt2-124m,layers=1,heads=1,width=32,context=64,vocabulary=40"


def test_a_sweep_is_kept_drawn_and_not_measured_again(tmp_path: Path, monkeypatch, capsys) -> None:
    kept, drawn = tmp_path / "sweep.json", tmp_path / "sweep.svg"
    arguments = [SHAPE, "--chip", "tiny", "--context", "20", "--context", "64", "--json", str(kept)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["20", "1"], ["20", "2"], ["64", "1"], ["64", "2"]]
    steps = json.loads(kept.read_text())["steps"]
    assert all(0 < step["ideal_cycles"] < step["cycles"] == step["counters"]["cycles"] for step in steps)
    for one, two in (steps[:2], steps[2:]):
        assert one["cycles"] < two["cycles"] < 2 * one["cycles"]  # the weights are read once
    monkeypatch.setattr(batch_scaling, "Meter", lambda *_: pytest.fail("measured again"))
    assert main([*arguments, "--plot", str(drawn)]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert drawn.read_text().startswith("<?xml")


def test_batch_sizes_are_powers_of_two_to_all_rows() -> None:
    assert (sizes(2), sizes(16)) == ([1, 2], [1, 2, 4, 8, 16])


def test_refuses_a_file_of_something_else(tmp_path: Path, capsys) -> None:
    path = tmp_path / "sweep.json"
    sweep = Sweep({"model": "other", "chip": "tiny"}, path)
    sweep.save()
    assert main([SHAPE, "--chip", "tiny", "--json", str(path)]) == 1
    assert capsys.readouterr().err == f"mozg: {path} is of other, tiny: give another file, or the same options\n"
    path.write_text("[1]")
    assert main([SHAPE, "--chip", "tiny", "--json", str(path)]) == 1
    assert "holds no steps of a sweep" in capsys.readouterr().err
    assert main([SHAPE, "--plot", "x.bmp"]) == 1
