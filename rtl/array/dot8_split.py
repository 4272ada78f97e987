"""Eight lanes of the ASIC leaf: two 5 x 8 multipliers each."""

from myhdl import Signal, always, instances, intbv

from rtl.convert import module


@module
def dot8_split(clk, multiply_enable, add_enable, activations, weights, even, odd):
    """Two sums over eight lanes: of activation * low factor, and of activation * high factor.

    Ports: clk; multiply_enable: products are registered; add_enable, a cycle later: sums are; activations: 8 x
    int8; weights: 8 x (low, high), each 5 bits signed; even, odd: sums modulo 2^18.
    """
    # Products need 13 bits; the sign extension to 18 costs no flip-flops and spares one at every use.
    even0, even1, even2, even3, even4, even5, even6, even7 = [
        Signal(intbv(0, min=-(2**17), max=2**17)) for _ in range(8)
    ]
    odd0, odd1, odd2, odd3, odd4, odd5, odd6, odd7 = [Signal(intbv(0, min=-(2**17), max=2**17)) for _ in range(8)]

    @always(clk.posedge)
    def multiply():
        if multiply_enable:
            even0.next = weights[5:0].signed() * activations[8:0].signed()
            odd0.next = weights[10:5].signed() * activations[8:0].signed()
            even1.next = weights[15:10].signed() * activations[16:8].signed()
            odd1.next = weights[20:15].signed() * activations[16:8].signed()
            even2.next = weights[25:20].signed() * activations[24:16].signed()
            odd2.next = weights[30:25].signed() * activations[24:16].signed()
            even3.next = weights[35:30].signed() * activations[32:24].signed()
            odd3.next = weights[40:35].signed() * activations[32:24].signed()
            even4.next = weights[45:40].signed() * activations[40:32].signed()
            odd4.next = weights[50:45].signed() * activations[40:32].signed()
            even5.next = weights[55:50].signed() * activations[48:40].signed()
            odd5.next = weights[60:55].signed() * activations[48:40].signed()
            even6.next = weights[65:60].signed() * activations[56:48].signed()
            odd6.next = weights[70:65].signed() * activations[56:48].signed()
            even7.next = weights[75:70].signed() * activations[64:56].signed()
            odd7.next = weights[80:75].signed() * activations[64:56].signed()

    @always(clk.posedge)
    def add():
        if add_enable:
            even.next = ((even0[18:] + even1[18:]) + (even2[18:] + even3[18:])) + (
                (even4[18:] + even5[18:]) + (even6[18:] + even7[18:])
            )
            odd.next = ((odd0[18:] + odd1[18:]) + (odd2[18:] + odd3[18:])) + (
                (odd4[18:] + odd5[18:]) + (odd6[18:] + odd7[18:])
            )

    return instances()
