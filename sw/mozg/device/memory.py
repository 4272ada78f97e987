"""Settings of the DRAM model behind the simulated chip: verif/device/dram.h says what each does."""

from __future__ import annotations

import ctypes
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class MemoryConfig:
    """Times are cycles of the chip's clock, sizes bytes."""

    latency: int = 40
    refresh_interval: int = 3120
    refresh_cycles: int = 140
    row_bytes: int = 8192
    row_miss: int = 18
    turnaround: int = 8
    write_buffer: int = 64  # beats
    write_patience: int = 512
    error_low: int = 0  # accesses in [error_low, error_high) are answered with an error
    error_high: int = 0

    def structure(self, beat_bytes: int) -> DramStructure:
        return DramStructure(beat_bytes, *astuple(self))

    @property
    def reader_share(self) -> float:
        """Share of the raw bus that an ideal sequential reader gets."""
        return 1 - self.refresh_cycles / self.refresh_interval if self.refresh_interval else 1.0


class DramStructure(ctypes.Structure):
    """struct DramConfig of verif/device/dram.h."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in (
            "beat_bytes",
            "latency",
            "refresh_interval",
            "refresh_cycles",
            "row_bytes",
            "row_miss",
            "turnaround",
            "write_buffer",
            "write_patience",
        )
    ] + [("error_low", ctypes.c_uint64), ("error_high", ctypes.c_uint64)]


# One DDR4-3200 channel with 8 Gb devices, seen at 400 MHz x 512 bits (`server`) or half as wide (`edge`).
DDR4 = MemoryConfig()
IDEAL = MemoryConfig(latency=4, refresh_interval=0, refresh_cycles=0, row_miss=0, turnaround=0)
MEMORIES = {"ddr4": DDR4, "ideal": IDEAL}
