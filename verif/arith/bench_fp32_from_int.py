"""fp32_from_int against the NumPy model: at full rate, and with idle clocks between operations."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np

from rtl.arith import FP32_FROM_INT_LATENCY
from rtl.arith.fp32_from_int import fp32_from_int
from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from verif.arith import operations
from verif.arith.pipeline_bench import PipelineBench
from verif.arith.ports import bit, signed, word


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(fp32_from_int, bit(), bit(), bit(), signed(21), signed(11), bit(), bit(), word(32), out_dir=out_dir)


@cocotb.test()
async def every_clock_takes_an_operation(dut) -> None:
    bench = PipelineBench(dut, FP32_FROM_INT_LATENCY, "y")
    await bench.reset()
    random = np.random.default_rng(cocotb.RANDOM_SEED)
    await bench.check(*operations.fp32_from_int(random, 100_000, reference=True))


@cocotb.test()
async def idle_clocks_neither_lose_nor_add_results(dut) -> None:
    bench = PipelineBench(dut, FP32_FROM_INT_LATENCY, "y")
    await bench.reset()
    random = np.random.default_rng(cocotb.RANDOM_SEED + 1)
    await bench.check(*operations.fp32_from_int(random, 5_000), idle=0.4)
