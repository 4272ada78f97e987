"""Runs an image on a device: loads it, sets the registers, and makes steps of rows.

A row is a token (design: "a row is a token"): prefill, decode, batches and any mix are rows of one step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtl.common.registers import ID_VALUE, VERSION_VALUE, ErrorCode, RowFault, RowFlag

from . import fp32
from .compiler import Image
from .device import Device, DeviceError
from .errors import MozgError

NO_STOP = 0xFFFFFFFF
NO_TOKEN = 0xFFFFFFFF
WATCHDOG_CYCLES = 1 << 17
CAPABILITIES = ("rows", "ports", "lanes", "context", "vector_blocks", "operand_blocks", "ring_words")


class RowError(MozgError):
    """A row ended in a fault: its numbers overflowed, or its slot or position is outside memory."""


@dataclass(frozen=True)
class Row:
    """One token of one sequence. temperature 0: greedy. stop: up to two ids that end the sequence."""

    slot: int
    position: int
    token: int
    sample: bool = False
    temperature: float = 0.0
    seed: int = 0
    logits: bool = False
    stop: tuple[int, ...] = ()

    @property
    def control(self) -> int:
        flags = 1 << RowFlag.ACTIVE | self.sample << RowFlag.SAMPLE | self.logits << RowFlag.LOGITS
        return flags | (self.temperature == 0) << RowFlag.GREEDY

    @property
    def inverse_temperature(self) -> int:
        """Bits of float32(log2(e) / temperature); 1.0 for a greedy row, which does not use it."""
        value = math.log2(math.e) / self.temperature if self.temperature else 1.0
        return int(fp32.to_bits(np.float32(value)))


@dataclass
class StepResult:
    """tokens: per step, per row: sampled id or None. cycles, counters: of the run; counters empty without a clock.

    faults: per row, None or one line about the fault in which it ended.
    """

    tokens: list[list[int | None]]
    cycles: int
    counters: dict[str, int] = field(default_factory=dict)
    faults: list[str | None] = field(default_factory=list)

    def refuse_faults(self) -> None:
        """RowError for the first row that ended in a fault."""
        for index, fault in enumerate(self.faults):
            if fault:
                raise RowError(f"row {index}: {fault}")


class Driver:
    """An opened device with an image in its memory. `fill`: byte that the KV cache and the output start with.

    `interrupted`: a step was left before its end (Ctrl-C), and the device is of no use: open another.
    """

    def __init__(self, device: Device, image: Image, fill: int = 0):
        self.device, self.image = device, image
        self.interrupted = False
        self._check_identity()
        regions = image.regions
        kv = regions["kv"].base
        device.write_memory(0, image.memory[:kv])
        device.write_memory(kv, np.full(image.memory.size - kv, fill, dtype=np.uint8))
        self._run_limit = 1_000_000 + 40 * (regions["weights"].size // image.chip.bus_bytes + image.slot_bytes)
        device.write_wide("weights", regions["weights"].base)
        device.write_wide("weights_size", regions["weights"].size)
        device.write_wide("kv", kv)
        device.write_wide("kv_stride", image.slot_bytes)
        device.write_wide("output", regions["output"].base)
        device.write_register("output_size", regions["output"].size)
        device.write_register("logits_offset", image.logits_offset)
        device.write_register("logits_stride", image.logits_stride)
        device.write_register("slots_used", image.slots)
        device.write_register("context_limit", image.context)
        device.write_register("watchdog", WATCHDOG_CYCLES)
        self._program("setup")
        self.step([Row(0, 0, 0)])
        self._program("program")

    def _check_identity(self) -> None:
        found = self.device.read_register("id"), self.device.read_register("version")
        if found != (ID_VALUE, VERSION_VALUE):
            raise DeviceError(
                f"the device says id {found[0]:#x}, version {found[1]:#x}: expected {ID_VALUE:#x}, {VERSION_VALUE:#x}"
            )
        for name in CAPABILITIES:
            value, expected = self.device.read_register(f"cap_{name}"), getattr(self.image.chip, name)
            if value != expected:
                raise DeviceError(
                    f"the device has {name} {value}, the image was compiled for {expected}: compile for this chip"
                )

    def _program(self, region: str) -> None:
        self.device.write_wide("program", self.image.regions[region].base)
        self.device.write_register("program_size", self.image.regions[region].size)

    def step(self, rows: Sequence[Row], steps: int = 1) -> StepResult:
        """As `run`, and RowError when a row ends in a fault."""
        result = self.run(rows, steps)
        result.refuse_faults()
        return result

    def run(self, rows: Sequence[Row], steps: int = 1) -> StepResult:
        """Run `steps` steps from these rows (the chip feeds sampled tokens back); all in one run of the device.

        A row that ends in a fault samples nothing more and leaves the others as they are. DeviceError when the chip
        stops with an error.
        """
        device = self.device
        if not 1 <= len(rows) <= device.rows:
            raise ValueError(f"{len(rows)} rows in a step: the chip takes 1 to {device.rows}")
        self.interrupted = True
        for index in range(device.rows):
            if index >= len(rows):
                device.write_register(f"row{index}_control", 0)
                continue
            row = rows[index]
            stop = (*row.stop, NO_STOP, NO_STOP)
            values = {
                "slot": row.slot,
                "position": row.position,
                "token": row.token,
                "seed": row.seed & 0xFFFFFFFF,
                "inverse_temperature": row.inverse_temperature,
                "stop_a": stop[0],
                "stop_b": stop[1],
                "control": row.control,
            }
            for name, value in values.items():
                device.write_register(f"row{index}_{name}", value)
        device.write_register("steps", steps)
        cycles = device.run(self._run_limit * steps)
        error, faults = device.read_register("error"), [None] * len(rows)
        if error in (ErrorCode.NONE, ErrorCode.NO_ROWS):
            faults = [self._fault(index, row) for index, row in enumerate(rows)]
        try:
            if error != ErrorCode.NO_ROWS or not any(faults):  # where every row is at fault, the faults are the answer
                device.check_status()
        except MozgError:
            self._recover()
            raise
        if error:
            self._recover()
        done = device.read_register("steps_done")
        tokens = self._tokens(rows, done) if done else [[None] * len(rows)]
        result = StepResult(tokens, cycles, device.counters() if cycles else {}, faults)
        self.interrupted = False
        return result

    def _recover(self) -> None:
        """Reset a chip that stopped with an error: it does not start again before."""
        with contextlib.suppress(DeviceError):  # the first error says what happened
            self.device.reset()
            self.interrupted = False

    def _fault(self, index: int, row: Row) -> str | None:
        fault = self.device.read_register(f"row{index}_fault")
        if fault >> RowFault.SLOT & 1:
            return (
                f"slot {row.slot} or position {row.position} is outside the KV cache "
                f"({self.image.slots} slots of {self.image.context} positions)"
            )
        if fault:
            return (
                f"infinity or NaN at position {row.position}: the weights or the activations exceed the range of the "
                "chip's arithmetic"
            )
        return None

    def _tokens(self, rows: Sequence[Row], done: int) -> list[list[int | None]]:
        if len(rows) > self.image.chip.rows:  # the NumPy machine with more rows than the chip
            return [[self.device.read_register(f"row{i}_token") if r.sample else None for i, r in enumerate(rows)]]
        words = self.device.read_memory(self.image.regions["output"].base, 4 * done * self.image.chip.rows)
        table = words.view("<u4").reshape(done, -1)[:, : len(rows)]
        return [[None if word == NO_TOKEN else int(word) for word in step] for step in table]

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits that a row with `logits` set wrote in the last step: float32 [vocabulary]."""
        image = self.image
        address = image.regions["output"].base + image.logits_offset + row * image.logits_stride
        return self.device.read_memory(address, 4 * image.config.vocabulary).view("<f4")

    def kv_bytes(self) -> NDArray[np.uint8]:
        """The whole KV cache, for comparisons."""
        region = self.image.regions["kv"]
        return self.device.read_memory(region.base, region.size)
