"""Signed integer times a power of two to FP32, 3 stages, one conversion each clock."""

from __future__ import annotations

from myhdl import Signal, always, concat, intbv, modbv

from rtl.arith import FP32_NAN
from rtl.convert import module


@module
def fp32_from_int(clk, rst, valid_in, value, exponent, force_nan, valid_out, y):
    """y = value * 2^exponent in FP32, exactly, FP32_FROM_INT_LATENCY clocks after valid_in.

    A zero, and whatever is below 2^-126 in magnitude, becomes +0; what is too large an infinity of its sign;
    with force_nan the result is 0x7FC00000. It never rounds: value is shorter than a significand.

    Ports: clk; rst (synchronous, clears the valid bits only); valid_in, value (signed, 21 bits: a block sum),
    exponent (signed, 11 bits), force_nan; valid_out, y (32 bits).

    Magnitude, then leading zeros by nibbles, then by bits. The exponent is kept with an offset of 5 * 256:
    never negative, and its low 8 bits are the result's.
    """
    if len(value) != 21 or len(exponent) != 11:
        raise ValueError(f"fp32_from_int takes 21 bits of value, 11 of exponent; got {len(value)} and {len(exponent)}")
    # 127 + 20: the biased exponent of a number whose 21-bit significand is `value` itself.
    offset = 1280 + 127 + 20

    valid_1, valid_2 = [Signal(bool(0)) for _ in range(2)]
    sign_1, sign_2, nan_1, nan_2 = [Signal(bool(0)) for _ in range(4)]
    magnitude_1 = Signal(intbv(0)[21:])
    moved_2 = Signal(intbv(0)[24:])
    exponent_1, exponent_2 = [Signal(intbv(0)[12:]) for _ in range(2)]

    @always(clk.posedge)
    def track():
        if rst:
            valid_1.next = 0
            valid_2.next = 0
            valid_out.next = 0
        else:
            valid_1.next = valid_in
            valid_2.next = valid_1
            valid_out.next = valid_2

    @always(clk.posedge)
    def unsign():
        if valid_in:
            if value < 0:
                magnitude_1.next = -value
            else:
                magnitude_1.next = value
            sign_1.next = value < 0
            exponent_1.next = exponent + offset
            nan_1.next = force_nan

    @always(clk.posedge)
    def normalise():
        empty = intbv(0)[5:]
        shift16 = intbv(0)[1:]
        shift8 = intbv(0)[1:]
        shift4 = intbv(0)[1:]
        moved = intbv(0)[24:]
        if valid_1:
            moved[:] = concat(magnitude_1, "000")
            empty[4] = moved[24:20] == 0
            empty[3] = moved[20:16] == 0
            empty[2] = moved[16:12] == 0
            empty[1] = moved[12:8] == 0
            empty[0] = moved[8:4] == 0
            shift16[0] = empty[5:1] == 15
            shift8[0] = (not shift16[0]) & empty[4] & empty[3]
            if shift16[0]:
                shift4[0] = empty[0]
            elif shift8[0]:
                shift4[0] = empty[2]
            else:
                shift4[0] = empty[4]
            if shift16[0]:
                moved[:] = concat(moved[8:], "0000000000000000")
            if shift8[0]:
                moved[:] = concat(moved[16:], "00000000")
            if shift4[0]:
                moved[:] = concat(moved[20:], "0000")
            moved_2.next = moved
            exponent_2.next = exponent_1 - concat("0000000", shift16, shift8, shift4, "00")
            sign_2.next = sign_1
            nan_2.next = nan_1

    @always(clk.posedge)
    def finish():
        moved = intbv(0)[24:]
        fine = intbv(0)[2:]
        biased = modbv(0)[8:]
        under = intbv(0)[1:]
        over = intbv(0)[1:]
        if valid_2:
            moved[:] = moved_2
            if moved[24:22] == 0:
                fine[1] = 1
                moved[:] = concat(moved[22:], "00")
            if not moved[23]:
                fine[0] = 1
                moved[:] = concat(moved[23:], "0")
            # Whether exponent_2 - fine is at most 1280, or at least 1535, is told without waiting for the difference.
            under[0] = (exponent_2[12:2] < 320) | ((exponent_2[12:2] == 320) & (exponent_2[2:] <= fine))
            if exponent_2[12:2] == 383:
                over[0] = (exponent_2[2:] == 3) & (fine == 0)
            elif exponent_2[12:2] == 384:
                over[0] = (exponent_2[2:] == 3) | (exponent_2[2:] + 1 >= fine)
            else:
                over[0] = exponent_2[12:2] >= 385
            biased[:] = exponent_2[8:] - concat("000000", fine)
            if nan_2:
                y.next = FP32_NAN
            elif (not moved[23]) | under[0]:
                y.next = 0
            elif over[0]:
                y.next = concat(sign_2, "1111111100000000000000000000000")
            else:
                y.next = concat(sign_2, biased, moved[23:])

    return track, unsign, normalise, finish
