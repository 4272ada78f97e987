"""The counters of a run."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.registers import CAUSE_BITS, CAUSES, COUNTERS
from rtl.control.cause_bank import WIDTH, cause_bank
from rtl.control.counter import counter
from rtl.convert import module

FIRST_EVENT = 1 + len(CAUSES)
EVENT_COUNT = len(COUNTERS) - FIRST_EVENT
assert FIRST_EVENT <= 1 << CAUSE_BITS and EVENT_COUNT == 4, "one word of the bank, or one counter, for each name"


@module
def counters(clk, rst, clear, busy, events, counting, cause, access_read, access_word, read_data):
    """One counter for each name in registers.COUNTERS; they count only while busy.

    Ports: clk; rst; clear (pulse); busy; events: a bit for each counter behind the causes; counting, cause: see
    cycle_cause; `cycles` counts the clocks of counting. access_read, access_word (6 bits; held for three clocks):
    2 * counter + (1 for the high word); read_data: that word, two clocks later.
    """
    event_bits = Signal(intbv(0)[EVENT_COUNT:])
    bits = [event_bits(i) for i in range(EVENT_COUNT)]
    cycles, event_0, event_1, event_2, event_3 = [Signal(intbv(0)[64:]) for _ in range(5)]
    index = Signal(intbv(0)[5:])
    number = Signal(intbv(0)[CAUSE_BITS:])
    clear_bank = Signal(bool(0))
    of_cause = Signal(intbv(0)[WIDTH:])
    chosen = Signal(intbv(0)[64:])

    cycle_counter = counter(clk, rst, clear, counting, cycles)
    counter_0 = counter(clk, rst, clear, bits[0], event_0)
    counter_1 = counter(clk, rst, clear, bits[1], event_1)
    counter_2 = counter(clk, rst, clear, bits[2], event_2)
    counter_3 = counter(clk, rst, clear, bits[3], event_3)
    bank = cause_bank(clk, clear_bank, cause, number, of_cause)

    @always_comb
    def address_bank():
        clear_bank.next = rst or clear
        number.next = index[CAUSE_BITS:]

    @always(clk.posedge)
    def gate():
        event_bits.next = 0
        if busy:
            event_bits.next = events

    @always(clk.posedge)
    def choose():
        index.next = access_word[6:1]
        if access_read:
            if index == 0:
                chosen.next = cycles
            elif index < FIRST_EVENT:
                chosen.next = concat(intbv(0)[64 - WIDTH :], of_cause)
            elif index == FIRST_EVENT:
                chosen.next = event_0
            elif index == FIRST_EVENT + 1:
                chosen.next = event_1
            elif index == FIRST_EVENT + 2:
                chosen.next = event_2
            else:
                chosen.next = event_3

    @always_comb
    def read():
        read_data.next = chosen[32:]
        if access_word[0]:
            read_data.next = chosen[64:32]

    return instances()
