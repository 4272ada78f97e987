"""The SDRAM model itself: it keeps words, and it names every rule that a controller breaks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from rtl.board.sdram_timing import ANY, SdramConfig
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif.board.signals import MODEL, ROWS, model_parameters

CLOCK_KHZ = 100_000  # so that every time is several cycles
NOP, ACTIVE, READ, WRITE, PRECHARGE, REFRESH, MODE, STOP = 7, 3, 5, 4, 2, 1, 0, 6
ALL = 1 << 10
NONE, TOO_EARLY, NOT_INITIALISED, ALREADY_OPEN, T_RC, T_RRD, T_RP = range(7)
T_RFC, T_MRD, NOT_OPEN, T_RCD, T_RAS, T_WR = range(7, 13)
REFRESH_OPEN, REFRESH_LATE, BAD_MODE, AUTO_PRECHARGE, CONTENTION, MASKED_READ, NO_SUCH_ROW, UNKNOWN = range(13, 21)
# A part whose every limit can be broken alone: tRC is longer than tRAS + tRP.
PART = replace(ANY, name="strict", t_rcd=40, t_rp=20, t_ras=50, t_rc=90, t_rfc=70, t_rrd=40, t_wr=20)


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    config = SdramConfig("strict", CLOCK_KHZ, part=PART, cas=3, power_up_ns=20_000)
    path = Path(out_dir) / "sdram_model_strict.v"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""\
// The SDRAM model as a top, with the limits of bench_sdram_model.py.
`timescale 1ns/1ps

module sdram_model_strict (
    input wire clk,
    input wire restart,
    input wire [2:0] command,
    input wire [1:0] bank,
    input wire [12:0] address,
    input wire [1:0] mask,
    input wire [15:0] data_in,
    output wire [15:0] data_out,
    output wire data_valid,
    output wire [15:0] violations,
    output wire [4:0] fault
);

sdram_model #({model_parameters(config, CLOCK_KHZ)}) model (
    .clk(clk),
    .restart(restart),
    .command(command),
    .bank(bank),
    .address(address),
    .mask(mask),
    .data_in(data_in),
    .data_out(data_out),
    .data_valid(data_valid),
    .violations(violations),
    .fault(fault)
);

endmodule
""")
    return Converted("sdram_model_strict", [MODEL, path], [])


def cycles(time: float) -> int:
    return math.ceil(time * CLOCK_KHZ / 1e6)


class TB:
    def __init__(self, dut) -> None:
        self.dut = dut

    async def start(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        self.dut.restart.value = 1
        self.show(NOP, 0, 0)
        self.dut.mask.value, self.dut.data_in.value = 0, 0
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.restart.value = 0

    def show(self, command: int, bank: int, address: int) -> None:
        self.dut.command.value, self.dut.bank.value, self.dut.address.value = command, bank, address

    async def give(self, command: int, bank: int = 0, address: int = 0, then: int = 0) -> None:
        """A command, and `then` cycles in which there is none."""
        self.show(command, bank, address)
        await FallingEdge(self.dut.clk)
        self.show(NOP, 0, 0)
        for _ in range(then):
            await FallingEdge(self.dut.clk)

    async def initialise(self, refreshes: int = 8, mode: int = 0x30) -> None:
        await self.start()
        await self.give(NOP, then=cycles(20_000) + 5)
        await self.give(PRECHARGE, 0, ALL, then=cycles(PART.t_rp) - 1)
        for _ in range(refreshes):
            await self.give(REFRESH, then=cycles(PART.t_rfc) - 1)
        await self.give(MODE, 0, mode, then=PART.t_mrd - 1)

    async def open_row(self, bank: int, row: int) -> None:
        await self.give(ACTIVE, bank, row, then=cycles(PART.t_rrd) - 1)

    async def expect(self, fault: int) -> None:
        """The one rule that was broken since the start."""
        for _ in range(2):
            await FallingEdge(self.dut.clk)
        assert int(self.dut.fault.value) == fault
        assert (int(self.dut.violations.value) != 0) == (fault != NONE)


@cocotb.test()
async def what_is_allowed_is_no_breach_and_words_are_kept(dut):
    tb = TB(dut)
    await tb.initialise()
    await tb.open_row(1, 5)
    dut.data_in.value = 0xABCD
    await tb.give(WRITE, 1, 17)
    dut.data_in.value, dut.mask.value = 0x1234, 0b10
    await tb.give(WRITE, 1, 17)
    dut.mask.value = 0
    await tb.give(READ, 1, 17)
    seen = []
    for _ in range(4):
        seen.append((int(dut.data_valid.value), int(dut.data_out.value)))
        await FallingEdge(dut.clk)
    # Seen after its edge and those that follow: the word is there in the cycle that ends CAS latency 3 later.
    assert [valid for valid, _ in seen] == [0, 0, 1, 0] and seen[2][1] == 0xAB34
    await tb.give(NOP, then=10)
    await tb.give(PRECHARGE, 1, 0, then=cycles(PART.t_rp) - 1)
    await tb.open_row(1, 6)
    await tb.expect(NONE)


BREACHES = {
    "a command before the power-up time": (TOO_EARLY, None),
    "too few refreshes before the mode": (NOT_INITIALISED, "few"),
    "a mode that is not for this controller": (BAD_MODE, "mode"),
    "tMRD": (T_MRD, [(NOP, 0, 0, 3), (MODE, 0, 0x30, 0), (ACTIVE, 0, 0, 0)]),
    "a row opened twice": (ALREADY_OPEN, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (ACTIVE, 0, 2, 0)]),
    "tRRD": (T_RRD, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 2), (ACTIVE, 1, 2, 0)]),
    "tRCD": (T_RCD, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 1), (READ, 0, 2, 0)]),
    "tRAS": (T_RAS, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 3), (PRECHARGE, 0, 0, 0)]),
    "tRAS, all banks": (T_RAS, [(NOP, 0, 0, 3), (ACTIVE, 2, 1, 3), (PRECHARGE, 0, ALL, 0)]),
    "tRP": (T_RP, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (PRECHARGE, 0, 0, 0), (ACTIVE, 0, 1, 0)]),
    "tRC": (T_RC, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 4), (PRECHARGE, 0, 0, 1), (ACTIVE, 0, 1, 0)]),
    "tWR": (T_WR, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 6), (WRITE, 0, 1, 0), (PRECHARGE, 0, 0, 0)]),
    "a column of a closed row": (NOT_OPEN, [(NOP, 0, 0, 3), (READ, 3, 0, 0)]),
    "a refresh with an open row": (REFRESH_OPEN, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (REFRESH, 0, 0, 0)]),
    "tRP before a refresh": (
        T_RP,
        [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (PRECHARGE, 0, 0, 0), (REFRESH, 0, 0, 0)],
    ),
    "tRFC": (T_RFC, [(NOP, 0, 0, 3), (REFRESH, 0, 0, 4), (ACTIVE, 0, 1, 0)]),
    "auto precharge": (AUTO_PRECHARGE, [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (READ, 0, ALL, 0)]),
    "a write into the data of a read": (
        CONTENTION,
        [(NOP, 0, 0, 3), (ACTIVE, 0, 1, 9), (READ, 0, 0, 2), (WRITE, 0, 0, 0)],
    ),
    "a row that the model lacks": (NO_SUCH_ROW, [(NOP, 0, 0, 3), (ACTIVE, 0, ROWS, 0)]),
    "an unknown command": (UNKNOWN, [(NOP, 0, 0, 3), (STOP, 0, 0, 0)]),
    "two intervals without a refresh": (REFRESH_LATE, [(NOP, 0, 0, 2 * cycles(7812.5) + 5)]),
}


@cocotb.test()
@cocotb.parametrize(what=list(BREACHES))
async def each_breach_is_named(dut, what: str):
    fault, commands = BREACHES[what]
    tb = TB(dut)
    if commands is None:
        await tb.start()
        await tb.give(NOP, then=100)
        await tb.give(PRECHARGE, 0, ALL)
    elif commands == "few":
        await tb.initialise(refreshes=7)
    elif commands == "mode":
        await tb.initialise(mode=0x33)
    else:
        await tb.initialise()
        for command in commands:
            await tb.give(*command)
    await tb.expect(fault)


@cocotb.test()
async def a_masked_read_is_a_breach(dut):
    tb = TB(dut)
    await tb.initialise()
    await tb.give(NOP, then=3)
    await tb.open_row(0, 0)
    dut.mask.value = 1
    await tb.give(READ, 0, 0)
    dut.mask.value = 0
    await tb.expect(MASKED_READ)
