"""Sum of pairs of words that follow one another in time."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.arith.fp32_add import fp32_add
from rtl.convert import module


@module
def sum_pairs(clk, rst, valid_in, x, valid_out, y):
    """y = first + second of every two valid x; one addition after the second.

    It counts words by itself: words must come in whole blocks, those of one block together.
    """
    odd, add_now = Signal(False), Signal(False)
    held = Signal(intbv(0)[32:])

    @always(clk.posedge)
    def count():
        if rst:
            odd.next = False
        elif valid_in:
            odd.next = not odd

    @always(clk.posedge)
    def hold():
        if valid_in and not odd:
            held.next = x

    @always_comb
    def complete():
        add_now.next = valid_in and odd

    add = fp32_add(clk, rst, add_now, held, x, valid_out, y)
    return instances()
