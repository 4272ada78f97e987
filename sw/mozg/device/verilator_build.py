"""Builds the library of a Verilated chip: plain if it is large or is to trace, else tuned by a profile of itself.

GCC lays out and optimises the chip's code a quarter faster when it knows which branches are taken. So the library is
compiled to count them, runs a small random model in a process of its own (`python -m mozg.device.verilator_build`),
and is compiled again with the counts. Where that fails, the library is the plain one and build.log says why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rtl.common.clock_gate import MACRO as CLOCK_GATES
from rtl.common.config import PRESETS, ChipConfig
from rtl.convert import Converted

from .base import DeviceError

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "verif" / "device"
MONITOR = SOURCES / "monitor.vlt"
TIMELINE = (SOURCES / "timeline.vlt", SOURCES / "timeline.h")
BUILD = ROOT / "build" / "device"
TOOLS = {"g++": "g++", "c++": "g++", "make": "make", "perl": "perl"}  # the wheel brings none of them; Debian's packages
ERROR_LINE = re.compile(r"\berror\b|No such file|\*\*\*", re.IGNORECASE)
# Vectorised stores of unrelated registers cost more than they save: 611 against 585 k cycles/s of `edge` with -O3.
OPTIMISE = ("-O2", "-fno-tree-slp-vectorize", "-fno-tree-vectorize", "-fno-plt", "-fno-semantic-interposition")
COUNT = ("-fprofile-update=single",)
USE_COUNTS = ("-fprofile-partial-training", "-Wno-missing-profile", "-Wno-coverage-mismatch")
TUNED_COLUMNS = 16  # accumulator columns of all rows; for a larger array the second compilation takes several minutes
TRAINING_SECONDS = 120  # it takes a few; a machine may be busy


def folder_name(chip: ChipConfig) -> str:
    """The chip's name, and a digest of its values unless it is a preset: chips of one name do not share a folder."""
    if PRESETS.get(chip.name) == chip:
        return chip.name
    values = json.dumps(dataclasses.asdict(chip), sort_keys=True, default=int)
    return f"{chip.name}_{hashlib.sha256(values.encode()).hexdigest()[:8]}"


def build(
    chip: ChipConfig,
    trace: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    timeline: bool = False,
) -> Path:
    """The library for a chip, converted and compiled when something changed; DeviceError with the log otherwise.

    trace: it writes FST waves; timeline: it records what `mozg trace` shows. Both are libraries of their own.
    """
    try:
        from rtl.top.mozg import convert_chip, find_chip
        from verif.folders import FolderError, alone
    except ImportError as error:
        raise DeviceError(f"the RTL's tools are not installed ({error}): run `make setup`") from None

    directory = BUILD / f"{folder_name(chip)}{'_trace' if trace else ''}{'_timeline' if timeline else ''}"
    more = TIMELINE if timeline else ()
    top = find_chip(chip, directory / "verilog")
    if top is not None:
        library = _library(top, directory, more)
        if library.exists():  # found without the lock, which only who can write the folder can take
            return library
    try:
        with alone(directory, lambda: progress(f"wait for another process that builds the chip {chip.name!r}")):
            top = find_chip(chip, directory / "verilog")
            if top is None:
                progress(f"convert the RTL of {chip.name!r} to Verilog")
                top = convert_chip(chip, directory / "verilog")
            library = _library(top, directory, more)
            return _make(library, lambda log: _Build(top, chip, directory, trace, timeline, log, progress).make)
    except FolderError as error:
        raise DeviceError(f"the chip {chip.name!r} is to be built first: {error}") from None


def build_plain(
    top: Converted, chip: ChipConfig, directory: Path, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """The library of a chip from other Verilog than `build` takes, such as a netlist; compiled fast, not for speed."""
    from verif.folders import alone

    with alone(directory, lambda: progress(f"wait for another process that builds {top.name}")):
        library = _library(top, directory)
        return _make(library, lambda log: _Build(top, chip, directory, False, False, log, progress).make_plain)


def _library(top: Converted, directory: Path, more: Sequence[Path] = ()) -> Path:
    """Where the library of this Verilog belongs."""
    digest = hashlib.sha256()
    for path in [*top.files, SOURCES / "device.cpp", SOURCES / "dram.h", MONITOR, *more, Path(__file__)]:
        digest.update(Path(path).read_bytes())
    return directory / f"mozg_{digest.hexdigest()[:16]}.so"


def _make(library: Path, maker: Callable[[IO[str]], Callable[[Path], None]]) -> Path:
    """Make the library in place of those that are there, unless it is one of them."""
    if not library.exists():
        for old in library.parent.glob("mozg_*.so"):
            old.unlink()
        with (library.parent / "build.log").open("w") as log:
            maker(log)(library)
    return library


def _check_tools(environment: dict[str, str], directory: Path) -> None:
    """DeviceError where the chip cannot be compiled, before anything is."""
    from verif.folders import FolderError, check_for_make

    missing = [tool for tool in TOOLS if shutil.which(tool, path=environment["PATH"]) is None]
    if missing:
        raise DeviceError(
            f"not installed, and needed to compile the chip: {', '.join(missing)}; "
            f"run `make setup`, or in Debian: apt-get install {' '.join({TOOLS[tool]: 0 for tool in missing})}"
        )
    for path in (directory, Path(environment["VERILATOR_ROOT"])):
        try:
            check_for_make(path)
        except FolderError as error:
            raise DeviceError(str(error)) from None


def _reason(output: str) -> str:
    """What a failed command's output says: its first error, else its last line that is not make's."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR_LINE.search(line)]
    others = [line for line in lines if " directory '" not in line]
    return (errors[:1] or others[-1:] or ["no output"])[0][:200]


class _Build:
    """One build of a library; every command and what it printed go to the log."""

    def __init__(
        self,
        top: Converted,
        chip: ChipConfig,
        directory: Path,
        trace: bool,
        timeline: bool,
        log: IO[str],
        progress: Callable[[str], None],
    ):
        from verif.runner import tool_environment

        self.top, self.chip, self.trace, self.log, self.progress = top, chip, trace, log, progress
        self.objects = directory / "verilated"
        self.profile = directory / "profile"
        self.timeline = timeline
        self.temporary = directory / "library.tmp"  # one name, for GCC finds the counts of device.cpp by it
        self.environment = tool_environment()
        _check_tools(self.environment, directory)

    def make(self, library: Path) -> None:
        name = self.chip.name
        shutil.rmtree(self.objects, ignore_errors=True)
        if self.trace or self.timeline or self.chip.rows * self.chip.columns > TUNED_COLUMNS:
            self.progress(f"compile the chip {name!r} with Verilator (a minute or two, once)")
            self._verilate()
            self._compile()
        else:
            self.progress(f"compile the chip {name!r} with Verilator, 1 of 2: to be measured (minutes in all, once)")
            self._verilate()
            measured = self._measure()
            self.progress(f"compile the chip {name!r} with Verilator, 2 of 2: {'tuned' if measured else 'plain'}")
            if not (measured and self._try(self._compile, f"-fprofile-use={self.profile}", *USE_COUNTS)):
                self._compile()
        self.temporary.rename(library)

    def make_plain(self, library: Path) -> None:
        shutil.rmtree(self.objects, ignore_errors=True)
        self.progress(f"compile {self.top.name} with Verilator (minutes, once)")
        self._verilate()
        self._compile("-O1")
        self.temporary.rename(library)

    def _measure(self) -> bool:
        """Compile to count, and count."""
        shutil.rmtree(self.profile, ignore_errors=True)
        if not self._try(self._compile, f"-fprofile-generate={self.profile}", *COUNT):
            return False
        self.progress(f"run a small model on the chip {self.chip.name!r} to measure it")
        return self._try(self._train) and any(self.profile.rglob("*.gcda"))

    def _try(self, step: Callable[..., None], *arguments: str) -> bool:
        try:
            step(*arguments)
        except DeviceError as error:
            self.log.write(f"goes on without a profile: {error}\n")
            return False
        return True

    def _verilate(self) -> None:
        command = ["verilator", "--cc", "--top-module", self.top.name, "--prefix", "Vchip", "--Mdir", str(self.objects)]
        command += ["-O3", "--x-assign", "unique", "--x-initial", "unique", "--output-split", "20000"]
        command += ["-Wno-fatal", "-Wno-lint", "-Wno-style", f"-D{CLOCK_GATES}"]
        command += ["--trace-fst", "--trace-structs"] if self.trace else []
        watched = [MONITOR, TIMELINE[0]] if self.timeline else [MONITOR]
        self._run([*command, *map(str, watched), *map(str, self.top.files)])

    def _compile(self, *flags: str) -> None:
        """The temporary library from the chip's C++; `flags` for the code that counts."""
        for old in [*self.objects.glob("*.o"), *self.objects.glob("*.a"), *self.objects.glob("*.gch")]:
            old.unlink()
        fast = " ".join(["-fPIC", *OPTIMISE, *flags])
        make = ["make", "-C", str(self.objects), "-f", "Vchip.mk", "-j2", "CFG_CXXFLAGS_PCH_I=-include"]
        self._run(
            [*make, f"OPT_FAST={fast}", f"OPT_GLOBAL={fast}", "OPT_SLOW=-fPIC -O1", "libVchip.a", "libverilated.a"]
        )
        root = Path(self.environment["VERILATOR_ROOT"]) / "include"
        link = ["g++", *OPTIMISE, *flags, "-std=c++17", "-shared", "-fPIC", f"-I{self.objects}", f"-I{root}"]
        link += [f"-I{root}/vltstd", '-DTOP_HEADER="Vchip.h"', "-DTOP_CLASS=Vchip", f"-DLANES={self.chip.lanes}"]
        link += [f"-DTOP_MODULE={self.top.name}", '-DROOT_HEADER="Vchip___024root.h"']
        link += ["-DTIMELINE"] if self.timeline else []
        link += [f"-DVM_TRACE_FST={int(self.trace)}", f"-DVM_TRACE={int(self.trace)}", str(SOURCES / "device.cpp")]
        link += ["-Wl,--whole-archive", str(self.objects / "libVchip.a"), str(self.objects / "libverilated.a")]
        link += ["-Wl,--no-whole-archive", "-lpthread", "-lz", *(["-llz4"] if self.trace else [])]
        self._run([*link, "-o", str(self.temporary)])

    def _train(self) -> None:
        fields = json.dumps(dataclasses.asdict(self.chip))
        environment = {**self.environment, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        command = [sys.executable, "-m", "mozg.device.verilator_build", str(self.temporary), fields]
        self._run(command, environment, TRAINING_SECONDS)

    def _run(
        self, command: Sequence[str], environment: dict[str, str] | None = None, seconds: int | None = None
    ) -> None:
        self.log.write(" ".join(command) + "\n")
        self.log.flush()
        begin = os.fstat(self.log.fileno()).st_size
        try:
            code = run_group(command, self.log, environment or self.environment, seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.log.write(f"{error}\n")
            code = 1
        if code:
            self.log.flush()
            path = Path(self.log.name)
            output = path.read_bytes()[begin:].decode(errors="replace")
            raise DeviceError(f"the chip does not compile: see {os.path.relpath(path)} ({_reason(output)})")


def run_group(command: Sequence[str], log: IO[str], environment: dict[str, str], seconds: int | None = None) -> int:
    """Run a command in a process group of its own, of which nothing is left in the end; its exit code.

    So whatever ends the wait (Ctrl-C, SIGTERM, TimeoutExpired after `seconds`) ends make's compilers too.
    """
    ending = (signal.SIGINT, signal.SIGTERM)
    process = None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # until the process is known
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process.wait(seconds)
    except BaseException:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def train(library: Path, chip: ChipConfig) -> int:
    """Run what a user's model runs: prompts of all rows, then single rows, greedy and sampled. The cycles it took."""
    from ..checkpoint import load_checkpoint
    from ..compiler import compile_model
    from ..driver import Driver, Row
    from ..random_checkpoint import make_random_checkpoint
    from .verilator import VerilatorDevice

    with tempfile.TemporaryDirectory() as directory:
        make_random_checkpoint(directory, layers=1, heads=2, width=128, context=64, vocabulary=300)
        image = compile_model(load_checkpoint(directory), chip)
    with VerilatorDevice(chip, image.memory.size, built=library) as device:
        driver = Driver(device, image)
        prompt = [Row(0, position, position) for position in range(chip.rows)]
        last = Row(0, chip.rows, 1, sample=True)
        sampled = Row(0, chip.rows, 1, sample=True, temperature=0.8, logits=True)
        return sum(driver.step(*step).cycles for step in (([*prompt],), ([last], 3), ([sampled], 1)))


if __name__ == "__main__":
    print(train(Path(sys.argv[1]), ChipConfig(**json.loads(sys.argv[2]))), "cycles")
