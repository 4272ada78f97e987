"""Multiplication by a power of two, exact, with the special results of functions."""

from __future__ import annotations

from myhdl import always, concat, instances, intbv

from rtl.arith import FP32_NAN
from rtl.convert import module

SPECIAL_NONE, SPECIAL_NAN, SPECIAL_ZERO, SPECIAL_INFINITY = range(4)


@module
def exponent_shift(clk, enable, x, shift, special, negate, y):
    """y = +-x * 2^(shift - 256), one cycle after enable; below 2^-126 a zero of the sign, too large an infinity.

    shift (9 bits, offset 256: see timing.EXPONENT_OFFSET); special (2 bits, SPECIAL_*) overrides the result, NaN
    0x7FC00000, +0 or +infinity; negate turns the sign of what is not special or NaN.
    """

    @always(clk.posedge)
    def apply():
        exponent = intbv(0)[10:]
        magnitude = intbv(0)[31:]
        if enable:
            exponent[:] = concat("00", x[31:23]) + concat("0", shift)
            magnitude[:] = concat(exponent[8:], x[23:])
            # exponent <= 256 and exponent >= 511, without a second carry chain behind the sum's.
            if (x[31:23] == 0) | ((exponent[10:8] == 0) | (exponent == 256)):
                magnitude[:] = 0
            if (x[31:23] == 255) | ((exponent[9] == 1) | (exponent == 511)):
                if x[31:23] != 0:
                    magnitude[:] = concat("1111111100000000000000000000000")
            if special == SPECIAL_NAN:
                y.next = FP32_NAN
            elif special == SPECIAL_ZERO:
                y.next = 0
            elif special == SPECIAL_INFINITY:
                y.next = 0x7F800000
            elif (x[31:23] == 255) & (x[23:] != 0):
                y.next = FP32_NAN
            else:
                y.next = concat(x[31] ^ negate, magnitude)

    return instances()
