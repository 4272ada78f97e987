"""Bench of fp32_greater against the NumPy model."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import Timer

from verif.arith import operations

SEED = 7


@cocotb.test()
async def orders_every_pair_as_the_model(dut) -> None:
    operands, expected = operations.fp32_greater(np.random.default_rng(SEED), 100_000)
    for a, b, wanted in zip(operands["a"].tolist(), operands["b"].tolist(), expected.tolist(), strict=True):
        dut.a.value = a
        dut.b.value = b
        await Timer(1, "ns")
        assert int(dut.y.value) == wanted, f"{a:#010x} > {b:#010x}: got {dut.y.value}, expected {wanted}"
