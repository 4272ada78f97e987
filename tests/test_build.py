"""Building a chip's library: what is missing or wrong is said in one line, and nothing runs on or waits in silence."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from mozg.device import DeviceError, icarus, verilator_build
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
    monkeypatch.setattr(
        shutil, "which", lambda tool, path=None: None if tool in ("g++", "c++") else which(tool, path=path)
    )
    with pytest.raises(
        DeviceError, match=r"needed to compile the chip: g\+\+, c\+\+; run `make setup`.*apt-get install g\+\+$"
    ):
        verilator_build.build(TINY)


def test_path_with_a_space_is_named(build_folder, monkeypatch) -> None:
    monkeypatch.setattr(verilator_build, "BUILD", build_folder / "my chips")
    with pytest.raises(
        DeviceError, match="GNU make cannot build in a path with a space: .*/my chips/tiny; move the project"
    ):
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
    while "sleep" not in (compiler / "cmdline").read_text():  # the shell's child, which becomes it in a moment
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in told
    time.sleep(0.1)
    assert not compiler.exists() or "Z" in (compiler / "stat").read_text().rsplit(")")[1]


def test_icarus_names_a_temporary_folder_that_is_too_deep(tmp_path, monkeypatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setattr(icarus.shutil, "which", lambda tool: tool)
    with pytest.raises(DeviceError, match="/socket is too long for a socket, which takes 107 bytes: set TMPDIR"):
        icarus.IcarusDevice(TINY, 4096)
    assert list(deep.iterdir()) == []


def test_icarus_tells_the_stages_of_its_build(monkeypatch) -> None:
    started = subprocess.Popen
    program = "import time; print('progress: convert', flush=True); time.sleep(1.5); exit('broken')"
    monkeypatch.setattr(icarus.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(
        icarus.subprocess, "Popen", lambda command, **options: started([sys.executable, "-c", program], **options)
    )
    told = []
    with pytest.raises(DeviceError, match="does not start in Icarus: broken"):
        icarus.IcarusDevice(TINY, 4096, progress=told.append)
    assert told == ["convert"]


def test_bench_refuses_a_bad_expression() -> None:
    with pytest.raises(runner.SimulationError, match=r"'\(' is no regular expression: missing \)"):
        runner.run_bench("fifo", "icarus", only="(")


def test_bench_in_a_path_with_a_space_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runner, "BUILD", tmp_path / "my build")
    monkeypatch.setattr(runner, "prepare_environment", lambda: None)
    monkeypatch.setattr(runner.shutil, "which", lambda tool: tool)
    with pytest.raises(runner.SimulationError, match="GNU make cannot build in a path with a space: .*/my build/"):
        runner.run_bench("fifo", "verilator")


@pytest.mark.parametrize(("error", "said"), [(RuntimeError("gone"), "gone"), (SystemExit(3), "3")])
def test_crash_of_a_simulator_is_one_line(error, said) -> None:
    with pytest.raises(runner.SimulationError, match=rf"^see it \({said}\)$"), runner.told("see it"):
        raise error


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (["CHIP=tiny; echo HACK"], "--chip 'tiny; echo HACK' --seed '1'"),
        (["BLOCK=it's", "WAVES=1"], r"'it'\''s' --chip 'tiny' --seed '1' --waves"),
        (["WAVES=0", "ONLY=a b"], "--chip 'tiny' --seed '1' --only 'a b'"),
        (["SIM=foo", "SEED=abc", "WAVES="], "--sim 'foo' --chip 'tiny' --seed 'abc'"),
    ],
)
def test_make_passes_variables_on_as_they_are(variables, expected) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", *runner.OUTER_MAKE)}
    command = ["make", "--dry-run", "sim", *variables]
    done = subprocess.run(command, cwd=folders.ROOT, env=clean, capture_output=True, text=True, check=True)
    last = done.stdout.replace("\\\n", " ").strip().splitlines()[-1]
    assert " ".join(last.split()) == f".venv/bin/python -m verif.runner {expected}"
