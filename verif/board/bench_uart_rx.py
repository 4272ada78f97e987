"""UART receiver: clocks that differ by 2 %, short pulses, bytes without stop bit."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from rtl.board.uart_rx import uart_rx
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif.board import signals
from verif.runner import settings

PERIOD = 100  # units of simulated time in a clock


def build(out_dir: Path, chip: ChipConfig, clocks_per_bit: int) -> Converted:
    return signals.build(uart_rx, out_dir, clocks_per_bit=clocks_per_bit)


async def begin(dut) -> random.Random:
    cocotb.start_soon(Clock(dut.clk, PERIOD, "ns").start())
    dut.rst.value = 1
    dut.rxd.value = 1
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    return random.Random(f"{settings()} {getattr(cocotb, 'RANDOM_SEED', os.environ.get('COCOTB_RANDOM_SEED', 1))}")


async def collect(dut, received: list[int]) -> None:
    """Every byte that the receiver gives."""
    while True:
        await FallingEdge(dut.clk)
        if int(dut.valid.value):
            received.append(int(dut.data.value))


async def send(dut, byte: int, bit_time: int, stop: int = 1) -> None:
    """One byte on the receiver's line; times need not fit the clock."""
    for bit in [0, *(byte >> i & 1 for i in range(8)), stop]:
        dut.rxd.value = bit
        await Timer(bit_time, "ns")


@cocotb.test()
@cocotb.parametrize(speed=[0.98, 1.0, 1.02])
async def bytes_arrive_from_a_clock_that_differs(dut, speed: float):
    rng = await begin(dut)
    received: list[int] = []
    cocotb.start_soon(collect(dut, received))
    sent = []
    for _ in range(60):
        sent.append(rng.randrange(256))
        await send(dut, sent[-1], round(settings()["clocks_per_bit"] * PERIOD * speed))
        if rng.random() < 0.3:
            await Timer(rng.randrange(1, 4000), "ns")
    await Timer(20 * PERIOD, "ns")
    assert received == sent


@cocotb.test()
async def a_short_pulse_and_a_byte_without_stop_bit_are_dropped(dut):
    rng = await begin(dut)
    received: list[int] = []
    cocotb.start_soon(collect(dut, received))
    bit_time = settings()["clocks_per_bit"] * PERIOD
    sent = []
    for _ in range(20):
        dut.rxd.value = 0
        await Timer(PERIOD * max(1, settings()["clocks_per_bit"] // 4), "ns")
        dut.rxd.value = 1
        await Timer(2 * bit_time, "ns")
        await send(dut, rng.randrange(256), bit_time, stop=0)
        dut.rxd.value = 1
        await Timer(2 * bit_time, "ns")
        sent.append(rng.randrange(256))
        await send(dut, sent[-1], bit_time)
    await Timer(20 * PERIOD, "ns")
    assert received == sent


@cocotb.test()
async def a_line_held_low_gives_nothing(dut):
    await begin(dut)
    received: list[int] = []
    cocotb.start_soon(collect(dut, received))
    bit_time = settings()["clocks_per_bit"] * PERIOD
    dut.rxd.value = 0
    await Timer(40 * bit_time, "ns")
    dut.rxd.value = 1
    await Timer(2 * bit_time, "ns")
    await send(dut, 0x5A, bit_time)
    await Timer(20 * PERIOD, "ns")
    assert received == [0x5A]
