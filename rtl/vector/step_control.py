"""When one arithmetic step of the lanes works, and when a beat passes around it."""

from myhdl import always, concat, instances

from rtl.convert import module


@module
def step_control(clk, rst, valid, selected, start, skip, stages: int):
    """One cycle after a beat (valid): start if it has `selected` the step, else skip bit 0, which then walks up
    `stages` bits.

    One such block serves all lanes.
    """

    @always(clk.posedge)
    def decide():
        if rst:
            start.next = False
            skip.next = 0
        else:
            start.next = valid & selected
            skip.next = concat(skip[stages - 1 :], valid & (not selected))

    return instances()
