"""One step of the avalanche `mix` (rtl/README.md, Sampling)."""

from __future__ import annotations

from myhdl import always, concat, instances, modbv

from rtl.convert import module

STEPS = 6


@module
def mix_step(clk, enable, a, y, step: int):
    """y = a after step `step` (0 to 5) of mix, one cycle after enable. 32 bits, modulo 2^32."""

    if step == 0:

        @always(clk.posedge)
        def mix():
            turned = modbv(0)[32:]
            if enable:
                turned[:] = concat(a[20:], "000000000000")
                turned[:] = turned + a
                turned[:] = turned + 0x7ED55D16
                y.next = turned

    elif step == 1:

        @always(clk.posedge)
        def mix():
            if enable:
                y.next = a ^ concat("11000111011000011100001000111100") ^ concat("0000000000000000000", a[32:19])

    elif step == 2:

        @always(clk.posedge)
        def mix():
            turned = modbv(0)[32:]
            if enable:
                turned[:] = concat(a[27:], "00000")
                turned[:] = turned + a
                turned[:] = turned + 0x165667B1
                y.next = turned

    elif step == 3:

        @always(clk.posedge)
        def mix():
            turned = modbv(0)[32:]
            if enable:
                turned[:] = a - 0x2C5D9B94
                y.next = turned ^ concat(a[23:], "000000000")

    elif step == 4:

        @always(clk.posedge)
        def mix():
            turned = modbv(0)[32:]
            if enable:
                turned[:] = concat(a[29:], "000")
                turned[:] = turned + a
                turned[:] = turned - 0x028FB93B
                y.next = turned

    else:

        @always(clk.posedge)
        def mix():
            if enable:
                y.next = a ^ concat("10110101010110100100111100001001") ^ concat("0000000000000000", a[32:16])

    return instances()
