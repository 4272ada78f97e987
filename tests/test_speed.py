"""`python -m verif.device.speed`: its cycles, and refusals before anything is built."""

from __future__ import annotations

import pytest

from mozg.measure import Meter, decode_rows, random_image
from mozg.shapes import parse_shape
from rtl.common.config import PRESETS
from verif.device import speed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--repeats", "0"], "error: --repeats 0: expected at least 1"),
        (["--repeats", "-1"], "error: --repeats -1: expected at least 1"),
        (["--chips", "edge,foo"], "error: --chips edge,foo: 'foo' is unknown: expected names of tiny, edge, server"),
        (
            ["--programs", "gpt2-355m"],
            "error: --programs gpt2-355m: 'gpt2-355m' is unknown: expected names of gpt2-124m, shakespeare",
        ),
    ],
)
def test_bad_options_are_one_line(arguments, line, monkeypatch, capsys):
    monkeypatch.setattr(speed, "measure", lambda *_: pytest.fail("measured"))
    assert speed.main(arguments) == 1
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", line + "\n")


def test_a_step_takes_the_cycles_that_mozg_perf_counts():
    config = parse_shape("gpt2-124m,layers=1,heads=2,width=64,context=80,vocabulary=70")
    image = random_image(config, PRESETS["tiny"], slots=1)
    with Meter(image) as meter:
        expected = meter.decode(40).cycles
    found = speed.measure(PRESETS["tiny"], image, decode_rows(40, 1, config.vocabulary), 1)
    assert found.cycles == expected and found.device > 0 and found.bare > 0
