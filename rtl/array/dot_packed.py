"""FPGA leaf of the array: 32 lanes of one 18 x 8 multiplier."""

from myhdl import Signal, always, concat, instances, modbv

from rtl.array.dot8_packed import dot8_packed
from rtl.convert import module


@module
def dot_packed(clk, multiply_enable, add_enable, join_enable, mxfp4, mxfp4_join, activations, weights, even, odd):
    """Dot product of 32 activations with 32 weights, or with two times 32 E2M1 weights; dot_split's twin.

    The sum of all packed products is O * 2^13 + E: with O from the upper parts, E is what is left, so only O has a
    second tree. E is below 2^16 in magnitude: bits 13 to 16 of the difference are all that has to be subtracted.

    Ports: clk; multiply_enable, add_enable, join_enable: the three stages, a cycle apart; mxfp4: with add_enable;
    mxfp4_join: with join_enable; activations: 32 x int8; weights: 32 x 18 bits from weight_lane; even, odd:
    signed 21 bits, after three cycles; MXINT8 sums are in even, and odd keeps its value.
    """
    totals = [Signal(modbv(0)[19:]) for _ in range(4)]
    uppers = [Signal(modbv(0)[15:]) for _ in range(4)]
    carries = [Signal(bool(0)) for _ in range(4)]
    total_0, total_1, total_2, total_3 = totals
    upper_0, upper_1, upper_2, upper_3 = uppers
    carry_0, carry_1, carry_2, carry_3 = carries
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
            carries[i],
        )
        for i in range(4)
    ]

    @always(clk.posedge)
    def join_sums():
        half_0 = modbv(0)[20:]
        half_1 = modbv(0)[20:]
        total = modbv(0)[21:]
        # A one at the right lets the bit beside it carry into the sum, or borrow; bit 0 of that is not used.
        unused_half_0 = modbv(0)[17:]
        unused_half_1 = modbv(0)[17:]
        unused_upper = modbv(0)[18:]
        odd_sum = modbv(0)[17:]
        unused_rest = modbv(0)[5:]
        if join_enable:
            half_0[:] = concat(total_0[18], total_0) + concat(total_1[18], total_1)
            half_1[:] = concat(total_2[18], total_2) + concat(total_3[18], total_3)
            total[:] = concat(half_0[19], half_0) + concat(half_1[19], half_1)
            if mxfp4_join:
                unused_half_0[:] = concat(upper_0[14], upper_0, True) + concat(upper_1[14], upper_1, carry_0)
                unused_half_1[:] = concat(upper_2[14], upper_2, True) + concat(upper_3[14], upper_3, carry_1)
                unused_upper[:] = concat(unused_half_0[16], unused_half_0[17:1], True) + concat(
                    unused_half_1[16], unused_half_1[17:1], carry_2
                )
                odd_sum[:] = unused_upper[18:1] + concat("0000000000000000", carry_3)
                odd.next = concat(odd_sum[16], odd_sum[16], odd_sum[16], odd_sum[16], odd_sum).signed()
                unused_rest[:] = concat(total[17:13], not carry_3) - concat(unused_upper[5:1], True)
                total[21:13] = concat(unused_rest[4], unused_rest[4], unused_rest[4], unused_rest[4], unused_rest[5:1])
            even.next = total.signed()

    return instances()
