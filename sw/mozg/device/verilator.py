"""The Verilated chip as a device: a shared library with the DRAM model in C++ over a NumPy buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import ChipConfig

from .base import Device, DeviceError
from .memory import DDR4, DramStructure, MemoryConfig
from .verilator_build import build

MEMORY_COUNTERS = ("read_beats", "write_beats", "refresh_stalls", "row_miss_stalls", "turnaround_stalls")


class VerilatorDevice(Device):
    """`seed`: power-up state of every register. `trace`: an FST file of all signals (slow).

    `timeline`: start_timeline and read_timeline work; the library is another one, and slower.
    `built`: the library, instead of building it.
    """

    name = "verilator"

    def __init__(
        self,
        chip: ChipConfig,
        size: int,
        memory: MemoryConfig = DDR4,
        seed: int = 1,
        trace: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
        built: Path | None = None,
        timeline: bool = False,
    ):
        super().__init__(chip, size)
        library = ctypes.CDLL(str(built or build(chip, trace is not None, progress, timeline)))
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
        library.mozg_cycles.restype = ctypes.c_uint64
        library.mozg_cycles.argtypes = [pointer]
        library.mozg_monitor.argtypes = [pointer, ctypes.c_int]
        library.mozg_monitor_read.restype = ctypes.c_uint64
        library.mozg_monitor_read.argtypes = [pointer, pointer, ctypes.c_uint64]
        library.mozg_record.argtypes = [pointer, ctypes.c_int]
        library.mozg_replay.restype = ctypes.c_uint64
        library.mozg_replay.argtypes = [pointer, pointer]
        library.mozg_memory_counters.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint64)]
        if timeline:
            library.mozg_timeline.argtypes = [pointer]
            library.mozg_timeline_read.argtypes = [pointer, ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_uint64)]
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

    def wait_for_phase(self, cycle: int, interval: int) -> None:
        """Clock the idle chip until its cycles since it was opened are `cycle` modulo `interval`: of a DRAM refresh, so
        that a step meets as many of them whatever ran before it."""
        self.write_register("irq_status", 1)
        self._library.mozg_run(self._handle, (cycle - self._library.mozg_cycles(self._handle)) % interval)

    def start_monitor(self) -> None:
        """Record the operand blocks written from now on."""
        self._library.mozg_monitor(self._handle, 1)

    def read_monitor(self) -> list[tuple[int, int, NDArray[np.int8], int]]:
        """(block, row, 32 elements, scale) of each operand block recorded, in the order of writing."""
        count = self._library.mozg_monitor_read(self._handle, None, 0)
        blocks = np.zeros(count, dtype=[("block", "<u4"), ("row", "<u4"), ("scale", "<u4"), ("elements", "i1", 32)])
        self._library.mozg_monitor_read(self._handle, blocks.ctypes.data, count)
        return [(int(b["block"]), int(b["row"]), b["elements"], int(b["scale"])) for b in blocks]

    def start_timeline(self) -> None:
        """Record from now on; for a device opened with `timeline`."""
        self._library.mozg_timeline(self._handle)

    def read_timeline(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
        """What was recorded: uint64 states [n, 2], reads and writes [n, 6]; verif/device/timeline.h says of what."""
        places, counts = (ctypes.c_void_p * 3)(), (ctypes.c_uint64 * 3)()
        self._library.mozg_timeline_read(self._handle, places, counts)
        found = []
        for place, count, words in zip(places, counts, (2, 6, 6), strict=True):
            size = count * words
            words_there = (ctypes.c_uint64 * size).from_address(place) if size else []
            found.append(np.array(words_there, dtype=np.uint64).reshape(-1, words))
        return found[0], found[1], found[2]

    def record(self, on: bool) -> None:
        """Record what the memory shows the chip in runs from now on, or stop."""
        self._library.mozg_record(self._handle, on)

    def replay(self, source: VerilatorDevice) -> int:
        """Clock the chip through what `source` recorded, without the memory model; its cycles, 0: it did not end."""
        return self._library.mozg_replay(self._handle, source._handle)

    def memory_counters(self) -> dict[str, int]:
        """Statistics of the DRAM model since it was opened."""
        values = (ctypes.c_uint64 * len(MEMORY_COUNTERS))()
        self._library.mozg_memory_counters(self._handle, values)
        return dict(zip(MEMORY_COUNTERS, values, strict=True))
