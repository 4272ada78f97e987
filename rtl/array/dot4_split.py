"""Four lanes of the ASIC leaf: two 5 x 8 multipliers each."""

from myhdl import always, instances, modbv

from rtl.convert import module


@module
def dot4_split(clk, enable, activations, weights, even, odd):
    """Two sums over four lanes: of activation * low factor, and of activation * high factor.

    Multipliers and sum are one carry-save tree between registers, so no product has a register of its own. Sums leave
    with 2^13 added: what adds them up needs no sign extension. Factors are -15 to 15, so they fit: 4 * 128 * 15 < 2^13.

    Ports: clk; enable; activations: 4 x int8; weights: 4 x (low, high), each 5 bits signed; even, odd: unsigned 14
    bits, a cycle later.
    """

    @always(clk.posedge)
    def multiply():
        low = modbv(0)[14:]
        high = modbv(0)[14:]
        if enable:
            low[:] = (
                (weights[5:0].signed() * activations[8:0].signed())
                + (weights[15:10].signed() * activations[16:8].signed())
                + (weights[25:20].signed() * activations[24:16].signed())
                + (weights[35:30].signed() * activations[32:24].signed())
            )
            high[:] = (
                (weights[10:5].signed() * activations[8:0].signed())
                + (weights[20:15].signed() * activations[16:8].signed())
                + (weights[30:25].signed() * activations[24:16].signed())
                + (weights[40:35].signed() * activations[32:24].signed())
            )
            even.next = low ^ 8192
            odd.next = high ^ 8192

    return instances()
