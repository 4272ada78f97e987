"""Weight scales of one column: the last scale beat, and the byte of each output."""

from myhdl import Signal, always, instances, intbv

from rtl.convert import module


@module
def scale_port(clk, write_1, scales_1, select_1, unit_1, index_1, scale_4, unknown_4):
    """Keep the 32 scale bytes of a column; give the one of the output that passes, three cycles later.

    Ports: clk; write_1: scales_1 (32 bytes) are new ones; select_1: output index_1 passes; unit_1: its scale is
    127, a factor of one, whatever was kept (V cache); scale_4; unknown_4: it is 255, which makes a NaN.
    """
    kept = Signal(intbv(0)[256:])
    scale_2, scale_3 = [Signal(intbv(0)[8:]) for _ in range(2)]

    @always(clk.posedge)
    def keep():
        if write_1:
            kept.next = scales_1

    @always(clk.posedge)
    def pick():
        low = intbv(0)[8:]
        if select_1:
            low[8:3] = index_1
            if unit_1:
                scale_2.next = 127
            else:
                scale_2.next = kept[low + 8 : low]

    @always(clk.posedge)
    def follow():
        scale_3.next = scale_2
        scale_4.next = scale_3
        unknown_4.next = scale_3 == 255

    return instances()
