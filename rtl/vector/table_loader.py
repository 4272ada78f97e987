"""Turns words of the parameter stream into writes of the function tables."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.isa import TABLE_ENTRIES
from rtl.convert import module
from rtl.vector.function_table import WRITE_WORDS
from rtl.vector.pick import pick

WRITES = 3 * TABLE_ENTRIES // WRITE_WORDS


@module
def table_loader(clk, rst, valid, data, ready, write, write_address, write_data, config: ChipConfig):
    """Writes c2[1024], c1[1024], c0[1024] as they come, two entries a cycle: V / 2 cycles for a word of the stream.

    valid, data (V * 32), ready; write, write_address (11 bits), write_data (64 bits), registered. It starts again at
    c2[0] after a whole table.
    """
    parts = config.lanes // WRITE_WORDS
    part_bits = max(1, (parts - 1).bit_length())
    at, address = Signal(intbv(0)[11:]), Signal(intbv(0)[11:])
    part = Signal(intbv(0)[part_bits:])
    last_part, last_write = parts - 1, WRITES - 1

    @always_comb
    def place():
        part.next = 0
        if last_part != 0:
            part.next = at[part_bits:]

    @always_comb
    def offer():
        ready.next = part == last_part

    @always(clk.posedge)
    def count():
        if rst:
            at.next = 0
            write.next = False
        else:
            write.next = valid
            if valid:
                if at == last_write:
                    at.next = 0
                else:
                    at.next = at + 1

    @always(clk.posedge)
    def hold_address():
        if valid:
            address.next = at

    @always_comb
    def give():
        write_address.next = address

    choose = pick(clk, valid, data, part, write_data, parts, 32 * WRITE_WORDS)
    return instances()
