"""Largest of some bytes, one level a cycle."""

from __future__ import annotations

from myhdl import Signal, always, instances, intbv

from rtl.convert import module


@module
def largest_tree(clk, enable, x, y, count: int):
    """y = the largest of `count` (a power of two, at least 2) bytes packed in x; enable: one bit a level."""
    levels = (count - 1).bit_length()
    half = count // 2
    if count == 2:

        @always(clk.posedge)
        def choose():
            if enable:
                if x[16:8] > x[8:]:
                    y.next = x[16:8]
                else:
                    y.next = x[8:]

        return instances()

    low, high = Signal(intbv(0)[8:]), Signal(intbv(0)[8:])
    older = enable(levels - 1, 0) if levels > 2 else enable(0)
    low_half = largest_tree(clk, older, x(8 * half, 0), low, half)
    high_half = largest_tree(clk, older, x(8 * count, 8 * half), high, half)

    @always(clk.posedge)
    def join_halves():
        if enable[levels - 1]:
            if high > low:
                y.next = high
            else:
                y.next = low

    return instances()
