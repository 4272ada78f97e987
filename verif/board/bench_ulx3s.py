"""The whole top at its pins: a host's bytes on the UART reach the chip's registers and the SDRAM."""

from __future__ import annotations

from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, First, Timer

from mozg.device import frames
from rtl.board.board_config import ULX3S_SIMULATION
from rtl.board.protocol import Operation
from rtl.common.config import ChipConfig
from rtl.common.registers import ID_VALUE
from rtl.convert import Converted
from verif.board.signals import ROWS, board_with_sdram

PERIOD = 40  # ns
BIT = PERIOD * ULX3S_SIMULATION.clocks_per_bit


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return board_with_sdram(chip, ULX3S_SIMULATION, out_dir, ROWS)


async def send(dut, data: bytes) -> None:
    for byte in data:
        for bit in [0, *(byte >> i & 1 for i in range(8)), 1]:
            dut.to_board.value = bit
            await Timer(BIT, "ns")


async def receive(dut, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        await First(FallingEdge(dut.from_board), Timer(5000 * PERIOD, "ns"))
        assert not int(dut.from_board.value), f"only {bytes(found)!r} came back"
        await Timer(BIT // 2, "ns")
        byte = 0
        for bit in range(8):
            await Timer(BIT, "ns")
            byte |= int(dut.from_board.value) << bit
        await Timer(BIT, "ns")
        found.append(byte)
    return bytes(found)


async def ask(dut, request: bytes, count: int = 0) -> bytes:
    answer = cocotb.start_soon(receive(dut, frames.REPLY_OVERHEAD + count))
    await send(dut, request)
    return frames.payload_of(await answer, count)


@cocotb.test()
async def registers_and_memory_answer_over_the_uart(dut):
    cocotb.start_soon(Clock(dut.clk, PERIOD, "ns").start())
    dut.to_board.value, dut.button_reset.value = 1, 1
    await ClockCycles(dut.clk, 8)
    dut.button_reset.value = 0
    await ClockCycles(dut.clk, 40)
    found = await ask(dut, frames.request(Operation.READ_REGISTER, 0), 4)
    assert int.from_bytes(found, "little") == ID_VALUE
    data = bytes.fromhex("0123456789abcdef")
    await ask(dut, frames.request(Operation.WRITE_MEMORY, 0x13FE, len(data) // 2, data))
    found = await ask(dut, frames.request(Operation.READ_MEMORY, 0x13FE, len(data) // 2), len(data))
    assert found == data
    assert int(dut.violations.value) == 0
    assert int(dut.led.value) & 0b1111 == 0b0011
