"""Units in flight towards a writer that has no ready."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.convert import module


@module
def credits(clk, rst, take, give, limit, room, *, units: int):
    """Count units taken and not given back; room: at most `limit` are out. The user sees to it that `units`
    suffice.

    Ports: clk, rst; take, give: pulses, one unit each, also together; limit (as wide as 2 * units - 1); room.
    """
    out = Signal(intbv(0, min=0, max=2 * units))

    @always_comb
    def compare():
        room.next = out <= limit

    @always(clk.posedge)
    def count():
        if take and not give:
            out.next = out + 1
        elif give and not take:
            out.next = out - 1
        if rst:
            out.next = 0

    return instances()
