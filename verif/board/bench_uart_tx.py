"""UART transmitter against its line of bits."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from rtl.board.uart_tx import uart_tx
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif.board import signals
from verif.runner import settings

PERIOD = 100  # units of simulated time in a clock


def build(out_dir: Path, chip: ChipConfig, clocks_per_bit: int) -> Converted:
    return signals.build(uart_tx, out_dir, clocks_per_bit=clocks_per_bit)


async def begin(dut) -> random.Random:
    cocotb.start_soon(Clock(dut.clk, PERIOD, "ns").start())
    dut.rst.value = 1
    dut.valid.value = 0
    dut.data.value = 0
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    return random.Random(f"{settings()} {getattr(cocotb, 'RANDOM_SEED', os.environ.get('COCOTB_RANDOM_SEED', 1))}")


@cocotb.test()
async def bytes_leave_bit_by_bit_without_gaps(dut):
    rng = await begin(dut)
    clocks = settings()["clocks_per_bit"]
    line: list[int] = []
    sent, waiting = [], True
    for _ in range(40 * 10 * clocks):
        dut.valid.value = int(waiting)
        if waiting and int(dut.ready.value):
            sent.append(rng.randrange(256))
            dut.data.value = sent[-1]
        await FallingEdge(dut.clk)
        line.append(int(dut.txd.value))
    # A byte may be taken in each clock in which the line is free: its start bit follows at once.
    first = line.index(0)
    frame = 10 * clocks + 1
    whole = (len(line) - first) // frame
    for index in range(whole):
        start = first + index * frame
        bits = [set(line[start + i * clocks : start + (i + 1) * clocks]) for i in range(10)]
        assert all(len(bit) == 1 for bit in bits), f"byte {index}: a bit changes"
        values = [bit.pop() for bit in bits]
        assert values[0] == 0 and values[9] == 1
        assert sum(bit << i for i, bit in enumerate(values[1:9])) == sent[index]
    assert whole > 30


@cocotb.test()
async def the_line_is_high_between_bytes(dut):
    await begin(dut)
    for _ in range(100):
        await FallingEdge(dut.clk)
        assert int(dut.txd.value) == 1 and int(dut.ready.value) == 1
