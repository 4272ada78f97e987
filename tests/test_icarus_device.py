"""The Icarus device: a token of the shipped model, and nothing left behind however it ends. Slow: minutes a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import mozg
from mozg.device import DeviceError, icarus
from mozg.device.icarus import IcarusDevice
from mozg.driver import Row
from mozg.verify import Lockstep, model_driver
from rtl.common.config import PRESETS

pytestmark = pytest.mark.slow


@pytest.fixture
def own_folder(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files of this test and of the processes that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def processes_in(folder: Path) -> list[str]:
    """Commands of processes whose temporary files go to `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_token_of_the_shipped_model_equals_the_model():
    llm = mozg.load("shakespeare", chip="tiny", device="icarus")
    started = time.monotonic()
    result, logits, difference = Lockstep(llm.driver, model_driver(llm)).step([Row(0, 0, 1, sample=True, logits=True)])
    print(
        f"{result.cycles} cycles in {time.monotonic() - started:.0f} s, token {result.tokens}, {logits[0].size} logits"
    )
    llm.driver.device.close()
    assert difference is None
    assert result.tokens[0][0] is not None


@pytest.mark.parametrize("after", [2, 45])
def test_an_interrupt_leaves_no_process_and_no_file(own_folder, after):
    """In the build or in the run."""
    command = ["generate", "shakespeare", "--prompt-ids", "1,2,3", "--max-new-tokens", "9", "--chip", "tiny"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mozg.cli", *command, "--device", "icarus"],
        env=os.environ | {"TMPDIR": str(own_folder)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode != 0 and b"Traceback" not in told, told
    assert processes_in(own_folder) == []
    assert list(own_folder.glob("mozg*")) == []


def test_a_failed_build_leaves_no_file(own_folder, monkeypatch):
    started = icarus.subprocess.Popen
    monkeypatch.setattr(
        icarus.subprocess,
        "Popen",
        lambda command, **options: started([sys.executable, "-c", "exit('broken')"], **options),
    )
    with pytest.raises(DeviceError, match="does not start in Icarus: broken"):
        IcarusDevice(PRESETS["tiny"], 4096)
    assert list(own_folder.glob("mozg*")) == []
