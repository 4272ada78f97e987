"""One entry of the row table."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.registers import ROW_FIELDS, RowFault, RowFlag
from rtl.convert import module

FIELD_CONTROL = ROW_FIELDS["control"].offset // 4
FIELD_SLOT = ROW_FIELDS["slot"].offset // 4
FIELD_POSITION = ROW_FIELDS["position"].offset // 4
FIELD_TOKEN = ROW_FIELDS["token"].offset // 4
FIELD_SEED = ROW_FIELDS["seed"].offset // 4
FIELD_TEMPERATURE = ROW_FIELDS["inverse_temperature"].offset // 4
FIELD_STOP_A = ROW_FIELDS["stop_a"].offset // 4
FIELD_STOP_B = ROW_FIELDS["stop_b"].offset // 4
FIELD_FAULT = ROW_FIELDS["fault"].offset // 4

BIT_ACTIVE, BIT_SAMPLE, BIT_GREEDY = int(RowFlag.ACTIVE), int(RowFlag.SAMPLE), int(RowFlag.GREEDY)
BIT_LOGITS, BIT_STOPPED, BIT_FULL = int(RowFlag.LOGITS), int(RowFlag.STOPPED), int(RowFlag.FULL)
assert (BIT_ACTIVE, BIT_SAMPLE, BIT_GREEDY, BIT_LOGITS, BIT_STOPPED, BIT_FULL) == (0, 1, 2, 3, 4, 5)
assert (int(RowFault.NUMERIC), int(RowFault.SLOT)) == (0, 1)


@module
def row_entry(
    clk,
    rst,
    write,
    field,
    data,
    read_select,
    read_data,
    run_start,
    check,
    fault,
    advance,
    advance_token,
    advance_sampled,
    retire,
    slots_used,
    context_limit,
    active,
    sample,
    greedy,
    logits,
    faulty,
    slot,
    position,
    token,
    seed,
    temperature,
    config: ChipConfig,
):
    """The fields of one row: written by the host, checked at the start of a step, advanced at its end.

    It does not know whether the machine is busy: its parent lets the host write only when idle. Slot and position
    are kept with one bit more than the chip needs; a larger number reads back as all ones there, and the row
    retires at its first step.

    Ports: clk; rst; write, field (word of the entry), data: the host's write; read_select, read_data: the word
    `field`, one clock later, zero when not selected. run_start: clears the fault bits. check: retires the row with
    fault SLOT where slot or position has been out of bounds for a clock. fault: a result of this row is infinite or
    NaN. advance with advance_sampled: the step's end, acts a clock later, in which advance_token still holds: a faulty
    row retires, a row that sampled takes advance_token and moves on, and retires as STOPPED or FULL. retire: a further
    step follows, rows that do not sample retire. faulty: any fault bit. The rest is broadcast.
    """
    S = bits_for(config.slots)
    C = bits_for(config.context)
    SLOTS, CONTEXT = config.slots, config.context
    SLOT_LIMIT, POSITION_LIMIT = 2 ** (S + 1) - 1, 2 ** (C + 1) - 1

    stopped, full, numeric, outside = [Signal(bool(0)) for _ in range(4)]
    wide_slot = Signal(intbv(0)[S + 1 :])
    wide_position = Signal(intbv(0)[C + 1 :])
    next_position = Signal(intbv(0)[C + 1 :])
    stop_a = Signal(intbv(0)[32:])
    stop_b = Signal(intbv(0)[32:])
    # Comparisons, a clock before they count.
    stops, ends, out_of_bounds, advance_1 = [Signal(bool(0)) for _ in range(4)]

    @always_comb
    def derive():
        slot.next = wide_slot[S:]
        position.next = wide_position[C:]
        faulty.next = numeric or outside

    @always_comb
    def count_on():
        # The position of an active row is below CONTEXT, so the sum fits.
        next_position.next = 0
        if wide_position < CONTEXT:
            next_position.next = wide_position + 1

    @always(clk.posedge)
    def compare():
        out_of_bounds.next = (
            wide_slot >= SLOTS or wide_slot >= slots_used or wide_position >= CONTEXT or wide_position >= context_limit
        )
        stops.next = (advance_token == stop_a) or (advance_token == stop_b)
        ends.next = next_position >= context_limit or next_position >= CONTEXT
        advance_1.next = advance and not rst

    @always(clk.posedge)
    def hold():
        if rst:
            active.next = 0
            sample.next = 0
            greedy.next = 0
            logits.next = 0
            stopped.next = 0
            full.next = 0
            numeric.next = 0
            outside.next = 0
            wide_slot.next = 0
            wide_position.next = 0
            token.next = 0
            seed.next = 0
            temperature.next = 0
            stop_a.next = intbv(0xFFFFFFFF)[32:]
            stop_b.next = intbv(0xFFFFFFFF)[32:]
        else:
            if write:
                if field == FIELD_CONTROL:
                    active.next = data[0]
                    sample.next = data[1]
                    greedy.next = data[2]
                    logits.next = data[3]
                    stopped.next = data[4]
                    full.next = data[5]
                elif field == FIELD_SLOT:
                    wide_slot.next = data[S + 1 :]
                    if data[32 : S + 1] != 0:
                        wide_slot.next = SLOT_LIMIT
                elif field == FIELD_POSITION:
                    wide_position.next = data[C + 1 :]
                    if data[32 : C + 1] != 0:
                        wide_position.next = POSITION_LIMIT
                elif field == FIELD_TOKEN:
                    token.next = data
                elif field == FIELD_SEED:
                    seed.next = data
                elif field == FIELD_TEMPERATURE:
                    temperature.next = data
                elif field == FIELD_STOP_A:
                    stop_a.next = data
                elif field == FIELD_STOP_B:
                    stop_b.next = data
            if run_start:
                numeric.next = 0
                outside.next = 0
            elif active:
                if fault:
                    numeric.next = 1
                if check and out_of_bounds:
                    outside.next = 1
                    active.next = 0
                if retire and not sample:
                    active.next = 0
                if advance_1:
                    if numeric:
                        active.next = 0
                    elif advance_sampled and sample:
                        token.next = advance_token
                        wide_position.next = next_position
                        if stops:
                            stopped.next = 1
                            active.next = 0
                        if ends:
                            full.next = 1
                            active.next = 0

    @always(clk.posedge)
    def read():
        read_data.next = 0
        if read_select:
            if field == FIELD_CONTROL:
                read_data.next = concat(intbv(0)[26:], full, stopped, logits, greedy, sample, active)
            elif field == FIELD_SLOT:
                read_data.next = concat(intbv(0)[31 - S :], wide_slot)
            elif field == FIELD_POSITION:
                read_data.next = concat(intbv(0)[31 - C :], wide_position)
            elif field == FIELD_TOKEN:
                read_data.next = token
            elif field == FIELD_SEED:
                read_data.next = seed
            elif field == FIELD_TEMPERATURE:
                read_data.next = temperature
            elif field == FIELD_STOP_A:
                read_data.next = stop_a
            elif field == FIELD_STOP_B:
                read_data.next = stop_b
            elif field == FIELD_FAULT:
                read_data.next = concat(intbv(0)[30:], outside, numeric)

    return instances()
