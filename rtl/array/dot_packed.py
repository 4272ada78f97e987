"""FPGA leaf of the array: 32 lanes of one 18 x 8 multiplier."""

from myhdl import Signal, always, concat, instances, modbv

from rtl.array.dot8_packed import dot8_packed
from rtl.convert import module


@module
def dot_packed(clk, multiply_enable, add_enable, join_enable, mxfp4, mxfp4_join, activations, weights, even, odd):
    """Dot product of 32 activations with 32 weights, or with two times 32 E2M1 weights; dot_split's twin.

    The sum of all packed products is O * 2^13 + E: with O from the upper parts, E is what is left, so only O has a
    second tree.

    Ports: clk; multiply_enable, add_enable, join_enable: the three stages, a cycle apart; mxfp4: with add_enable;
    mxfp4_join: with join_enable; activations: 32 x int8; weights: 32 x 18 bits from weight_lane; even, odd:
    signed 21 bits, after three cycles; MXINT8 sums are in even, and odd keeps its value.
    """
    totals = [Signal(modbv(0)[21:]) for _ in range(4)]
    uppers = [Signal(modbv(0)[18:]) for _ in range(4)]
    total_0, total_1, total_2, total_3 = totals
    upper_0, upper_1, upper_2, upper_3 = uppers
    eights = [
        dot8_packed(
            clk,
            multiply_enable,
            add_enable,
            mxfp4,
            activations(64 * i + 64, 64 * i),
            weights(144 * i + 144, 144 * i),
            totals[i],
            uppers[i],
        )
        for i in range(4)
    ]

    @always(clk.posedge)
    def join_sums():
        total = modbv(0)[21:]
        upper = modbv(0)[18:]
        if join_enable:
            total[:] = (total_0 + total_1) + (total_2 + total_3)
            if mxfp4_join:
                upper[:] = (upper_0 + upper_1) + (upper_2 + upper_3)
                total[21:13] = total[21:13] - upper[8:]
                odd.next = concat(upper[17], upper[17], upper[17], upper).signed()
            even.next = total.signed()

    return instances()
