"""A flag for each of two buffers that rises when what was issued for it has landed."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.convert import module


@module
def landing_flags(clk, rst, mark, mark_buffer, take, ready, *, cycles: int):
    """A mark raises its buffer's ready after `cycles`; take (2, pulses) lowers it.

    For events that cannot wait for an idle pipeline, since later beats keep it busy. One mark a buffer at a
    time.

    Ports: clk, rst; mark, mark_buffer: the last beat is granted now; take; ready (2).
    """
    left_0, left_1 = [Signal(intbv(0, min=0, max=1 << cycles.bit_length())) for _ in range(2)]
    ready_0, ready_1 = [Signal(bool(0)) for _ in range(2)]

    @always_comb
    def drive():
        ready.next = concat(ready_1, ready_0)

    @always(clk.posedge)
    def wait_0():
        if left_0 != 0:
            left_0.next = left_0 - 1
        if mark and not mark_buffer:
            left_0.next = cycles
        if take[0]:
            ready_0.next = 0
        elif left_0 == 1:
            ready_0.next = 1
        if rst:
            left_0.next = 0
            ready_0.next = 0

    @always(clk.posedge)
    def wait_1():
        if left_1 != 0:
            left_1.next = left_1 - 1
        if mark and mark_buffer:
            left_1.next = cycles
        if take[1]:
            ready_1.next = 0
        elif left_1 == 1:
            ready_1.next = 1
        if rst:
            left_1.next = 0
            ready_1.next = 0

    return instances()
