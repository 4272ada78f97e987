"""Selection of one accumulator word out of all columns of all rows."""

from myhdl import always, instances

from rtl.convert import module


def drain_mux_verilog(clk, enable, index, words, data, count: int, width: int) -> str:
    bits = len(index)
    cases = "\n".join(
        f"        {bits}'d{i}: data <= words[{(i + 1) * width - 1}:{i * width}];" for i in range(count - 1)
    )
    return f"""\
always @(posedge clk) begin: choose
    if (enable) case (index)
{cases}
        default: data <= words[{count * width - 1}:{(count - 1) * width}];
    endcase
end"""


@module(verilog=drain_mux_verilog)
def drain_mux(clk, enable, index, words, data, count: int, width: int):
    """Register word `index` of `count` (a power of two) packed words while enable is high.

    Text: a case of constant slices, so that no tool builds a shifter over the whole vector.
    """

    @always(clk.posedge)
    def choose():
        if enable:
            low = width * int(index)
            data.next = words[low + width : low]

    return instances()
