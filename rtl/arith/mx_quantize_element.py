"""FP32 to an MXINT8 element, 3 stages, one element each clock."""

from __future__ import annotations

from myhdl import Signal, always, concat, intbv, modbv

from rtl.convert import module


@module
def mx_quantize_element(clk, rst, valid_in, x, top, valid_out, element):
    """element = x / 2^(top - 127) * 64, to nearest even and within +-127.

    `top` is the largest biased exponent of the block. 0 (a block of zeros) and 255 (a NaN or an infinity in
    the block) give element 0. An x above what `top` announces saturates. It does not find `top`, nor make the
    scale byte: that is `top` itself, but 127 for 0. MX_QUANTIZE_ELEMENT_LATENCY clocks, one element a clock.

    Ports: clk; rst (synchronous, clears the valid bits only); valid_in, x (32 bits), top (8 bits); valid_out,
    element (8 bits, two's complement).
    """
    valid_1, valid_2 = [Signal(bool(0)) for _ in range(2)]
    sign_1, sign_2, saturate_1, saturate_2, zero_1 = [Signal(bool(0)) for _ in range(5)]
    fraction_1 = Signal(intbv(0)[23:])
    distance_1 = Signal(intbv(0)[3:])
    # Seven integer bits, guard, sticky.
    aligned_2 = Signal(intbv(0)[9:])

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
    def measure():
        # How far x lies below the block's largest exponent, and 256.
        distance = intbv(0)[9:]
        if valid_in:
            distance[:] = concat("1", top) - concat("0", x[31:23])
            distance_1.next = distance[3:]
            # Eight places down even 1.11...1 is below a half.
            zero_1.next = (x[31:23] == 0) | (top == 0) | (top == 255) | (distance[8] & (distance[8:3] != 0))
            saturate_1.next = not distance[8]
            fraction_1.next = x[23:]
            sign_1.next = x[31]

    @always(clk.posedge)
    def align():
        kept = intbv(0)[8:]
        lost = intbv(0)[1:]
        if valid_1:
            kept[:] = concat("1", fraction_1[23:16])
            lost[0] = fraction_1[16:] != 0
            if distance_1[2]:
                lost[0] = lost[0] | (kept[4:] != 0)
                kept[:] = kept >> 4
            if distance_1[1]:
                lost[0] = lost[0] | (kept[2:] != 0)
                kept[:] = kept >> 2
            if distance_1[0]:
                lost[0] = lost[0] | kept[0]
                kept[:] = kept >> 1
            if zero_1:
                aligned_2.next = 0
            else:
                aligned_2.next = concat(kept, lost)
            saturate_2.next = saturate_1 & (not zero_1)
            sign_2.next = sign_1

    @always(clk.posedge)
    def round_element():
        round_up = intbv(0)[1:]
        magnitude = intbv(0)[8:]
        negative = modbv(0)[8:]
        if valid_2:
            round_up[0] = aligned_2[1] & (aligned_2[2] | aligned_2[0])
            if saturate_2 | (aligned_2[9:2] == 127):
                magnitude[:] = 127
            else:
                magnitude[:] = concat("0", aligned_2[9:2]) + round_up
            if sign_2:
                negative[:] = -magnitude
                element.next = negative
            else:
                element.next = magnitude

    return track, measure, align, round_element
