"""Counters of which one counts at a time: a RAM word for each."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.ram import lutram
from rtl.common.registers import CAUSE_BITS
from rtl.convert import module

WIDTH = 48
"""Bits of a counter: 2^48 clocks are eight days at 400 MHz. It wraps."""
RUN_BITS = 8


@module
def cause_bank(clk, clear, cause, read_cause, value):
    """Count the clocks of each cause; cause 0 is not counted.

    The clocks since the cause has changed are counted in one short register, and added to the cause's word when it
    changes, or when the register is full. So a word lags behind by up to 2^RUN_BITS - 1 clocks while its cause lasts,
    and is right a clock after the cause has become another one, or 0.

    Ports: clk; clear: all words are zero; cause; read_cause, value (WIDTH bits, not registered).
    """
    COUNT, LONGEST = 1 << CAUSE_BITS, (1 << RUN_BITS) - 1
    current = Signal(intbv(0)[CAUSE_BITS:])
    run = Signal(intbv(0)[RUN_BITS:])
    store = Signal(bool(0))
    written = Signal(intbv(0)[COUNT:])  # since clear: other words hold anything
    old, kept, added = [Signal(intbv(0)[WIDTH:]) for _ in range(3)]
    total = Signal(modbv(0)[WIDTH:])

    @always_comb
    def extend():
        added.next = concat(intbv(0)[WIDTH - RUN_BITS :], run)

    @always_comb
    def add():
        store.next = (cause != current) or (run == LONGEST)
        total.next = added
        if written[current]:
            total.next = old + added

    @always(clk.posedge)
    def count():
        if clear:
            current.next = 0
            run.next = 0
            written.next = 0
        elif store:
            current.next = cause
            run.next = 1
            written.next[current] = True
        else:
            run.next = run + 1

    # Two copies of one memory, since a distributed RAM has one port to read.
    words = lutram(clk, store, current, total, current, old, depth=COUNT, width=WIDTH)
    shown = lutram(clk, store, current, total, read_cause, kept, depth=COUNT, width=WIDTH)

    @always_comb
    def read():
        value.next = 0
        if written[read_cause]:
            value.next = kept

    return instances()
