"""float(E - 127): what LOG2 adds."""

from __future__ import annotations

from myhdl import Signal, always, concat, instances, intbv

from rtl.convert import module


@module
def exponent_to_float(clk, enable, exponent, y):
    """y = FP32 value of the integer exponent - 127 (exponent: 8 bits, biased), two cycles after enable[0].

    enable (2 bits: stage 1, stage 2).
    """
    magnitude_1 = Signal(intbv(0)[8:])
    negative_1, zero_1 = [Signal(False) for _ in range(2)]

    @always(clk.posedge)
    def subtract():
        below = intbv(0)[7:]
        if enable[0]:
            below[:] = ~exponent[7:]
            if exponent[7]:
                magnitude_1.next = concat("0", exponent[7:]) + 1
            else:
                magnitude_1.next = concat("0", below)
            negative_1.next = not exponent[7]
            zero_1.next = exponent == 127

    @always(clk.posedge)
    def normalise():
        magnitude = intbv(0)[8:]
        place = intbv(0)[8:]
        if enable[1]:
            magnitude[:] = magnitude_1
            place[:] = 134
            if magnitude[8:4] == 0:
                magnitude[:] = concat(magnitude[4:], "0000")
                place[:] = 130
            if magnitude[8:6] == 0:
                magnitude[:] = concat(magnitude[6:], "00")
                place[:] = place - 2
            if not magnitude[7]:
                magnitude[:] = concat(magnitude[7:], "0")
                place[:] = place - 1
            if zero_1:
                y.next = 0
            else:
                y.next = concat(negative_1, place, magnitude[7:], "0000000000000000")

    return instances()
