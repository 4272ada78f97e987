"""Where each row's KV cache lies, for one KEY or VALUE instruction."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.ram import ram
from rtl.convert import module


@module
def kv_rows(
    clk,
    rst,
    start,
    kv_base,
    kv_stride,
    layer_offset,
    head_blocks,
    row_active,
    row_slot,
    row_position,
    ready,
    active_count,
    joins,
    follows,
    lookup_row,
    window,
    group_base,
    slot,
    position,
    lane_after,
    config: ChipConfig,
):
    """Computes addresses once an instruction, one row after another, by shifting and adding; then looks them up.

    window = kv_base + slot * kv_stride; group_base = window + layer_offset + (position // (32 P)) * bytes of a
    group of tokens.

    Ports: clk; rst; start (pulse; takes about rows * (bits of a slot + bits of a group) clocks; ready is low
    meanwhile); registers and fields of the instruction, held from start on; rows. active_count: rows that are
    active. joins, follows (R + 1 bits, bit k for the active row number k): it has the slot and the group of tokens
    of the one before; its key even lies in the beat behind. lookup_row -> window, group_base, slot, position,
    lane_after (6 bits; position % 32 + 1): a clock later.
    """
    R = config.rows
    S = bits_for(config.slots)
    C = bits_for(config.context)
    LOW = bits_for(config.bus_bytes)
    TOKEN_BITS = bits_for(config.group_tokens)
    GROUP_TOKENS = config.group_tokens
    GROUP_BITS = max(1, C - TOKEN_BITS)
    PLACE_BITS = 2 * ADDRESS_BITS + S + C
    WIDTH = PLACE_BITS + 6
    LAST = R - 1
    NUMBER_BITS = bits_for(R)

    state_t = enum("IDLE", "ROW", "SLOT", "LAYER", "GROUP", "STORE")
    state = Signal(state_t.IDLE)
    row = Signal(intbv(0)[bits_for(R) :])
    actives = Signal(intbv(0)[R:])
    slots = Signal(intbv(0)[R * S :])
    positions = Signal(intbv(0)[R * C :])
    slot_left = Signal(intbv(0)[S:])
    group_left = Signal(intbv(0)[GROUP_BITS:])
    step = Signal(intbv(0)[ADDRESS_BITS:])
    address = Signal(intbv(0)[ADDRESS_BITS:])
    own_window = Signal(intbv(0)[ADDRESS_BITS:])
    entry = Signal(intbv(0)[WIDTH:])
    store = Signal(bool(0))
    group_beats = Signal(intbv(0)[14:])
    always_read = Signal(bool(0))
    after = Signal(intbv(0)[6:])
    number = Signal(intbv(0)[NUMBER_BITS:])  # of this row among the active ones
    slot_before = Signal(intbv(0)[S:])
    position_before = Signal(intbv(0)[C:])
    difference, after_before = [Signal(modbv(0)[C:]) for _ in range(2)]
    same_group, next_beat = [Signal(bool(0)) for _ in range(2)]
    found = Signal(intbv(0)[WIDTH:])

    places = ram(clk, store, row, entry, always_read, lookup_row, found, depth=R, width=WIDTH)

    @always_comb
    def assemble():
        always_read.next = 1
        store.next = state == state_t.STORE
        after.next = concat(intbv(0)[1:], positions[5:]) + 1
        entry.next = concat(after, positions[C:], slots[S:], address, own_window)
        window.next = found[ADDRESS_BITS:]
        group_base.next = found[2 * ADDRESS_BITS : ADDRESS_BITS]
        slot.next = found[2 * ADDRESS_BITS + S : 2 * ADDRESS_BITS]
        position.next = found[PLACE_BITS : 2 * ADDRESS_BITS + S]
        lane_after.next = found[WIDTH:PLACE_BITS]

    @always_comb
    def measure():
        # One beat of V scales, 33 for each block of the head.
        group_beats.next = concat(intbv(0)[1:], head_blocks, intbv(0)[5:]) + concat(intbv(0)[6:], head_blocks) + 1

    @always_comb
    def compare():
        difference.next = positions[C:] ^ position_before
        after_before.next = position_before + 1  # wraps only past the context
        same_group.next = number != 0 and slots[S:] == slot_before and difference < GROUP_TOKENS
        # The first of 32 tokens lies beside the one before it, in the next port, or in the next group.
        next_beat.next = positions[C:] == after_before and positions[5:] != 0

    @always(clk.posedge)
    def compute():
        if rst:
            state.next = state_t.IDLE
            ready.next = 0
            row.next = 0
        elif start:
            ready.next = 0
            row.next = 0
            active_count.next = 0
            joins.next = 0
            follows.next = 0
            actives.next = row_active
            slots.next = row_slot
            positions.next = row_position
            state.next = state_t.ROW
        elif state == state_t.ROW:
            number.next = active_count[NUMBER_BITS:]
            if actives[0]:
                active_count.next = active_count + 1
            address.next = kv_base
            step.next = kv_stride
            slot_left.next = slots[S:]
            state.next = state_t.SLOT
        elif state == state_t.SLOT:
            if slot_left == 0:
                own_window.next = address
                state.next = state_t.LAYER
            else:
                if slot_left[0]:
                    address.next = address + step
                step.next = concat(step[ADDRESS_BITS - 1 :], False)
                slot_left.next = slot_left >> 1
        elif state == state_t.LAYER:
            address.next = address + layer_offset
            step.next = concat(intbv(0)[ADDRESS_BITS - 14 - LOW :], group_beats, intbv(0)[LOW:])
            group_left.next = positions[C:TOKEN_BITS]
            state.next = state_t.GROUP
        elif state == state_t.GROUP:
            if group_left == 0:
                state.next = state_t.STORE
            else:
                if group_left[0]:
                    address.next = address + step
                step.next = concat(step[ADDRESS_BITS - 1 :], False)
                group_left.next = group_left >> 1
        elif state == state_t.STORE:
            actives.next = actives >> 1
            slots.next = slots >> S
            positions.next = positions >> C
            if actives[0]:
                slot_before.next = slots[S:]
                position_before.next = positions[C:]
                joins.next = joins | (concat(intbv(0)[R:], same_group) << number)
                follows.next = follows | (concat(intbv(0)[R:], same_group and next_beat) << number)
            if row == LAST:
                ready.next = 1
                state.next = state_t.IDLE
            else:
                row.next = row + 1
                state.next = state_t.ROW

    return instances()
