"""Sum of the lanes as a tree of adjacent pairs."""

from __future__ import annotations

from myhdl import Signal, instances, intbv

from rtl.arith.fp32_add import fp32_add
from rtl.convert import module


@module
def sum_tree(clk, rst, valid_in, x, valid_out, y, count: int):
    """y = ((x0 + x1) + (x2 + x3)) + ... over `count` (a power of two, at least 2) FP32 numbers packed in x.

    Latency: log2(count) additions.
    """
    if count == 2:
        add = fp32_add(clk, rst, valid_in, x(32, 0), x(64, 32), valid_out, y)
        return instances()
    half = count // 2
    low, high = Signal(intbv(0)[32:]), Signal(intbv(0)[32:])
    low_valid, unused_high_valid = Signal(False), Signal(False)
    low_half = sum_tree(clk, rst, valid_in, x(32 * half, 0), low_valid, low, half)
    high_half = sum_tree(clk, rst, valid_in, x(32 * count, 32 * half), unused_high_valid, high, half)
    add = fp32_add(clk, rst, low_valid, low, high, valid_out, y)
    return instances()
