"""Bench of fp32_from_int against the NumPy model: at full rate, and with idle clocks between."""

from __future__ import annotations

import cocotb
import numpy as np

from rtl.arith import FP32_FROM_INT_LATENCY
from verif.arith import operations
from verif.arith.pipeline_bench import PipelineBench

SEED = 7


@cocotb.test()
async def every_clock_takes_an_operation(dut) -> None:
    bench = PipelineBench(dut, FP32_FROM_INT_LATENCY, "y")
    await bench.reset()
    await bench.check(
        *operations.fp32_from_int(np.random.default_rng(SEED), 100_000, reference=True), seed=SEED
    )


@cocotb.test()
async def idle_clocks_neither_lose_nor_add_results(dut) -> None:
    bench = PipelineBench(dut, FP32_FROM_INT_LATENCY, "y")
    await bench.reset()
    await bench.check(*operations.fp32_from_int(np.random.default_rng(SEED + 1), 5_000), idle=0.4, seed=SEED)
