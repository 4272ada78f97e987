"""Lowest row of a set, and the others."""

from __future__ import annotations

from myhdl import Signal, always_comb, instances, intbv, modbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def lowest_row(present, number, rest, *, rows: int):
    """Ports: present (R bits); number of the lowest bit that is set, 0 if none; rest: present without it."""
    lowest = Signal(intbv(0)[rows:])
    number_bits = bits_for(rows)

    @always_comb
    def find():
        lowest.next = present & (~present + 1)

    @always_comb
    def tell():
        found = intbv(0)[number_bits:]
        row = modbv(0)[number_bits:]
        for i in range(rows):
            if lowest[i]:
                found[:] = found | row
            row[:] = row + 1
        number.next = found
        rest.next = present & ~lowest

    return instances()
