"""float(E - 127): what LOG2 adds."""

from __future__ import annotations

from myhdl import always, concat, instances, intbv

from rtl.convert import module


@module
def exponent_to_float(clk, enable, exponent, y):
    """y = FP32 value of the integer exponent - 127 (exponent: 8 bits, biased), one cycle after enable."""

    @always(clk.posedge)
    def convert_exponent():
        magnitude = intbv(0)[8:]
        place = intbv(0)[8:]
        if enable:
            if exponent < 127:
                magnitude[:] = 127 - exponent
            else:
                magnitude[:] = exponent - 127
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
            if exponent == 127:
                y.next = 0
            else:
                y.next = concat(exponent < 127, place, magnitude[7:], "0000000000000000")

    return instances()
