"""FP32 multiplier, 4 stages, one multiplication each clock."""

from __future__ import annotations

from myhdl import Signal, always, concat, intbv, modbv

from rtl.arith import FP32_NAN
from rtl.convert import module


@module
def fp32_mul(clk, rst, valid_in, a, b, valid_out, y):
    """y = a * b in FP32, rounded to nearest even, FP32_MUL_LATENCY clocks after valid_in.

    Subnormal operands count as zeros; a result is flushed AFTER rounding, so that one that rounds up to
    2^-126 stays; every NaN is 0x7FC00000. It has no flags and no stall.

    Ports: clk; rst (synchronous, clears the valid bits only); valid_in, a, b (32 bits);
    valid_out, y (32 bits).

    The significands are multiplied between registers as products of 18 x 18, 18 x 6, 6 x 18 and 6 x 6 bits, and summed
    a stage later: three ECP5 multipliers, since the last is written as sums. The exponent is kept with an offset of
    256: never negative, and its low 8 bits are the result's.
    """
    valid_1, valid_2, valid_3 = [Signal(bool(0)) for _ in range(3)]

    # 1: operands; a zero's significand is not cleared, `zero` overrides the result.
    sign_1, nan_1, infinite_1, zero_1 = [Signal(bool(0)) for _ in range(4)]
    exponent_1 = Signal(intbv(0)[9:])
    high_a_1, high_b_1 = [Signal(intbv(0)[6:]) for _ in range(2)]
    low_a_1, low_b_1 = [Signal(intbv(0)[18:]) for _ in range(2)]

    # 2: partial products.
    sign_2, nan_2, infinite_2, zero_2 = [Signal(bool(0)) for _ in range(4)]
    exponent_2 = Signal(intbv(0)[10:])
    high_high_2 = Signal(intbv(0)[12:])
    high_low_2, low_high_2 = [Signal(intbv(0)[24:]) for _ in range(2)]
    low_low_2 = Signal(intbv(0)[36:])

    # 3: the upper 36 bits of the product, and whether the lower 12 hold a one.
    sign_3, nan_3, infinite_3, zero_3, lost_3 = [Signal(bool(0)) for _ in range(5)]
    # The exponent's low bits, as they are and one up for a product of 2 and more; for both, whether it is at most 256,
    # just 256, at least 511, just 510.
    low_3, up_3 = [Signal(intbv(0)[8:]) for _ in range(2)]
    flags_low_3, flags_up_3 = [Signal(intbv(0)[4:]) for _ in range(2)]
    product_3 = Signal(intbv(0)[36:])

    @always(clk.posedge)
    def track():
        if rst:
            valid_1.next = 0
            valid_2.next = 0
            valid_3.next = 0
            valid_out.next = 0
        else:
            valid_1.next = valid_in
            valid_2.next = valid_1
            valid_3.next = valid_2
            valid_out.next = valid_3

    @always(clk.posedge)
    def unpack():
        zero_a = intbv(0)[1:]
        zero_b = intbv(0)[1:]
        special_a = intbv(0)[1:]
        special_b = intbv(0)[1:]
        if valid_in:
            sign_1.next = a[31] ^ b[31]
            exponent_1.next = concat("0", a[31:23]) + concat("0", b[31:23])
            high_a_1.next = concat("1", a[23:18])
            low_a_1.next = a[18:]
            high_b_1.next = concat("1", b[23:18])
            low_b_1.next = b[18:]
            zero_a[0] = a[31:23] == 0
            zero_b[0] = b[31:23] == 0
            special_a[0] = a[31:23] == 255
            special_b[0] = b[31:23] == 255
            zero_1.next = zero_a[0] | zero_b[0]
            infinite_1.next = special_a[0] | special_b[0]
            nan_1.next = (special_a[0] & ((a[23:] != 0) | zero_b[0])) | (special_b[0] & ((b[23:] != 0) | zero_a[0]))

    @always(clk.posedge)
    def multiply():
        # 6 x 6 bits by three digits of two bits: in logic, not in a multiplier.
        digit_0 = intbv(0)[8:]
        digit_1 = intbv(0)[8:]
        digit_2 = intbv(0)[8:]
        if valid_1:
            if high_b_1[0]:
                digit_0[:] = concat("00", high_a_1)
            if high_b_1[1]:
                digit_0[:] = digit_0 + concat("0", high_a_1, "0")
            if high_b_1[2]:
                digit_1[:] = concat("00", high_a_1)
            if high_b_1[3]:
                digit_1[:] = digit_1 + concat("0", high_a_1, "0")
            if high_b_1[4]:
                digit_2[:] = concat("00", high_a_1)
            if high_b_1[5]:
                digit_2[:] = digit_2 + concat("0", high_a_1, "0")
            high_high_2.next = concat("0000", digit_0) + concat("00", digit_1, "00") + concat(digit_2, "0000")
            high_low_2.next = high_a_1 * low_b_1
            low_high_2.next = low_a_1 * high_b_1
            low_low_2.next = low_a_1 * low_b_1
            # The offset of 256 less the bias of one operand.
            exponent_2.next = concat("0", exponent_1) + 129
            sign_2.next = sign_1
            nan_2.next = nan_1
            infinite_2.next = infinite_1
            zero_2.next = zero_1

    @always(clk.posedge)
    def combine():
        middle = intbv(0)[25:]
        up = modbv(0)[8:]
        if valid_2:
            middle[:] = concat("0", high_low_2) + concat("0", low_high_2)
            product_3.next = concat(high_high_2, low_low_2[36:12]) + concat("00000", middle, "000000")
            lost_3.next = low_low_2[12:] != 0
            up[:] = exponent_2[8:] + 1
            low_3.next = exponent_2[8:]
            up_3.next = up
            flags_low_3.next = concat(exponent_2 <= 256, exponent_2 == 256, exponent_2 >= 511, exponent_2 == 510)
            flags_up_3.next = concat(exponent_2 <= 255, exponent_2 == 255, exponent_2 >= 510, exponent_2 == 509)
            sign_3.next = sign_2
            nan_3.next = nan_2
            infinite_3.next = infinite_2
            zero_3.next = zero_2

    @always(clk.posedge)
    def round_result():
        exponent = intbv(0)[8:]
        flags = intbv(0)[4:]
        # 23 bits of fraction, the guard bit last.
        fraction = intbv(0)[24:]
        sticky = intbv(0)[1:]
        round_up = intbv(0)[1:]
        rounded = modbv(0)[31:]
        magnitude = intbv(0)[31:]
        if valid_3:
            exponent[:] = low_3
            flags[:] = flags_low_3
            sticky[0] = lost_3 | (product_3[10:] != 0)
            if product_3[35]:
                exponent[:] = up_3
                flags[:] = flags_up_3
                fraction[:] = product_3[35:11]
                sticky[0] = sticky[0] | product_3[10]
            else:
                fraction[:] = product_3[34:10]
            round_up[0] = fraction[0] & (fraction[1] | sticky[0])
            rounded[:] = concat(exponent, fraction[24:1]) + round_up
            magnitude[:] = rounded
            if zero_3 | flags[3]:
                magnitude[:] = 0
                # Below 2^-126 there is a bit less to round to: all ones always round up to 2^-126.
                if (not zero_3) & flags[2] & (fraction[24:1] == 0x7FFFFF):
                    magnitude[:] = 0x00800000
            # Whether rounding overflows is told without waiting for its carry.
            if infinite_3 | flags[1] | (flags[0] & (fraction == 0xFFFFFF)):
                magnitude[:] = concat("11111111", "00000000000000000000000")
            if nan_3:
                y.next = FP32_NAN
            else:
                y.next = concat(sign_3, magnitude)

    return track, unpack, multiply, combine, round_result
