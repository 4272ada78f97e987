"""`python -m verif.device.speed`: refusals, before anything is built. What it measures is a matter of the machine."""

from __future__ import annotations

import pytest

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
