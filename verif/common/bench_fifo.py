"""FIFO: order, capacity, count and throughput, with idle cycles at one end and back-pressure at the other."""

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from myhdl import Signal, intbv

from rtl.common.config import ChipConfig
from rtl.common.fifo import fifo
from rtl.common.ram import address_bits
from rtl.common.stream import Stream
from rtl.convert import Converted, convert
from verif.runner import settings

WIDTH = 8


def build(out_dir: Path, chip: ChipConfig, depth: int, distributed: bool = False) -> Converted:
    count = Signal(intbv(0)[address_bits(depth + 1) :])
    return convert(
        fifo,
        Signal(False),
        Signal(False),
        Stream(WIDTH),
        Stream(WIDTH),
        count,
        depth=depth,
        width=WIDTH,
        distributed=distributed,
        out_dir=out_dir,
    )


class TB:
    """Drives both streams between clock edges and checks every cycle against a Python list."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.depth = settings()["depth"]
        self.words: list[int] = []
        self.held: int | None = None
        self.sent = 0

    async def start(self) -> None:
        Clock(self.dut.clk, 10, "ns").start()
        self.dut.source_valid.value = 0
        self.dut.source_payload.value = 0
        self.dut.sink_ready.value = 0
        await self.reset()

    async def reset(self) -> None:
        self.dut.rst.value = 1
        for _ in range(2):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.words.clear()
        self.held = None

    async def cycle(self, offer: bool, take: bool) -> bool:
        """One cycle; whether a word came out. A word that was offered stays until it is taken."""
        if self.held is None and offer:
            self.held = random.getrandbits(WIDTH)
        self.dut.source_valid.value = self.held is not None
        self.dut.source_payload.value = random.getrandbits(WIDTH) if self.held is None else self.held
        self.dut.sink_ready.value = take
        # Inputs settle before the rising edge, which is in the middle between two falling ones.
        await cocotb.triggers.Timer(1, "ns")
        assert int(self.dut.count.value) == len(self.words)
        assert int(self.dut.source_ready.value) == (len(self.words) < self.depth)
        came = bool(self.dut.sink_valid.value) and take
        if self.dut.sink_valid.value:
            assert self.words, "a word came out of an empty FIFO"
            assert int(self.dut.sink_payload.value) == self.words[0]
        if came:
            self.words.pop(0)
        if self.held is not None and self.dut.source_ready.value:
            self.words.append(self.held)
            self.held = None
            self.sent += 1
        await FallingEdge(self.dut.clk)
        return came


@cocotb.test()
@cocotb.parametrize(offer=[0.2, 0.5, 1.0], take=[0.2, 0.5, 1.0])
async def words_come_out_in_order(dut, offer: float, take: float):
    bench = TB(dut)
    await bench.start()
    for _ in range(400):
        await bench.cycle(random.random() < offer, random.random() < take)
    assert bench.sent > 50


@cocotb.test()
async def holds_exactly_depth_words(dut):
    bench = TB(dut)
    await bench.start()
    for _ in range(bench.depth + 4):
        await bench.cycle(True, False)
    assert len(bench.words) == bench.depth
    bench.held = None
    came = [await bench.cycle(False, True) for _ in range(bench.depth + 3)]
    assert sum(came) == bench.depth and not bench.words


@cocotb.test()
async def moves_a_word_every_cycle(dut):
    bench = TB(dut)
    await bench.start()
    came = [await bench.cycle(True, True) for _ in range(50)]
    latency = 1 if settings().get("distributed") else 2
    assert came == [False] * latency + [True] * (50 - latency)


@cocotb.test()
async def reset_empties_it(dut):
    bench = TB(dut)
    await bench.start()
    for _ in range(3):
        await bench.cycle(True, False)
    dut.source_valid.value = 0
    await bench.reset()
    for _ in range(5):
        assert not await bench.cycle(False, True)
