"""The event counters of a run."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, concat, instances, intbv

from rtl.common.registers import COUNTERS
from rtl.control.counter import counter
from rtl.convert import module

COUNT = len(COUNTERS)
assert COUNT <= 16


@module
def counters(clk, rst, clear, busy, events, access_read, access_word, read_data):
    """One counter for each name in registers.COUNTERS; they count only while busy.

    Ports: clk; rst; clear (pulse); busy; events (a bit for each counter, in the order of COUNTERS; bit 0, cycles,
    is ignored: it counts busy). access_read, access_word (5 bits; held for two clocks): 2 * counter + (1 for the
    high word); read_data: that word, two clocks later.
    """
    counted = Signal(intbv(0)[COUNT:])
    bits = [counted(i) for i in range(COUNT)]
    values = [Signal(intbv(0)[64:]) for _ in range(COUNT)]
    counter_of = [counter(clk, rst, clear, bits[i], values[i]) for i in range(COUNT)]
    all_values = ConcatSignal(*reversed(values))
    place = Signal(intbv(0)[10:])

    @always(clk.posedge)
    def gate():
        if busy:
            counted.next = events | 1
        else:
            counted.next = 0

    @always(clk.posedge)
    def read():
        unused_shifted = intbv(0)[COUNT * 64 :]
        if access_read:
            place.next = concat(access_word, intbv(0)[5:])
            unused_shifted[:] = all_values >> place
            read_data.next = unused_shifted[32:]

    return instances()
