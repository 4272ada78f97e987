"""The bench of every pipelined block: drives operations, checks each result and its clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from numpy.typing import NDArray


class PipelineBench:
    """Inputs are driven and outputs read at the falling edge; `latency` rising edges lie between them."""

    def __init__(self, dut, latency: int, output: str) -> None:
        self.dut = dut
        self.latency = latency
        self.output = getattr(dut, output)

    async def reset(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        self.dut.rst.value = 1
        self.dut.valid_in.value = 0
        for _ in range(self.latency + 2):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def check(self, operands: Mapping[str, NDArray], expected: NDArray, idle: float = 0.0) -> None:
        """Every operation, with a share of `idle` clocks between; fails on the first few wrong results."""
        random = Random(cocotb.RANDOM_SEED)
        ports = [getattr(self.dut, name) for name in operands]
        columns = [column.tolist() for column in operands.values()]
        wanted = expected.tolist()
        pending: deque[int | None] = deque([None] * self.latency)
        mask = (1 << len(self.output)) - 1
        wrong = []
        index = 0
        while index < len(wanted) or any(entry is not None for entry in pending):
            if index < len(wanted) and random.random() >= idle:
                self.dut.valid_in.value = 1
                for port, column in zip(ports, columns, strict=True):
                    port.value = column[index]
                pending.append(index)
                index += 1
            else:
                self.dut.valid_in.value = 0
                pending.append(None)
            await FallingEdge(self.dut.clk)
            pending.popleft()
            due = pending[0]
            assert int(self.dut.valid_out.value) == (due is not None), f"valid_out at operation {due}"
            if due is not None:
                got = int(self.output.value)
                if got != wanted[due] & mask:
                    given = ", ".join(
                        f"{name}={column[due]:#x}" for name, column in zip(operands, columns, strict=True)
                    )
                    wrong.append(f"{given}: got {got:#x}, expected {wanted[due] & mask:#x}")
                    assert len(wrong) < 10, "\n".join(wrong)
        assert not wrong, "\n".join(wrong)
        self.dut._log.info("%d operations agree (idle share %.2f)", len(wanted), idle)
