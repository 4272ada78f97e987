"""Bench of rtl/memory/memory_write.py: every byte that it writes, and no other, against write_model.Layout."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import kv_units, logits_units
from rtl.common.isa import Epilogue, Opcode, encode
from rtl.common.registers import ErrorCode
from rtl.convert import Converted, convert
from rtl.memory.memory_write import memory_write
from rtl.memory.write_ports import memory_write_ports
from verif import benches
from verif.memory.write_model import Layout, Slave
from verif.runner import settings

OUTPUT_BASE, OUTPUT_SIZE, LOGITS_OFFSET, LOGITS_STRIDE = 0x9_0000_0000, 0x40000, 0x1040, 0x2040
PULSES = ("kv_start", "kv_end", "kv_valid", "logits_valid")
INPUTS = (
    "freeze kv_start kv_instruction kv_valid kv_value kv_row kv_head kv_block kv_word kv_data kv_scale kv_last kv_end "
    "logits_valid logits_row logits_block logits_word logits_data result_valid result_offset result_data kv_base "
    "kv_stride output_base output_size logits_offset logits_stride "
    "row_active row_slot row_position m_axi_awready m_axi_wready "
    "m_axi_bvalid m_axi_bresp m_axi_bid"
).split()


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(memory_write, **memory_write_ports(chip), config=chip, out_dir=out_dir)


class TB:
    """The surroundings of the write side: one call of step() is one clock."""

    def __init__(self, dut, name: str, gap: float = 0.4) -> None:
        self.dut = dut
        seed = getattr(cocotb, "RANDOM_SEED", os.environ.get("COCOTB_RANDOM_SEED", 1))
        self.rng = random.Random(f"{name} {seed}")
        self.config = benches.configuration(settings()["chip"])
        self.slave = Slave(dut, self.rng, self.config.bus_bytes, gap)
        self.expected: dict[int, int] = {}
        self.kv_flying = self.logits_flying = self.kv_dones = 0
        self.value_scales: dict[tuple[int, int], int] = {}  # (head, row)
        self.pulses: dict[str, int] = {}

    async def begin(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        for name in INPUTS:
            getattr(self.dut, name).value = 0
        self.dut.output_base.value, self.dut.output_size.value = OUTPUT_BASE, OUTPUT_SIZE
        self.dut.logits_offset.value, self.dut.logits_stride.value = LOGITS_OFFSET, LOGITS_STRIDE
        await self.reset()

    async def reset(self) -> None:
        self.dut.rst.value = 1
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.kv_flying = self.logits_flying = 0

    async def step(self, **inputs: int) -> None:
        """One clock with these inputs; pulses not named are low."""
        await FallingEdge(self.dut.clk)
        for name in PULSES:
            getattr(self.dut, name).value = inputs.pop(name, 0)
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        self.slave.drive()
        await ReadOnly()
        self.slave.sample()
        self.kv_flying -= int(self.dut.kv_release.value)
        self.logits_flying -= int(self.dut.logits_release.value)
        self.kv_dones += int(self.dut.kv_done.value)
        assert self.kv_flying >= 0 and self.logits_flying >= 0
        if int(self.dut.kv_done.value):
            assert self.slave.quiet or self.dones_may_overlap, "kv_done before all responses"
        if self.slave.quiet is False and int(self.dut.bus_quiet_write.value):
            assert not self.slave.addressed, "quiet while a burst is open"
        await Timer(1, "ns")  # out of the read-only phase

    dones_may_overlap = False

    async def until(self, condition, limit: int = 20000) -> None:
        for _ in range(limit):
            if condition():
                return
            await self.step()
        raise AssertionError("waited too long")

    def high(self, name: str):
        return lambda: bool(int(getattr(self.dut, name).value))

    def place_rows(self, straddle: bool = False) -> list[tuple[int, int, int]]:
        """Random rows; returns (row, slot, position) of the active ones and drives the row table."""
        config, rng = self.config, self.rng
        active = rng.randrange(1, 1 << config.rows)
        slots = [rng.randrange(config.slots) for _ in range(rng.randrange(1, config.rows + 1))]
        used: set[tuple[int, int]] = set()
        rows, slot_word, position_word = [], 0, 0
        consecutive = 32 - rng.randrange(1, config.rows + 1)
        if straddle:
            active, slots = (1 << config.rows) - 1, slots[:1]
        for row in range(config.rows):
            while True:
                slot = rng.choice(slots)
                position = rng.choice((0, 31, 32, config.context - 1, rng.randrange(config.context)))
                if straddle:
                    position = consecutive + row
                if (slot, position) not in used:
                    break
            used.add((slot, position))
            if active >> row & 1:
                rows.append((row, slot, position))
            slot_word |= slot << row * bits_for(config.slots)
            position_word |= position << row * bits_for(config.context)
        self.dut.row_active.value, self.dut.row_slot.value = active, slot_word
        self.dut.row_position.value = position_word
        return rows

    def layout(self) -> Layout:
        """Random offsets, 64-byte aligned, as small as the contents allow."""
        config, rng = self.config, self.rng
        head_blocks, heads = rng.randrange(1, config.head_blocks + 1), rng.randrange(1, 5)
        bus = config.bus_bytes
        keys = config.context // config.group_tokens * (1 + 33 * head_blocks) * bus + 64 * rng.randrange(4)
        value_stride = config.context * bus + 64 * rng.randrange(4)
        head_stride = keys + -(-head_blocks // config.ports) * value_stride + 64 * rng.randrange(4)
        layer_offset = 64 * rng.randrange(200)
        kv_stride = -(-(layer_offset + heads * head_stride) // 4096) * 4096
        base = 4096 * rng.randrange(1 << 24)
        layout = Layout(config, base, kv_stride, layer_offset, head_stride, head_blocks, heads, keys, value_stride)
        self.dut.kv_base.value, self.dut.kv_stride.value = base, kv_stride
        return layout

    def encode(self, layout: Layout, epilogue: Epilogue) -> int:
        names = ("layer_offset", "head_stride", "head_blocks", "heads", "value_offset", "value_stride")
        fields = {name: getattr(layout, name) for name in names}
        return int.from_bytes(encode(Opcode.MATMUL, epilogue=epilogue, **fields), "little")

    async def unit(self, words: list[tuple[int, int]], pause: float, **fields: int) -> None:
        """One KV unit: (block, word) in order, credits respected."""
        await self.until(lambda: self.kv_flying < kv_units(self.config.rows))
        self.kv_flying += 1
        data = fields.pop("data")
        for i, (block, word) in enumerate(words):
            chunk = data[(block - words[0][0]) * 32 + word * self.config.lanes :][: self.config.lanes]
            inputs = {"kv_block": block, "kv_word": word, "kv_data": int.from_bytes(chunk, "little"), **fields}
            inputs |= {f"kv_{k}": v for k, v in (("valid", 1), ("last", int(i == len(words) - 1)))}
            await self.step(**inputs)
            while self.rng.random() < pause:
                await self.step()

    async def keys_or_values(self, layout: Layout, rows, is_value: bool, pause: float = 0.3) -> None:
        """One instruction, as the vector unit would give it."""
        config, rng = self.config, self.rng
        await self.until(self.high("kv_idle"))
        instruction = self.encode(layout, Epilogue.VALUE if is_value else Epilogue.KEY)
        await self.step(kv_start=1, kv_instruction=instruction)
        all_words = range(config.words)
        blocks = range(layout.head_blocks)
        if is_value:
            units = [(head, None, row) for head in range(layout.heads) for row in rows]
        else:
            units = [(head, block, row) for head in range(layout.heads) for block in blocks for row in rows]
        for head, block, (row, slot, position) in units:
            fields = {"kv_value": int(is_value), "kv_row": row, "kv_head": head, "kv_scale": rng.randrange(256)}
            data = rng.randbytes(32 * layout.head_blocks if is_value else 32)
            words = [(b, w) for b in (blocks if is_value else [block]) for w in all_words]
            if is_value:
                written = layout.value(slot, head, position, data)
                self.value_scales[head, row] = fields["kv_scale"]
            else:
                written = layout.key(slot, head, block, position, data, fields["kv_scale"])
                if block == 0:
                    written |= layout.value_scale(slot, head, position, self.value_scales[head, row])
            self.expected |= written
            await self.unit(words, pause, data=data, **fields)
        await self.step(kv_end=1)

    async def logits(self, blocks: list[tuple[int, int]], pause: float = 0.2) -> None:
        """Blocks (row, block) of random FP32 words."""
        config, rng = self.config, self.rng
        for row, block in blocks:
            await self.until(lambda: self.logits_flying < logits_units(config.rows))
            self.logits_flying += 1
            data = rng.randbytes(128)
            start = OUTPUT_BASE + LOGITS_OFFSET + row * LOGITS_STRIDE + 128 * block
            self.expected |= {start + i: byte for i, byte in enumerate(data)}
            for word in range(config.words):
                chunk = data[4 * config.lanes * word :][: 4 * config.lanes]
                await self.step(
                    logits_valid=1,
                    logits_row=row,
                    logits_block=block,
                    logits_word=word,
                    logits_data=int.from_bytes(chunk, "little"),
                )
                while rng.random() < pause:
                    await self.step()

    async def result(self, offset: int, data: int) -> None:
        self.expected |= {OUTPUT_BASE + offset + i: byte for i, byte in enumerate(data.to_bytes(4, "little"))}
        await self.step(result_valid=1, result_offset=offset, result_data=data)
        while not int(self.dut.result_ready.value):
            await self.step()
        await self.step(result_valid=0)

    async def finish(self) -> None:
        """Wait until idle, then compare every byte."""
        await self.until(self.high("idle"))
        assert self.slave.quiet and self.kv_flying == 0 and self.logits_flying == 0
        assert not int(self.dut.error_valid.value), int(self.dut.error_code.value)
        wrong = {a for a in self.expected.keys() | self.slave.written.keys()
                 if self.expected.get(a) != self.slave.written.get(a)}  # fmt: skip
        assert not wrong, f"{len(wrong)} of {len(self.expected)} bytes differ, first {min(wrong):#x}"
        self.expected.clear()
        self.slave.written.clear()


@cocotb.test()
async def keys_and_values_land_where_the_layout_says(dut):
    tb = TB(dut, "kv")
    await tb.begin()
    rounds = 8 if tb.config.rows < 16 else 3
    for i in range(rounds):
        layout = tb.layout()
        rows = tb.place_rows(straddle=i % 4 == 1)
        tb.slave.gap = tb.rng.choice((0.0, 0.3, 0.8))
        pause = tb.rng.choice((0.0, 0.5))
        before = tb.kv_dones
        tb.dones_may_overlap = False
        await tb.keys_or_values(layout, rows, True, pause)
        await tb.until(lambda before=before: tb.kv_dones == before + 1)
        await tb.keys_or_values(layout, rows, False, pause)
        await tb.until(lambda before=before: tb.kv_dones == before + 2)
        await tb.finish()


@cocotb.test()
async def instructions_may_follow_at_once_and_each_is_reported_done(dut):
    tb = TB(dut, "overlap", 0.6)
    await tb.begin()
    tb.dones_may_overlap = True
    layout = tb.layout()
    rows = tb.place_rows()
    await tb.keys_or_values(layout, rows, True, 0.0)
    await tb.keys_or_values(layout, rows, False, 0.0)
    await tb.until(lambda: tb.kv_dones == 2)
    await tb.finish()


@cocotb.test()
async def logits_and_results_land_in_the_output_window(dut):
    tb = TB(dut, "output")
    await tb.begin()
    blocks = [(row, block) for block in (0, 1, 5, 60) for row in range(tb.config.rows) if tb.rng.random() < 0.8]
    await tb.logits(blocks)
    for i in range(20):
        await tb.result(4 * i, tb.rng.randrange(1 << 32))
    await tb.finish()


@cocotb.test()
async def logits_and_values_share_the_port(dut):
    tb = TB(dut, "shared", 0.2)
    await tb.begin()
    tb.dones_may_overlap = True
    await tb.logits([(row, 3) for row in range(tb.config.rows)], 0.0)
    await tb.keys_or_values(tb.layout(), tb.place_rows(), True, 0.0)
    await tb.logits([(row, 4) for row in range(tb.config.rows)], 0.0)
    await tb.finish()


@cocotb.test()
async def a_burst_outside_its_slot_is_an_error_and_not_an_access(dut):
    tb = TB(dut, "window")
    await tb.begin()
    for is_value in (False, True):
        layout = tb.layout()
        rows = tb.place_rows()
        layout.heads = 1
        dut.kv_stride.value = 0
        await tb.until(tb.high("kv_idle"))
        epilogue = Epilogue.VALUE if is_value else Epilogue.KEY
        await tb.step(kv_start=1, kv_instruction=tb.encode(layout, epilogue))
        blocks = range(layout.head_blocks) if is_value else [0]
        words = [(b, w) for b in blocks for w in range(tb.config.words)]
        for row, _, _ in rows:
            fields = {"kv_value": int(is_value), "kv_row": row, "kv_head": 0, "kv_scale": 1}
            await tb.unit(words, 0.0, data=bytes(128), **fields)
        await tb.step(kv_end=1)
        await tb.until(tb.high("error_valid"))
        assert int(dut.error_code.value) == ErrorCode.WINDOW
        await tb.step(freeze=1)
        await tb.until(tb.high("bus_quiet_write"))
        assert not tb.slave.written and not tb.slave.bursts
        await tb.reset()
        dut.freeze.value = 0
        assert not int(dut.error_valid.value)
    await tb.result(OUTPUT_SIZE - 4, 7)
    await tb.finish()
    await tb.step(result_valid=1, result_offset=OUTPUT_SIZE, result_data=1)
    await tb.until(tb.high("error_valid"))
    assert int(dut.error_code.value) == ErrorCode.WINDOW and int(dut.error_address.value) == OUTPUT_BASE + OUTPUT_SIZE
    dut.result_valid.value = 0


@cocotb.test()
async def a_bad_response_is_reported_with_its_address(dut):
    tb = TB(dut, "response")
    await tb.begin()
    tb.slave.bad = {OUTPUT_BASE + tb.config.bus_bytes}
    for i in range(2 * tb.config.bus_bytes // 4):
        if int(dut.error_valid.value):
            break
        await tb.step(result_valid=1, result_offset=4 * i, result_data=i)
        for _ in range(200):
            if int(dut.result_ready.value) or int(dut.error_valid.value):
                break
            await tb.step()
        await tb.step(result_valid=0)
    await tb.until(tb.high("error_valid"))
    assert int(dut.error_code.value) == ErrorCode.WRITE_RESPONSE
    assert int(dut.error_address.value) == OUTPUT_BASE + tb.config.bus_bytes
    await tb.step(freeze=1)
    await tb.until(tb.high("bus_quiet_write"))
    await tb.reset()
    dut.freeze.value = 0


@cocotb.test()
async def freezing_completes_what_was_addressed_and_begins_nothing(dut):
    tb = TB(dut, "freeze", 0.5)
    await tb.begin()
    for _ in range(12):
        layout, rows = tb.layout(), tb.place_rows()
        await tb.step(kv_start=1, kv_instruction=tb.encode(layout, Epilogue.VALUE))
        words = [(b, w) for b in range(layout.head_blocks) for w in range(tb.config.words)]
        for row, _, _ in rows:
            fields = {"kv_value": 1, "kv_row": row, "kv_head": 0, "kv_scale": 1}
            await tb.unit(words, 0.0, data=bytes(128), **fields)
        await tb.step(kv_end=1)
        for _ in range(tb.rng.randrange(150)):
            await tb.step()
        await tb.step(freeze=1)
        await tb.step()
        bursts = len(tb.slave.bursts) + int(dut.m_axi_awvalid.value)
        await tb.until(tb.high("bus_quiet_write"))
        for _ in range(20):
            await tb.step()
        assert tb.slave.quiet and len(tb.slave.bursts) <= bursts and not int(dut.error_valid.value)
        await tb.reset()
        dut.freeze.value = 0
        tb.slave.written.clear()
    tb.expected.clear()
    layout, rows = tb.layout(), tb.place_rows()
    await tb.keys_or_values(layout, rows, True)
    await tb.keys_or_values(layout, rows, False)
    await tb.finish()
