"""One byte of a beat of V: of the bank whose token it is."""

from __future__ import annotations

from myhdl import always, instances, intbv

from rtl.convert import module


@module
def value_lane(clk, move, chosen, planes, element, banks: int):
    """The bytes of the chosen banks, which are one or none, one move later.

    Ports: clk; move: the pipeline advances; chosen (a bit a bank); planes: bit k of all banks' bytes at banks * k;
    element (8 bits).
    """
    B1, B2, B3, B4, B5, B6, B7, B8 = (banks * k for k in range(1, 9))

    @always(clk.posedge)
    def join_banks():
        joined = intbv(0)[8:]
        if move:
            joined[0] = (planes[B1:] & chosen) != 0
            joined[1] = (planes[B2:B1] & chosen) != 0
            joined[2] = (planes[B3:B2] & chosen) != 0
            joined[3] = (planes[B4:B3] & chosen) != 0
            joined[4] = (planes[B5:B4] & chosen) != 0
            joined[5] = (planes[B6:B5] & chosen) != 0
            joined[6] = (planes[B7:B6] & chosen) != 0
            joined[7] = (planes[B8:B7] & chosen) != 0
            element.next = joined

    return instances()
