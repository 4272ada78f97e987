"""Clock gate: a plain wire in Icarus; in Verilator, which defines the macro, still after `tail` cycles without wake."""

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from myhdl import Signal

from rtl.common.clock_gate import clock_gate
from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from verif.runner import settings


def build(out_dir: Path, chip: ChipConfig, tail: int) -> Converted:
    names = ("clk", "rst", "wake", "gated")
    return convert(clock_gate, **{name: Signal(False) for name in names}, tail=tail, out_dir=out_dir)


@cocotb.test()
async def rests_a_tail_after_the_last_wake(dut):
    """Every gated pulse is a whole one, and lasts as clk does."""
    tail, gates = settings()["tail"], cocotb.SIM_NAME.startswith("Verilator")
    dut.rst.value, dut.wake.value = 1, 0
    Clock(dut.clk, 10, "ns").start()
    for _ in range(2):
        await RisingEdge(dut.clk)
    quiet = 0  # cycles since wake or rst
    dut.rst.value = 0
    for _ in range(2000):
        wake = random.random() < 0.1
        await Timer(random.randint(1, 3), "ns")
        dut.wake.value = wake
        quiet = 0 if wake else quiet + 1
        await RisingEdge(dut.clk)
        for _ in range(3):
            await Timer(1, "ns")
            assert int(dut.gated.value) == (quiet <= tail or not gates)
        dut.wake.value = random.getrandbits(1)  # not settled: it does not count before clk is low
        await Timer(1, "ns")
        assert int(dut.gated.value) == (quiet <= tail or not gates)
        dut.wake.value = wake
        await Timer(2, "ns")
        assert int(dut.gated.value) == 0
