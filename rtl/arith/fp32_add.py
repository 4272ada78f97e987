"""FP32 adder, 5 stages, one addition each clock."""

from __future__ import annotations

from myhdl import Signal, always, concat, intbv, modbv

from rtl.arith import FP32_NAN
from rtl.convert import module


@module
def fp32_add(clk, rst, valid_in, a, b, valid_out, y):
    """y = a + b in FP32, rounded to nearest even, FP32_ADD_LATENCY clocks after valid_in.

    Subnormal operands count as zeros, subnormal results become zeros of their sign, every NaN is 0x7FC00000.
    It has no flags and no stall: a result lasts one clock unless the next one is not valid, since idle stages
    keep their data.

    Ports: clk; rst (synchronous, clears the valid bits only); valid_in, a, b (32 bits);
    valid_out, y (32 bits).

    Algorithm: the single-path adder of the textbooks (Muller et al., Handbook of Floating-Point Arithmetic,
    8.3): order, align with guard, round and sticky, add, count zeros by nibbles, normalise, round. The
    exponent is kept with an offset of 256, so it is never negative and its low 8 bits are the result's; the
    round-up runs through {exponent, fraction}. The sum of two normal numbers is exact when it is subnormal,
    so flushing needs no care.
    """
    valid_1, valid_2, valid_3, valid_4 = [Signal(bool(0)) for _ in range(4)]

    # 1: operands in order of magnitude.
    large_1 = Signal(intbv(0)[32:])
    small_fraction_1 = Signal(intbv(0)[23:])
    small_present_1 = Signal(bool(0))
    both_special_1 = Signal(bool(0))
    opposite_1 = Signal(bool(0))
    distance_1 = Signal(intbv(0)[8:])

    # 2: the smaller one aligned, its sticky bit last.
    sign_2, nan_2, infinite_2, opposite_2 = [Signal(bool(0)) for _ in range(4)]
    exponent_2 = Signal(intbv(0)[8:])
    large_2 = Signal(intbv(0)[24:])
    aligned_2 = Signal(intbv(0)[27:])

    # 3: their sum in 7 nibbles, and by how many of them it must move left.
    sign_3, nan_3, infinite_3, opposite_3 = [Signal(bool(0)) for _ in range(4)]
    shift16_3, shift8_3, shift4_3 = [Signal(bool(0)) for _ in range(3)]
    exponent_3 = Signal(intbv(0)[8:])
    total_3 = Signal(intbv(0)[28:])

    # 4: normalised, less the hidden bit.
    sign_4, nan_4, infinite_4, zero_4 = [Signal(bool(0)) for _ in range(4)]
    exponent_4 = Signal(intbv(0)[10:])  # with its offset, less the nibbles
    fine_4 = Signal(intbv(0)[2:])
    normal_4 = Signal(intbv(0)[27:])

    @always(clk.posedge)
    def track():
        if rst:
            valid_1.next = 0
            valid_2.next = 0
            valid_3.next = 0
            valid_4.next = 0
            valid_out.next = 0
        else:
            valid_1.next = valid_in
            valid_2.next = valid_1
            valid_3.next = valid_2
            valid_4.next = valid_3
            valid_out.next = valid_4

    @always(clk.posedge)
    def order():
        if valid_in:
            if a[31:] < b[31:]:
                large_1.next = b
                small_fraction_1.next = a[23:]
                small_present_1.next = a[31:23] != 0
                distance_1.next = b[31:23] - a[31:23]
            else:
                large_1.next = a
                small_fraction_1.next = b[23:]
                small_present_1.next = b[31:23] != 0
                distance_1.next = a[31:23] - b[31:23]
            both_special_1.next = (a[31:23] & b[31:23]) == 255
            opposite_1.next = a[31] ^ b[31]

    @always(clk.posedge)
    def align():
        kept = intbv(0)[26:]
        lost = intbv(0)[1:]
        if valid_1:
            if small_present_1:
                if distance_1[8:5] != 0:
                    lost[:] = 1
                else:
                    kept[:] = concat(small_present_1, small_fraction_1) << 2
            if distance_1[4]:
                lost[0] = lost[0] | (kept[16:] != 0)
                kept[:] = kept >> 16
            if distance_1[3]:
                lost[0] = lost[0] | (kept[8:] != 0)
                kept[:] = kept >> 8
            if distance_1[2]:
                lost[0] = lost[0] | (kept[4:] != 0)
                kept[:] = kept >> 4
            if distance_1[1]:
                lost[0] = lost[0] | (kept[2:] != 0)
                kept[:] = kept >> 2
            if distance_1[0]:
                lost[0] = lost[0] | kept[0]
                kept[:] = kept >> 1
            aligned_2.next = concat(kept, lost)
            if large_1[31:23] == 0:
                large_2.next = 0
            else:
                large_2.next = concat(True, large_1[23:])
            sign_2.next = large_1[31]
            exponent_2.next = large_1[31:23]
            opposite_2.next = opposite_1
            infinite_2.next = large_1[31:23] == 255
            nan_2.next = (large_1[31:23] == 255) & ((large_1[23:] != 0) | (both_special_1 & opposite_1))

    @always(clk.posedge)
    def combine():
        addend = intbv(0)[28:]
        carried = modbv(0)[29:]
        empty = intbv(0)[7:]
        if valid_2:
            addend[:] = concat("0", aligned_2)
            if opposite_2:
                addend[:] = ~addend
            # One more bit at the right carries into a subtraction; 1 remains there unless it did.
            carried[:] = concat("0", large_2, "0001") + concat(addend, opposite_2)
            empty[6] = carried[29:25] == 0
            empty[5] = carried[25:21] == 0
            empty[4] = carried[21:17] == 0
            empty[3] = carried[17:13] == 0
            empty[2] = carried[13:9] == 0
            empty[1] = carried[9:5] == 0
            empty[0] = carried[5:1] == 0
            if empty[7:3] == 15:
                shift16_3.next = True
                shift8_3.next = empty[2] & empty[1]
                shift4_3.next = empty[0] if empty[2] & empty[1] else empty[2]
            else:
                shift16_3.next = False
                shift8_3.next = empty[6] & empty[5]
                shift4_3.next = empty[4] if empty[6] & empty[5] else empty[6]
            total_3.next = carried[29:1]
            sign_3.next = sign_2
            opposite_3.next = not carried[0]
            exponent_3.next = exponent_2
            nan_3.next = nan_2
            infinite_3.next = infinite_2

    @always(clk.posedge)
    def normalise():
        moved = intbv(0)[28:]
        fine = intbv(0)[2:]
        if valid_3:
            moved[:] = total_3
            if shift16_3:
                moved[:] = concat(moved[12:], "0000000000000000")
            if shift8_3:
                moved[:] = concat(moved[20:], "00000000")
            if shift4_3:
                moved[:] = concat(moved[24:], "0000")
            if moved[28:26] == 0:
                fine[1] = 1
                moved[:] = concat(moved[26:], "00")
            if not moved[27]:
                fine[0] = 1
                moved[:] = concat(moved[27:], "0")
            normal_4.next = moved[27:]
            fine_4.next = fine
            # 257: the offset, and the sum's top bit is one above that of the larger operand.
            exponent_4.next = concat("00", exponent_3) + 257 - concat("00000", shift16_3, shift8_3, shift4_3, "00")
            # All shifts: nothing is left. Opposite numbers sum to +0, like ones to their own zero.
            zero_4.next = shift16_3 & shift8_3 & shift4_3
            sign_4.next = sign_3 & (not (opposite_3 & shift16_3 & shift8_3 & shift4_3))
            nan_4.next = nan_3
            infinite_4.next = infinite_3

    @always(clk.posedge)
    def round_result():
        exponent = modbv(0)[8:]
        under = intbv(0)[1:]
        over = intbv(0)[1:]
        round_up = intbv(0)[1:]
        rounded = modbv(0)[31:]
        magnitude = intbv(0)[31:]
        if valid_4:
            # Whether exponent_4 - fine_4 is at most 256, or at least 511, is told without waiting for the difference.
            # A sum that rounding alone takes to infinity is one without that: it carries into an exponent of 254.
            exponent[:] = exponent_4[8:] - concat("000000", fine_4)
            under[0] = (exponent_4[10:2] < 64) | ((exponent_4[10:2] == 64) & (exponent_4[2:] <= fine_4))
            over[0] = (exponent_4 == 511) & (fine_4 == 0)
            round_up[0] = normal_4[3] & (normal_4[4] | (normal_4[3:] != 0))
            rounded[:] = concat(exponent, normal_4[27:4]) + round_up
            magnitude[:] = rounded
            if zero_4 | under[0]:
                magnitude[:] = 0
            if infinite_4 | over[0]:
                magnitude[:] = concat("11111111", "00000000000000000000000")
            if nan_4:
                y.next = FP32_NAN
            else:
                y.next = concat(sign_4, magnitude)

    return track, order, align, combine, normalise, round_result
