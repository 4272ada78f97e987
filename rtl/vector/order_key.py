"""FP32 to an unsigned key of the same order."""

from __future__ import annotations

from myhdl import always, concat, instances

from rtl.convert import module


@module
def order_key(clk, enable, x, counted, key):
    """key of x, one cycle after enable: 0 for NaN or when not counted < -inf < ... < -0 = +0 < ... < +inf."""

    @always(clk.posedge)
    def sort():
        if enable:
            if (not counted) | ((x[31:23] == 255) & (x[23:] != 0)):
                key.next = 0
            elif x[31:23] == 0:
                key.next = concat("10000000000000000000000000000000")
            elif x[31]:
                key.next = ~x
            else:
                key.next = concat("1", x[31:])

    return instances()
