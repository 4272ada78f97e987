"""The surroundings of memory_read, one cycle at a time: memory, sequencer, array, vector unit.

Inputs change at the falling edge; what is sampled after they settled is what the next rising edge sees, so
that the bench gives the same in every simulator.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cocotb.triggers import FallingEdge, ReadOnly

from verif.memory.read_model import Expected, Machine, content, writes_cache


@dataclass
class Manner:
    """How the surroundings behave: probabilities of being ready or valid in a cycle, latency in cycles."""

    latency: tuple[int, int] = (1, 80)
    address_ready: float = 0.7
    data_valid: float = 0.8
    array_ready: float = 0.8
    vector_ready: float = 0.7
    instruction: float = 0.3
    fetch_ready: float = 0.3
    kv_delay: tuple[int, int] = (0, 300)


IDEAL = Manner((40, 40), 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, (0, 0))


class Surroundings:
    """Drives and watches every port of memory_read; checks what must hold in every cycle."""

    def __init__(self, dut, machine: Machine, manner: Manner, seed: int) -> None:
        self.dut, self.machine, self.manner = dut, machine, manner
        self.random = random.Random(seed)
        self.bus = machine.chip.bus_bytes
        self.cycle = 0
        self.bursts: list[tuple[int, int]] = []  # (address, beats), without those of the program
        self.fetches: list[int] = []
        self.beats: list[int] = []
        self.beat_cycles: list[int] = []
        self.parameters: list[tuple[int, int]] = []
        self.fetched: list[int] = []
        self.read_beats = 0
        self.waiting: list[bytes] = []
        self.kv_due: list[int] = []
        self.kv_held = False
        # Of KEY and VALUE instructions taken: the array's beats before one can be done, and how long it takes then.
        self.kv_streaming: list[tuple[int, int]] = []
        self.beats_asked = 0
        self.bad_addresses: set[int] = set()
        self.in_flight: list[list[int]] = []  # [address, beats left, cycle from which it may answer]
        self.offered: tuple[int, int] | None = None
        self.address_before: tuple[int, int] | None = None
        self.data_held = False
        self.instruction_held = False
        self.start_fetch = False
        self.freeze = False
        self.idle = self.quiet = True
        self.error = self.fetch_end = False

    def chance(self, probability: float) -> bool:
        return probability >= 1 or self.random.random() < probability

    async def reset(self) -> None:
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 1
        for name, value in self.machine.ports().items():
            getattr(self.dut, name).value = value
        for name in ("freeze", "kv_done", "fetch_start", "instruction_valid", "fetch_ready", "beat_ready"):
            getattr(self.dut, name).value = 0
        for name in ("parameter_ready", "m_axi_arready", "m_axi_rvalid", "m_axi_rid", "instruction"):
            getattr(self.dut, name).value = 0
        for name in ("m_axi_rdata", "m_axi_rresp", "m_axi_rlast"):
            getattr(self.dut, name).value = 0
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.in_flight.clear()
        self.waiting.clear()
        self.kv_due.clear()
        self.kv_streaming.clear()
        self.address_before = None
        self.data_held = self.instruction_held = self.freeze = self.error = False

    async def run(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.step()

    async def run_until(self, condition, limit: int = 100_000) -> None:
        for _ in range(limit):
            if condition():
                return
            await self.step()
        raise AssertionError(
            f"not done after {limit} cycles: {len(self.waiting)} instructions left, {len(self.beats)} beats, "
            f"{len(self.parameters)} parameter words, {len(self.in_flight)} bursts in flight"
        )

    async def step(self) -> None:
        """One clock cycle."""
        dut, manner = self.dut, self.manner
        await FallingEdge(dut.clk)
        self.cycle += 1
        self.drive()
        await ReadOnly()
        self.idle = bool(dut.idle.value)
        self.quiet = bool(dut.bus_quiet_read.value)
        self.error = bool(dut.error_valid.value)
        self.fetch_end = bool(dut.fetch_end.value)

        if self.in_flight:
            assert dut.m_axi_rready.value, "rready low with a burst outstanding"
        if self.quiet:
            assert not self.in_flight and not dut.m_axi_arvalid.value, "quiet with a burst outstanding"
        taken = bool(self.data_valid and dut.m_axi_rready.value)
        assert bool(dut.read_beat.value) == taken, "read_beat is not an accepted beat"
        self.data_held = self.data_valid and not taken
        if taken:
            self.read_beats += 1
            head = self.in_flight[0]
            head[0] += self.bus
            head[1] -= 1
            if head[1] == 0:
                self.in_flight.pop(0)
        if dut.m_axi_arvalid.value:
            self.watch_address()
        else:
            assert self.address_before is None, "arvalid fell before arready"
        if self.instruction_held and dut.instruction_ready.value:
            instruction = self.waiting.pop(0)
            self.instruction_held = False
            self.beats_asked += len(Expected([instruction], self.machine).beats)
            if writes_cache(instruction, self.machine):
                self.kv_streaming.append((self.beats_asked, self.random.randint(*manner.kv_delay)))
        if self.array_ready and dut.beat_valid.value:
            self.beats.append(int(dut.beat_data.value))
            self.beat_cycles.append(self.cycle)
        while self.kv_streaming and self.kv_streaming[0][0] <= len(self.beats):
            self.kv_due.append(self.cycle + self.kv_streaming.pop(0)[1])
        if self.vector_ready and dut.parameter_valid.value:
            self.parameters.append((int(dut.parameter_tag.value), int(dut.parameter_data.value)))
        if self.fetch_ready and dut.fetch_valid.value and not self.fetch_started:
            self.fetched.append(int(dut.fetch_instruction.value))

    def drive(self) -> None:
        """The inputs of this cycle; each held as its protocol asks."""
        dut, manner = self.dut, self.manner
        self.address_ready = self.chance(manner.address_ready)
        dut.m_axi_arready.value = self.address_ready
        self.array_ready = self.chance(manner.array_ready)
        dut.beat_ready.value = self.array_ready
        self.vector_ready = self.chance(manner.vector_ready)
        dut.parameter_ready.value = self.vector_ready
        self.fetch_ready = self.chance(manner.fetch_ready)
        dut.fetch_ready.value = self.fetch_ready
        due = bool(self.in_flight) and self.in_flight[0][2] <= self.cycle
        self.data_valid = due and (self.data_held or self.chance(manner.data_valid))
        dut.m_axi_rvalid.value = self.data_valid
        if self.data_valid:
            address, left, _ = self.in_flight[0]
            dut.m_axi_rdata.value = content(address, self.bus)
            dut.m_axi_rlast.value = left == 1
            dut.m_axi_rresp.value = 2 if address in self.bad_addresses else 0
        if self.waiting and not self.instruction_held and self.chance(manner.instruction):
            self.instruction_held = True
            dut.instruction.value = int.from_bytes(self.waiting[0], "little")
        dut.instruction_valid.value = self.instruction_held
        done = bool(self.kv_due) and self.kv_due[0] <= self.cycle and not self.kv_held
        if done:
            self.kv_due.pop(0)
        dut.kv_done.value = done
        dut.fetch_start.value = self.start_fetch
        self.fetch_started = self.start_fetch
        self.start_fetch = False
        dut.freeze.value = self.freeze

    def watch_address(self) -> None:
        """AXI rules of the address channel, and the burst into flight if it is taken."""
        dut = self.dut
        address, beats = int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value) + 1
        if self.address_before is not None:
            assert (address, beats) == self.address_before, "address changed before arready"
        self.address_before = (address, beats)
        if not self.address_ready:
            return
        self.address_before = None
        assert dut.m_axi_arburst.value == 1 and 1 << int(dut.m_axi_arsize.value) == self.bus
        assert dut.m_axi_arid.value == 0
        assert address % self.bus == 0, f"burst at {address:#x} is not aligned to the bus"
        assert beats <= self.machine.chip.burst_beats
        last = address + beats * self.bus - 1
        assert address >> 12 == last >> 12, f"burst {address:#x}, {beats} beats, crosses 4 KB"
        machine = self.machine
        if machine.program_base <= address < machine.program_base + machine.program_size:
            assert last < machine.program_base + machine.program_size
            self.fetches.append(address)
        else:
            self.bursts.append((address, beats))
        low, high = self.manner.latency
        start = max(self.cycle + self.random.randint(low, high), self.in_flight[-1][2] if self.in_flight else 0)
        self.in_flight.append([address, beats, start])

    def addresses(self) -> list[int]:
        """Address of every beat asked for outside the program."""
        return [address + self.bus * index for address, beats in self.bursts for index in range(beats)]
