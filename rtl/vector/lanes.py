"""The datapath of the vector unit: RAMs, lanes, reductions, quantiser, sampler, driven by control words."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, SignalType, always, always_comb, concat, instances, intbv

from rtl.common.clock_gate import clock_gate
from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import PARAMETER_RING_A, PARAMETER_RING_B, PARAMETER_TABLE
from rtl.common.ram import address_bits, ram
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector import control_word as cw
from rtl.vector.busy_flags import busy_flags
from rtl.vector.delay_line import delay_line
from rtl.vector.delay_ring import delay_ring
from rtl.vector.index_mask import index_mask
from rtl.vector.lane import lane
from rtl.vector.mx_quantizer import mx_quantizer
from rtl.vector.noise_hash import noise_hash
from rtl.vector.parameter_ring import parameter_ring, ring_bits
from rtl.vector.pick import pick
from rtl.vector.reduce import reduce
from rtl.vector.row_key import row_key
from rtl.vector.row_scalars import row_scalars
from rtl.vector.sampler import sampler
from rtl.vector.step_control import step_control
from rtl.vector.table_loader import table_loader
from rtl.vector.timing import AFTER_BEATS, FUNCTION, LATE, RESULT, STAGES
from rtl.vector.value_scale_ram import value_scale_ram

ACCUMULATOR, RING_A, HASH = int(cw.Source.ACCUMULATOR), int(cw.Source.RING_A), int(cw.Source.HASH)
FROM_VECTOR, FROM_SCORE = int(cw.Source.VECTOR), int(cw.Source.SCORE)
ADD1_A, ADD1_B = int(cw.Add1.RING_A), int(cw.Add1.RING_B)
TEMPERATURE, MUL1_TABLE, MUL2_A = int(cw.Mul1.TEMPERATURE), int(cw.Mul1.TABLE), int(cw.Mul2.RING_A)
ADD3_B, ADD3_VECTOR, ADD3_NOISE = int(cw.Add3.RING_B), int(cw.Add3.VECTOR), int(cw.Add3.NOISE)
SUM, MAX = int(cw.Reduce.SUM), int(cw.Reduce.MAX)
TO_VECTOR, TO_SCORE, TO_OPERAND = (
    int(cw.Destination.VECTOR),
    int(cw.Destination.SCORE),
    int(cw.Destination.OPERAND),
)
TO_KEY, TO_VALUE, TO_SAMPLER = int(cw.Destination.KEY), int(cw.Destination.VALUE), int(cw.Destination.SAMPLER)
TO_LOGITS, TO_SCALAR = int(cw.Destination.LOGITS), int(cw.Destination.SCALAR)

LATE_FIELDS = (
    "row",
    "word",
    "buffer",
    "value_scale",
    "negate",
    "mask",
    "index_block",
    "reduce",
    "reduce_first",
    "scalar_out",
    "destination",
    "block",
    "head",
    "quantise_last",
    "fill",
    "check",
)

Layout = dict[str, tuple[int, int]]


def part(word: SignalType, layout: Layout, name: str, width: int = 0) -> SignalType:
    """The slice of `word` that holds a field, or its low `width` bits."""
    low, full = layout[name]
    return word(low + (width or full), low)


def piece(word: SignalType, layout: Layout, name: str, width: int = 0) -> SignalType:
    """part(), for a concatenation, where Verilog wants a single bit as a bit."""
    low, full = layout[name]
    return word(low) if (width or full) == 1 else part(word, layout, name, width)


def bit(word: SignalType, layout: Layout, name: str) -> SignalType:
    """A field of one bit."""
    return word(layout[name][0])


def sublayout(layout: Layout, names: tuple[str, ...]) -> Layout:
    """The layout of a word of only these fields."""
    result, low = {}, 0
    for name in names:
        result[name] = (low, layout[name][1])
        low += layout[name][1]
    return result


def word_address(word: SignalType, layout: Layout, block: str, depth: int, config: ChipConfig, *above: SignalType):
    """[above][block][row][word] as an address of a RAM with `depth` words."""
    row_bits, word_bits = (config.rows - 1).bit_length(), (config.words - 1).bit_length()
    block_bits = address_bits(depth) - row_bits - word_bits - len(above)
    parts = [*above]
    if block_bits > 0:
        parts.append(piece(word, layout, block, block_bits))
    if row_bits:
        parts.append(piece(word, layout, "row"))
    if word_bits:
        parts.append(piece(word, layout, "word"))
    return ConcatSignal(*parts) if len(parts) > 1 else parts[0]


def index_of(word: SignalType, layout: Layout, config: ChipConfig) -> SignalType:
    """Number of a word of V elements within its row: 32 - log2 V bits."""
    word_bits = (config.words - 1).bit_length()
    parts = [part(word, layout, "index_block")] + ([piece(word, layout, "word")] if word_bits else [])
    zeros = 32 - (config.lanes - 1).bit_length() - 16 - word_bits
    return ConcatSignal(Constant(intbv(0)[zeros:]), *parts)


@module
def lanes(
    clk,
    rst,
    control_valid,
    control,
    constant_a,
    constant_b,
    count,
    first_exponent,
    row_greedy,
    row_position,
    row_seed,
    row_temperature,
    ring_a_free,
    ring_a_free_blocks,
    ring_b_free,
    ring_b_free_blocks,
    drain_data,
    value_scale_write,
    value_scale_buffer,
    value_scale_group,
    value_scale_data,
    parameter_valid,
    parameter_tag,
    parameter_data,
    parameter_ready,
    pipeline_busy,
    busy_d,
    busy_s,
    ring_a_available,
    ring_b_available,
    drain_valid,
    drain_bank,
    drain_row,
    drain_column,
    drain_word,
    operand_write,
    operand_block,
    operand_row,
    operand_word,
    operand_data,
    operand_scale,
    operand_fill,
    kv_valid,
    kv_value,
    kv_row,
    kv_head,
    kv_block,
    kv_word,
    kv_data,
    kv_scale,
    kv_last,
    logits_valid,
    logits_row,
    logits_block,
    logits_word,
    logits_data,
    sample_token,
    row_fault,
    vector_beat,
    config: ChipConfig,
):
    """Takes a control word (rtl/vector/control_word.py) every cycle and does what it says; it decides nothing itself.

    Ages of a beat: rtl/vector/timing.py and the table in rtl/vector/README.md. Instruction constants (constant_a,
    constant_b, count, first_exponent) and row vectors must hold while a beat that uses them is under way. Streams
    have no ready: who issues control words keeps to the room of the writers (operand_full, KV_UNITS, LOGITS_UNITS),
    waits for what a beat reads (bank_full, ring_*_available, busy flags), and keeps two uses of one read port apart.

    ring_*_free with ring_*_free_blocks: after the control word in the same cycle, the ring's base moves on.
    ring_*_available: words of V from the base on. busy_d, busy_s: a beat of the thread (bit `thread`) is under way
    whose result a beat entering in timing.ISSUE_DELAY cycles would not yet see; pipeline_busy: any beat is, or a unit
    is in the quantiser. vector_beat: counter event.
    """
    layout = cw.control_fields(config)
    control_bits = cw.control_bits(config)
    lane_count, rows, words = config.lanes, config.rows, config.words
    row_bits, word_bits = bits_for(rows), bits_for(words)
    lane_bits = (lane_count - 1).bit_length()
    ring_address_bits = ring_bits(config)
    ring_block_bits = ring_address_bits - (words - 1).bit_length()
    vector_depth = config.vector_blocks * rows * words
    score_depth = 2 * config.context_blocks * rows * words
    wide = 32 * lane_count

    # Everything here rests but the keys of the noise, which are renewed again and again.
    beat_clk, wake, table_valid = [Signal(False) for _ in range(3)]
    gate = clock_gate(clk, rst, wake, beat_clk, tail=AFTER_BEATS)

    @always_comb
    def wake_up():
        wake.next = pipeline_busy | ring_a_free | ring_b_free | value_scale_write | table_valid
        if parameter_valid & parameter_ready:
            wake.next = True

    # Beats by age.
    valid = Signal(intbv(0)[STAGES:])
    flow = Signal(intbv(0)[STAGES - 1 :])
    word_1, word_2 = [Signal(intbv(0)[control_bits:]) for _ in range(2)]

    @always(beat_clk.posedge)
    def accept():
        if control_valid:
            word_1.next = control

    @always_comb
    def know_ages():
        valid.next = concat(flow, control_valid)

    @always(beat_clk.posedge)
    def age():
        if rst:
            flow.next = 0
        else:
            flow.next = concat(flow[STAGES - 2 :], control_valid)

    hold_word = delay_line(beat_clk, valid(1), word_1, word_2, 1, control_bits)
    all_bits = unused(word_2, control_bits)

    # Age 1: accumulators.
    source_1 = part(word_1, layout, "source")
    bank_1, row_1 = bit(word_1, layout, "bank"), part(word_1, layout, "row")
    column_1, drain_word_1 = part(word_1, layout, "column"), part(word_1, layout, "word")

    @always_comb
    def drain():
        drain_valid.next = valid[1] & (source_1 == ACCUMULATOR)
        drain_bank.next = bank_1
        drain_row.next = row_1
        drain_column.next = column_1
        drain_word.next = drain_word_1
        vector_beat.next = valid[1]

    # Ages 1 and 2: ring addresses, from the base of the moment.
    ring_a_block_1, ring_b_block_1 = [Signal(intbv(0)[ring_block_bits:]) for _ in range(2)]
    ring_a_address_1, ring_b_address_1 = [Signal(intbv(0)[ring_address_bits:]) for _ in range(2)]
    ring_a_address_2, ring_b_address_2 = [Signal(intbv(0)[ring_address_bits:]) for _ in range(2)]
    source_block_1 = part(word_1, layout, "source_block", ring_block_bits)
    parameter_block_1 = part(word_1, layout, "parameter_block", ring_block_bits)
    free_a_1, free_b_1 = Signal(False), Signal(False)
    free_blocks_a_1, free_blocks_b_1 = [Signal(intbv(0)[ring_block_bits + 1 :]) for _ in range(2)]

    @always_comb
    def choose_ring_blocks():
        ring_a_block_1.next = parameter_block_1
        if source_1 == RING_A:
            ring_a_block_1.next = source_block_1
        ring_b_block_1.next = parameter_block_1

    @always(beat_clk.posedge)
    def pass_free():
        if rst:
            free_a_1.next = False
            free_b_1.next = False
        else:
            free_a_1.next = ring_a_free
            free_b_1.next = ring_b_free

    @always(beat_clk.posedge)
    def pass_free_blocks():
        if ring_a_free:
            free_blocks_a_1.next = ring_a_free_blocks
        if ring_b_free:
            free_blocks_b_1.next = ring_b_free_blocks

    hold_ring_a = delay_line(beat_clk, valid(1), ring_a_address_1, ring_a_address_2, 1, ring_address_bits)
    hold_ring_b = delay_line(beat_clk, valid(1), ring_b_address_1, ring_b_address_2, 1, ring_address_bits)

    # Age 2 to 10: selectors of the function and MUL1.
    source_2, add1_2 = part(word_2, layout, "source"), part(word_2, layout, "add1")
    early = sublayout(layout, ("function", "mul1", "add2", "scalar_factor", "row"))
    early_bits = sum(width for _, width in early.values())
    early_2, early_10 = Signal(intbv(0)[early_bits:]), Signal(intbv(0)[early_bits:])
    early_joined = ConcatSignal(*[piece(word_2, layout, name) for name in reversed(early)])
    # Age 2 to 20: MUL2.
    middle_bits = 2 + ring_address_bits
    middle_2, middle_20 = Signal(intbv(0)[middle_bits:]), Signal(intbv(0)[middle_bits:])
    mul2_2 = part(word_2, layout, "mul2")
    # Age 2 to 24: ADD3.
    third = sublayout(layout, ("add3", "buffer", "source_block", "block", "row", "word"))
    third_bits = sum(width for _, width in third.values())
    third_2 = Signal(intbv(0)[third_bits + ring_address_bits :])
    third_24 = Signal(intbv(0)[third_bits + ring_address_bits :])
    third_joined = ConcatSignal(*[piece(word_2, layout, name) for name in reversed(third)])
    third_fields = third_24(third_bits, 0)
    all_third = unused(third_fields, third_bits)
    # Age 2 to LATE: reductions and destinations.
    late = sublayout(layout, LATE_FIELDS)
    late_bits = sum(width for _, width in late.values())
    late_2, late_29, late_33, late_34 = [Signal(intbv(0)[late_bits:]) for _ in range(4)]
    late_joined = ConcatSignal(*[piece(word_2, layout, name) for name in reversed(late)])

    @always_comb
    def gather():
        early_2.next = early_joined
        middle_2.next = concat(mul2_2, ring_a_address_2)
        third_2.next = concat(ring_b_address_2, third_joined)
        late_2.next = late_joined

    hold_early = delay_ring(beat_clk, rst, valid(2), early_2, valid(9), early_10, 8, early_bits)
    hold_middle = delay_ring(beat_clk, rst, valid(2), middle_2, valid(19), middle_20, 18, middle_bits)
    hold_third = delay_ring(beat_clk, rst, valid(2), third_2, valid(23), third_24, 22, third_bits + ring_address_bits)
    hold_late = delay_ring(beat_clk, rst, valid(2), late_2, valid(LATE - 1), late_29, LATE - 2, late_bits)
    hold_late_33 = delay_line(beat_clk, valid(33, LATE), late_29, late_33, 33 - LATE, late_bits)
    hold_late_34 = delay_line(beat_clk, valid(33), late_33, late_34, 1, late_bits)

    # ADD1.
    selectors_2 = ConcatSignal(source_2, add1_2)
    selectors_wire, selectors_4 = Signal(intbv(0)[5:]), Signal(intbv(0)[5:])
    source_4, add1_4 = selectors_4(5, 2), selectors_4(2, 0)
    selected_add1, selected_mul1, selected_add2, selected_mul2, selected_add3 = [Signal(False) for _ in range(5)]
    start_add1, start_mul1, start_add2, start_mul2, start_add3 = [Signal(False) for _ in range(5)]
    start = ConcatSignal(start_add3, start_mul2, start_add2, start_mul1, start_add1)
    skip_add1, skip_add2, skip_add3 = [Signal(intbv(0)[5:]) for _ in range(3)]
    skip_mul1, skip_mul2 = [Signal(intbv(0)[4:]) for _ in range(2)]

    @always_comb
    def join_selectors():
        selectors_wire.next = selectors_2

    hold_selectors = delay_line(beat_clk, valid(4, 2), selectors_wire, selectors_4, 2, 5)

    # Function.
    function_10, row_10 = part(early_10, early, "function"), part(early_10, early, "row")
    hash_10 = Signal(False)
    using = Signal(intbv(0)[22:])  # beats of age 10 to 31 that have a function
    used = Signal(intbv(0)[21:])
    early_12 = Signal(intbv(0)[early_bits:])
    mul1_12, factor_12 = part(early_12, early, "mul1"), part(early_12, early, "scalar_factor")
    row_12, add2_12 = part(early_12, early, "row"), part(early_12, early, "add2")
    unused_early = unused(early_12, early_bits)
    mul1_13, table_12 = Signal(intbv(0)[3:]), Signal(False)
    mul1_wire, add2_wire = Signal(intbv(0)[3:]), Signal(intbv(0)[2:])
    add2_17, mul2_22 = [Signal(intbv(0)[2:]) for _ in range(2)]
    mul2_wire = Signal(intbv(0)[2:])
    add3_24 = part(third_24, third, "add3")
    add3_wire, add3_26 = [Signal(intbv(0)[3:]) for _ in range(2)]
    row_24 = part(third_24, third, "row")
    greedy_11, greedy_13, greedy_25, greedy_26 = [Signal(intbv(0)[1:]) for _ in range(4)]
    temperature_13 = Signal(intbv(0)[32:])

    @always(beat_clk.posedge)
    def age_functions():
        if rst:
            used.next = 0
        else:
            used.next = using[21:]

    @always_comb
    def select_steps():
        using.next = concat(used, valid[FUNCTION] & (function_10 != 0))
        mul1_wire.next = mul1_12
        table_12.next = mul1_12 == MUL1_TABLE
        add2_wire.next = add2_12
        mul2_wire.next = middle_20[middle_bits:ring_address_bits]
        add3_wire.next = add3_24
        selected_add1.next = add1_4 != 0
        selected_mul1.next = (mul1_13 != 0) & ((mul1_13 != TEMPERATURE) | (not greedy_13[0]))
        selected_add2.next = add2_17 != 0
        selected_mul2.next = mul2_22 != 0
        selected_add3.next = (add3_26 != 0) & ((add3_26 != ADD3_NOISE) | (not greedy_26[0]))

    hold_early_12 = delay_line(beat_clk, valid(12, 10), early_10, early_12, 2, early_bits)
    hold_mul1 = delay_line(beat_clk, valid(12), mul1_wire, mul1_13, 1, 3)
    hold_add2 = delay_line(beat_clk, valid(17, 12), add2_wire, add2_17, 5, 2)
    hold_mul2 = delay_line(beat_clk, valid(22, 20), mul2_wire, mul2_22, 2, 2)
    hold_add3 = delay_line(beat_clk, valid(26, 24), add3_wire, add3_26, 2, 3)
    choose_greedy = pick(beat_clk, valid(10), row_greedy, row_10, greedy_11, rows, 1)
    hold_greedy = delay_line(beat_clk, valid(13, 11), greedy_11, greedy_13, 2, 1)
    choose_noisy = pick(beat_clk, valid(24), row_greedy, row_24, greedy_25, rows, 1)
    hold_noisy = delay_line(beat_clk, valid(25), greedy_25, greedy_26, 1, 1)
    choose_temperature = pick(beat_clk, valid(12), row_temperature, row_12, temperature_13, rows, 32)
    step_add1 = step_control(beat_clk, rst, valid(4), selected_add1, start_add1, skip_add1, 5)
    step_mul1 = step_control(beat_clk, rst, valid(13), selected_mul1, start_mul1, skip_mul1, 4)
    step_add2 = step_control(beat_clk, rst, valid(17), selected_add2, start_add2, skip_add2, 5)
    step_mul2 = step_control(beat_clk, rst, valid(22), selected_mul2, start_mul2, skip_mul2, 4)
    step_add3 = step_control(beat_clk, rst, valid(26), selected_add3, start_add3, skip_add3, 5)

    # RAMs: read at age 2 (source, ADD1), ring A also at 20 (MUL2), all others also at 24 (ADD3).
    result = Signal(intbv(0)[wide:])
    vector_word, score_word, ring_a_word, ring_b_word = [Signal(intbv(0)[wide:]) for _ in range(4)]
    vector_read, score_read, ring_a_read, ring_b_read = [Signal(False) for _ in range(4)]
    vector_write, score_write, ring_a_write, ring_b_write = [Signal(False) for _ in range(4)]
    ring_a_ready, ring_b_ready = Signal(False), Signal(False)
    vector_read_address = Signal(intbv(0)[address_bits(vector_depth) :])
    score_read_address = Signal(intbv(0)[address_bits(score_depth) :])
    ring_a_read_address, ring_b_read_address = [Signal(intbv(0)[ring_address_bits:]) for _ in range(2)]
    vector_address_2 = word_address(word_2, layout, "source_block", vector_depth, config)
    vector_address_24 = word_address(third_24, third, "block", vector_depth, config)
    vector_address_34 = word_address(late_34, late, "block", vector_depth, config)
    buffer_2, buffer_24, buffer_34 = (
        bit(word_2, layout, "buffer"),
        bit(third_24, third, "buffer"),
        bit(late_34, late, "buffer"),
    )
    score_address_2 = word_address(word_2, layout, "source_block", score_depth, config, buffer_2)
    score_address_24 = word_address(third_24, third, "source_block", score_depth, config, buffer_24)
    score_address_34 = word_address(late_34, late, "block", score_depth, config, buffer_34)

    @always_comb
    def read_rams():
        vector_read.next = valid[2] & (source_2 == FROM_VECTOR)
        vector_read_address.next = vector_address_2
        if valid[24] & (add3_24 == ADD3_VECTOR):
            vector_read.next = True
            vector_read_address.next = vector_address_24
        score_read.next = valid[2] & (source_2 == FROM_SCORE)
        score_read_address.next = score_address_2
        if valid[24] & (add3_24 == ADD3_NOISE):
            score_read.next = True
            score_read_address.next = score_address_24
        ring_a_read.next = valid[2] & ((source_2 == RING_A) | (add1_2 == ADD1_A))
        ring_a_read_address.next = ring_a_address_2
        if valid[20] & (middle_20[middle_bits:ring_address_bits] == MUL2_A):
            ring_a_read.next = True
            ring_a_read_address.next = middle_20[ring_address_bits:]
        ring_b_read.next = valid[2] & (add1_2 == ADD1_B)
        ring_b_read_address.next = ring_b_address_2
        if valid[24] & (add3_24 == ADD3_B):
            ring_b_read.next = True
            ring_b_read_address.next = third_24[third_bits + ring_address_bits : third_bits]

    vectors = ram(
        beat_clk,
        vector_write,
        vector_address_34,
        result,
        vector_read,
        vector_read_address,
        vector_word,
        depth=vector_depth,
        width=wide,
        read_stages=2,
    )
    scores = ram(
        beat_clk,
        score_write,
        score_address_34,
        result,
        score_read,
        score_read_address,
        score_word,
        depth=score_depth,
        width=wide,
        read_stages=2,
    )
    parameter_data_1 = Signal(intbv(0)[wide:])

    @always(beat_clk.posedge)
    def hold_parameter():
        parameter_data_1.next = parameter_data

    ring_a = parameter_ring(
        beat_clk,
        rst,
        free_a_1,
        free_blocks_a_1,
        ring_a_block_1,
        drain_word_1,
        ring_a_address_1,
        ring_a_write,
        parameter_data_1,
        ring_a_ready,
        ring_a_read,
        ring_a_read_address,
        ring_a_word,
        ring_a_available,
        config,
    )
    ring_b = parameter_ring(
        beat_clk,
        rst,
        free_b_1,
        free_blocks_b_1,
        ring_b_block_1,
        drain_word_1,
        ring_b_address_1,
        ring_b_write,
        parameter_data_1,
        ring_b_ready,
        ring_b_read,
        ring_b_read_address,
        ring_b_word,
        ring_b_available,
        config,
    )

    # Function tables.
    table_ready, table_write = Signal(False), Signal(False)
    table_address, table_data = Signal(intbv(0)[11:]), Signal(intbv(0)[64:])

    @always_comb
    def take_parameters():
        parameter_ready.next = table_ready
        if parameter_tag == PARAMETER_RING_A:
            parameter_ready.next = ring_a_ready
        if parameter_tag == PARAMETER_RING_B:
            parameter_ready.next = ring_b_ready
        ring_a_write.next = parameter_valid & ring_a_ready & (parameter_tag == PARAMETER_RING_A)
        ring_b_write.next = parameter_valid & ring_b_ready & (parameter_tag == PARAMETER_RING_B)
        table_valid.next = parameter_valid & (parameter_tag == PARAMETER_TABLE)

    load_tables = table_loader(
        beat_clk, rst, table_valid, parameter_data, table_ready, table_write, table_address, table_data, config
    )

    # Noise: keys with the index at age 2, hash at 10.
    keys = Signal(intbv(0)[32 * rows :])
    keys_at, keys_of_index = [Signal(intbv(0)[32 * rows :]) for _ in range(2)]
    seed_2 = Signal(intbv(0)[32:])
    hashing = Signal(intbv(0)[8:])  # beats of age 2 to 9 that hash
    hashed = Signal(intbv(0)[7:])
    index_parts_1 = [part(word_1, layout, "index_block")] + ([piece(word_1, layout, "word")] if words > 1 else [])
    index_1 = ConcatSignal(Constant(intbv(0)[11:]), *index_parts_1, Constant(intbv(0)[lane_bits:]))
    index_for_rows = ConcatSignal(*[index_1] * rows) if rows > 1 else index_1
    numbers = [Constant(intbv(k)[32:]) for k in range(lane_count)]
    noise_10 = [Signal(intbv(0)[32:]) for _ in range(lane_count)]

    @always_comb
    def join_index():
        keys_at.next = index_for_rows
        keys_of_index.next = keys ^ keys_at

    @always_comb
    def hash_ages():
        hashing.next = concat(hashed, valid[2] & (source_2 == HASH))

    @always(beat_clk.posedge)
    def age_hashes():
        if rst:
            hashed.next = 0
            hash_10.next = False
        else:
            hashed.next = hashing[7:]
            hash_10.next = hashing[7]

    row_keys = row_key(clk, rst, row_greedy, row_position, row_seed, keys, config)
    choose_key = pick(beat_clk, valid(1), keys_of_index, row_1, seed_2, rows, 32)
    hashes = [noise_hash(beat_clk, hashing, seed_2, numbers[k], noise_10[k]) for k in range(lane_count)]

    # Row scalars: read at age 3 for 4, at 12 for 13.
    scalar_in_2, operand_2 = part(word_2, layout, "scalar_in"), part(word_2, layout, "scalar_operand")
    scalars_wire, scalars_3 = [Signal(intbv(0)[8 + row_bits :]) for _ in range(2)]
    scalars_2 = ConcatSignal(scalar_in_2, operand_2, piece(word_2, layout, "row"))
    scalar_in_3, operand_3 = scalars_3(8 + row_bits, 4 + row_bits), scalars_3(4 + row_bits, row_bits)
    row_3 = scalars_3(row_bits, 0)
    scalar_4, operand_4, factor_13 = [Signal(intbv(0)[32:]) for _ in range(3)]
    factor_bits = early["scalar_factor"][0]
    factor_place = ConcatSignal(early_12(factor_bits + 3), early_12(factor_bits + 2, factor_bits))
    zero = Constant(intbv(0)[32:])
    scalar_write, sum_write = Signal(False), Signal(False)
    scalar_bits = late["scalar_out"][0]
    scalar_place = ConcatSignal(late_34(scalar_bits + 3), late_34(scalar_bits + 2, scalar_bits))
    sum_address, sum_read_address = [Signal(intbv(0)[2 + row_bits :]) for _ in range(2)]
    sum_data, sum_before, maximum_data = [Signal(intbv(0)[32:]) for _ in range(3)]
    maximum_address = Signal(intbv(0)[1 + row_bits :])
    row_34 = part(late_34, late, "row")

    @always_comb
    def join_scalars():
        scalars_wire.next = scalars_2

    hold_scalars = delay_line(beat_clk, valid(2), scalars_wire, scalars_3, 1, 8 + row_bits)
    scalars = row_scalars(
        beat_clk,
        scalar_write,
        scalar_place,
        row_34,
        result(32, 0),
        sum_write,
        sum_address,
        sum_data,
        sum_read_address,
        sum_before,
        maximum_address,
        maximum_data,
        valid(3),
        scalar_in_3,
        operand_3,
        row_3,
        scalar_4,
        operand_4,
        valid(12),
        factor_place,
        row_12,
        factor_13,
        config,
    )

    # V scales: read at age 29, there at 32. Mask: there at 32.
    scaling = Signal(intbv(0)[4:])  # beats of age 29 to 32 that take a V scale
    scaled = Signal(intbv(0)[3:])
    scales_32 = Signal(intbv(0)[8 * lane_count :])
    value_scale_29, buffer_29 = bit(late_29, late, "value_scale"), bit(late_29, late, "buffer")
    token_block_29 = part(late_29, late, "index_block", (config.context_blocks - 1).bit_length())
    word_29, row_29 = part(late_29, late, "word"), part(late_29, late, "row")
    mask_kind_29 = part(late_29, late, "mask")
    word_index_29 = index_of(late_29, late, config)
    mask_32, mask_33, mask_34 = [Signal(intbv(0)[lane_count:]) for _ in range(3)]

    @always_comb
    def scale_ages():
        scaling.next = concat(scaled, valid[LATE] & value_scale_29)

    @always(beat_clk.posedge)
    def age_scales():
        if rst:
            scaled.next = 0
        else:
            scaled.next = scaling[3:]

    value_scales = value_scale_ram(
        beat_clk,
        value_scale_write,
        value_scale_buffer,
        value_scale_group,
        value_scale_data,
        scaling(3, 0),
        buffer_29,
        token_block_29,
        word_29,
        scales_32,
        config,
    )
    masks = index_mask(
        beat_clk, valid(32, LATE), mask_kind_29, row_29, word_index_29, row_position, count, mask_32, config
    )
    hold_mask_33 = delay_line(beat_clk, valid(32), mask_32, mask_33, 1, lane_count)
    hold_mask_34 = delay_line(beat_clk, valid(33), mask_33, mask_34, 1, lane_count)

    # Lanes.
    taps, counted, results = [[Signal(intbv(0)[32:]) for _ in range(lane_count)] for _ in range(3)]
    specials = [Signal(False) for _ in range(lane_count)]
    tap_33, counted_33 = ConcatSignal(*reversed(taps)), ConcatSignal(*reversed(counted))
    results_34, specials_34 = ConcatSignal(*reversed(results)), ConcatSignal(*reversed(specials))
    take = ConcatSignal(*[valid(age) for age in (33, 32, 31, 26, 22, 17, 13, 4)])
    negate_33 = bit(late_33, late, "negate")
    pipes = [
        lane(
            beat_clk, rst, take, valid(13, 10), using(7, 0), using(11), using(22, 13), start,
            skip_add1, skip_mul1, skip_add2, skip_mul2, skip_add3,
            source_4, add1_4, function_10, hash_10, table_12, mul1_13, add2_17, mul2_22, add3_26,
            mask_32(k), scaling(3), negate_33, constant_a, constant_b, first_exponent,
            scalar_4 if k == 0 else zero, operand_4, factor_13, temperature_13,
            drain_data(32 * k + 32, 32 * k), vector_word(32 * k + 32, 32 * k), score_word(32 * k + 32, 32 * k),
            ring_a_word(32 * k + 32, 32 * k), ring_b_word(32 * k + 32, 32 * k), noise_10[k],
            scales_32(8 * k + 8, 8 * k), table_write, table_address, table_data,
            taps[k], counted[k], results[k], specials[k],
        )
        for k in range(lane_count)
    ]  # fmt: skip

    # Age 33: reductions.
    reduce_29, destination_29 = part(late_29, late, "reduce"), part(late_29, late, "destination")
    destination_33 = part(late_33, late, "destination")
    first_33, buffer_33 = bit(late_33, late, "reduce_first"), bit(late_33, late, "buffer")
    row_33, word_33 = part(late_33, late, "row"), part(late_33, late, "word")
    sum_place = ConcatSignal(late_33(scalar_bits + 2), late_33(scalar_bits))
    word_index_33 = index_of(late_33, late, config)
    summing_33, block_end_33, sampling_33, maximum_33 = [Signal(False) for _ in range(4)]
    last_word = words - 1

    # Found at age 29, since much follows from them.
    summing, finding = [Signal(intbv(0)[33 - LATE :]) for _ in range(2)]

    @always(beat_clk.posedge)
    def age_reductions():
        if rst:
            summing.next = 0
            finding.next = 0
        else:
            summing.next = concat(summing[32 - LATE :], valid[LATE] & (reduce_29 == SUM))
            finding.next = concat(
                finding[32 - LATE :], valid[LATE] & ((reduce_29 == MAX) | (destination_29 == TO_SAMPLER))
            )

    @always_comb
    def choose_reduction():
        summing_33.next = summing[32 - LATE]
        maximum_33.next = finding[32 - LATE]
        block_end_33.next = word_33 == last_word
        sampling_33.next = destination_33 == TO_SAMPLER

    sums = reduce(
        beat_clk,
        rst,
        summing_33,
        block_end_33,
        first_33,
        sum_place,
        row_33,
        counted_33,
        sum_read_address,
        sum_before,
        sum_write,
        sum_address,
        sum_data,
        config,
    )
    maxima = sampler(
        beat_clk,
        rst,
        maximum_33,
        sampling_33,
        buffer_33,
        first_33,
        row_33,
        word_33,
        word_index_33,
        tap_33,
        mask_33,
        maximum_address,
        maximum_data,
        sample_token,
        config,
    )

    # Age 34: destinations.
    destination_34, block_34 = part(late_34, late, "destination"), part(late_34, late, "block")
    word_34, check_34 = part(late_34, late, "word"), bit(late_34, late, "check")
    all_late = unused(late_34, late_bits)
    all_ages = unused(valid, STAGES)
    unit_end_34 = bit(late_34, late, "quantise_last")
    quantise = Signal(False)
    tag = sublayout(layout, ("quantise_last", "destination", "row", "word", "block", "head", "fill"))
    tag_bits = sum(width for _, width in tag.values())
    tag_joined = ConcatSignal(*[piece(late_34, late, name) for name in reversed(tag)])
    tag_34, tag_out = [Signal(intbv(0)[tag_bits:]) for _ in range(2)]
    quantised, quantiser_busy = Signal(False), Signal(False)
    scale = Signal(intbv(0)[8:])
    elements = Signal(intbv(0)[8 * lane_count :])
    faulty, faulty_35 = [Signal(False) for _ in range(2)]
    row_35 = Signal(intbv(0)[row_bits:])

    @always_comb
    def deliver():
        result.next = results_34
        tag_34.next = tag_joined
        vector_write.next = valid[RESULT] & (destination_34 == TO_VECTOR)
        score_write.next = valid[RESULT] & (destination_34 == TO_SCORE)
        scalar_write.next = valid[RESULT] & (destination_34 == TO_SCALAR)
        quantise.next = valid[RESULT] & (
            (destination_34 == TO_OPERAND) | (destination_34 == TO_KEY) | (destination_34 == TO_VALUE)
        )
        logits_valid.next = valid[RESULT] & (destination_34 == TO_LOGITS)
        logits_row.next = row_34
        logits_block.next = block_34
        logits_word.next = word_34
        logits_data.next = results_34
        faulty.next = valid[RESULT] & check_34 & ((specials_34 & mask_34) != 0)

    @always(beat_clk.posedge)
    def report_fault():
        row_35.next = row_34
        if rst:
            faulty_35.next = False
            row_fault.next = 0
        else:
            faulty_35.next = faulty
            row_fault.next = 0
            if faulty_35:
                row_fault.next[row_35] = True

    quantiser = mx_quantizer(
        beat_clk,
        rst,
        quantise,
        unit_end_34,
        tag_34,
        results_34,
        quantised,
        tag_out,
        scale,
        elements,
        quantiser_busy,
        config,
        tag_bits,
    )
    out_destination, out_row = part(tag_out, tag, "destination"), part(tag_out, tag, "row")
    out_word, out_head = part(tag_out, tag, "word"), part(tag_out, tag, "head")
    out_last, out_fill = bit(tag_out, tag, "quantise_last"), bit(tag_out, tag, "fill")
    operand_bits = bits_for(config.operand_blocks)
    out_block, out_kv_block = part(tag_out, tag, "block", operand_bits), part(tag_out, tag, "block", 8)
    all_tag = unused(tag_out, tag_bits)

    @always_comb
    def give_operands():
        operand_write.next = quantised & (out_destination == TO_OPERAND)
        operand_fill.next = quantised & (out_destination == TO_OPERAND) & out_last & out_fill
        operand_block.next = out_block
        operand_row.next = out_row
        operand_word.next = out_word
        operand_data.next = elements
        operand_scale.next = scale

    @always_comb
    def give_keys_and_values():
        kv_valid.next = quantised & (out_destination != TO_OPERAND)
        kv_value.next = out_destination == TO_VALUE
        kv_row.next = out_row
        kv_head.next = out_head
        kv_block.next = out_kv_block
        kv_word.next = out_word
        kv_data.next = elements
        kv_scale.next = scale
        kv_last.next = out_last

    # Who is busy.
    thread = bit(control, layout, "thread")
    reducing_29 = Signal(False)

    @always_comb
    def see_reducing():
        reducing_29.next = valid[LATE] & ((reduce_29 != 0) | (destination_29 == TO_SAMPLER))

    busy = busy_flags(
        beat_clk,
        rst,
        control_valid,
        thread,
        reducing_29,
        summing_33,
        maximum_33,
        quantiser_busy,
        pipeline_busy,
        busy_d,
        busy_s,
        config,
    )
    return instances()
