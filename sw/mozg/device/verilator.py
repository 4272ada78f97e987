"""The Verilated chip as a device: a shared library with the DRAM model in C++ over a NumPy buffer."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import ChipConfig
from rtl.convert import Converted

from .base import Device, DeviceError
from .memory import DDR4, DramStructure, MemoryConfig

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "verif" / "device"
MONITOR = SOURCES / "monitor.vlt"
BUILD = ROOT / "build" / "device"
OPTIMISE = "-O3 -fno-plt -fno-semantic-interposition"
MEMORY_COUNTERS = ("read_beats", "write_beats", "refresh_stalls", "row_miss_stalls", "turnaround_stalls")


def build(chip: ChipConfig, trace: bool = False, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The library for a chip, converted and compiled when something changed; DeviceError with the log otherwise."""
    try:
        from rtl.top.mozg import convert_chip

        from verif.runner import alone, prepare_environment
    except ImportError as error:
        raise DeviceError(f"the RTL's tools are not installed ({error}): run `make setup`") from None

    directory = BUILD / f"{chip.name}{'_trace' if trace else ''}"
    with alone(directory):
        progress(f"convert the RTL of {chip.name!r} to Verilog")
        top = convert_chip(chip, directory / "verilog")
        prepare_environment()
        sources = [SOURCES / "device.cpp", SOURCES / "dram.h", MONITOR]
        digest = hashlib.sha256(OPTIMISE.encode())
        for path in [*top.files, *sources, Path(__file__)]:
            digest.update(Path(path).read_bytes())
        library = directory / f"mozg_{digest.hexdigest()[:16]}.so"
        if library.exists():
            return library
        for old in directory.glob("mozg_*.so"):
            old.unlink()
        progress(f"compile the chip {chip.name!r} with Verilator (about a minute, once)")
        _compile(top, chip, directory, library, trace)
    return library


def _compile(top: Converted, chip: ChipConfig, directory: Path, library: Path, trace: bool) -> None:
    objects = directory / "verilated"
    log = directory / "build.log"
    command = ["verilator", "--cc", "--build", "-j", "2", "--top-module", top.name, "--prefix", "Vchip"]
    command += ["--Mdir", str(objects), "-O3", "--x-assign", "unique", "--x-initial", "unique"]
    command += ["-Wno-fatal", "-Wno-lint", "-Wno-style", "--output-split", "20000", "-CFLAGS", f"-fPIC {OPTIMISE}"]
    command += ["--trace-fst", "--trace-structs"] if trace else []
    environment = dict(os.environ)
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O3 OPT_SLOW=-O1 OPT_GLOBAL=-O3"
    root = Path(environment["VERILATOR_ROOT"]) / "include"
    temporary = library.with_suffix(".tmp")
    flags = [*OPTIMISE.split(), "-std=c++17", "-shared", "-fPIC", f"-I{objects}", f"-I{root}", f"-I{root}/vltstd"]
    flags += ['-DTOP_HEADER="Vchip.h"', "-DTOP_CLASS=Vchip", f"-DLANES={chip.lanes}", f"-DTOP_MODULE={top.name}"]
    flags += ['-DROOT_HEADER="Vchip___024root.h"', f"-DVM_TRACE_FST={int(trace)}", f"-DVM_TRACE={int(trace)}"]
    link = ["g++", *flags, str(SOURCES / "device.cpp"), "-Wl,--whole-archive", str(objects / "libVchip.a")]
    link += [str(objects / "libverilated.a"), "-Wl,--no-whole-archive", "-lpthread", "-lz"]
    link += ["-llz4"] if trace else []
    link += ["-o", str(temporary)]
    with log.open("w") as output:
        for step in ([*command, str(MONITOR), *map(str, top.files)], link):
            output.write(" ".join(step) + "\n")
            output.flush()
            if subprocess.run(step, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode:
                tail = log.read_text().strip().splitlines()[-1:]
                raise DeviceError(f"the chip does not compile: see {os.path.relpath(log)} ({''.join(tail)[:200]})")
    temporary.rename(library)


class VerilatorDevice(Device):
    """`seed`: power-up state of every register. `trace`: an FST file of all signals (slow)."""

    name = "verilator"

    def __init__(
        self,
        chip: ChipConfig,
        size: int,
        memory: MemoryConfig = DDR4,
        seed: int = 1,
        trace: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ):
        super().__init__(chip, size)
        library = ctypes.CDLL(str(build(chip, trace is not None, progress)))
        pointer = ctypes.c_void_p
        library.mozg_open.restype = pointer
        library.mozg_open.argtypes = [
            pointer,
            ctypes.c_uint64,
            ctypes.POINTER(DramStructure),
            ctypes.c_uint32,
            ctypes.c_char_p,
        ]
        library.mozg_close.argtypes = [pointer]
        library.mozg_write_register.argtypes = [pointer, ctypes.c_uint32, ctypes.c_uint32]
        library.mozg_read_register.argtypes = [pointer, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
        library.mozg_run.restype = ctypes.c_uint64
        library.mozg_run.argtypes = [pointer, ctypes.c_uint64]
        library.mozg_monitor.argtypes = [pointer, ctypes.c_int]
        library.mozg_monitor_read.restype = ctypes.c_uint64
        library.mozg_monitor_read.argtypes = [pointer, pointer, ctypes.c_uint64]
        library.mozg_memory_counters.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint64)]
        self._library = library
        self._memory = np.zeros(size, dtype=np.uint8)
        structure = memory.structure(chip.bus_bytes)
        self._handle = library.mozg_open(
            self._memory.ctypes.data, size, ctypes.byref(structure), seed, str(trace).encode() if trace else None
        )
        self.write_register("irq_enable", 1)

    def close(self) -> None:
        if self._handle:
            self._library.mozg_close(self._handle)
            self._handle = None

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._memory[address : address + data.size] = data

    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        return self._memory[address : address + count].copy()

    def _answer(self, response: int, what: str) -> None:
        if response:
            reason = "no answer" if response < 0 else f"AXI response {response}"
            raise DeviceError(f"{what}: {reason}")

    def write_register(self, name: str, value: int) -> None:
        offset = self._register(name).offset
        self._answer(
            self._library.mozg_write_register(self._handle, offset, value & 0xFFFFFFFF), f"write of register {name}"
        )

    def read_register(self, name: str) -> int:
        value = ctypes.c_uint32()
        offset = self._register(name).offset
        response = self._library.mozg_read_register(self._handle, offset, ctypes.byref(value))
        self._answer(response, f"read of register {name}")
        return value.value

    def run(self, limit: int) -> int:
        self.write_register("irq_status", 1)
        self.write_register("control", 1)
        done, chunk = 0, 2_000_000  # Ctrl-C is heard between chunks
        while done < limit:
            count = self._library.mozg_run(self._handle, min(chunk, limit - done))
            done += count
            if count < chunk:
                break
        return done

    def start_monitor(self) -> None:
        """Record the operand blocks written from now on."""
        self._library.mozg_monitor(self._handle, 1)

    def read_monitor(self) -> list[tuple[int, int, NDArray[np.int8], int]]:
        """(block, row, 32 elements, scale) of each operand block recorded, in the order of writing."""
        count = self._library.mozg_monitor_read(self._handle, None, 0)
        blocks = np.zeros(count, dtype=[("block", "<u4"), ("row", "<u4"), ("scale", "<u4"), ("elements", "i1", 32)])
        self._library.mozg_monitor_read(self._handle, blocks.ctypes.data, count)
        return [(int(b["block"]), int(b["row"]), b["elements"], int(b["scale"])) for b in blocks]

    def memory_counters(self) -> dict[str, int]:
        """Statistics of the DRAM model since it was opened."""
        values = (ctypes.c_uint64 * len(MEMORY_COUNTERS))()
        self._library.mozg_memory_counters(self._handle, values)
        return dict(zip(MEMORY_COUNTERS, values, strict=True))
