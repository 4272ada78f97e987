"""A clock that rests while nothing behind it would change."""

from myhdl import always_comb, instances

from rtl.convert import module

MACRO = "MOZG_CLOCK_GATES"


def clock_gate_verilog(clk, rst, wake, gated, tail: int) -> str:
    bits = tail.bit_length()
    return f"""\
`ifdef {MACRO}
reg [{bits - 1}:0] left;
reg open;

always @(posedge clk) begin: count
    if (rst | wake) left <= {bits}'d{tail};
    else if (left != 0) left <= left - {bits}'d1;
end

always @* begin: decide
    if (!clk) open = rst | wake | (left != 0);
end

assign gated = clk & open;
`else
wire unused = &{{1'b0, rst, wake}};

assign gated = clk;
`endif"""


@module(verilog=clock_gate_verilog)
def clock_gate(clk, rst, wake, gated, tail: int):
    """gated is clk, and may be still from `tail` cycles after the last one with wake or rst.

    Whoever uses it promises: no register behind it changes, in a way that anything else could see, at the end of a
    cycle in which wake is low and was low in the `tail` cycles before. So the chip does the same with and without
    gates, to the bit and the cycle. wake must be settled when clk rises.

    Plain by default, a wire: right for an FPGA, whose registers have enables and whose clocks have few buffers. With
    the macro MOZG_CLOCK_GATES defined it gates, behind a latch that is open while clk is low, so that there are no
    glitches: an ASIC flow maps that to its gating cell, and the Verilated chip skips what rests
    (verif/device/README.md).

    Text, for the macro. In MyHDL's own simulation the gated clock comes a delta cycle late: simulate a parent of
    gates in Verilog.
    """
    if tail < 1:
        raise ValueError(f"clock_gate: tail is {tail}, expected at least 1")

    @always_comb
    def pass_on():
        gated.next = clk

    return instances()
