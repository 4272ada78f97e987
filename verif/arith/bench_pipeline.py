"""A block of pipelines.py against the NumPy model: at full rate, and with idle clocks between operations."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np

from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from verif.arith.pipeline_bench import PipelineBench
from verif.arith.pipelines import PIPELINES, Pipeline
from verif.runner import settings


def build(out_dir: Path, chip: ChipConfig, block: str) -> Converted:
    pipeline = PIPELINES[block]
    return convert(pipeline.block, *pipeline.signals(), **pipeline.parameters, out_dir=out_dir)


def _pipeline() -> Pipeline:
    return PIPELINES[settings()["block"]]


async def _bench(dut) -> PipelineBench:
    pipeline = _pipeline()
    bench = PipelineBench(dut, pipeline.latency, pipeline.output[0])
    await bench.reset()
    return bench


@cocotb.test()
async def every_clock_takes_an_operation(dut) -> None:
    bench, pipeline = await _bench(dut), _pipeline()
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    await bench.check(*pipeline.operations(rng, pipeline.count, reference=True))


@cocotb.test()
async def idle_clocks_neither_lose_nor_add_results(dut) -> None:
    bench, pipeline = await _bench(dut), _pipeline()
    rng = np.random.default_rng(cocotb.RANDOM_SEED + 1)
    await bench.check(*pipeline.operations(rng, pipeline.count // 20), idle=0.4)
