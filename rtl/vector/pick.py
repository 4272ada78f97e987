"""Selection of one element of a packed vector, registered."""

from myhdl import always, instances

from rtl.convert import module


def pick_verilog(clk, enable, x, index, y, count: int, width: int) -> str:
    select = "x" if count == 1 else f"x[index * {width} +: {width}]"
    note = "// One element: index is 0.\nwire unused_index = |index;\n" if count == 1 else ""
    return f"{note}always @(posedge clk) begin: select\n    if (enable) y <= {select};\nend"


@module(verilog=pick_verilog)
def pick(clk, enable, x, index, y, count: int, width: int):
    """y = element `index` of x (count elements of width bits), one cycle after enable."""

    @always(clk.posedge)
    def select():
        if enable:
            y.next = int(x) >> (int(index) * width) & ((1 << width) - 1)

    return instances()
