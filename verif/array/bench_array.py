"""Bench of the array: random MATMUL and ATTEND against the reference, every bit of every sum."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from myhdl import ResetSignal, Signal, intbv

from rtl.array.array import array
from rtl.array.descriptors import group_bits
from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ACCUMULATOR_READ_LATENCY
from rtl.common.isa import Opcode
from rtl.convert import Converted, convert
from verif.array.reference import Fill, Group, Plan, Reference
from verif.benches import configuration
from verif.runner import settings

SEED = 11


def ports(config: ChipConfig) -> dict[str, object]:
    """A Signal for every port of the array."""

    def word(width: int) -> Signal:
        return Signal(intbv(0)[width:])

    def bit() -> Signal:
        return Signal(bool(0))

    rows = config.rows
    token_bits = bits_for(config.context) + 1
    return {
        "clk": bit(),
        "rst": ResetSignal(0, active=1, isasync=False),
        "row_active": word(rows),
        "any_sample": bit(),
        "step_start": bit(),
        "pass_count": word(bits_for(rows + 1)),
        "pass_mask": word(rows * rows),
        "pass_tokens": word(rows * token_bits),
        "instruction": word(512),
        "instruction_valid": bit(),
        "instruction_ready": bit(),
        "idle": bit(),
        "consuming": bit(),
        "stall_memory": bit(),
        "stall_operand": bit(),
        "stall_bank": bit(),
        "operand_loading": bit(),
        "value_job": bit(),
        "beat_data": word(config.bus_bits),
        "beat_valid": bit(),
        "beat_ready": bit(),
        "operand_write": bit(),
        "operand_block": word(bits_for(config.operand_blocks)),
        "operand_row": word(bits_for(rows)),
        "operand_word": word(bits_for(config.words)),
        "operand_data": word(8 * config.lanes),
        "operand_scale": word(8),
        "operand_fill": bit(),
        "operand_full": word(config.operand_blocks),
        "value_scale_write": bit(),
        "value_scale_buffer": bit(),
        "value_scale_group": word(group_bits(config)),
        "value_scale_data": word(config.bus_bits),
        "bank_full": word(2),
        "bank_release": word(2),
        "drain_valid": bit(),
        "drain_bank": bit(),
        "drain_row": word(bits_for(rows)),
        "drain_column": word(bits_for(config.columns)),
        "drain_word": word(bits_for(config.words)),
        "drain_data": word(32 * config.lanes),
    }


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    """Convert the array of one chip."""
    return convert(array, **ports(chip), config=chip, out_dir=out_dir)


class Bench:
    """Drives one plan in one loop: inputs change at the falling edge, then everything is sampled.

    start: cycle of the first instruction. gaps: probability of an idle cycle of instructions, beats, operand words,
    drain.
    """

    def __init__(
        self, dut, plan: Plan, config: ChipConfig, rng: np.random.Generator, start: int = 0, **gaps: float
    ) -> None:
        self.start = start
        self.dut, self.plan, self.config, self.rng = dut, plan, config, rng
        self.gaps = {"instruction": 0.0, "beat": 0.0, "operand": 0.0, "drain": 0.0, **gaps}
        self.beats, self.fills = deque(plan.beats), deque(plan.fills)
        self.instructions, self.value_scales = deque(plan.instructions), deque(plan.value_scales)
        self.groups = deque(plan.groups)
        self.words: deque[tuple[Fill, int, int, bool]] = deque()
        self.reads: deque[tuple[int, int, int]] = deque()
        self.expected: deque[tuple[int, int, str]] = deque()
        self.group: Group | None = None
        self.bank = self.group_number = self.cycle = 0
        self.events = dict.fromkeys(("consuming", "stall_memory", "stall_operand", "stall_bank"), 0)
        self.taken = self.second_beat = self.last_beat = 0

    def chance(self, what: str) -> bool:
        return self.rng.random() >= self.gaps[what]

    async def reset(self) -> None:
        dut = self.dut
        for name in ("instruction_valid", "beat_valid", "operand_write", "operand_fill", "bank_release", "drain_valid"):
            getattr(dut, name).value = 0
        for name in ("instruction", "beat_data", "drain_bank", "drain_row", "drain_column", "drain_word"):
            getattr(dut, name).value = 0
        for name in ("operand_block", "operand_row", "operand_word", "operand_data", "operand_scale"):
            getattr(dut, name).value = 0
        token_bits = bits_for(self.config.context) + 1
        dut.any_sample.value = 0
        dut.step_start.value = 0
        dut.row_active.value = self.plan.row_active
        dut.pass_count.value = len(self.plan.passes)
        dut.pass_mask.value = sum(m << (i * self.config.rows) for i, (m, _) in enumerate(self.plan.passes))
        dut.pass_tokens.value = sum(t << (i * token_bits) for i, (_, t) in enumerate(self.plan.passes))
        dut.rst.value = 1
        cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.rst.value = 0

    def drive_operands(self) -> None:
        dut, config = self.dut, self.config
        landing = int(dut.operand_write.value) & int(dut.operand_fill.value)  # its full bit rises a cycle later
        full = int(dut.operand_full.value)
        if not self.words and self.fills and not landing and not full >> self.fills[0].block & 1:
            fill = self.fills.popleft()
            places = [(row, word) for row in fill.rows for word in range(config.words)]
            self.words.extend((fill, row, word, (row, word) == places[-1]) for row, word in places)
        writing = bool(self.words) and self.chance("operand")
        dut.operand_write.value = writing
        if writing:
            fill, row, word, last = self.words.popleft()
            elements = fill.elements[row, word * config.lanes : (word + 1) * config.lanes].astype(np.int8)
            dut.operand_block.value = fill.block
            dut.operand_row.value = row
            dut.operand_word.value = word
            dut.operand_data.value = int.from_bytes(elements.tobytes(), "little")
            dut.operand_scale.value = int(fill.scales[row])
            dut.operand_fill.value = last

    def drive_drain(self) -> None:
        dut = self.dut
        release = 0
        if self.group is None and self.groups and int(dut.bank_full.value) >> self.bank & 1 and self.chance("drain"):
            self.group = self.groups.popleft()
            places = [
                (row, column, word)
                for row in self.group.rows
                for column in self.group.columns
                for word in range(self.config.words)
            ]
            self.rng.shuffle(places)
            self.reads.extend(tuple(int(i) for i in place) for place in places)
        reading = bool(self.reads) and self.chance("drain")
        dut.drain_valid.value = reading
        if reading:
            row, column, word = self.reads.popleft()
            dut.drain_bank.value = self.bank
            dut.drain_row.value = row
            dut.drain_column.value = column
            dut.drain_word.value = word
            lanes = self.config.lanes
            data = self.group.sums[row, column, word * lanes : (word + 1) * lanes]
            text = f"group {self.group_number}, row {row}, column {column}, word {word}"
            due = self.cycle + ACCUMULATOR_READ_LATENCY + 1
            self.expected.append((due, int.from_bytes(data.tobytes(), "little"), text))
            if not self.reads:
                release = 1 << self.bank
                self.group = None
                self.bank ^= 1
                self.group_number += 1
        dut.bank_release.value = release

    async def step(self) -> None:
        """One cycle."""
        dut = self.dut
        if self.beats and not int(dut.beat_valid.value) and self.chance("beat"):
            dut.beat_valid.value = 1
            dut.beat_data.value = self.beats[0]
        waiting = self.cycle >= self.start and self.instructions and not int(dut.instruction_valid.value)
        if waiting and self.chance("instruction"):
            dut.instruction_valid.value = 1
            dut.instruction.value = self.instructions[0]
        self.drive_operands()
        self.drive_drain()
        await ReadOnly()
        taken = int(dut.beat_valid.value) and int(dut.beat_ready.value)
        events = [name for name in self.events if int(getattr(dut, name).value)]
        assert len(events) <= 1, f"cycle {self.cycle}: events {events}, expected one at most"
        assert (events == ["consuming"]) == bool(taken), f"cycle {self.cycle}: {events}, beat taken: {taken}"
        for event in events:
            self.events[event] += 1
        if int(dut.value_scale_write.value):
            found = tuple(int(getattr(dut, f"value_scale_{n}").value) for n in ("buffer", "group", "data"))
            assert self.value_scales, f"cycle {self.cycle}: V scales that nobody expects"
            assert found == self.value_scales.popleft(), f"cycle {self.cycle}: V scales differ"
        if self.expected and self.expected[0][0] == self.cycle:
            _, data, text = self.expected.popleft()
            found = int(dut.drain_data.value)
            assert found == data, f"{text}: {found:x}, expected {data:x}"
        accepted = int(dut.instruction_valid.value) and int(dut.instruction_ready.value)
        await FallingEdge(dut.clk)
        if taken:
            self.taken += 1
            if self.taken == 2:
                self.second_beat = self.cycle
            self.last_beat = self.cycle
            self.beats.popleft()
            # The next beat may follow at once; drive_* of the next cycle decides.
            dut.beat_valid.value = 0
            if self.beats and self.chance("beat"):
                dut.beat_valid.value = 1
                dut.beat_data.value = self.beats[0]
        if accepted:
            self.instructions.popleft()
            dut.instruction_valid.value = 0
            if self.instructions and self.chance("instruction"):
                dut.instruction_valid.value = 1
                dut.instruction.value = self.instructions[0]
        self.cycle += 1

    def done(self) -> bool:
        return not (self.beats or self.groups or self.group or self.expected or self.value_scales)

    async def run(self) -> None:
        await self.reset()
        await FallingEdge(self.dut.clk)
        quiet = 0
        while not self.done():
            before = len(self.beats), len(self.groups)
            await self.step()
            quiet = 0 if (len(self.beats), len(self.groups)) != before else quiet + 1
            assert quiet < 3000, f"cycle {self.cycle}: stuck with {before[0]} beats and {before[1]} groups left"
        for _ in range(20):
            await self.step()
        assert not self.instructions and not self.fills and not self.words
        assert int(self.dut.idle.value), "not idle at the end"
        assert int(self.dut.bank_full.value) == 0
        full = sum(1 << block for block in self.left_full)
        assert int(self.dut.operand_full.value) == full, "full bits differ"

    left_full: tuple[int, ...] = ()


def chip() -> ChipConfig:
    return configuration(settings()["chip"])


async def run(dut, reference: Reference, start: int = 0, **gaps: float) -> Bench:
    bench = Bench(dut, reference.plan, reference.config, reference.rng, start, **gaps)
    bench.left_full = tuple(reference.operands)
    await bench.run()
    dut._log.info("%d cycles: %s", bench.cycle, bench.events)
    return bench


def random_passes(config: ChipConfig, rng: np.random.Generator, count: int, tokens: int) -> list[tuple[int, int]]:
    """Up to `count` passes over disjoint, non-empty sets of rows; tokens up to `tokens`, the first has just those."""
    rows = rng.permutation(config.rows)
    parts = np.array_split(rows, min(count, config.rows))
    limits = [tokens] + [int(rng.integers(1, tokens + 1)) for _ in parts[1:]]
    return [(int(sum(1 << int(row) for row in part)), limit) for part, limit in zip(parts, limits, strict=True)]


@cocotb.test()
async def matmul_of_both_formats_without_gaps(dut) -> None:
    config = chip()
    reference = Reference(config, np.random.default_rng(SEED))
    reference.begin_step([(2**config.rows - 1, 1)])
    reference.matmul(False, groups=2, k_blocks=2, source=3, consume=False)
    reference.matmul(True, groups=2, k_blocks=3, source=3, consume=True)
    await run(dut, reference)


@cocotb.test()
async def random_matmuls_with_gaps_everywhere(dut) -> None:
    config = chip()
    rng = np.random.default_rng(SEED + 1)
    reference = Reference(config, rng)
    reference.begin_step([(int(rng.integers(1, 2**config.rows)), 1)])
    for number in range(5):
        groups, k_blocks = (int(n) for n in rng.integers(1, 4, 2))
        reference.matmul(bool(rng.integers(0, 2)), groups, k_blocks, source=5 * number, consume=bool(number % 2))
        reference.ignored(Opcode.NORM, k_blocks=3)
        reference.ignored(Opcode.MATMUL, k_blocks=2, groups=2, sampling_only=1)
    await run(dut, reference, beat=0.3, operand=0.4, drain=0.5)


@cocotb.test()
async def a_consumed_block_is_used_again(dut) -> None:
    config = chip()
    reference = Reference(config, np.random.default_rng(SEED + 2))
    reference.begin_step([(1 << (config.rows - 1), 1)])
    for _ in range(4):
        reference.matmul(False, groups=1, k_blocks=1, source=7, consume=True)
    await run(dut, reference, operand=0.2)


@cocotb.test()
async def blocks_that_stay_full_wait_for_a_request(dut) -> None:
    """Between instructions the request queue is empty, and what it holds no more still names blocks that are full."""
    config = chip()
    rng = np.random.default_rng(SEED + 7)
    reference = Reference(config, rng)
    reference.begin_step([(int(rng.integers(1, 2**config.rows)), 1)])
    for _ in range(12):
        source, k_blocks = int(rng.integers(0, 6)), int(rng.integers(1, 4))
        reference.matmul(bool(rng.integers(0, 2)), groups=1, k_blocks=k_blocks, source=source, consume=False)
    await run(dut, reference, instruction=0.99)


@cocotb.test()
async def blocks_that_a_step_left_full_are_empty_in_the_next(dut) -> None:
    config = chip()
    reference = Reference(config, np.random.default_rng(SEED))
    reference.begin_step([(1, 1)])
    bench = Bench(dut, reference.plan, config, np.random.default_rng(SEED))
    await bench.reset()
    blocks = [0, 5, config.operand_blocks - 1]
    for block in blocks:
        dut.operand_write.value = dut.operand_fill.value = 1
        dut.operand_block.value = block
        await FallingEdge(dut.clk)
    dut.operand_write.value = dut.operand_fill.value = 0
    await FallingEdge(dut.clk)
    assert int(dut.operand_full.value) == sum(1 << block for block in blocks)
    dut.step_start.value = 1
    await FallingEdge(dut.clk)
    dut.step_start.value = 0
    assert int(dut.operand_full.value) == 0


@cocotb.test()
async def attend_of_several_passes_and_heads(dut) -> None:
    config = chip()
    rng = np.random.default_rng(SEED + 3)
    reference = Reference(config, rng)
    tokens = min(config.context, 3 * config.group_tokens) - 5
    reference.begin_step(random_passes(config, rng, 2, tokens))
    reference.attend(heads=2, head_blocks=2, source=1, weight_block=20)
    await run(dut, reference, beat=0.1, operand=0.1, drain=0.2)


@cocotb.test()
async def attend_of_one_job_between_matmuls(dut) -> None:
    config = chip()
    reference = Reference(config, np.random.default_rng(SEED + 4))
    reference.begin_step([(1, config.context // 2 + 1)])
    source = config.operand_blocks - 2
    reference.matmul(True, groups=1, k_blocks=2, source=source, consume=False)
    reference.attend(heads=1, head_blocks=1, source=0, weight_block=16)
    reference.matmul(False, groups=1, k_blocks=2, source=source, consume=True)
    await run(dut, reference)


@cocotb.test()
async def no_cycle_is_lost_when_everything_is_there(dut) -> None:
    """All rows take part, so that loading takes the whole 32 cycles of a k block of the V cache."""
    config = chip()
    reference = Reference(config, np.random.default_rng(SEED + 5))
    reference.begin_step([(2**config.rows - 1, 3 * config.group_tokens - 7)])
    far = config.operand_blocks - 8
    reference.matmul(False, groups=3, k_blocks=3, source=far, consume=False)
    reference.matmul(True, groups=2, k_blocks=5, source=far, consume=False)
    reference.attend(heads=3, head_blocks=4, source=0, weight_block=16)
    reference.matmul(False, groups=1, k_blocks=2, source=far + 6, consume=True)
    bench = await run(dut, reference, start=40 * 32)
    # One scale beat is taken before the first operands are loaded; from then on nothing waits.
    lost = bench.last_beat - bench.second_beat + 2 - bench.events["consuming"]
    assert lost == 0, f"{lost} cycles lost: {bench.events}"


@cocotb.test()
async def random_steps(dut) -> None:
    """A mix of everything, several steps of different rows and passes."""
    config = chip()
    for number in range(4):
        rng = np.random.default_rng(SEED + 100 + number)
        reference = Reference(config, rng, special=0.1)
        tokens = int(rng.integers(1, min(config.context, 3 * config.group_tokens) + 1))
        passes = random_passes(config, rng, int(rng.integers(1, 4)), tokens)
        reference.begin_step(passes[: int(rng.integers(1, len(passes) + 1))])
        for _ in range(3):
            if rng.random() < 0.5:
                k_blocks = int(rng.integers(1, 4))
                groups = int(rng.integers(1, 3))
                reference.matmul(bool(rng.integers(0, 2)), groups, k_blocks, source=10, consume=True)
            else:
                heads, head_blocks = (int(n) for n in rng.integers(1, 4, 2))
                reference.attend(heads, head_blocks, source=0, weight_block=16)
        gaps = {what: float(rng.choice([0.0, 0.1, 0.5])) for what in ("beat", "operand", "drain")}
        await run(dut, reference, **gaps)
