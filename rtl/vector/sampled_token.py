"""The token of one row."""

from myhdl import always, instances

from rtl.convert import module


@module
def sampled_token(clk, write, row, token, held, number: int):
    """Register of row `number`: takes `token` when `write` comes with that row."""

    @always(clk.posedge)
    def hold():
        if write and row == number:
            held.next = token

    return instances()
