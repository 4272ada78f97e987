"""Uniform noise of (row key, token index), for one lane."""

from __future__ import annotations

from myhdl import Signal, always_comb, instances, intbv

from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.mix_step import STEPS, mix_step
from rtl.vector.uniform import uniform

LATENCY = STEPS + 2


@module
def noise_hash(clk, enable, seed, number, noise):
    """noise = (2n + 1) * 2^-24, n the top 23 bits of mix(seed ^ number), LATENCY cycles after enable[0].

    enable (LATENCY bits, one a stage), seed (32 bits: the row's key ^ the token id of lane 0, which is a multiple of
    the lanes), number (32 bits: this lane); noise (32 bits, FP32).
    """
    start = Signal(intbv(0)[32:])
    wires = [Signal(intbv(0)[32:]) for _ in range(STEPS)]

    @always_comb
    def combine():
        start.next = seed ^ number

    chain = [start, *wires]
    steps = [mix_step(clk, enable(k), chain[k], chain[k + 1], k) for k in range(STEPS)]
    shape = uniform(clk, enable(STEPS + 2, STEPS), wires[-1](32, 9), noise)
    rest = unused(wires[-1](9, 0), 9)
    return instances()
