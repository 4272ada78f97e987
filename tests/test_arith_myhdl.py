"""The arithmetic blocks simulated by MyHDL itself, which checks bounds, against the NumPy model."""

from __future__ import annotations

import numpy as np
import pytest
from myhdl import Signal, Simulation, StopSimulation, delay, instance, intbv

from rtl.arith.fp32_from_int import fp32_from_int
from rtl.arith.fp32_greater import fp32_greater
from verif.arith import operations
from verif.arith.pipelines import PIPELINES, Pipeline

SEED = 11
COUNT = 2_000


def word() -> Signal:
    return Signal(intbv(0)[32:])


def simulate(pipeline: Pipeline, operands: dict) -> list[int]:
    """Results of a pipelined block for one operation each clock; asserts their latency."""
    latency = pipeline.latency
    ports = pipeline.signals()
    clk, _, valid_in, *inputs, valid_out, output = ports
    columns = [(signal, operands[name].tolist()) for name, signal in zip(pipeline.inputs, inputs, strict=True)]
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

    unit = pipeline.block(*ports, **pipeline.parameters)
    Simulation(unit, drive).run(quiet=1)
    return results


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelined_block_equals_the_model(name: str) -> None:
    pipeline = PIPELINES[name]
    operands, expected = pipeline.operations(np.random.default_rng(SEED), min(COUNT, pipeline.count // 10))
    got = simulate(pipeline, operands)
    mask = (1 << pipeline.output[1]) - 1
    assert got == [wanted & mask for wanted in expected.tolist()]


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
