"""What every device is to the driver: a memory, named registers, and runs.

Three devices run the same driver and pass the same tests: the NumPy machine (`model`), the Verilated chip (`verilator`)
and the chip in Icarus by cocotb (`icarus`).
"""

from __future__ import annotations

import abc

import numpy as np
from numpy.typing import NDArray

from rtl.common import registers
from rtl.common.config import ChipConfig
from rtl.common.registers import COUNTERS, ErrorCode, Register, Status

from ..errors import MozgError

START, RESET = 1, 2  # of register `control`
RESET_POLLS = 5000  # of a few cycles each


class DeviceError(MozgError):
    """A device cannot be built or opened, does not answer, or stopped with an error code."""


class Device(abc.ABC):
    """One chip with its memory. Registers go by the names of rtl/common/registers.py; addresses are bytes."""

    name: str

    def __init__(self, chip: ChipConfig, size: int):
        self.chip, self.size = chip, size
        self.map: dict[str, Register] = registers.all_registers(chip.rows)

    @property
    def rows(self) -> int:
        """Rows that one step takes."""
        return self.chip.rows

    @abc.abstractmethod
    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None: ...

    @abc.abstractmethod
    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        """A copy of `count` bytes."""

    @abc.abstractmethod
    def write_register(self, name: str, value: int) -> None: ...

    @abc.abstractmethod
    def read_register(self, name: str) -> int: ...

    @abc.abstractmethod
    def run(self, limit: int) -> int:
        """Start, and wait until the run ends or `limit` cycles have passed; the cycles it took (0: no clock)."""

    def close(self) -> None:
        """Free what the device holds; it cannot be used afterwards. Here: nothing is held, nothing to free."""
        return None

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_wide(self, name: str, value: int) -> None:
        """A register pair `name`_low, `name`_high."""
        self.write_register(f"{name}_low", value & 0xFFFFFFFF)
        self.write_register(f"{name}_high", value >> 32)

    def reset(self) -> None:
        """Stop whatever runs and clear an error; registers and memory stay. The chip waits for its bus meanwhile."""
        self.write_register("control", RESET)
        for _ in range(RESET_POLLS):
            if not self.read_register("status") >> Status.BUSY & 1:
                return
        raise DeviceError("the chip does not come out of its reset: its memory owes it an answer")

    def counters(self) -> dict[str, int]:
        """All counters of the last run."""
        return {
            name: self.read_register(f"count_{name}_low") | self.read_register(f"count_{name}_high") << 32
            for name in COUNTERS
        }

    def check_status(self) -> None:
        """DeviceError unless the last run ended without an error."""
        status = self.read_register("status")
        if status >> Status.ERROR & 1:
            value = self.read_register("error")
            code = ErrorCode(value).name if value in list(ErrorCode) else str(value)
            address = self.read_register("error_address_low") | self.read_register("error_address_high") << 32
            index = self.read_register("error_instruction")
            raise DeviceError(
                f"the chip stopped with error {code} at address {address:#x}, instruction {index}; "
                "load the image again and restart"
            )
        if not status >> Status.DONE & 1:
            raise DeviceError(
                f"the chip did not finish its run (status {status:#x}): raise the cycle limit or the watchdog"
            )

    def _register(self, name: str) -> Register:
        if name not in self.map:
            raise DeviceError(f"register {name!r} is unknown: see rtl/common/registers.py")
        return self.map[name]
