"""One 64-bit event counter."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.convert import module


@module
def counter(clk, rst, clear, happens, value):
    """Counts clocks in which happens is high, in 64 bits.

    Made of four parts whose carries are registered: value is right three clocks after the last event, and while
    counting a carry may be under way.

    Ports: clk; rst; clear; happens; value (64 bits).
    """
    part_0, part_1, part_2, part_3 = [Signal(intbv(0)[16:]) for _ in range(4)]
    carry_1, carry_2, carry_3 = [Signal(bool(0)) for _ in range(3)]

    @always_comb
    def combine():
        value.next = concat(part_3, part_2, part_1, part_0)

    @always(clk.posedge)
    def count_events():
        carry_1.next = 0
        carry_2.next = 0
        carry_3.next = 0
        if rst or clear:
            part_0.next = 0
            part_1.next = 0
            part_2.next = 0
            part_3.next = 0
        else:
            if happens:
                if part_0 == 0xFFFF:
                    part_0.next = 0
                    carry_1.next = 1
                else:
                    part_0.next = part_0 + 1
            if carry_1:
                if part_1 == 0xFFFF:
                    part_1.next = 0
                    carry_2.next = 1
                else:
                    part_1.next = part_1 + 1
            if carry_2:
                if part_2 == 0xFFFF:
                    part_2.next = 0
                    carry_3.next = 1
                else:
                    part_2.next = part_2 + 1
            if carry_3:
                if part_3 == 0xFFFF:
                    part_3.next = 0
                else:
                    part_3.next = part_3 + 1

    return instances()
