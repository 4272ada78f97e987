"""mx_quantize_element against the NumPy model: at full rate, and with idle clocks between operations."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np

from rtl.arith import MX_QUANTIZE_ELEMENT_LATENCY
from rtl.arith.mx_quantize_element import mx_quantize_element
from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from verif.arith import operations
from verif.arith.pipeline_bench import PipelineBench
from verif.arith.ports import bit, word


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(mx_quantize_element, bit(), bit(), bit(), word(32), word(8), bit(), word(8), out_dir=out_dir)


@cocotb.test()
async def every_clock_takes_an_operation(dut) -> None:
    bench = PipelineBench(dut, MX_QUANTIZE_ELEMENT_LATENCY, "element")
    await bench.reset()
    random = np.random.default_rng(cocotb.RANDOM_SEED)
    await bench.check(*operations.mx_quantize_element(random, 100_000, reference=True))


@cocotb.test()
async def idle_clocks_neither_lose_nor_add_results(dut) -> None:
    bench = PipelineBench(dut, MX_QUANTIZE_ELEMENT_LATENCY, "element")
    await bench.reset()
    random = np.random.default_rng(cocotb.RANDOM_SEED + 1)
    await bench.check(*operations.mx_quantize_element(random, 5_000), idle=0.4)
