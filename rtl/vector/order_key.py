"""FP32 to an unsigned key of the same order."""

from __future__ import annotations

from myhdl import Signal, always, concat, instances, intbv

from rtl.convert import module


@module
def order_key(clk, enable, x, counted, key):
    """key of x: 0 for NaN or when not counted < -inf < ... < -0 = +0 < ... < +inf.

    Two cycles after enable[0], one after enable[1]: what a value is takes the first, its key the second.
    """
    x_1 = Signal(intbv(0)[32:])
    nothing, zero = Signal(False), Signal(False)

    @always(clk.posedge)
    def classify():
        if enable[0]:
            x_1.next = x
            nothing.next = (not counted) | ((x[31:23] == 255) & (x[23:] != 0))
            zero.next = x[31:23] == 0

    @always(clk.posedge)
    def sort():
        if enable[1]:
            if nothing:
                key.next = 0
            elif zero:
                key.next = concat("10000000000000000000000000000000")
            elif x_1[31]:
                key.next = ~x_1
            else:
                key.next = concat("1", x_1[31:])

    return instances()
