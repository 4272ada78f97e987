"""From a granted beat to its control word."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.convert import module
from rtl.vector.control_word import control_bits, control_fields
from rtl.vector.passes import KIND_BITS, control_rom, round_bits, round_fields

ORDER = (
    "row word bank column buffer source source_block parameter_block add1 function mul1 add2 mul2 add3 value_scale negate "
    "mask index_block reduce reduce_first scalar_in scalar_operand scalar_factor scalar_out destination "
    "block head quantise_last fill thread check"
).split()


@module
def beat_control(
    clk,
    rst,
    beat_valid,
    beat_thread,
    beat_round,
    beat_row,
    beat_word,
    beat_turn_block,
    beat_turn_last,
    beat_row_last,
    issue_valid,
    issue_control,
    *,
    config,
):
    """Make the control word of a beat: the pass's selectors from a ROM, the beat's own fields beside them.

    Ports: clk, rst; beat_*: the beat granted in this cycle (round_walker's, of the thread beat_thread); issue_*: its control
    word, 2 cycles later.
    """
    fields = control_fields(config)
    if list(fields) != ORDER:
        raise ValueError(f"control word fields are {' '.join(fields)}: beat_control places {' '.join(ORDER)}")
    high = {name: low + width for name, (low, width) in fields.items()}
    low = {name: low for name, (low, _) in fields.items()}
    source_h, source_l = high["source"], low["source"]
    add1_h, add1_l = high["add1"], low["add1"]
    middle_h, middle_l = high["mask"], low["function"]  # function .. mask come from the ROM
    reduce_h, reduce_l = high["reduce"], low["reduce"]
    tail_h, tail_l = high["destination"], low["scalar_in"]  # scalars, destination
    check_bit = low["check"]
    rom = control_rom(config)

    parts = round_fields(config)
    kind_h, kind_l = sum(parts["kind"]), parts["kind"][0]
    bias_bit, bank_bit, buffer_bit, fill_bit = [parts[name][0] for name in ("bias", "bank", "buffer", "fill")]
    column_h, column_l = sum(parts["column"]), parts["column"][0]
    source_block_h, source_block_l = sum(parts["source_block"]), parts["source_block"][0]
    index_h, index_l = sum(parts["index"]), parts["index"][0]
    block_h, block_l = sum(parts["block"]), parts["block"][0]
    head_h, head_l = sum(parts["head"]), parts["head"][0]

    valid_1, thread_1, turn_last_1, row_last_1, first_1 = [Signal(bool(0)) for _ in range(5)]
    round_1 = Signal(intbv(0)[round_bits(config) :])
    selector_1 = Signal(intbv(0)[KIND_BITS + 1 :])
    row_1 = Signal(intbv(0)[bits_for(config.rows) :])
    word_1 = Signal(intbv(0)[bits_for(config.words) :])
    source_block_1, block_1 = [Signal(intbv(0)[16:]) for _ in range(2)]
    selected = Signal(intbv(0)[control_bits(config) :])

    @always(clk.posedge)
    def register_beat():
        valid_1.next = beat_valid and not rst
        if beat_valid:
            thread_1.next = beat_thread
            round_1.next = beat_round
            selector_1.next = concat(beat_round[buffer_bit], beat_round[kind_h:kind_l])
            row_1.next = beat_row
            word_1.next = beat_word
            turn_last_1.next = beat_turn_last
            row_last_1.next = beat_row_last
            first_1.next = beat_round[index_h:index_l] == 0
            source_block_1.next = (beat_round[source_block_h:source_block_l] + beat_turn_block) & 0xFFFF
            block_1.next = (beat_round[block_h:block_l] + beat_turn_block) & 0xFFFF

    @always_comb
    def select():
        selected.next = rom[int(selector_1)]

    @always(clk.posedge)
    def issue():
        issue_valid.next = valid_1 and not rst
        if valid_1:
            issue_control.next = concat(
                selected[check_bit],
                thread_1,
                round_1[fill_bit] and row_last_1,
                turn_last_1,
                round_1[head_h:head_l],
                block_1,
                selected[tail_h:tail_l],
                first_1,
                selected[reduce_h:reduce_l],
                round_1[index_h:index_l],
                selected[middle_h:middle_l],
                selected[add1_h : add1_l + 1],
                selected[add1_l] or round_1[bias_bit],
                round_1[index_h:index_l],
                source_block_1,
                selected[source_h:source_l],
                round_1[buffer_bit],
                round_1[column_h:column_l],
                round_1[bank_bit],
                word_1,
                row_1,
            )

    return instances()
