"""FP32 comparison, combinational."""

from __future__ import annotations

from myhdl import always_comb, concat, intbv

from rtl.convert import module


@module
def fp32_greater(a, b, y):
    """y = a wins over b: a > b among numbers, and any number over a NaN; a NaN never wins, not even over
    another.

    Zeros of both signs and subnormals are equal. So NaN < -inf < ... < 0 < ... < +inf is one order, and a
    maximum that replaces its holder only when the newcomer wins does not depend on the order of its elements:
    ties keep the holder, and only the sign of a zero or a tie's index tells which that was.

    Ports: a, b (32 bits); y (1 bit). No clock: it is meant to stand between two registers of a lane.

    Each operand is turned into an unsigned key that sorts like the number: positive with the sign bit set,
    negative inverted, zero in between, NaN at 0.
    """

    @always_comb
    def compare():
        key_a = intbv(0)[32:]
        key_b = intbv(0)[32:]
        key_a[:] = concat("1", a[31:])
        if a[31]:
            key_a[:] = ~a
        if a[31:23] == 0:
            key_a[:] = concat("1", "0000000000000000000000000000000")
        if (a[31:23] == 255) & (a[23:] != 0):
            key_a[:] = 0
        key_b[:] = concat("1", b[31:])
        if b[31]:
            key_b[:] = ~b
        if b[31:23] == 0:
            key_b[:] = concat("1", "0000000000000000000000000000000")
        if (b[31:23] == 255) & (b[23:] != 0):
            key_b[:] = 0
        y.next = key_a > key_b

    return compare
