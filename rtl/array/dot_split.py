"""ASIC leaf of the array: 64 multipliers of 5 x 8."""

from myhdl import Signal, always, concat, instances, intbv, modbv

from rtl.array.dot4_split import dot4_split
from rtl.convert import module


@module
def dot_split(clk, multiply_enable, add_enable, join_enable, mxfp4_join, activations, weights, even, odd):
    """Dot product of 32 activations with 32 weights, or with two times 32 E2M1 weights; dot_packed's twin.

    One tree sums the low factors, one the high ones; for MXINT8 they join once, after the trees.

    Ports: clk; multiply_enable, add_enable, join_enable: the three stages, a cycle apart;
    mxfp4_join: with join_enable; activations: 32 x int8; weights: 32 x 10 bits from weight_lane; even, odd:
    signed 21 bits, after three cycles; MXINT8 sums are in even, and odd keeps its value.
    """
    # A sum of four comes with 2^13 added, so one of 32 has 2^16 more: no sign extension before the last step.
    evens, odds = [[Signal(intbv(0)[14:]) for _ in range(8)] for _ in range(2)]
    even_0, even_1, even_2, even_3, even_4, even_5, even_6, even_7 = evens
    odd_0, odd_1, odd_2, odd_3, odd_4, odd_5, odd_6, odd_7 = odds
    low, high = [Signal(modbv(0)[17:]) for _ in range(2)]
    fours = [
        dot4_split(
            clk,
            multiply_enable,
            activations(32 * i + 32, 32 * i),
            weights(40 * i + 40, 40 * i),
            evens[i],
            odds[i],
        )
        for i in range(8)
    ]

    @always(clk.posedge)
    def add():
        if add_enable:
            low.next = (
                (concat("000", even_0) + concat("000", even_1)) + (concat("000", even_2) + concat("000", even_3))
            ) + ((concat("000", even_4) + concat("000", even_5)) + (concat("000", even_6) + concat("000", even_7)))
            high.next = (
                (concat("000", odd_0) + concat("000", odd_1)) + (concat("000", odd_2) + concat("000", odd_3))
            ) + ((concat("000", odd_4) + concat("000", odd_5)) + (concat("000", odd_6) + concat("000", odd_7)))

    @always(clk.posedge)
    def join_sums():
        total = modbv(0)[21:]
        upper = modbv(0)[21:]
        if join_enable:
            # Flipping the top bit takes 2^16 away; it is the sign then.
            total[:] = concat(not low[16], not low[16], not low[16], not low[16], not low[16], low[16:])
            upper[:] = concat(not high[16], not high[16], not high[16], not high[16], not high[16], high[16:])
            if mxfp4_join:
                odd.next = upper.signed()
            else:
                total[:] = total + concat(upper[17:], "0000")
            even.next = total.signed()

    return instances()
