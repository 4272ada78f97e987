"""What the whole chip needs around it in a cocotb bench: clock and reset, an AXI4 memory, and register accesses."""

from __future__ import annotations

from collections import deque

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

LATENCY = 8  # cycles from a read address to its first beat
BUS_TIMEOUT = 10_000
OKAY, DECODE_ERROR = 0, 3


class Memory:
    """An AXI4 memory that answers in order, a beat a cycle, after a fixed latency."""

    def __init__(self, dut, buffer: np.ndarray):
        self.dut, self.buffer = dut, buffer
        self.beat = len(dut.m_axi_rdata) // 8
        self.reads: deque[list[int]] = deque()
        self.writes: deque[list[int]] = deque()
        self.answers: deque[int] = deque()
        self.cycle = 0
        for name in ("rvalid", "bvalid", "rid", "bid", "rlast", "rresp", "bresp", "rdata"):
            getattr(dut, f"m_axi_{name}").value = 0
        dut.m_axi_wready.value = 0
        for name in ("arready", "awready"):
            getattr(dut, f"m_axi_{name}").value = 1

    async def serve(self) -> None:
        """Forever: what the chip shows before an edge is taken at it, what the memory answers is driven after it."""
        dut = self.dut
        read_shown = answer_shown = write_ready = False
        while True:
            await ReadOnly()
            if int(dut.rst.value):
                await RisingEdge(dut.clk)
                continue
            if read_shown and int(dut.m_axi_rready.value):
                read_shown = False
            if answer_shown and int(dut.m_axi_bready.value):
                answer_shown = False
            if int(dut.m_axi_arvalid.value):
                address, beats = int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value) + 1
                self.reads.append([address, beats, self.cycle + LATENCY])
            if write_ready and int(dut.m_axi_wvalid.value):
                self.write_beat()
            if int(dut.m_axi_awvalid.value):
                self.writes.append([int(dut.m_axi_awaddr.value), OKAY])
            await RisingEdge(dut.clk)
            self.cycle += 1
            if not read_shown:
                read_shown = bool(self.reads) and self.reads[0][2] <= self.cycle
                dut.m_axi_rvalid.value = read_shown
                if read_shown:
                    self.show_read()
            if not answer_shown:
                answer_shown = bool(self.answers)
                dut.m_axi_bvalid.value = answer_shown
                if answer_shown:
                    dut.m_axi_bresp.value = self.answers.popleft()
            # A data beat is taken only when its address is known by then.
            write_ready = bool(self.writes)
            dut.m_axi_wready.value = write_ready

    def show_read(self) -> None:
        burst = self.reads[0]
        inside = burst[0] + self.beat <= self.buffer.size
        data = self.buffer[burst[0] : burst[0] + self.beat].tobytes() if inside else bytes(self.beat)
        self.dut.m_axi_rdata.value = int.from_bytes(data, "little")
        self.dut.m_axi_rresp.value = OKAY if inside else DECODE_ERROR
        self.dut.m_axi_rlast.value = int(burst[1] == 1)
        burst[0] += self.beat
        burst[1] -= 1
        if burst[1] == 0:
            self.reads.popleft()

    def write_beat(self) -> None:
        burst = self.writes[0]
        if burst[0] + self.beat <= self.buffer.size:
            # As text, since bytes without a strobe may be unknown; one with a strobe must not.
            data, strobe = str(self.dut.m_axi_wdata.value), int(self.dut.m_axi_wstrb.value)
            for i in range(self.beat):
                if strobe >> i & 1:
                    end = len(data) - 8 * i
                    self.buffer[burst[0] + i] = int(data[end - 8 : end], 2)
        else:
            burst[1] = DECODE_ERROR
        burst[0] += self.beat
        if int(self.dut.m_axi_wlast.value):
            self.answers.append(burst[1])
            self.writes.popleft()


async def write_register(dut, offset: int, value: int) -> int:
    """An AXI4-Lite write; the response, or -1."""
    dut.s_axi_awaddr.value = offset
    dut.s_axi_wdata.value = value
    dut.s_axi_wstrb.value = 15
    dut.s_axi_awvalid.value = dut.s_axi_wvalid.value = dut.s_axi_bready.value = 1
    for _ in range(BUS_TIMEOUT):
        await ReadOnly()
        address_taken, data_taken = int(dut.s_axi_awready.value), int(dut.s_axi_wready.value)
        answered = int(dut.s_axi_bvalid.value)
        response = int(dut.s_axi_bresp.value) if answered else -1
        await RisingEdge(dut.clk)
        if address_taken:
            dut.s_axi_awvalid.value = 0
        if data_taken:
            dut.s_axi_wvalid.value = 0
        if answered:
            dut.s_axi_bready.value = 0
            return response
    return -1


async def read_register(dut, offset: int) -> tuple[int, int]:
    """An AXI4-Lite read: (response or -1, value)."""
    dut.s_axi_araddr.value = offset
    dut.s_axi_arvalid.value = dut.s_axi_rready.value = 1
    for _ in range(BUS_TIMEOUT):
        await ReadOnly()
        taken, answered = int(dut.s_axi_arready.value), int(dut.s_axi_rvalid.value)
        response, value = (int(dut.s_axi_rresp.value), int(dut.s_axi_rdata.value)) if answered else (-1, 0)
        await RisingEdge(dut.clk)
        if taken:
            dut.s_axi_arvalid.value = 0
        if answered:
            dut.s_axi_rready.value = 0
            return response, value
    return -1, 0


async def start(dut, buffer: np.ndarray) -> None:
    """Clock, memory and reset; the registers answer from then on."""
    memory = Memory(dut, buffer)
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
        getattr(dut, f"s_axi_{name}").value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    cocotb.start_soon(memory.serve())
    for _ in range(8):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def run_until_interrupt(dut, limit: int) -> int:
    """Clock until irq or the limit; the cycles that passed."""
    cycles = 0
    while cycles < limit and not int(dut.irq.value):
        await RisingEdge(dut.clk)
        cycles += 1
    return cycles
