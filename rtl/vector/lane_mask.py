"""Which lanes of a word are below a limit."""

from myhdl import always, instances

from rtl.convert import module


def lane_mask_verilog(clk, enable, every, some, limit, mask, lanes: int) -> str:
    ones = f"{{{lanes}{{1'b1}}}}"
    return f"""\
always @(posedge clk) begin: decide
    if (enable) mask <= every ? {ones} : some ? ~({ones} << limit) : {lanes}'d0;
end"""


@module(verilog=lane_mask_verilog)
def lane_mask(clk, enable, every, some, limit, mask, lanes: int):
    """mask (V bits): all lanes with `every`, else with `some` those below `limit` (log2 V bits), else none."""

    @always(clk.posedge)
    def decide():
        if enable:
            mask.next = (1 << lanes) - 1 if every else (1 << int(limit)) - 1 if some else 0

    return instances()
