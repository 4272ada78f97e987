"""Building a chip's library: what is missing or wrong is said in one line, and nothing runs on or waits in silence."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mozg.device import DeviceError, verilator_build
from rtl.common.config import PRESETS
from rtl.convert import Converted
from verif import folders, runner

TINY = PRESETS["tiny"]


@pytest.fixture
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for chips; their Verilog is one empty module, always there."""
    verilog = tmp_path / "chip.v"
    verilog.write_text("module chip; endmodule\n")
    monkeypatch.setattr(verilator_build, "BUILD", tmp_path / "device")
    monkeypatch.setattr("rtl.top.mozg.find_chip", lambda *_: Converted("chip", [verilog], []))
    monkeypatch.setattr("rtl.top.mozg.convert_chip", lambda *_: pytest.fail("converted again"))
    return tmp_path / "device"


def make_empty(self, library: Path) -> None:
    self.progress("compile")
    library.touch()


def test_missing_compiler_is_named(build_folder, monkeypatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None if tool == "g++" else which(tool, path=path))
    with pytest.raises(
        DeviceError, match=r"needed to compile the chip: g\+\+; run `make setup`.*apt-get install g\+\+$"
    ):
        verilator_build.build(TINY)


def test_path_with_a_space_is_named(build_folder, monkeypatch) -> None:
    monkeypatch.setattr(verilator_build, "BUILD", build_folder / "my chips")
    with pytest.raises(DeviceError, match="GNU make cannot build in a path with a space: move '.*/my chips/tiny'"):
        verilator_build.build(TINY)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("g++ -c a.cpp\na.cpp:3:1: error: 'x' was not declared\nmake: *** [a.o] Error 1", "a.cpp:3:1: error: 'x'"),
        ("%Error: chip.v:3: syntax error\n%Error: Exiting due to 1 error(s)", "%Error: chip.v:3: syntax error"),
        ("make: Entering directory '/a'\nmake: *** No rule\nmake: Leaving directory '/a'", "make: *** No rule"),
        ("make: Entering directory '/a'\nstopped\nmake: Leaving directory '/a'\n", "stopped"),
        ("[Errno 2] No such file or directory: 'verilator'", "[Errno 2] No such file"),
        ("", "no output"),
    ],
)
def test_failed_build_quotes_its_first_error(output, reason) -> None:
    assert verilator_build._reason(output).startswith(reason)


def test_failed_command_names_the_log(build_folder, monkeypatch) -> None:
    failing = [sys.executable, "-c", "print('x.cpp:1: error: bad'); print(\"make: Leaving directory 'd'\"); exit(2)"]
    monkeypatch.setattr(verilator_build._Build, "make", lambda self, library: self._run(failing))
    with pytest.raises(DeviceError, match=r"does not compile: see .*tiny/build\.log \(x\.cpp:1: error: bad\)"):
        verilator_build.build(TINY)


def test_library_that_is_there_needs_no_lock(build_folder, monkeypatch) -> None:
    """The folder of an installation belongs to someone else, and the chip opens all the same, without a word."""
    monkeypatch.setattr(verilator_build._Build, "make", make_empty)
    library, told = verilator_build.build(TINY), []
    monkeypatch.setattr(folders, "alone", lambda *_: pytest.fail("locked"))
    assert verilator_build.build(TINY, progress=told.append) == library
    assert told == []


def test_folder_that_cannot_be_written_is_named(build_folder) -> None:
    build_folder.write_text("a file where the folder should be")
    with pytest.raises(DeviceError, match="the chip 'tiny' is to be built first: .*/tiny must be writable"):
        verilator_build.build(TINY)


def test_waiting_for_another_process_is_said(build_folder, monkeypatch) -> None:
    monkeypatch.setattr(verilator_build._Build, "make", make_empty)
    (build_folder / "tiny").mkdir(parents=True)
    told = []
    with (build_folder / "tiny" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=verilator_build.build, args=(TINY,), kwargs={"progress": told.append})
        thread.start()
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told == ["wait for another process that builds the chip 'tiny'"]
    thread.join()
    assert told[1:] == ["compile"]


def test_build_leaves_the_environment_alone(build_folder, monkeypatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j7")
    before = dict(os.environ)
    monkeypatch.setattr(verilator_build._Build, "make", lambda self, library: library.touch())
    verilator_build.build(TINY)
    assert dict(os.environ) == before
    assert "-j7" not in runner.tool_environment()["MAKEFLAGS"]


GROUP = """
import sys
sys.path[:0] = {path!r}
from mozg import __main__, cli
from mozg.device.verilator_build import run_group
cli.main = lambda: run_group(["sh", "-c", "sleep 60 & echo $!; wait"], open({log!r}, "w"), {{"PATH": "/usr/bin:/bin"}})
sys.exit(__main__.main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_compilers_too(tmp_path, number, code) -> None:
    log = tmp_path / "log"
    program = GROUP.format(path=sys.path, log=str(log))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    compiler = Path("/proc") / log.read_text().strip()
    assert "sleep" in (compiler / "cmdline").read_text()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in told
    time.sleep(0.1)
    assert not compiler.exists() or "Z" in (compiler / "stat").read_text().rsplit(")")[1]
