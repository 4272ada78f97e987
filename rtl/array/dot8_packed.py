"""Eight lanes of the FPGA leaf: one 18 x 8 multiplier each."""

from myhdl import Signal, always, concat, instances, intbv, modbv

from rtl.convert import module


@module
def dot8_packed(clk, multiply_enable, add_enable, mxfp4, activations, weights, total, upper, carry):
    """Sums over eight lanes: of activation * weight, and of what the odd weights of packed factors contribute.

    A packed product is odd * 2^13 + even. Two even products are within 2^12, so the upper part of the sum of two
    packed products, rounded by bit 12, is the sum of two odd ones. The round-ups are carries into the adders of the
    upper parts, of which there are one too few: see dot_packed for the last, and for the even products.

    Ports: clk; multiply_enable: products are registered; add_enable, mxfp4 (a cycle later): total is, and with
    mxfp4 upper and carry; activations: 8 x int8; weights: 8 x 18 bits signed; total: 19 bits signed, with mxfp4
    only modulo 2^17; upper (15 bits signed) + carry: of the odd weights.
    """
    p0, p1, p2, p3, p4, p5, p6, p7 = [Signal(intbv(0, min=-(2**25), max=2**25)) for _ in range(8)]

    @always(clk.posedge)
    def multiply():
        if multiply_enable:
            p0.next = weights[18:0].signed() * activations[8:0].signed()
            p1.next = weights[36:18].signed() * activations[16:8].signed()
            p2.next = weights[54:36].signed() * activations[24:16].signed()
            p3.next = weights[72:54].signed() * activations[32:24].signed()
            p4.next = weights[90:72].signed() * activations[40:32].signed()
            p5.next = weights[108:90].signed() * activations[48:40].signed()
            p6.next = weights[126:108].signed() * activations[56:48].signed()
            p7.next = weights[144:126].signed() * activations[64:56].signed()

    @always(clk.posedge)
    def add():
        pair_0 = modbv(0)[26:]
        pair_1 = modbv(0)[26:]
        pair_2 = modbv(0)[26:]
        pair_3 = modbv(0)[26:]
        four_0 = modbv(0)[18:]
        four_1 = modbv(0)[18:]
        # A one at the right lets the bit beside it carry into the sum; bit 0 of that is not used.
        unused_upper_0 = modbv(0)[15:]
        unused_upper_1 = modbv(0)[15:]
        unused_upper_all = modbv(0)[16:]
        if add_enable:
            pair_0[:] = p0[26:] + p1[26:]
            pair_1[:] = p2[26:] + p3[26:]
            pair_2[:] = p4[26:] + p5[26:]
            pair_3[:] = p6[26:] + p7[26:]
            four_0[:] = concat(pair_0[16], pair_0[17:]) + concat(pair_1[16], pair_1[17:])
            four_1[:] = concat(pair_2[16], pair_2[17:]) + concat(pair_3[16], pair_3[17:])
            total.next = concat(four_0[17], four_0) + concat(four_1[17], four_1)
            if mxfp4:
                unused_upper_0[:] = concat(pair_0[25], pair_0[26:13], True) + concat(
                    pair_1[25], pair_1[26:13], pair_0[12]
                )
                unused_upper_1[:] = concat(pair_2[25], pair_2[26:13], True) + concat(
                    pair_3[25], pair_3[26:13], pair_1[12]
                )
                unused_upper_all[:] = concat(unused_upper_0[14], unused_upper_0[15:1], True) + concat(
                    unused_upper_1[14], unused_upper_1[15:1], pair_2[12]
                )
                upper.next = unused_upper_all[16:1]
                carry.next = pair_3[12]

    return instances()
