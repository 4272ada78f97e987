"""Builds the whole board, verilated, with its SDRAM and a host's serial port: a shared library."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from rtl.board.board_config import ULX3S_SIMULATION, BoardConfig
from rtl.board.sdram_timing import ROW_BITS
from rtl.common.clock_gate import MACRO as CLOCK_GATES
from rtl.common.config import ChipConfig
from verif.board.signals import board_with_sdram
from verif.folders import BUILD, alone
from verif.runner import prepare_environment

HERE = Path(__file__).parent
SOURCE = HERE / "board_library.cpp"
OPTIMISE = ("-O1", "-fPIC")


class BuildError(Exception):
    """The library was not built; the message says where the log is."""


def build(chip: ChipConfig, setup: BoardConfig = ULX3S_SIMULATION) -> Path:
    """The library, converted and compiled when something changed."""
    directory = BUILD / "board" / f"{chip.name}_{setup.name}"
    with alone(directory):
        top = board_with_sdram(chip, setup, directory / "verilog", 1 << ROW_BITS)
        prepare_environment()
        digest = hashlib.sha256()
        for path in [*top.files, SOURCE, Path(__file__)]:
            digest.update(Path(path).read_bytes())
        library = directory / f"board_{digest.hexdigest()[:16]}.so"
        if library.exists():
            return library
        for old in directory.glob("board_*.so"):
            old.unlink()
        objects = directory / "verilated"
        shutil.rmtree(objects, ignore_errors=True)
        verilate = ["verilator", "--cc", "--top-module", top.name, "--prefix", "Vboard", "--Mdir", str(objects)]
        verilate += ["-O3", f"-D{CLOCK_GATES}", "--x-assign", "unique", "--x-initial", "unique", "--no-timing"]
        verilate += ["--output-split", "20000"]
        verilate += ["-Wno-fatal", "-Wno-lint", "-Wno-style"]
        flags = " ".join(OPTIMISE)
        make = ["make", "-C", str(objects), "-f", "Vboard.mk", "-j2", "CFG_CXXFLAGS_PCH_I=-include"]
        make += [f"OPT_FAST={flags}", f"OPT_GLOBAL={flags}", f"OPT_SLOW={flags}", "libVboard.a", "libverilated.a"]
        root = Path(os.environ["VERILATOR_ROOT"]) / "include"
        link = ["g++", *OPTIMISE, "-std=c++17", "-shared", f"-I{objects}", f"-I{root}", f"-I{root}/vltstd"]
        link += [f"-DCLOCKS_PER_BIT={setup.clocks_per_bit}", "-DVM_TRACE=0", str(SOURCE), "-Wl,--whole-archive"]
        link += [str(objects / "libVboard.a"), str(objects / "libverilated.a"), "-Wl,--no-whole-archive"]
        temporary = directory / "library.tmp"
        with (directory / "build.log").open("w") as log:
            for command in (
                [*verilate, *map(str, top.files)],
                make,
                [*link, "-lpthread", "-o", str(temporary)],
            ):
                log.write(" ".join(command) + "\n")
                log.flush()
                if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode:
                    raise BuildError(f"the board does not compile: see {os.path.relpath(log.name)}")
        temporary.rename(library)
    return library
