"""Groups the active rows into passes over the KV caches."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.control.pass_entry import pass_entry
from rtl.convert import module


@module
def pass_scan(
    clk,
    rst,
    start,
    row_active,
    row_slot,
    row_position,
    done,
    pass_count,
    pass_mask,
    pass_slot,
    pass_tokens,
    config: ChipConfig,
):
    """One pass for each distinct slot among the active rows, in order of its first row; one row a clock.

    Ports: clk; rst; start (pulse); row_active, row_slot, row_position: the row table. done: pulse, config.rows + 1
    clocks after start; the passes then stay until the next start. pass_count, pass_mask, pass_slot, pass_tokens
    (largest position + 1): see rtl/README.md.
    """
    R = config.rows
    S = bits_for(config.slots)
    C = bits_for(config.context)
    LAST = 2 ** (R - 1) if R < 32 else Constant(intbv(2 ** (R - 1))[R:])  # as an int it is written with 33 bits

    scanning = Signal(bool(0))
    valid = Signal(bool(0))
    row = Signal(intbv(0)[R:])
    slot = Signal(intbv(0)[S:])
    tokens = Signal(intbv(0)[C + 1 :])
    actives = Signal(intbv(0)[R:])
    slots = Signal(intbv(0)[R * S :])
    positions = Signal(intbv(0)[R * C :])  # of the rows behind the one presented
    any_hit = Signal(bool(0))

    hits = [Signal(bool(0)) for _ in range(R)]
    unused_last = Signal(bool(0))
    used = [Signal(bool(0)) for _ in range(R - 1)] + [unused_last]
    masks = [Signal(intbv(0)[R:]) for _ in range(R)]
    pass_slots = [Signal(intbv(0)[S:]) for _ in range(R)]
    pass_lengths = [Signal(intbv(0)[C + 1 :]) for _ in range(R)]
    first_free = Constant(bool(1))
    entries = [
        pass_entry(
            clk,
            start,
            valid,
            row,
            slot,
            tokens,
            used[i - 1] if i else first_free,
            any_hit,
            hits[i],
            used[i],
            masks[i],
            pass_slots[i],
            pass_lengths[i],
            config,
        )
        for i in range(R)
    ]
    all_hits = ConcatSignal(*reversed(hits))
    all_masks = ConcatSignal(*reversed(masks))
    all_slots = ConcatSignal(*reversed(pass_slots))
    all_lengths = ConcatSignal(*reversed(pass_lengths))

    @always_comb
    def present():
        valid.next = scanning and actives[0]
        slot.next = slots[S:]
        any_hit.next = all_hits != 0
        pass_mask.next = all_masks
        pass_slot.next = all_slots
        pass_tokens.next = all_lengths

    @always(clk.posedge)
    def scan():
        done.next = 0
        if rst:
            scanning.next = 0
        elif start:
            scanning.next = 1
            row.next = 1
            actives.next = row_active
            slots.next = row_slot
            positions.next = row_position >> C
            tokens.next = row_position[C:] + 1
        elif scanning:
            row.next = concat(row[R - 1 :], False)
            actives.next = actives >> 1
            slots.next = slots >> S
            positions.next = positions >> C
            tokens.next = positions[C:] + 1
            if row == LAST:
                scanning.next = 0
                done.next = 1

    @always(clk.posedge)
    def count():
        if start:
            pass_count.next = 0
        elif valid and not any_hit:
            pass_count.next = pass_count + 1

    return instances()
