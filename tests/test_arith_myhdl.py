"""The blocks of rtl/arith simulated by MyHDL itself, which checks bounds, against the NumPy model."""

from __future__ import annotations

import numpy as np
import pytest
from myhdl import Signal, Simulation, StopSimulation, delay, instance, intbv

import rtl.arith
from rtl.arith.fp32_add import fp32_add
from rtl.arith.fp32_from_int import fp32_from_int
from rtl.arith.fp32_greater import fp32_greater
from rtl.arith.fp32_mul import fp32_mul
from rtl.arith.mx_quantize_element import mx_quantize_element
from verif.arith import operations

SEED = 11
COUNT = 2_000


def word() -> Signal:
    return Signal(intbv(0)[32:])


def simulate(block, latency: int, inputs: dict[str, Signal], output: Signal, operands: dict) -> list[int]:
    """Results of a pipelined block for one operation each clock; asserts their latency."""
    clk, rst, valid_in, valid_out = [Signal(bool(0)) for _ in range(4)]
    columns = [(inputs[name], column.tolist()) for name, column in operands.items()]
    count = len(columns[0][1])
    results = []

    @instance
    def drive():
        for cycle in range(count + latency):
            valid_in.next = cycle < count
            for signal, column in columns:
                if cycle < count:
                    signal.next = column[cycle]
            yield delay(1)
            clk.next = 1
            yield delay(1)
            clk.next = 0
            assert valid_out == (cycle >= latency - 1 and cycle < count + latency - 1), f"clock {cycle}"
            if valid_out:
                results.append(int(output))
        raise StopSimulation

    unit = block(clk, rst, valid_in, *inputs.values(), valid_out, output)
    Simulation(unit, drive).run(quiet=1)
    return results


CASES = {
    "fp32_add": (fp32_add, rtl.arith.FP32_ADD_LATENCY, lambda: {"a": word(), "b": word()}, 32),
    "fp32_mul": (fp32_mul, rtl.arith.FP32_MUL_LATENCY, lambda: {"a": word(), "b": word()}, 32),
    "fp32_from_int": (
        fp32_from_int,
        rtl.arith.FP32_FROM_INT_LATENCY,
        lambda: {
            "value": Signal(intbv(0, min=-(1 << 20), max=1 << 20)),
            "exponent": Signal(intbv(0, min=-1024, max=1024)),
            "force_nan": Signal(bool(0)),
        },
        32,
    ),
    "mx_quantize_element": (
        mx_quantize_element,
        rtl.arith.MX_QUANTIZE_ELEMENT_LATENCY,
        lambda: {"x": word(), "top": Signal(intbv(0)[8:])},
        8,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pipelined_block_equals_the_model(name: str) -> None:
    block, latency, make_inputs, width = CASES[name]
    operands, expected = getattr(operations, name)(np.random.default_rng(SEED), COUNT)
    got = simulate(block, latency, make_inputs(), Signal(intbv(0)[width:]), operands)
    np.testing.assert_array_equal(got, expected.astype(np.int64) & ((1 << width) - 1))


def test_greater_equals_the_model() -> None:
    operands, expected = operations.fp32_greater(np.random.default_rng(SEED), COUNT)
    a, b, y = word(), word(), Signal(bool(0))
    results = []

    @instance
    def drive():
        for left, right in zip(operands["a"].tolist(), operands["b"].tolist(), strict=True):
            a.next = left
            b.next = right
            yield delay(1)
            results.append(int(y))
        raise StopSimulation

    Simulation(fp32_greater(a, b, y), drive).run(quiet=1)
    np.testing.assert_array_equal(results, expected)


def test_from_int_refuses_other_widths() -> None:
    bit = [Signal(bool(0)) for _ in range(5)]
    wide = Signal(intbv(0, min=-(1 << 24), max=1 << 24))
    with pytest.raises(ValueError, match="got 25 and 10"):
        fp32_from_int(bit[0], bit[1], bit[2], wide, Signal(intbv(0, min=-512, max=512)), bit[3], bit[4], word())
