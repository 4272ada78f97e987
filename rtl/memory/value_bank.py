"""One bank of the V gather: units that arrive, bytes that leave."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import kv_units
from rtl.common.ram import lutram, ram
from rtl.convert import module
from rtl.memory.value_picker import value_picker


@module
def value_bank(
    clk,
    rst,
    write,
    write_block,
    write_word,
    write_data,
    write_last,
    write_head,
    write_slot,
    write_position,
    select,
    select_head,
    select_slot,
    select_block,
    free,
    move,
    group,
    element,
    taken,
    lanes,
    bytes_out,
    config: ChipConfig,
):
    """Holds the units (a row's head of V) that fall to this bank, in order of arrival; works on the oldest.

    Ports: clk; rst; write: a word of V bytes of the newest unit, at (write_block, write_word); write_last ends the
    unit, whose head, slot and position are kept. select: the bank becomes a member if its oldest unit is of that
    head, slot and block of 32 tokens and was not a member before. free: the oldest unit is done with. move: the
    pipeline advances: element (0..31) of channel group `group` -> two moves later its bytes (one a port) leave in
    bytes_out, zero unless a member. taken: some select chose the oldest unit. lanes: the place of the unit's token in
    its block as one bit of 32, zero unless a member; valid two clocks after select.
    """
    P = config.ports
    S, C = bits_for(config.slots), bits_for(config.context)
    V = config.lanes
    V8 = 8 * V
    UNITS = kv_units(config.rows) // config.rows
    UNIT_BITS = bits_for(UNITS)
    GROUP_BITS = bits_for(-(-config.head_blocks // P))
    WORD_BITS = bits_for(config.words)
    PORT_BITS = P.bit_length() - 1
    BYTE_BITS = bits_for(V)
    DEPTH = 2 ** (UNIT_BITS + GROUP_BITS + WORD_BITS)
    INFO = 8 + S + C

    write_unit = Signal(modbv(0)[UNIT_BITS:])
    read_unit = Signal(modbv(0)[UNIT_BITS:])
    count = Signal(intbv(0)[bits_for(UNITS + 1) :])
    unused_block = Signal(intbv(0)[8:])
    member = Signal(bool(0))
    complete = Signal(bool(0))
    info = Signal(intbv(0)[INFO:])
    new_info = Signal(intbv(0)[INFO:])
    lane = Signal(intbv(0)[5:])
    write_end = Signal(bool(0))
    write_address = Signal(intbv(0)[bits_for(DEPTH) :])
    read_address = Signal(intbv(0)[bits_for(DEPTH) :])
    read_word = Signal(intbv(0)[WORD_BITS:]) if config.words > 1 else Constant(intbv(0)[1:])
    place = Signal(intbv(0)[BYTE_BITS:])
    write_ports = Signal(intbv(0)[P:])
    port_write = [write_ports(p) for p in range(P)] if P > 1 else [write]
    words = [Signal(intbv(0)[V8:]) for _ in range(P)]
    picked = [Signal(intbv(0)[8:]) for _ in range(P)]
    rams = [
        ram(clk, port_write[p], write_address, write_data, move, read_address, words[p], depth=DEPTH, width=V8)
        for p in range(P)
    ]
    pickers = [value_picker(clk, move, member, words[p], place, picked[p], config) for p in range(P)]
    all_picked = ConcatSignal(*reversed(picked)) if P > 1 else picked[0]
    infos = lutram(clk, write_end, write_unit, new_info, read_unit, info, depth=UNITS, width=INFO)

    if P > 1:

        @always_comb
        def choose_port():
            write_ports.next = 0
            if write:
                write_ports.next = 1 << write_block[PORT_BITS:]

    if config.words > 1:

        @always_comb
        def choose_word():
            read_word.next = element[5:BYTE_BITS]

    @always_comb
    def ignore():
        # Heads are at most config.head_blocks long.
        unused_block.next = write_block

    @always_comb
    def connect():
        write_end.next = write and write_last
        new_info.next = concat(write_head, write_slot, write_position)
        write_address.next = concat(write_unit, write_block[PORT_BITS + GROUP_BITS : PORT_BITS], write_word)
        read_address.next = concat(read_unit, group, read_word)
        bytes_out.next = all_picked
        complete.next = count != 0

    @always(clk.posedge)
    def follow():
        if move:
            place.next = element[BYTE_BITS:]

    @always(clk.posedge)
    def join_burst():
        lanes.next = 0
        if rst:
            member.next = 0
            taken.next = 0
            lane.next = 0
        else:
            if free:
                taken.next = 0
            if select:
                member.next = 0
                if (
                    complete
                    and not taken
                    and info[INFO : INFO - 8] == select_head
                    and info[S + C : C] == select_slot
                    and info[C:5] == select_block
                ):
                    member.next = 1
                    taken.next = 1
                    lane.next = info[5:]
            if member:
                lanes.next = 1 << lane

    @always(clk.posedge)
    def count_units():
        if rst:
            write_unit.next = 0
            read_unit.next = 0
            count.next = 0
        else:
            if write_end:
                write_unit.next = write_unit + 1
            if free:
                read_unit.next = read_unit + 1
            if write_end and not free:
                count.next = count + 1
            if free and not write_end:
                count.next = count - 1

    return instances()
