"""Bench of fp32_greater against the NumPy model."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import Timer

from rtl.arith.fp32_greater import fp32_greater
from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from verif.arith import operations
from verif.arith.ports import bit, word


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(fp32_greater, word(32), word(32), bit(), out_dir=out_dir)


@cocotb.test()
async def orders_every_pair_as_the_model(dut) -> None:
    operands, expected = operations.fp32_greater(np.random.default_rng(cocotb.RANDOM_SEED), 100_000)
    for a, b, wanted in zip(operands["a"].tolist(), operands["b"].tolist(), expected.tolist(), strict=True):
        dut.a.value = a
        dut.b.value = b
        await Timer(1, "ns")
        assert int(dut.y.value) == wanted, f"{a:#010x} > {b:#010x}: got {dut.y.value}, expected {wanted}"
