"""The trainer: what it writes loads, and its loss is the reference model's. Skipped parts need PyTorch."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from mozg import train
from mozg.checkpoint import load_checkpoint
from mozg.reference import ReferenceModel, score

TEXT = "".join(f"The {index} times {index} is {index * index}.\n" for index in range(200))
SMALL = ["--layers=1", "--heads=2", "--width=16", "--context=16", "--steps=20", "--batch=4", "--evaluate=10"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_says_how_to_install_pytorch(
    text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert train.main(["--text", str(text), "--out", str(text.parent / "out")]) == 1
    assert capsys.readouterr().err == (
        "error: training needs PyTorch, which is not installed; run: pip install torch\n"
    )


def test_schedule_warms_up_and_falls_to_its_end() -> None:
    rates = [train.schedule(step, 3000) for step in range(1, 3001)]
    assert rates[0] == 1 / train.WARM_UP_STEPS
    assert max(rates) == rates[train.WARM_UP_STEPS - 1] == 1
    assert rates[-1] == pytest.approx(train.FINAL_RATE)
    assert all(after <= before for before, after in zip(rates[99:], rates[100:], strict=False))
    assert train.schedule(1, 1) == 1


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (600, "10 min 00 s")])
def test_duration(seconds: float, text: str) -> None:
    assert train.duration(seconds) == text


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_trained_model_loads_and_scores_the_same(text: Path, capsys: pytest.CaptureFixture[str], tokens: str) -> None:
    pytest.importorskip("torch", reason="training needs PyTorch: pip install torch")
    out = text.parent / "out"
    options = ["--text", str(text), "--out", str(out), "--device=cpu", f"--tokens={tokens}", "--vocabulary=300"]
    assert train.main([*options, *SMALL]) == 0
    assert " of 20: training " in capsys.readouterr().out
    checkpoint = load_checkpoint(out)
    held_out = checkpoint.tokenizer.encode(TEXT[int(len(TEXT) * 0.9) :])
    training = np.array(checkpoint.tokenizer.encode(TEXT[: int(len(TEXT) * 0.9)]))
    nats, _ = score(ReferenceModel(checkpoint, np.float32), held_out)
    assert nats < math.log(checkpoint.config.vocabulary)
    settings = train.Settings(layers=1, heads=2, width=16, context=16, steps=20, batch=4, evaluate=10, device="cpu")
    _, trained = train.train(settings, training, np.array(held_out), checkpoint.config.vocabulary)
    assert nats == pytest.approx(trained, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"\xff\xfe", [], "cannot be read as UTF-8 text ("),
        (b"", [], "has 0 characters, too few to train on; give a longer text"),
        (
            b"abc" * 10,
            [],
            "27 tokens to train on, expected more than the context of 256; give a longer text or a smaller --context",
        ),
        (b"abc", ["--heads=5"], "--width is 192, not a multiple of --heads, 5; choose one that is"),
        (b"abc", ["--steps=0"], "--steps is 0, expected at least 1"),
    ],
)
def test_refuses(
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    options: list[str],
    reason: str,
) -> None:
    monkeypatch.setattr(train, "import_torch", lambda: None)
    text.write_bytes(content)
    arguments = ["--text", str(text), "--out", str(text.parent / "out"), "--device=cpu", *options]
    assert train.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and reason in error and error.count("\n") == 1
    assert not (text.parent / "out").exists()
