"""The simulated board's serial port, in place of the operating system's: what SerialDevice talks to in tests."""

from __future__ import annotations

import ctypes

from rtl.board.board_config import ULX3S_SIMULATION, BoardConfig
from rtl.common.config import ChipConfig
from verif.board.board_library import build


class SimulatedPort:
    """Seconds are simulated ones, shortened by `hurry`, since a wait costs its cycles."""

    hurry = 0.05

    def __init__(self, chip: ChipConfig, setup: BoardConfig = ULX3S_SIMULATION, seed: int = 1):
        library = ctypes.CDLL(str(build(chip, setup)))
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        library.board_open.restype = pointer
        library.board_open.argtypes = [ctypes.c_int]
        library.board_close.argtypes = [pointer]
        library.board_write.argtypes = [pointer, ctypes.c_char_p, number]
        library.board_read.restype = number
        library.board_read.argtypes = [pointer, ctypes.c_char_p, number, number]
        library.board_cycles.restype = number
        library.board_cycles.argtypes = [pointer]
        library.board_violations.argtypes = [pointer, ctypes.POINTER(ctypes.c_int)]
        library.board_leds.argtypes = [pointer]
        self._library, self._handle, self.setup = library, library.board_open(seed), setup

    def write(self, data: bytes) -> None:
        self._library.board_write(self._handle, data, len(data))

    def read(self, count: int, seconds: float) -> bytes:
        buffer = ctypes.create_string_buffer(max(1, count))
        limit = int(seconds * self.hurry * 1000 * self.setup.clock_khz)
        given = self._library.board_read(self._handle, buffer, count, limit)
        return buffer.raw[:given]

    def close(self) -> None:
        if self._handle:
            self._library.board_close(self._handle)
            self._handle = None

    @property
    def cycles(self) -> int:
        return self._library.board_cycles(self._handle)

    @property
    def leds(self) -> int:
        return self._library.board_leds(self._handle)

    def violations(self) -> tuple[int, int]:
        """Breaches of the SDRAM's rules, and the number of the last one (sdram_model.v)."""
        fault = ctypes.c_int()
        return self._library.board_violations(self._handle, ctypes.byref(fault)), fault.value
