"""From a granted beat to its control word."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.control_word import control_fields
from rtl.vector.passes import BACK, FRONT, KIND_BITS, round_bits, round_fields, selector_rom

ORDER = (
    "row word bank column buffer source source_block parameter_block add1 function mul1 add2 mul2 add3 "
    "value_scale negate mask index_block reduce reduce_first scalar_in scalar_operand scalar_factor "
    "scalar_out destination block head quantise_last fill thread check"
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

    Ports: clk, rst; beat_*: the beat granted in this cycle (round_walker's, of the thread beat_thread);
    issue_*: its control word, 2 cycles later.
    """
    fields = control_fields(config)
    if list(fields) != ORDER:
        raise ValueError(f"control word fields are {' '.join(fields)}: beat_control places {' '.join(ORDER)}")
    width = {name: size for name, (_, size) in fields.items()}
    front_bits, back_bits = sum(width[name] for name in FRONT), sum(width[name] for name in BACK)
    front_rom, back_rom = selector_rom(config, FRONT), selector_rom(config, BACK)
    source_h = width["source"]
    add1_h = source_h + 2
    reduce_h = width["reduce"]
    scalars_h = back_bits - 1  # scalar_in to destination; check is above

    parts = round_fields(config)
    kind_h, kind_l = sum(parts["kind"]), parts["kind"][0]
    bias_bit, bank_bit, buffer_bit, fill_bit = [parts[name][0] for name in ("bias", "bank", "buffer", "fill")]
    column_h, column_l = sum(parts["column"]), parts["column"][0]
    source_block_h, source_block_l = sum(parts["source_block"]), parts["source_block"][0]
    index_h, index_l = sum(parts["index"]), parts["index"][0]
    block_h, block_l = sum(parts["block"]), parts["block"][0]
    head_h, head_l = sum(parts["head"]), parts["head"][0]

    valid_1, thread_1, turn_last_1, fill_1, first_1, bias_1, bank_1, buffer_1 = [Signal(bool(0)) for _ in range(8)]
    selector_1 = Signal(intbv(0)[KIND_BITS + 1 :])
    row_1 = Signal(intbv(0)[bits_for(config.rows) :])
    word_1 = Signal(intbv(0)[bits_for(config.words) :])
    column_1 = Signal(intbv(0)[bits_for(config.columns) :])
    source_block_1, block_1, index_1 = [Signal(intbv(0)[16:]) for _ in range(3)]
    head_1 = Signal(intbv(0)[8:])
    front, front_2 = [Signal(intbv(0)[front_bits:]) for _ in range(2)]
    back, back_2 = [Signal(intbv(0)[back_bits:]) for _ in range(2)]
    bias_2, first_2 = [Signal(bool(0)) for _ in range(2)]
    low_2 = Signal(intbv(0)[2 + bits_for(config.rows) + bits_for(config.words) + bits_for(config.columns) :])
    blocks_2 = Signal(intbv(0)[32:])
    high_2 = Signal(intbv(0)[27:])

    sink = unused(beat_round, round_bits(config))

    @always(clk.posedge)
    def register_beat():
        valid_1.next = beat_valid and not rst
        if beat_valid:
            thread_1.next = beat_thread
            selector_1.next = concat(beat_round[buffer_bit], beat_round[kind_h:kind_l])
            row_1.next = beat_row
            word_1.next = beat_word
            bank_1.next = beat_round[bank_bit]
            column_1.next = beat_round[column_h:column_l]
            buffer_1.next = beat_round[buffer_bit]
            bias_1.next = beat_round[bias_bit]
            index_1.next = beat_round[index_h:index_l]
            head_1.next = beat_round[head_h:head_l]
            turn_last_1.next = beat_turn_last
            fill_1.next = beat_round[fill_bit] and beat_row_last
            first_1.next = beat_round[index_h:index_l] == 0
            source_block_1.next = beat_round[source_block_h:source_block_l] + concat(intbv(0)[8:], beat_turn_block)
            block_1.next = beat_round[block_h:block_l] + concat(intbv(0)[8:], beat_turn_block)

    @always_comb
    def select_front():
        front.next = front_rom[int(selector_1)]

    @always_comb
    def select_back():
        back.next = back_rom[int(selector_1)]

    @always(clk.posedge)
    def register_word():
        # Whole words of the tables: a register before them would be merged into them, behind the choice of the thread.
        issue_valid.next = valid_1 and not rst
        if valid_1:
            front_2.next = front
            back_2.next = back
            bias_2.next = bias_1
            low_2.next = concat(buffer_1, column_1, bank_1, word_1, row_1)
            blocks_2.next = concat(index_1, source_block_1)
            high_2.next = concat(thread_1, fill_1, turn_last_1, head_1, block_1)
            first_2.next = first_1

    @always_comb
    def issue():
        issue_control.next = concat(
            back_2[scalars_h],  # check
            high_2,
            back_2[scalars_h:reduce_h],
            first_2,
            back_2[reduce_h:],
            blocks_2[32:16],  # index_block
            front_2[front_bits:add1_h],
            front_2[add1_h - 1],
            front_2[source_h] or bias_2,
            blocks_2,  # parameter_block, source_block
            front_2[source_h:],
            low_2,
        )

    return instances()
