"""Stream register: order, throughput, latency, reset; a word that was offered stays."""

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from myhdl import Signal

from rtl.common.config import ChipConfig
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.convert import Converted, convert

WIDTH = 8


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(
        stream_register, Signal(False), Signal(False), Stream(WIDTH), Stream(WIDTH), width=WIDTH, out_dir=out_dir
    )


class TB:
    """Drives both streams between clock edges; `words` are what the registers must hold."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.words: list[int] = []
        self.held: int | None = None

    async def start(self) -> None:
        Clock(self.dut.clk, 10, "ns").start()
        self.dut.source_valid.value = 0
        self.dut.source_payload.value = 0
        self.dut.sink_ready.value = 0
        await self.reset()

    async def reset(self) -> None:
        self.dut.rst.value = 1
        await FallingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.words, self.held = [], None

    async def cycle(self, offer: bool, take: bool) -> bool:
        """One cycle; whether a word came out."""
        if self.held is None and offer:
            self.held = random.getrandbits(WIDTH)
        self.dut.source_valid.value = self.held is not None
        self.dut.source_payload.value = random.getrandbits(WIDTH) if self.held is None else self.held
        self.dut.sink_ready.value = take
        await Timer(1, "ns")
        assert bool(self.dut.sink_valid.value) == bool(self.words)
        if self.words:
            assert int(self.dut.sink_payload.value) == self.words[0]
        room = len(self.words) < 2
        assert bool(self.dut.source_ready.value) == room
        came = bool(self.words) and take
        if came:
            self.words.pop(0)
        if room and self.held is not None:
            self.words.append(self.held)
            self.held = None
        await FallingEdge(self.dut.clk)
        return came


@cocotb.test()
@cocotb.parametrize(offer=[0.2, 0.5, 1.0], take=[0.2, 0.5, 1.0])
async def words_come_out_in_order(dut, offer: float, take: float):
    bench = TB(dut)
    await bench.start()
    came = [await bench.cycle(random.random() < offer, random.random() < take) for _ in range(400)]
    assert sum(came) > 50


@cocotb.test()
async def moves_a_word_every_cycle_a_cycle_later(dut):
    bench = TB(dut)
    await bench.start()
    assert [await bench.cycle(True, True) for _ in range(30)] == [False] + [True] * 29


@cocotb.test()
async def holds_two_words(dut):
    bench = TB(dut)
    await bench.start()
    assert [await bench.cycle(True, False) for _ in range(4)] == [False] * 4
    assert len(bench.words) == 2
    assert [await bench.cycle(False, True) for _ in range(4)] == [True, True, True, False]


@cocotb.test()
async def reset_empties_it(dut):
    bench = TB(dut)
    await bench.start()
    await bench.cycle(True, False)
    await bench.cycle(True, False)
    dut.source_valid.value = 0
    await bench.reset()
    assert not await bench.cycle(False, True)
