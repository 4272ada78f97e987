"""AXI4 on the SDRAM: random bursts with byte strobes beside the host's words, refreshes under load, every byte checked.

The SDRAM model checks the timing of every command; any breach fails the test.
"""

from __future__ import annotations

import os
import random
from collections import deque
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from rtl.board.axi_sdram import axi_sdram
from rtl.board.sdram_timing import MEMORY_BYTES
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif.board import signals
from verif.board.signals import MODEL_BYTES
from verif.runner import settings

BEAT = 32
OKAY, DECERR = 0, 3


def build(out_dir: Path, chip: ChipConfig, clock_khz: int, cas: int = 2) -> Converted:
    config = signals.sdram_config(clock_khz, cas)
    return signals.with_sdram(signals.build(axi_sdram, out_dir, config=config), config, out_dir)


def bytes_of(signal) -> list[int | None]:
    """Bytes of a signal, low ones first; None where a bit is unknown, as in memory that nobody wrote."""
    text = str(signal.value)
    parts = [text[i : i + 8] for i in range(0, len(text), 8)][::-1]
    return [int(part, 2) if set(part) <= {"0", "1"} else None for part in parts]


class Memory:
    """Bytes that were written; the rest is whatever the SDRAM held, remembered when it is first read."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def write(self, address: int, data: bytes, strobe: int = -1) -> None:
        self.bytes |= {address + i: byte for i, byte in enumerate(data) if strobe >> i & 1}

    def check(self, address: int, data: list[int | None]) -> None:
        for i, byte in enumerate(data):
            if byte is None:
                assert address + i not in self.bytes, f"byte {address + i:#x} was written and is unknown"
                continue
            known = self.bytes.setdefault(address + i, byte)
            assert known == byte, f"byte {address + i:#x} is {byte:#x}, expected {known:#x}"


class TB:
    """All five channels and the host's port, driven between clock edges. step() is one clock."""

    def __init__(self, dut, name: str) -> None:
        self.dut = dut
        seed = getattr(cocotb, "RANDOM_SEED", os.environ.get("COCOTB_RANDOM_SEED", 1))
        self.rng = random.Random(f"{name} {seed}")
        self.memory = Memory()
        self.reads: deque = deque()  # to address: (address, beats)
        self.read_beats: deque = deque()  # expected: (address, last, response)
        self.writes: deque = deque()  # to address
        self.write_beats: deque = deque()  # to give: (data, strobe, last)
        self.answers: deque = deque()  # expected responses
        self.host: deque = deque()  # (write, address, data)
        self.host_open: tuple | None = None
        self.ready_chance = 1.0
        self.offer_chance = 1.0
        self.cycles = self.beats_read = 0

    async def begin(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        for name in ("host_valid", "m_axi_arvalid", "m_axi_awvalid", "m_axi_wvalid", "m_axi_rready", "m_axi_bready"):
            getattr(self.dut, name).value = 0
        for name in ("host_write", "host_address", "host_write_data", "m_axi_araddr", "m_axi_arlen", "m_axi_awaddr"):
            getattr(self.dut, name).value = 0
        for name in ("m_axi_awlen", "m_axi_wdata", "m_axi_wstrb", "m_axi_wlast"):
            getattr(self.dut, name).value = 0
        self.dut.rst.value = 1
        for _ in range(4):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def offer(self, name: str, present: bool) -> bool:
        """Keep a valid that was shown, show another one by chance."""
        signal = getattr(self.dut, name)
        shown = present and (int(signal.value) == 1 or self.rng.random() < self.offer_chance)
        signal.value = int(shown)
        return shown

    async def step(self) -> None:
        dut = self.dut
        await FallingEdge(dut.clk)
        if self.offer("m_axi_arvalid", bool(self.reads)):
            dut.m_axi_araddr.value, dut.m_axi_arlen.value = self.reads[0][0], self.reads[0][1] - 1
        if self.offer("m_axi_awvalid", bool(self.writes)):
            dut.m_axi_awaddr.value, dut.m_axi_awlen.value = self.writes[0][0], self.writes[0][1] - 1
        if self.offer("m_axi_wvalid", bool(self.write_beats)):
            data, strobe, last = self.write_beats[0]
            dut.m_axi_wdata.value, dut.m_axi_wstrb.value = int.from_bytes(data, "little"), strobe
            dut.m_axi_wlast.value = int(last)
        if self.host_open is None and self.host and self.rng.random() < self.offer_chance:
            self.host_open = self.host.popleft()
            dut.host_valid.value = 1
            dut.host_write.value, dut.host_address.value = int(self.host_open[0]), self.host_open[1] // 2
            dut.host_write_data.value = self.host_open[2]
        dut.m_axi_rready.value = int(self.rng.random() < self.ready_chance)
        dut.m_axi_bready.value = int(self.rng.random() < self.ready_chance)
        await ReadOnly()
        self.cycles += 1
        self.look()
        host_taken = int(dut.host_valid.value) and int(dut.host_ready.value)
        await Timer(6, "ns")  # past the rising edge
        if host_taken:
            dut.host_valid.value = 0

    def look(self) -> None:
        """What will happen at the coming edge."""
        dut = self.dut
        if int(dut.m_axi_arvalid.value) and int(dut.m_axi_arready.value):
            address, beats = self.reads.popleft()
            response = OKAY if address < MEMORY_BYTES else DECERR
            self.read_beats.extend((address + BEAT * i, i == beats - 1, response) for i in range(beats))
        if int(dut.m_axi_awvalid.value) and int(dut.m_axi_awready.value):
            self.writes.popleft()
        if int(dut.m_axi_wvalid.value) and int(dut.m_axi_wready.value):
            self.write_beats.popleft()
        if int(dut.m_axi_rvalid.value) and int(dut.m_axi_rready.value):
            address, last, response = self.read_beats.popleft()
            assert int(dut.m_axi_rlast.value) == last and int(dut.m_axi_rresp.value) == response
            self.beats_read += 1
            if response == OKAY:
                self.memory.check(address, bytes_of(dut.m_axi_rdata))
        if int(dut.m_axi_bvalid.value) and int(dut.m_axi_bready.value):
            assert int(dut.m_axi_bresp.value) == self.answers.popleft()
        if int(dut.host_done.value):
            write, address, data = self.host_open
            if not write:
                self.memory.check(address, bytes_of(dut.host_read_data))
            self.host_open = None

    def read(self, address: int, beats: int) -> None:
        self.reads.append((address, beats))

    def write(self, address: int, beats: int, strobe=None) -> None:
        """Random data; strobes from strobe(), all without."""
        self.writes.append((address, beats))
        outside = address >= MEMORY_BYTES
        for i in range(beats):
            data, enabled = self.rng.randbytes(BEAT), (1 << BEAT) - 1 if strobe is None else strobe()
            self.write_beats.append((data, enabled, i == beats - 1))
            if not outside:
                self.memory.write(address + BEAT * i, data, enabled)
        self.answers.append(DECERR if outside else OKAY)

    def host_write(self, address: int) -> None:
        data = self.rng.randbytes(2)
        self.memory.write(address, data)
        self.host.append((True, address, int.from_bytes(data, "little")))

    def host_read(self, address: int) -> None:
        self.host.append((False, address, 0))

    def busy(self) -> bool:
        queues = (self.reads, self.read_beats, self.writes, self.write_beats, self.answers, self.host)
        return any(queues) or self.host_open is not None

    async def drain(self, limit: int = 200_000) -> None:
        for _ in range(limit):
            if not self.busy():
                break
            await self.step()
        assert not self.busy(), "still waiting"
        for _ in range(4):
            await self.step()
        self.check_timing()

    def check_timing(self) -> None:
        breaches, code = int(self.dut.violations.value), int(self.dut.fault.value)
        assert breaches == 0, f"{breaches} breaches of the SDRAM's timing, the last one of kind {code}"

    def somewhere(self, beats: int, around: int | None = None) -> int:
        """Address of a burst that does not cross 4 KB."""
        base = self.rng.randrange(MODEL_BYTES // 4096) * 4096 if around is None else around
        return base + BEAT * self.rng.randrange(4096 // BEAT - beats + 1)


def sparse(rng: random.Random):
    return lambda: rng.choice((0, 1 << rng.randrange(BEAT), rng.getrandbits(BEAT), (1 << BEAT) - 1))


@cocotb.test()
@cocotb.parametrize(offer=[0.1, 1.0], ready=[0.3, 1.0])
async def random_traffic_reads_what_was_written(dut, offer: float, ready: float):
    tb = TB(dut, f"random {offer} {ready}")
    await tb.begin()
    tb.offer_chance, tb.ready_chance = offer, ready
    pages = [4096 * tb.rng.randrange(MODEL_BYTES // 4096) for _ in range(5)]
    for _ in range(12):
        page = tb.rng.choice(pages)
        for _ in range(tb.rng.randrange(1, 4)):
            # Writes are finished before what is read again: AXI orders no read after a write that is not answered.
            beats = tb.rng.choice((1, 2, 3, 7, 32))
            tb.write(tb.somewhere(beats, page), beats, tb.rng.choice((None, sparse(tb.rng))))
        await tb.drain()
        for _ in range(tb.rng.randrange(1, 4)):
            beats = tb.rng.choice((1, 2, 3, 17, 64))
            tb.read(tb.somewhere(beats, tb.rng.choice(pages)), beats)
        for _ in range(tb.rng.randrange(4)):
            tb.host_read(tb.rng.choice(pages) + 2 * tb.rng.randrange(2048))
        await tb.drain()
        for _ in range(tb.rng.randrange(4)):
            (tb.host_write if tb.rng.random() < 0.5 else tb.host_read)(page + 2 * tb.rng.randrange(2048))
        await tb.drain()


@cocotb.test()
async def reads_writes_and_host_at_once_do_not_disturb_each_other(dut):
    tb = TB(dut, "at once")
    await tb.begin()
    tb.offer_chance = tb.ready_chance = 0.8
    third = MODEL_BYTES // 3 // 4096 * 4096
    for _ in range(20):
        tb.read(tb.rng.randrange(third // 4096) * 4096, 64)
        beats = tb.rng.randrange(1, 33)
        tb.write(third + tb.rng.randrange(third // 4096) * 4096, beats, sparse(tb.rng))
        for _ in range(3):
            address = 2 * third + 2 * tb.rng.randrange(512)
            (tb.host_write if tb.rng.random() < 0.5 else tb.host_read)(address)
        await tb.drain()


@cocotb.test()
async def a_long_read_takes_a_word_a_cycle_but_for_rows_and_refreshes(dut):
    tb = TB(dut, "speed")
    await tb.begin()
    tb.write(0, 1)
    await tb.drain()
    before, bursts = tb.cycles, 16
    for i in range(bursts):
        tb.read(4096 * (i // 2) + 2048 * (i % 2), 64)
    await tb.drain()
    taken, words = tb.cycles - before, bursts * 64 * 16
    config = signals.sdram_config(settings()["clock_khz"], settings().get("cas", 2))
    row = config.precharge + config.activate_to_column
    refreshes = taken / config.refresh_interval
    lost = words / 512 * (row + 1) + refreshes * (config.refresh + config.precharge + row + 6) + 30
    dut._log.info(f"{words} words in {taken} cycles: {words / taken:.3f} a cycle at {config.clock_khz} kHz")
    assert taken < words + lost


@cocotb.test()
async def an_idle_memory_is_refreshed_and_keeps_its_words(dut):
    tb = TB(dut, "idle")
    await tb.begin()
    tb.write(0x1000, 8)
    await tb.drain()
    for _ in range(3000):
        await tb.step()
    tb.read(0x1000, 8)
    await tb.drain()


@cocotb.test()
async def an_address_outside_the_memory_is_an_error_and_not_a_write(dut):
    tb = TB(dut, "outside")
    await tb.begin()
    tb.write(0x2000, 2)
    await tb.drain()
    tb.write(MEMORY_BYTES + 0x2000, 2)
    tb.read(MEMORY_BYTES + 0x2000, 3)
    tb.write((1 << 39) + 0x2000, 1)
    tb.read(0x2000, 2)
    await tb.drain()
