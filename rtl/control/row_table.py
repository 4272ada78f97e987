"""The rows: what each lane of the batch is working on."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, instances, intbv

from rtl.common.clock_gate import clock_gate
from rtl.common.config import ChipConfig, bits_for
from rtl.control.pass_scan import pass_scan
from rtl.control.row_entry import row_entry
from rtl.convert import module


@module
def row_table(
    clk,
    rst,
    write,
    access_read,
    access_row,
    access_field,
    write_data,
    read_data,
    run_start,
    check,
    scan_start,
    scan_done,
    advance,
    advance_token,
    advance_sampled,
    retire,
    slots_used,
    context_limit,
    row_fault,
    row_active,
    row_sample,
    row_greedy,
    row_logits,
    row_faulty,
    row_slot,
    row_position,
    row_token,
    row_seed,
    row_temperature,
    any_sample,
    pass_count,
    pass_mask,
    pass_slot,
    pass_tokens,
    config: ChipConfig,
):
    """All rows, and their grouping into passes.

    Ports: clk; rst; write, access_row (6 bits), access_field (4), write_data: a write of the host, to be given only
    between runs; access_read (held for two clocks): then read_data is the word (access_row, access_field).
    run_start, check, retire: pulses to all rows (see row_entry). advance: one bit a row, with advance_token and
    advance_sampled. scan_start, scan_done: group the active rows into passes. slots_used, context_limit (32 bits):
    registers. row_fault: pulses, one bit a row. The rest is broadcast to the engines; row_faulty tells the
    sequencer which rows' results do not count.
    """
    R = config.rows
    S = bits_for(config.slots)
    C = bits_for(config.context)
    SLOTS, CONTEXT = config.slots, config.context

    # At rest between the steps.
    table_clk, wake = Signal(bool(0)), Signal(bool(0))
    gate = clock_gate(clk, rst, wake, table_clk, tail=config.rows + 4)  # a scan of passes takes a clock a row

    @always_comb
    def wake_up():
        wake.next = write or access_read or run_start or check or scan_start or retire or advance != 0 or row_fault != 0

    slots_known = Signal(intbv(0)[S + 1 :])
    context_known = Signal(intbv(0)[C + 1 :])
    advances = [advance(i) for i in range(R)]
    faults = [row_fault(i) for i in range(R)]

    reads = [Signal(intbv(0)[32:]) for _ in range(R)]
    active, sample, greedy, logits, faulty = [[Signal(bool(0)) for _ in range(R)] for _ in range(5)]
    slot = [Signal(intbv(0)[S:]) for _ in range(R)]
    position = [Signal(intbv(0)[C:]) for _ in range(R)]
    token, seed, temperature = [[Signal(intbv(0)[32:]) for _ in range(R)] for _ in range(3)]

    selected = Signal(intbv(0)[R:])
    written = Signal(intbv(0)[R:])
    row_select = [selected(i) for i in range(R)]
    row_write = [written(i) for i in range(R)]
    entries = [
        row_entry(
            table_clk,
            rst,
            row_write[i],
            access_field,
            write_data,
            row_select[i],
            reads[i],
            run_start,
            check,
            faults[i],
            advances[i],
            advance_token,
            advance_sampled,
            retire,
            slots_known,
            context_known,
            active[i],
            sample[i],
            greedy[i],
            logits[i],
            faulty[i],
            slot[i],
            position[i],
            token[i],
            seed[i],
            temperature[i],
            config,
        )
        for i in range(R)
    ]
    all_reads = ConcatSignal(*reversed(reads))
    all_active = ConcatSignal(*reversed(active))
    all_sample = ConcatSignal(*reversed(sample))
    all_greedy = ConcatSignal(*reversed(greedy))
    all_logits = ConcatSignal(*reversed(logits))
    all_faulty = ConcatSignal(*reversed(faulty))
    all_slot = ConcatSignal(*reversed(slot))
    all_position = ConcatSignal(*reversed(position))
    all_token = ConcatSignal(*reversed(token))
    all_seed = ConcatSignal(*reversed(seed))
    all_temperature = ConcatSignal(*reversed(temperature))

    passes = pass_scan(
        table_clk,
        rst,
        scan_start,
        row_active,
        row_slot,
        row_position,
        scan_done,
        pass_count,
        pass_mask,
        pass_slot,
        pass_tokens,
        config,
    )

    @always_comb
    def decode():
        selected.next = 0
        written.next = 0
        if access_row < R:
            if access_read:
                selected.next = 1 << access_row
            if write:
                written.next = 1 << access_row

    @always_comb
    def broadcast():
        row_active.next = all_active
        row_sample.next = all_sample
        row_greedy.next = all_greedy
        row_logits.next = all_logits
        row_faulty.next = all_faulty
        row_slot.next = all_slot
        row_position.next = all_position
        row_token.next = all_token
        row_seed.next = all_seed
        row_temperature.next = all_temperature

    @always(table_clk.posedge)
    def gather():
        # A clock late, before a step begins.
        any_sample.next = (all_active & all_sample) != 0

    @always(table_clk.posedge)
    def limit():
        # Registers of 32 bits, cut to what is compared: a larger limit is the chip's own.
        slots_known.next = slots_used[S + 1 :]
        if slots_used > SLOTS:
            slots_known.next = SLOTS
        context_known.next = context_limit[C + 1 :]
        if context_limit > CONTEXT:
            context_known.next = CONTEXT

    @always(table_clk.posedge)
    def read():
        # At most one row gives a word, the others zero.
        unused_merged = intbv(0)[R * 32 :]
        if access_read:
            unused_merged[:] = all_reads
            unused_merged[:] = unused_merged | (unused_merged >> 32)
            unused_merged[:] = unused_merged | (unused_merged >> 64)
            unused_merged[:] = unused_merged | (unused_merged >> 128)
            unused_merged[:] = unused_merged | (unused_merged >> 256)
            unused_merged[:] = unused_merged | (unused_merged >> 512)
            read_data.next = unused_merged[32:]

    return instances()
