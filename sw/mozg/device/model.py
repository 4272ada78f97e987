"""The NumPy machine as a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtl.common import registers
from rtl.common.config import ChipConfig
from rtl.common.registers import ErrorCode, Status

from ..machine import Machine
from .base import Device, DeviceError

CAPABILITIES = {
    "cap_rows": "rows",
    "cap_ports": "ports",
    "cap_lanes": "lanes",
    "cap_context": "context",
    "cap_vector_blocks": "vector_blocks",
    "cap_operand_blocks": "operand_blocks",
    "cap_ring_words": "ring_words",
    "cap_head_blocks": "head_blocks",
    "cap_slots": "slots",
    "cap_fifo_beats": "fifo_beats",
}


class ModelDevice(Device):
    """`rows`: more rows a step than the chip has, for speed; the results are the same."""

    name = "model"

    def __init__(self, chip: ChipConfig, size: int, rows: int | None = None):
        super().__init__(chip, size)
        self._memory = np.zeros(size, dtype=np.uint8)
        self.machine = Machine(chip, self._memory, rows)
        self.map = registers.all_registers(self.machine.rows)
        self._ran = False

    @property
    def rows(self) -> int:
        return self.machine.rows

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._memory[address : address + data.size] = data
        self.machine.forget_weights()

    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        return self._memory[address : address + count].copy()

    def write_register(self, name: str, value: int) -> None:
        if self._register(name).access == "rw":
            self.machine.registers[name] = value & 0xFFFFFFFF
        elif name == "control":
            if value & 1:
                self.machine.start()
                self._ran = True
            if value & 2:
                self._ran = False
                self.machine.error = ErrorCode.NONE
        else:
            raise DeviceError(f"register {name!r} is read only")

    def read_register(self, name: str) -> int:
        machine = self.machine
        if name in CAPABILITIES:
            return getattr(self.chip, CAPABILITIES[name])
        if name.startswith("row") and name.endswith("_fault"):
            return int(machine.faults[int(name[3 : -len("_fault")])])
        live = {
            "id": registers.ID_VALUE,
            "version": registers.VERSION_VALUE,
            "status": self._ran << Status.DONE | (machine.error != ErrorCode.NONE) << Status.ERROR,
            "error": int(machine.error),
            "error_address_low": machine.error_address & 0xFFFFFFFF,
            "error_address_high": machine.error_address >> 32,
            "error_instruction": machine.error_instruction,
            "steps_done": machine.steps_done,
            "count_instructions_low": machine.instructions,
        }
        if name in live:
            return live[name]
        self._register(name)
        return machine.registers.get(name, 0)

    def run(self, limit: int) -> int:
        self.write_register("control", 1)
        return 0
