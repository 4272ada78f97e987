"""ASIC leaf of the array: 64 multipliers of 5 x 8."""

from myhdl import Signal, always, concat, instances, modbv

from rtl.array.dot8_split import dot8_split
from rtl.convert import module


@module
def dot_split(clk, multiply_enable, add_enable, join_enable, mxfp4_join, activations, weights, even, odd):
    """Dot product of 32 activations with 32 weights, or with two times 32 E2M1 weights; dot_packed's twin.

    One tree sums the low factors, one the high ones; for MXINT8 they join once, after the trees.

    Ports: clk; multiply_enable, add_enable, join_enable: the three stages, a cycle apart;
    mxfp4_join: with join_enable; activations: 32 x int8; weights: 32 x 10 bits from weight_lane; even, odd:
    signed 21 bits, after three cycles; MXINT8 sums are in even, and odd keeps its value.
    """
    evens = [Signal(modbv(0)[18:]) for _ in range(4)]
    odds = [Signal(modbv(0)[18:]) for _ in range(4)]
    even_0, even_1, even_2, even_3 = evens
    odd_0, odd_1, odd_2, odd_3 = odds
    eights = [
        dot8_split(
            clk,
            multiply_enable,
            add_enable,
            activations(64 * i + 64, 64 * i),
            weights(80 * i + 80, 80 * i),
            evens[i],
            odds[i],
        )
        for i in range(4)
    ]

    @always(clk.posedge)
    def join_sums():
        low = modbv(0)[18:]
        high = modbv(0)[18:]
        total = modbv(0)[21:]
        if join_enable:
            low[:] = (even_0 + even_1) + (even_2 + even_3)
            high[:] = (odd_0 + odd_1) + (odd_2 + odd_3)
            total[:] = concat(low[17], low[17], low[17], low)
            if mxfp4_join:
                odd.next = concat(high[17], high[17], high[17], high).signed()
            else:
                total[:] = total + concat(high[17:], "0000")
            even.next = total.signed()

    return instances()
