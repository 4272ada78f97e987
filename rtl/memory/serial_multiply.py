"""Multiplier of one bit a cycle, for addresses and counts."""

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.interfaces import ADDRESS_BITS
from rtl.convert import module


@module
def serial_multiply(clk, rst, start, base, factor, count, result, overflow, busy):
    """result = base + factor * count, one bit of count a cycle, low bits first; no DSP block.

    Done after as many cycles as count has bits, so small counts are quick. It does not queue: a start while
    busy begins anew.

    start: pulse; base, factor (40 bits) and count (32 bits) are taken in that cycle.
    result: 40 bits, valid when neither start nor busy is high, until the next start.
    overflow: the true result needs more than 40 bits.
    """
    width = ADDRESS_BITS
    shifted = Signal(intbv(0)[width:])
    shifted_out = Signal(False)  # a one has left `shifted` at the top
    rest = Signal(intbv(0)[32:])
    total = Signal(intbv(0)[width + 1 :])

    @always_comb
    def add():
        total.next = result + shifted

    @always(clk.posedge)
    def step():
        if rst:
            busy.next = False
        elif start:
            busy.next = count != 0
            result.next = base
            shifted.next = factor
            shifted_out.next = False
            overflow.next = False
            rest.next = count
        elif busy:
            busy.next = rest[32:1] != 0
            if rest[0]:
                result.next = total[width:]
                if total[width] or shifted_out:
                    overflow.next = True
            if shifted[width - 1]:
                shifted_out.next = True
            shifted.next = shifted[width - 1 :] << 1
            rest.next = rest >> 1

    return instances()
