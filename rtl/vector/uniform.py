"""Uniform noise in FP32 from 23 hashed bits."""

from __future__ import annotations

from myhdl import Signal, always, concat, instances, intbv

from rtl.convert import module


@module
def uniform(clk, enable, n, y):
    """y = (2n + 1) * 2^-24 exactly: in (0, 1), two cycles after enable[0]."""
    value_1 = Signal(intbv(0)[24:])
    exponent_1 = Signal(intbv(0)[8:])

    @always(clk.posedge)
    def move_far():
        value = intbv(0)[24:]
        place = intbv(0)[8:]
        if enable[0]:
            value[:] = concat(n, "1")
            place[:] = 126
            if value[24:8] == 0:
                value[:] = concat(value[8:], "0000000000000000")
                place[:] = place - 16
            if value[24:16] == 0:
                value[:] = concat(value[16:], "00000000")
                place[:] = place - 8
            value_1.next = value
            exponent_1.next = place

    @always(clk.posedge)
    def move_near():
        value = intbv(0)[24:]
        place = intbv(0)[8:]
        if enable[1]:
            value[:] = value_1
            place[:] = exponent_1
            if value[24:20] == 0:
                value[:] = concat(value[20:], "0000")
                place[:] = place - 4
            if value[24:22] == 0:
                value[:] = concat(value[22:], "00")
                place[:] = place - 2
            if not value[23]:
                value[:] = concat(value[23:], "0")
                place[:] = place - 1
            y.next = concat("0", place, value[23:])

    return instances()
