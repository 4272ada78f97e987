"""Gathers V, which arrives by token, into beats by channel."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import BLOCK, ChipConfig, bits_for
from rtl.convert import module
from rtl.memory.value_bank import value_bank
from rtl.memory.value_lane import value_lane


@module
def value_gather(
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
    oldest_taken,
    start,
    group,
    last_port,
    beat_valid,
    beat_ready,
    beat_data,
    beat_strobe,
    config: ChipConfig,
):
    """Units (a row's head) go to the banks in turn, so the units of one head lie in different banks; a burst reads
    all banks at once.

    Ports: clk; rst; write_*: words of units, in order. select (pulse): chooses, among the oldest unit of each bank,
    those of that head, slot and block of 32 tokens that no earlier select chose; used three clocks later. free: the
    oldest unit of all leaves. oldest_taken: some select has chosen it, two clocks ago or before. start (pulse): 32
    beats of channel group `group` (held meanwhile): beat j, port p, byte i: channel j of the group's block p of the
    chosen unit whose token is i in its block; strobes: those bytes, of ports 0 to last_port.
    """
    R, P = config.rows, config.ports
    W, B = config.bus_bits, config.bus_bytes
    BANK_BITS = bits_for(R)

    write_bank = Signal(modbv(0)[BANK_BITS:])
    read_bank, bank_after = [Signal(modbv(0)[BANK_BITS:]) for _ in range(2)]
    writes = Signal(intbv(0)[R:])
    frees = Signal(intbv(0)[R:])
    bank_write = [writes(i) for i in range(R)]
    bank_free = [frees(i) for i in range(R)]
    taken = [Signal(bool(0)) for _ in range(R)]
    lanes = [Signal(intbv(0)[BLOCK:]) for _ in range(R)]
    bank_bytes = [Signal(intbv(0)[8 * P :]) for _ in range(R)]
    bytes_out = [Signal(intbv(0)[8:]) for _ in range(B)]
    move, joining = [Signal(bool(0)) for _ in range(2)]
    element = Signal(intbv(0)[5:])
    active, valid_1, valid_2 = [Signal(bool(0)) for _ in range(3)]
    port_lanes = Signal(intbv(0)[BLOCK:])
    banks = [
        value_bank(
            clk,
            rst,
            bank_write[i],
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
            bank_free[i],
            move,
            group,
            element,
            taken[i],
            lanes[i],
            bank_bytes[i],
            config,
        )
        for i in range(R)
    ]
    all_taken = ConcatSignal(*reversed(taken))
    all_lanes = ConcatSignal(*reversed(lanes))
    all_bytes = ConcatSignal(*reversed(bytes_out))
    chosen = [ConcatSignal(*(lanes[i](token) for i in reversed(range(R)))) for token in range(BLOCK)]
    planes = [
        ConcatSignal(*(bank_bytes[i](8 * port + k) for k in reversed(range(8)) for i in reversed(range(R))))
        for port in range(P)
    ]
    tokens = [
        value_lane(clk, joining, chosen[lane % BLOCK], planes[lane // BLOCK], bytes_out[lane], banks=R)
        for lane in range(B)
    ]

    @always_comb
    def direct():
        writes.next = 0
        if write:
            writes.next = 1 << write_bank
        move.next = not beat_valid or beat_ready

    @always(clk.posedge)
    def look_at_oldest():
        oldest_taken.next = all_taken[read_bank]
        if free:
            oldest_taken.next = all_taken[bank_after]

    @always_comb
    def count_on():
        bank_after.next = read_bank + 1

    @always(clk.posedge)
    def give_back():
        # A clock late: the bank is not looked at before the others have been.
        frees.next = 0
        if free and not rst:
            frees.next = 1 << read_bank

    @always(clk.posedge)
    def turn():
        if rst:
            write_bank.next = 0
            read_bank.next = 0
        else:
            if write and write_last:
                write_bank.next = write_bank + 1
            if free:
                read_bank.next = bank_after

    @always(clk.posedge)
    def count_elements():
        if rst:
            active.next = 0
            valid_1.next = 0
            valid_2.next = 0
            beat_valid.next = 0
        elif start:
            active.next = 1
            element.next = 0
        elif move:
            valid_1.next = active
            valid_2.next = valid_1
            beat_valid.next = valid_2
            if active:
                if element == BLOCK - 1:
                    active.next = 0
                else:
                    element.next = element + 1

    @always_comb
    def merge():
        joining.next = move and valid_2
        beat_data.next = all_bytes

    @always(clk.posedge)
    def merge_lanes():
        unused_merged = intbv(0)[R * BLOCK :]
        if start:
            unused_merged[:] = all_lanes
            unused_merged[:] = unused_merged | (unused_merged >> (BLOCK * 1))
            unused_merged[:] = unused_merged | (unused_merged >> (BLOCK * 2))
            unused_merged[:] = unused_merged | (unused_merged >> (BLOCK * 4))
            unused_merged[:] = unused_merged | (unused_merged >> (BLOCK * 8))
            unused_merged[:] = unused_merged | (unused_merged >> (BLOCK * 16))
            port_lanes.next = unused_merged[BLOCK:]

    if P == 1:
        unused_port = Signal(intbv(0)[1:])

        @always_comb
        def strobe():
            beat_strobe.next = port_lanes
            unused_port.next = last_port

    else:

        @always_comb
        def strobe():
            enabled = intbv(0)[B:]
            for port in range(P):
                if P - 1 - port <= last_port:
                    enabled[:] = (enabled << BLOCK) | concat(intbv(0)[B - BLOCK :], port_lanes)
            beat_strobe.next = enabled

    return instances()
