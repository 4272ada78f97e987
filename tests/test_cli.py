"""The `mozg` command as a user meets it: what it prints and writes, and one line for everything that goes wrong."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from small_models import ODD

from mozg import cli, demo
from mozg.models import SHIPPED
from mozg.random_checkpoint import make_random_checkpoint
from rtl.common.config import PRESETS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "odd", **ODD))


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "status", cli.Console(stderr=True, width=400))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> int:
    try:
        return cli.main(list(arguments))
    except SystemExit as stop:
        return stop.code


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """The one line on standard error of a command that must fail."""
    assert run(*arguments) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def generate(model: str, *arguments: str) -> list[str]:
    return ["generate", model, "--device", "model", "--max-new-tokens", "4", *arguments]


# What it does.


def test_generate_streams_the_text_of_the_prompt_and_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*generate("shakespeare", "--prompt", "ROMEO:", "--max-new-tokens", "36")) == 0
    found = capsys.readouterr()
    assert found.out == "ROMEO:\nI will be the consul of the people,\n"
    assert found.err.startswith("36 tokens in ") and found.err.endswith(" s, ended by length\n")


def test_generate_prints_ids_where_there_is_no_tokenizer(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*generate(model, "--prompt-ids", "1,2,3")) == 0
    assert len([int(token) for token in capsys.readouterr().out.split()]) == 4


def test_generate_writes_everything_as_json(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    options = ["--prompt", "To be", "--json", str(path), "--temperature", "0.5", "--seed", "3", "--chip", "tiny"]
    assert run(*generate("shakespeare", *options, "--weights", "mxfp4")) == 0
    found = json.loads(path.read_text())
    assert {name: found[name] for name in ("model", "chip", "device", "weights", "temperature", "seed", "prompt")} == {
        "model": "shakespeare",
        "chip": "tiny",
        "device": "model",
        "weights": "mxfp4",
        "temperature": 0.5,
        "seed": 3,
        "prompt": "To be",
    }
    assert len(found["prompt_ids"]) == 5 and len(found["ids"]) == len(found["text"]) == 4
    assert found["stopped"] == "length" and found["cycles"] == 0
    assert [step["rows"] for step in found["steps"]] == [2, 2, 1, 1, 1, 1]
    assert set(found["steps"][0]) == {"kind", "rows", "position", "cycles", "counters", "samples"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_json_of_the_yardstick_names_no_chip(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert run(*generate("shakespeare", "--prompt-ids", "1,2", "--json", str(path), "--device", "float")) == 0
    found = json.loads(path.read_text())
    assert (found["chip"], found["device"], found["weights"]) == (None, "float", "float32")
    assert found["prompt"] == " !"


PROMPTS = ["ROMEO:", "O", "What is", "ROMEO:", "Now", "My lord, I"]


def texts(out: str) -> dict[int, str]:
    """Number -> text of what `generate` prints of several prompts."""
    found = {}
    for part in re.split(r"^(?=\[\d+\]$)", out, flags=re.MULTILINE)[1:]:
        number, text = part.split("\n", 1)
        found[int(number[1:-1])] = text.removesuffix("\n\n")
    return found


def test_several_prompts_print_each_text_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file and as options; the texts are those of each alone; JSON holds a list."""
    path, prompts = tmp_path / "out.json", tmp_path / "prompts"
    options = ["--temperature", "0.7", "--seed", "5", "--max-new-tokens", "12"]
    expected = {}
    for index, text in enumerate(PROMPTS):
        assert run(*generate("shakespeare", *options, "--prompt", text)) == 0
        expected[index + 1] = capsys.readouterr().out.removesuffix("\n")
    repeated = [argument for text in PROMPTS for argument in ("--prompt", text)]
    for ending in ("\n", "\r\n"):
        prompts.write_bytes("".join(text + ending for text in PROMPTS).encode())
        for source in (["--prompts-file", str(prompts)], repeated):
            assert run(*generate("shakespeare", *options, *source, "--json", str(path))) == 0
            found = capsys.readouterr()
            assert texts(found.out) == expected
            assert re.fullmatch(r"6 prompts, 72 tokens in [0-9.]+ s; \d+ steps of [0-9.]+ rows\n", found.err)
            record = json.loads(path.read_text())
            assert [one["prompt"] for one in record["results"]] == PROMPTS
            assert [one["prompt"] + one["text"] for one in record["results"]] == list(expected.values())
            assert record["new_tokens"] == 72 and len(record["steps"]) < 72
            fed = 72 - 6 + sum(len(text) for text in PROMPTS)  # the last new token of each is not fed back
            assert sum(step["rows"] for step in record["steps"]) == fed
            assert (record["seed"], record["chip"], record["tokens_per_kilocycle"]) == (5, "edge", None)


def test_a_file_with_one_prompt_is_a_list_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "prompts"
    prompts.write_text("ROMEO:")
    path = tmp_path / "out.json"
    assert run(*generate("shakespeare", "--prompts-file", str(prompts), "--json", str(path))) == 0
    assert list(texts(capsys.readouterr().out)) == [1]
    assert len(json.loads(path.read_text())["results"]) == 1


def test_several_prompts_of_ids(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*generate(model, "--prompt-ids", "1,2,3", "--prompt-ids", "4")) == 0
    assert {number: len(text.split()) for number, text in texts(capsys.readouterr().out).items()} == {1: 4, 2: 4}


def test_several_prompts_report_cycles(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from mozg.device.model import ModelDevice

    monkeypatch.setattr(ModelDevice, "run", lambda self, limit: self.write_register("control", 1) or 50000)
    assert run(*generate("shakespeare", "--prompt", "a", "--prompt", "b")) == 0
    assert "; 4 steps of 2.0 rows; 50,000 cycles a step, 0.04 tokens a kilocycle\n" in capsys.readouterr().err


def test_progress_of_several_prompts_is_one_line_that_is_cleared(monkeypatch, capsys) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(cli, "status", cli.Console(file=screen, force_terminal=True, width=60))
    monkeypatch.setattr("mozg.batch_output.REFRESH", 0.0)
    assert run(*generate("shakespeare", "--prompt", "a", "--prompt", "b")) == 0
    assert "\r\x1b[2K0 of 2 prompts done, 3 tokens\r" in screen.getvalue()
    assert screen.getvalue().rsplit("\x1b[2K", 1)[1].count("prompts done") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_fault_of_one_prompt_is_a_line_with_its_number(
    tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mozg.driver import Driver

    whole = Driver.run

    def faulty(self: Driver, rows, steps: int = 1):
        result = whole(self, rows, steps)
        result.faults = ["infinity or NaN" if row.token == 42 else None for row in rows]
        return result

    monkeypatch.setattr(Driver, "run", faulty)
    path = tmp_path / "out.json"
    arguments = ["--prompt-ids", "1,2", "--prompt-ids", "3,42,5", "--json", str(path)]
    assert run(*generate("shakespeare", *arguments)) == 1
    found = capsys.readouterr()
    assert found.err.splitlines()[0] == "mozg: prompt 2: infinity or NaN"
    assert set(texts(found.out)) == {1, 2}
    results = json.loads(path.read_text())["results"]
    assert [one["stopped"] for one in results] == ["length", "fault"]
    assert results[1]["error"] == "infinity or NaN" and "error" not in results[0]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a\n\nb\n", "mozg: prompt 2: the prompt is empty: give at least one token"),
        (b"a\n" + b"b" * 254 + b"\n", None),
        (b"a\n" + b"b" * 257 + b"\n", "mozg: prompt 2: the prompt has 257 tokens, the context is 256: shorten it"),
        (b"\nb\n", "mozg: prompt 1: the prompt is empty: give at least one token"),
        (b"", "mozg: {path} has no prompt: give one a line"),
        (b"\n\r\n", "mozg: {path} has no prompt: give one a line"),
        (b"a\n\xff\n", "mozg: {path} is not UTF-8 text (byte 2); convert it to UTF-8"),
    ],
    ids=[
        "empty line",
        "too long with its new tokens",
        "too long",
        "empty first",
        "empty file",
        "empty lines",
        "not text",
    ],
)
def test_bad_files_of_prompts_are_one_line(
    data: bytes, line: str | None, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mozg.device.open_device", lambda *_, **__: pytest.fail("built"))
    path = tmp_path / "prompts"
    path.write_bytes(data)
    found = fails(capsys, *generate("shakespeare", "--prompts-file", str(path)))
    if line is None:
        assert found.startswith("mozg: prompt 2: 254 prompt tokens and 4 new ones need 257 positions, ")
    else:
        assert found == line.format(path=path)
    assert "missing cannot be read: No such file" in fails(
        capsys, *generate("shakespeare", "--prompts-file", str(tmp_path / "missing"))
    )


def test_score_says_how_it_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text"
    text.write_text("Now is the winter of our discontent\n" * 8)
    assert run("score", "shakespeare", str(text), "--device", "float") == 0
    found = capsys.readouterr().out
    assert found.startswith("float: perplexity ")
    assert "over 287 tokens, cut into 2 windows of 256 that do not overlap" in found
    for weights in ("mxint8", "mxfp4"):
        assert run("score", "shakespeare", str(text), "--weights", weights, "--last-percent", "10") == 0
        found = capsys.readouterr().out
        assert found.startswith(f"model {weights}: perplexity ") and "over 28 tokens, cut into 1 windows" in found


def test_score_counts_the_characters_that_the_vocabulary_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"\xef\xbb\xbf" + "Now is \u00e9\u00e9 the winter {\n".encode())
    assert run("score", "shakespeare", str(text), "--device", "float") == 0
    found = capsys.readouterr()
    assert "over 22 tokens" in found.out  # of 23 characters: the byte order mark is none
    assert "3 of 23 characters are not in the tokenizer's vocabulary: dropped or replaced\n" in found.err


def test_generate_counts_the_characters_that_the_vocabulary_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, of one prompt and of several; a field of --json; nothing where all are there."""
    path = tmp_path / "out.json"
    line = "characters of {} are not in the tokenizer's vocabulary: dropped or replaced"
    assert run(*generate("shakespeare", "--prompt", "h\u00e9llo \U0001f600", "--json", str(path))) == 0
    assert capsys.readouterr().err.splitlines()[0] == "2 of 7 " + line.format("the prompt")
    assert json.loads(path.read_text())["prompt_characters_lost"] == 2
    prompts = [argument for text in ("a\u00e9", "a", "\u00e9{b") for argument in ("--prompt", text)]
    assert run(*generate("shakespeare", *prompts, "--json", str(path))) == 0
    assert capsys.readouterr().err.splitlines()[0] == "3 of 5 " + line.format("prompts 1, 3")
    assert [one["prompt_characters_lost"] for one in json.loads(path.read_text())["results"]] == [1, 0, 2]
    many = ["--prompt", "{"] * 7
    assert run(*generate("shakespeare", *many)) == 0
    assert capsys.readouterr().err.splitlines()[0] == "7 of 7 " + line.format("prompts 1, 2, 3, 4, 5, ...")
    for given in (["--prompt", "all here"], ["--prompt-ids", "1,2"]):
        assert run(*generate("shakespeare", *given, "--json", str(path))) == 0
        assert "vocabulary" not in capsys.readouterr().err
        assert json.loads(path.read_text())["prompt_characters_lost"] == 0
    assert demo.run_demo(demo_options(prompt="ROM\u00c9O:")) == 0
    assert "1 of 6 " + line.format("the prompt") in capsys.readouterr().err


def test_a_line_is_one_however_narrow_the_terminal(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "status", cli.Console(stderr=True, width=40))
    assert run(*generate("shakespeare", "--prompt", "h\u00e9llo")) == 0
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_byte_order_mark_is_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_bytes(b"\xef\xbb\xbfROMEO:\n")
    options = cli.build_parser().parse_args(["generate", "shakespeare", "--prompts-file", str(path)])
    assert cli.read_prompts(options) == ["ROMEO:"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n", "\n\r\n"])
def test_empty_lines_at_the_end_of_a_file_are_no_prompts(end: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_bytes(("a\n \nb" + end).encode())
    options = cli.build_parser().parse_args(["generate", "shakespeare", "--prompts-file", str(path)])
    assert cli.read_prompts(options) == ["a", " ", "b"]


def test_compile_writes_image_and_listing(model: str, tmp_path: Path) -> None:
    image, listing = tmp_path / "image", tmp_path / "listing"
    assert run("compile", model, "--chip", "server", "-o", str(image), "--listing", str(listing)) == 0
    kv = next(line for line in listing.read_text().splitlines() if line.startswith("; kv "))
    assert image.stat().st_size == int(kv.split()[2], 16)
    assert listing.read_text().startswith("; 2 layers, width 48, chip server, mxint8\n")


def test_info_of_a_model_shows_shape_sizes_and_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "shakespeare") == 0
    found = " ".join(capsys.readouterr().out.split())
    for text in (
        "heads 3 of 64 channels",
        "parameters 1,841,472 (7.0 MiB in float32)",
        "context 128 tokens (the model has 256, the chip 128)",
        "on edge fits yes",
        "operand RAM 82 of 256 MX blocks a row",
        "mxint8 2.0 MiB in memory, 1.8 MiB streamed a step",
        "at least 61,733 cycles a token, 74,849 at context 256",
        "KV cache 432.0 KiB a slot, 1,572 bytes read a token of context",
    ):
        assert text in found


def test_info_of_a_model_that_does_not_fit_names_what_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = make_random_checkpoint(tmp_path, layers=1, heads=8, width=512, context=64, vocabulary=10)
    assert run("info", str(wide), "--chip", "tiny") == 0
    found = " ".join(capsys.readouterr().out.split())
    assert "fits no short operand RAM 80 of 64 MX blocks a row short vector RAM 32 of 16 FP32 blocks a row" in found
    assert "on edge" not in found


@pytest.mark.parametrize(
    ("chip", "lines"),
    [
        ("edge", ["multiplies a cycle, mxint8 128", "multiplies a second, mxfp4 102.4 G", "memory 12.8 GB/s raw"]),
        ("server", ["multiplies a cycle, mxint8 1,024", "bytes a cycle 64", "memory 25.6 GB/s raw, 24.45 GB/s to an"]),
    ],
)
def test_info_of_a_chip_shows_peak_rates(chip: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--chip", chip) == 0
    found = " ".join(capsys.readouterr().out.split())
    assert "at 400 MHz, the clock of the DRAM model" in found
    assert all(line in found for line in lines), found


def demo_options(**changes: object) -> argparse.Namespace:
    options = cli.build_parser().parse_args(["demo", "--tokens", "12"])
    return argparse.Namespace(**(vars(options) | {"device": "model"} | changes))


def test_demo_writes_text_and_compares_every_bit(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(demo_options()) == 0
    found = capsys.readouterr()
    assert found.out.startswith("ROMEO:\n")
    assert "7 prompt tokens and 12 new ones in 13 steps" in found.out
    assert found.out.endswith("RTL and model agree on all 12 tokens and every bit of 780 logits and of the KV cache\n")
    assert "shakespeare: 1,841,472 parameters as mxint8, on chip edge" in found.err


def test_demo_shows_progress_now_and_then(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "REPORT_EVERY", 5)
    assert demo.run_demo(demo_options()) == 0
    assert "[5 of 12 tokens, 7 left (0:0" in capsys.readouterr().err


def test_demo_fails_when_a_bit_differs(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    model_driver = demo.model_driver

    def wrong(llm):
        other = model_driver(llm)
        logits, count = other.logits, [0]

        def changed(row: int) -> np.ndarray:
            found = logits(row)
            count[0] += 1
            found.view(np.uint32)[3] ^= count[0] == 4
            return found

        other.logits = changed
        return other

    monkeypatch.setattr(demo, "model_driver", wrong)
    assert demo.run_demo(demo_options()) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("RTL and model DIFFER: step 5: row 0, logit 3: RTL ")


def test_demo_writes_at_least_200_tokens_unless_told() -> None:
    assert cli.build_parser().parse_args(["demo"]).tokens >= 200


def test_demo_reports_cycles_and_the_share_of_the_limit(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that takes twice the cycles of the ideal reader for the weights."""
    from mozg.device.model import ModelDevice

    monkeypatch.setattr(ModelDevice, "run", lambda self, limit: self.write_register("control", 1) or 2 * 61733)
    assert demo.run_demo(demo_options()) == 0
    found = capsys.readouterr().out
    assert "decode     123,466 cycles a token, 50.5% of the memory limit" in found
    assert "prefill     35,276 cycles a token, " in found
    assert "simulated 1,605,058 cycles, " in found


COMMANDS = ["generate", "verify", "score", "perf", "trace", "explore", "compile", "info", "demo"]


def test_the_commands_are_those_that_the_module_names() -> None:
    named = cli.__doc__.splitlines()[0].removesuffix(".").split(": ")[1].split(", ")
    parser = cli.build_parser()
    assert list(next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices) == named
    assert named == COMMANDS


@pytest.mark.parametrize("command", ["perf", "trace", "explore"])
def test_help_of_commands_without_a_device_names_none(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    found = " ".join(capsys.readouterr().out.split())
    assert "DRAM of the chip" in found and "verilator device" not in found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.build_parser()
    chosen = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[command]
    assert all(action.help for action in chosen._actions)
    assert run(command, "--help") == 0
    found = capsys.readouterr().out
    assert all(option in found for action in chosen._actions for option in action.option_strings)


# Bad input. Every test pins one line.


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "mozg: the following arguments are required: COMMAND; see mozg --help"),
        (
            ["fly"],
            "mozg: argument COMMAND: invalid choice: 'fly' "
            "(choose from 'generate', 'verify', 'score', 'perf', 'trace', 'explore', 'compile', 'info', 'demo'); "
            "see mozg --help",
        ),
        (
            ["generate", "shakespeare"],
            "mozg generate: one of the arguments --prompt --prompt-ids --prompts-file is required; "
            "see mozg generate --help",
        ),
        (
            ["generate", "shakespeare", "--prompt", "a", "--chip", "huge"],
            "mozg generate: argument --chip: invalid choice: 'huge' (choose from 'tiny', 'edge', 'server'); "
            "see mozg generate --help",
        ),
        (
            ["generate", "shakespeare", "--prompt", "a", "--device", "gpu"],
            "mozg generate: argument --device: invalid choice: 'gpu' "
            "(choose from 'verilator', 'icarus', 'serial', 'model', 'float'); see mozg generate --help",
        ),
        (
            ["generate", "shakespeare", "--prompt", "a", "--weights", "int4"],
            "mozg generate: argument --weights: invalid choice: 'int4' (choose from 'mxint8', 'mxfp4'); "
            "see mozg generate --help",
        ),
        (
            ["generate", "shakespeare", "--prompt", "a", "--max-new-tokens", "many"],
            "mozg generate: argument --max-new-tokens: invalid int value: 'many'; see mozg generate --help",
        ),
        (
            ["generate", "shakespeare", "--prompt", "a", "--max-new", "3"],
            "mozg: unrecognized arguments: --max-new 3; see mozg --help",
        ),
        (
            ["verify", "shakespeare", "--device", "model"],
            "mozg verify: argument --device: invalid choice: 'model' (choose from 'verilator', 'icarus', 'serial'); "
            "see mozg verify --help",
        ),
        (
            ["score", "shakespeare"],
            "mozg score: the following arguments are required: TEXTFILE; see mozg score --help",
        ),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_usage_errors_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Python 3.12 and later print choices without quotation marks.
    assert fails(capsys, *arguments, code=2).replace("'", "") == line.replace("'", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prompt", ""], "mozg: the prompt is empty: give at least one token"),
        (["--prompt-ids", ""], "mozg: --prompt-ids '': expected integers separated by commas, such as 1,2,3"),
        (["--prompt-ids", "1,b"], "mozg: --prompt-ids '1,b': expected integers separated by commas, such as 1,2,3"),
        (["--prompt-ids", "1_0"], "mozg: --prompt-ids '1_0': expected integers separated by commas, such as 1,2,3"),
        (["--prompt-ids", "65"], "mozg: prompt id 65 is outside the vocabulary: expected 0 to 64"),
        (["--prompt-ids=-1"], "mozg: prompt id -1 is outside the vocabulary: expected 0 to 64"),
        (["--prompt", "a" * 257], "mozg: the prompt has 257 tokens, the context is 256: shorten it"),
        (
            ["--prompt", "a" * 200, "--max-new-tokens", "100"],
            "mozg: 200 prompt tokens and 100 new ones need 299 positions, the context is 256: "
            "ask for at most 57 new tokens",
        ),
        (["--prompt", "a", "--max-new-tokens", "0"], "mozg: max_new_tokens is 0: expected at least 1"),
        (
            ["--prompt", "a", "--temperature", "-1"],
            "mozg: temperature is -1.0: expected 0 (greedy) or a number from 1e-06 up",
        ),
        (["--prompt", "a", "--seed", "-1"], "mozg: seed is -1: expected 0 to 4294967295"),
        (["--prompt", "a\udcff"], "mozg: the prompt is not UTF-8 text: give it in UTF-8, or as ids"),
        (
            ["--prompt", "a", "--waves", "w.fst"],
            "mozg: --waves: the device model writes none; use --device verilator",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_requests_are_one_line_and_write_nothing(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fails(capsys, *generate("shakespeare", "--json", str(tmp_path / "out.json"), *arguments))
    assert found == line
    assert not list(tmp_path.iterdir())


def test_text_without_a_tokenizer_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, *generate(model, "--prompt", "text")) == (
        f"mozg: {model} has no tokenizer.json and no vocab.json with merges.txt, so it cannot encode text; "
        "add these files or use token ids"
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory with the files of the shipped model."""
    directory = tmp_path / "model"
    shutil.copytree(SHIPPED / "shakespeare", directory)
    return directory


def test_broken_checkpoints_are_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, config = copy / "model.safetensors", copy / "config.json"
    data, settings = weights.read_bytes(), config.read_text()

    weights.write_bytes(data[:1000000])
    found = fails(capsys, *generate(str(copy), "--prompt", "a"))
    assert found.startswith(f"mozg: {weights}: is truncated: 1000000 bytes, and its tensors end at {len(data)}; ")

    weights.write_bytes(b"\x80\x02}q\x00." * 100)
    assert "is not a safetensors file" in fails(capsys, *generate(str(copy), "--prompt", "a"))

    weights.unlink()
    assert fails(capsys, "info", str(copy)) == (
        f"mozg: {copy}: has no model.safetensors and no model.safetensors.index.json; "
        "download the checkpoint again with its weights"
    )
    weights.write_bytes(data)

    config.write_text(settings.replace('"gpt2"', '"llama"'))
    assert fails(capsys, "compile", str(copy), "-o", str(copy / "image")) == (
        f'mozg: {config}: model_type is "llama", only "gpt2" is supported; give a checkpoint of the GPT-2 family'
    )
    assert not (copy / "image").exists()

    config.write_text(settings[:50])
    assert fails(capsys, "info", str(copy)).startswith(f"mozg: {config}: is not JSON (")

    config.write_text(settings)
    (copy / "tokenizer.json").write_text("{}")
    reason = "not a tokenizer that the tokenizers library reads"
    assert reason in fails(capsys, *generate(str(copy), "--prompt", "a"))
    assert run("info", str(copy)) == 0  # ids work
    assert reason in " ".join(capsys.readouterr().out.split())


def test_model_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "info", "no/such") == (
        "mozg: no/such: does not exist; give a directory with config.json and model.safetensors, "
        "or a model that comes with mozg (shakespeare)"
    )


def test_model_too_large_for_the_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = str(make_random_checkpoint(tmp_path / "m", layers=1, heads=8, width=512, context=64, vocabulary=10))
    assert fails(capsys, *generate(wide, "--prompt-ids", "1", "--chip", "tiny")) == (
        "mozg: the model (width 512, hidden 2048, 8 heads of 64) does not fit chip 'tiny': operand RAM 80 of 64 "
        "MX blocks a row; vector RAM 32 of 16 FP32 blocks a row; parameter ring 2,048 of 1,024 FP32 words; "
        "use a larger chip or a smaller model"
    )


def test_model_too_large_for_memory(model: str, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("mozg.fit.LARGEST_MEMORY", 1 << 10)
    found = fails(capsys, *generate(model, "--prompt-ids", "1"))
    assert found.startswith("mozg: the model needs 0.0 GiB of memory, the chip addresses 0.0 GiB; use a smaller model")


def test_memory_that_runs_out_is_one_line(model: str, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mozg.llm.compile_model", exhausted)
    assert fails(capsys, *generate(model, "--prompt-ids", "1")) == (
        "mozg: not enough memory; use a smaller model, a shorter text, or a computer with more"
    )


def test_text_files_that_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text"
    assert fails(capsys, "score", "shakespeare", str(text)) == (
        f"mozg: {text} cannot be read: No such file or directory; give a text file"
    )
    assert fails(capsys, "score", "shakespeare", str(tmp_path)) == (
        f"mozg: {tmp_path} cannot be read: Is a directory; give a text file"
    )
    text.write_bytes(b"abc\xff\xfe")
    assert fails(capsys, "score", "shakespeare", str(text)) == (
        f"mozg: {text} is not UTF-8 text (byte 3); convert it to UTF-8"
    )
    text.write_text("a")
    assert fails(capsys, "score", "shakespeare", str(text)) == (
        "mozg: the text has 1 tokens: at least 2 are needed to score one"
    )
    for percent in ("0", "101", "nan"):
        assert fails(capsys, "score", "shakespeare", str(text), "--last-percent", percent) == (
            f"mozg: --last-percent {float(percent)}: expected more than 0 and at most 100"
        )


@pytest.mark.parametrize("option", ["--json", "--waves"])
def test_unwritable_output_is_refused_before_the_run(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "out"
    assert fails(capsys, *generate("shakespeare", "--prompt", "a", option, str(path))) == (
        f"mozg: {path} cannot be written: {path.parent} is not a folder that can be written to; "
        "give a path in a folder of yours"
    )
    assert fails(capsys, *generate("shakespeare", "--prompt", "a", option, str(tmp_path))) == (
        f"mozg: {tmp_path} cannot be written: it is a folder; give a path in a folder of yours"
    )


def test_two_outputs_in_one_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is written, whatever the two are called."""
    out, hard, soft = tmp_path / "out.svg", tmp_path / "hard.svg", tmp_path / "soft.svg"
    out.write_text("before")
    hard.hardlink_to(out)
    soft.symlink_to(out)
    json_plot = "--json", "--plot"
    commands = [
        (["perf", "gpt2-124m", "--predict"], json_plot),
        (["explore", "gpt2-124m"], json_plot),
        (["generate", "shakespeare", "--prompt", "a"], ("--json", "--waves")),
        (["compile", "shakespeare"], ("-o", "--listing")),
    ]
    for command, (one, two) in commands:
        for name in (out, hard, soft, tmp_path / "." / "out.svg"):
            found = fails(capsys, *command, one, str(out), two, str(name))
            assert found == f"mozg: {one} and {two} are both {name}: give two files"
    from mozg.batch_scaling import main

    assert main(["gpt2-124m", "--json", str(out), "--plot", str(out)]) == 1
    assert "--json and --plot are both" in capsys.readouterr().err
    assert out.read_text() == "before"


@pytest.mark.parametrize(
    "command",
    [
        ["perf", "gpt2-124m", "--predict", "--json"],
        ["explore", "gpt2-124m", "--json"],
        ["generate", "shakespeare", "--prompt", "a", "--json"],
        ["generate", "shakespeare", "--prompt", "a", "--waves"],
        ["trace", "gpt2-124m", "-o"],
        ["compile", "shakespeare", "-o"],
        ["compile", "shakespeare", "--listing"],
    ],
    ids=lambda command: " ".join((command[0], command[-1])),
)
def test_a_dash_is_no_file(command: list[str], tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "mozg: - names no file to write: give a path, or /dev/stdout for standard output"
    assert fails(capsys, *command, "-") == expected
    assert not list(tmp_path.iterdir())


def test_file_that_cannot_be_completed_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "out"
    path.write_text("before")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(cli.MozgError, match="cannot be written: No space left on device"):
        cli.write_file(path, b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and path.read_text() == "before"


def test_special_files_are_written_not_replaced(tmp_path: Path) -> None:
    cli.write_file(Path("/dev/null"), b"data")
    assert Path("/dev/null").is_char_device()


def test_links_are_followed_not_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    for data in (b"new", b"old"):
        cli.write_file(link, data)
        assert link.is_symlink() and target.read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_standard_output_can_be_the_file(tmp_path: Path, model: str) -> None:
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "mozg.cli", "compile", model, "--listing", "/dev/stdout"]
        assert subprocess.run(command, stdout=log).returncode == 0
    text = (tmp_path / "log").read_text()
    assert "EMBED" in text.upper() and Path("/dev/stdout").is_symlink()
    closed = subprocess.run(
        ["sh", "-c", f'exec "$0" -m mozg.cli info {model} >&-', sys.executable], capture_output=True
    )
    assert closed.returncode == 0 and closed.stderr == b""


def test_a_folder_that_cannot_be_written_does_not_matter_where_nothing_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".output").mkdir()
    cli.check_outputs({"--json": None})
    with pytest.raises(cli.MozgError, match="its name is empty"):
        cli.check_outputs({"--json": ""})


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    from mozg.figures import new_figure, save

    contents = []
    for _ in range(2):
        save(new_figure(1, 4, 3), tmp_path / "a.svg")
        contents.append((tmp_path / "a.svg").read_bytes())
    assert contents[0] == contents[1]


def test_compile_asks_for_something_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "compile", "shakespeare") == "mozg: compile: give -o IMAGE, --listing FILE, or both"


def test_info_asks_for_something_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "info") == "mozg: info: give a MODEL, --chip CHIP, or both"


def test_demo_refuses_more_tokens_than_the_context_before_it_builds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--tokens", "300", "--chip", "tiny") == 1
    assert capsys.readouterr().err.splitlines() == [
        "shakespeare: 1,841,472 parameters as mxint8, on chip tiny, device verilator",
        "mozg: 7 prompt tokens and 300 new ones need 306 positions, the context is 128 (of chip 'tiny'): "
        "ask for at most 122 new tokens",
    ]


@pytest.mark.parametrize("device", ["verilator", "icarus"])
def test_bad_requests_are_refused_before_the_chip_is_built(device, monkeypatch, capsys) -> None:
    monkeypatch.setattr("mozg.device.open_device", lambda *_, **__: pytest.fail("built"))
    arguments = ["generate", "shakespeare", "--prompt-ids", "99", "--device", device]
    assert fails(capsys, *arguments) == "mozg: prompt id 99 is outside the vocabulary: expected 0 to 64"
    assert "need 263 positions" in fails(capsys, "verify", "shakespeare", "--tokens", "263", "--prompt-ids", "1")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mozg.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sw'}", "COLUMNS": "200"},
        # A shell without job control lets what it starts in the background ignore Ctrl-C; that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_interrupt_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    command = ["--max-new-tokens", "240", "--prompt", "ROMEO:", "--json", str(tmp_path / "out.json")]
    process = start("generate", "shakespeare", "--device", "model", *command)
    assert process.stdout.read(10).startswith("ROMEO:")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "mozg: interrupted\n"
    assert not list(tmp_path.iterdir())


def test_interrupt_of_several_prompts_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    command = ["--max-new-tokens", "5", "--json", str(tmp_path / "out.json")]
    process = start("generate", "shakespeare", "--device", "model", *command, *["--prompt", "ROMEO:"] * 999)
    assert process.stdout.readline() == "[1]\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "mozg: interrupted\n"
    assert not list(tmp_path.iterdir())


def test_closed_pipe_ends_without_a_message() -> None:
    process = start(*generate("shakespeare", "--prompt", "ROMEO:", "--max-new-tokens", "50"))
    process.stdout.close()
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.returncode == 141
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_default_prompt_of_verify_leaves_room_for_the_tokens() -> None:
    from small_models import checkpoint

    from mozg.llm import LLM

    for context, tokens in ((37, 8), (11, 8), (11, 11), (2, 1)):
        for chip in PRESETS.values():
            with LLM(checkpoint(context=context), chip, "model") as llm:
                llm.check(llm.ids_of(cli.default_prompt(llm, tokens)), tokens)


def test_ctrl_c_while_it_starts_is_one_line(monkeypatch, capsys) -> None:
    from mozg import __main__, cli

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert __main__.main() == 130
    assert capsys.readouterr().err == "mozg: interrupted\n"
