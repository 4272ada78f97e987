"""Eight lanes of the FPGA leaf: one 18 x 8 multiplier each."""

from myhdl import Signal, always, concat, instances, intbv, modbv

from rtl.convert import module


@module
def dot8_packed(clk, multiply_enable, add_enable, mxfp4, activations, weights, total, upper):
    """Sums over eight lanes: of activation * weight, and of what the odd weights of packed factors contribute.

    A packed product is odd * 2^13 + even; its upper part, rounded by the sign of the lower one, is odd. The even
    products need no adders of their own: see dot_packed.

    Ports: clk; multiply_enable: products are registered; add_enable, mxfp4 (a cycle later): total is, and with
    mxfp4 upper; activations: 8 x int8; weights: 8 x 18 bits signed; total: modulo 2^21; upper: modulo 2^18.
    """
    # Products need 26 bits; the sign extension to 31 costs no flip-flops and spares one at every use.
    p0, p1, p2, p3, p4, p5, p6, p7 = [Signal(intbv(0, min=-(2**30), max=2**30)) for _ in range(8)]

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
        h0 = modbv(0)[18:]
        h1 = modbv(0)[18:]
        h2 = modbv(0)[18:]
        h3 = modbv(0)[18:]
        h4 = modbv(0)[18:]
        h5 = modbv(0)[18:]
        h6 = modbv(0)[18:]
        h7 = modbv(0)[18:]
        if add_enable:
            total.next = ((p0[21:] + p1[21:]) + (p2[21:] + p3[21:])) + ((p4[21:] + p5[21:]) + (p6[21:] + p7[21:]))
            if mxfp4:
                h0[:] = p0[31:13] + concat("00000000000000000", p0[12])
                h1[:] = p1[31:13] + concat("00000000000000000", p1[12])
                h2[:] = p2[31:13] + concat("00000000000000000", p2[12])
                h3[:] = p3[31:13] + concat("00000000000000000", p3[12])
                h4[:] = p4[31:13] + concat("00000000000000000", p4[12])
                h5[:] = p5[31:13] + concat("00000000000000000", p5[12])
                h6[:] = p6[31:13] + concat("00000000000000000", p6[12])
                h7[:] = p7[31:13] + concat("00000000000000000", p7[12])
                upper.next = ((h0 + h1) + (h2 + h3)) + ((h4 + h5) + (h6 + h7))

    return instances()
