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
    changes, or when the register is full: a clock to read the word, a clock to add and write. So a word lags behind
    by up to 2^RUN_BITS + 1 clocks while its cause lasts, and is right two clocks after the cause has become another
    one, or 0.

    Ports: clk; clear: all words are zero; cause; read_cause, value (WIDTH bits, not registered).
    """
    COUNT, LONGEST = 1 << CAUSE_BITS, (1 << RUN_BITS) - 1
    current, stored = [Signal(intbv(0)[CAUSE_BITS:]) for _ in range(2)]
    run, run_stored = [Signal(intbv(0)[RUN_BITS:]) for _ in range(2)]
    ends, store = [Signal(bool(0)) for _ in range(2)]
    written = Signal(intbv(0)[COUNT:])  # since clear: other words hold anything
    old, kept, base, added = [Signal(intbv(0)[WIDTH:]) for _ in range(4)]
    total = Signal(modbv(0)[WIDTH:])

    @always_comb
    def extend():
        added.next = concat(intbv(0)[WIDTH - RUN_BITS :], run_stored)
        ends.next = (cause != current) or (run == LONGEST)

    @always_comb
    def add():
        total.next = base + added

    @always(clk.posedge)
    def count():
        if clear:
            current.next = 0
            run.next = 0
        elif ends:
            current.next = cause
            run.next = 1
        else:
            run.next = run + 1

    @always(clk.posedge)
    def fetch():
        store.next = ends and not clear
        if ends:
            stored.next = current
            run_stored.next = run
            # A full register may be followed by the last clock of the same cause.
            base.next = 0
            if store and stored == current:
                base.next = total
            elif written[current]:
                base.next = old

    @always(clk.posedge)
    def mark():
        if clear:
            written.next = 0
        elif store:
            written.next[stored] = True

    # Two copies of one memory, since a distributed RAM has one port to read.
    words = lutram(clk, store, stored, total, current, old, depth=COUNT, width=WIDTH)
    shown = lutram(clk, store, stored, total, read_cause, kept, depth=COUNT, width=WIDTH)

    @always_comb
    def read():
        value.next = 0
        if written[read_cause]:
            value.next = kept

    return instances()
