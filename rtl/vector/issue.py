"""The issue logic of the vector unit: instructions in, one control word a beat out."""

from __future__ import annotations

from myhdl import Constant, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.instruction_register import instruction_register
from rtl.common.interfaces import kv_units, logits_units
from rtl.common.isa import FIELDS
from rtl.common.stream import Stream
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.beat_control import beat_control
from rtl.vector.credits import credits
from rtl.vector.issue_arbiter import issue_arbiter
from rtl.vector.landing_flags import landing_flags
from rtl.vector.passes import KIND_BITS, Kind, round_bits, round_fields
from rtl.vector.round_walker import round_walker
from rtl.vector.thread_drain import thread_drain
from rtl.vector.thread_softmax import thread_softmax
from rtl.vector.timing import REDUCE

LANDING = REDUCE + 15  # cycles from grant until a score, its maximum, or an inverse can be read, at most
RELEASE_DELAY = 5  # cycles from the grant of a beat to the end of its accumulator read, at most
BUSY_DELAY = 2  # cycles from grant until the lanes' busy flags must show the beat
KEY, VALUE_QUANTISE, LOGITS_OUT = int(Kind.KEY), int(Kind.VALUE_QUANTISE), int(Kind.LOGITS_OUT)


@module
def issue(
    clk,
    rst,
    row_active,
    row_sample,
    row_greedy,
    row_logits,
    any_sample,
    pass_count,
    pass_mask,
    pass_tokens,
    instruction,
    instruction_valid,
    instruction_ready,
    idle,
    bank_full,
    bank_release,
    operand_full,
    ring_a_level,
    ring_b_level,
    ring_a_free,
    ring_b_free,
    ring_free_blocks,
    kv_start,
    kv_end,
    kv_release,
    kv_idle,
    logits_release,
    sample_done,
    pipeline_busy,
    busy_d,
    busy_s,
    active_instruction,
    phase,
    issue_valid,
    issue_control,
    *,
    config,
):
    """Thread D works through the instructions, thread S through the softmax of ATTEND; both share the lanes.

    Issues nothing whose sources have not landed, or whose destination has no room; the lanes never stall.
    Between a grant and its control word lie 2 cycles.

    Ports: as rtl/README.md and rtl/vector/README.md name them; kv_instruction is active_instruction; phase: see
    drain_phase.
    """
    rows = config.rows
    width = round_bits(config)
    fields = round_fields(config)
    release_bit, mark_bit, bank_bit, buffer_bit = [fields[n][0] for n in ("release", "mark", "bank", "buffer")]
    word_bits = bits_for(config.words) if config.words > 1 else 0
    level_h = len(ring_a_level)
    block_bits = level_h - word_bits
    all_kv, all_logits = kv_units(rows), logits_units(rows)
    heads_l, head_blocks_l, weight_l = (FIELDS[name].bit for name in ("heads", "head_blocks", "weight_block"))
    heads_h, head_blocks_h, weight_h = heads_l + 8, head_blocks_l + 8, weight_l + 16
    row_bits, count_bits = bits_for(rows), bits_for(config.words)

    queued = Signal(intbv(0)[512:])
    queued_valid, queued_ready, drain_idle = [Signal(bool(0)) for _ in range(3)]
    ring_a_blocks, ring_b_blocks = [Signal(intbv(0)[16:]) for _ in range(2)]
    kv_take, kv_room, logits_take, logits_few, logits_room = [Signal(bool(0)) for _ in range(5)]
    kv_limit = Signal(intbv(0, min=0, max=2 * all_kv))
    logits_limit = Constant(intbv(all_logits - rows)[bits_for(2 * all_logits) :])
    softmax_start, drain_issued, drain_landed, softmax_landed, softmax_waits = [Signal(bool(0)) for _ in range(5)]
    score_ready, score_take, inverse_ready, inverse_take = [Signal(intbv(0)[2:]) for _ in range(4)]
    scores_end, inverses_end, scores_buffer, inverses_buffer = [Signal(bool(0)) for _ in range(4)]
    drain_quiet, softmax_quiet = [Signal(intbv(0)[BUSY_DELAY:]) for _ in range(2)]  # grants of the last cycles
    releasing_0, releasing_1 = [Signal(intbv(0)[RELEASE_DELAY:]) for _ in range(2)]

    d_round_valid, d_round_ready, d_valid, d_grant, d_turn_last, d_row_last, d_finish, d_walker_idle = [
        Signal(bool(0)) for _ in range(8)
    ]
    s_round_valid, s_round_ready, s_valid, s_grant, s_turn_last, s_row_last, s_finish, s_walker_idle = [
        Signal(bool(0)) for _ in range(8)
    ]
    d_round_data, s_round_data, d_round, s_round, beat_round = [Signal(intbv(0)[width:]) for _ in range(5)]
    d_row, s_row, beat_row = [Signal(intbv(0)[row_bits:]) for _ in range(3)]
    d_word, s_word, beat_word = [Signal(intbv(0)[count_bits:]) for _ in range(3)]
    d_turn_block, s_turn_block, beat_turn_block = [Signal(intbv(0)[8:]) for _ in range(3)]
    heads, head_blocks = [Signal(intbv(0)[8:]) for _ in range(2)]
    weight_block = Signal(intbv(0)[16:])
    beat_valid, beat_thread, beat_turn_last, beat_row_last = [Signal(bool(0)) for _ in range(4)]

    incoming = Stream.of(instruction, instruction_valid, instruction_ready)
    waiting = Stream.of(queued, queued_valid, queued_ready)
    queue = instruction_register(clk, rst, any_sample, incoming, waiting)
    drain = thread_drain(
        clk,
        rst,
        row_active,
        row_sample,
        row_greedy,
        row_logits,
        pass_count,
        pass_mask,
        pass_tokens,
        queued,
        queued_valid,
        queued_ready,
        active_instruction,
        softmax_start,
        bank_full,
        operand_full,
        ring_a_blocks,
        ring_b_blocks,
        ring_a_free,
        ring_b_free,
        ring_free_blocks,
        kv_idle,
        kv_room,
        kv_start,
        kv_end,
        logits_room,
        inverse_ready,
        inverse_take,
        drain_issued,
        drain_landed,
        pipeline_busy,
        softmax_waits,
        sample_done,
        drain_idle,
        phase,
        d_round_valid,
        d_round_ready,
        d_round_data,
        config=config,
    )
    softmax = thread_softmax(
        clk,
        rst,
        softmax_start,
        heads,
        head_blocks,
        weight_block,
        pass_count,
        pass_mask,
        pass_tokens,
        score_ready,
        score_take,
        operand_full,
        softmax_landed,
        softmax_waits,
        s_round_valid,
        s_round_ready,
        s_round_data,
        config=config,
    )
    drain_walker = round_walker(
        clk,
        rst,
        d_round_valid,
        d_round_ready,
        d_round_data,
        d_valid,
        d_grant,
        d_round,
        d_row,
        d_word,
        d_turn_block,
        d_turn_last,
        d_row_last,
        d_finish,
        d_walker_idle,
        config=config,
    )
    softmax_walker = round_walker(
        clk,
        rst,
        s_round_valid,
        s_round_ready,
        s_round_data,
        s_valid,
        s_grant,
        s_round,
        s_row,
        s_word,
        s_turn_block,
        s_turn_last,
        s_row_last,
        s_finish,
        s_walker_idle,
        config=config,
    )
    arbiter = issue_arbiter(
        clk,
        rst,
        d_valid,
        d_round,
        d_row,
        d_word,
        d_turn_block,
        d_turn_last,
        d_row_last,
        s_valid,
        s_round,
        s_row,
        s_word,
        s_turn_block,
        s_turn_last,
        s_row_last,
        d_grant,
        s_grant,
        beat_valid,
        beat_thread,
        beat_round,
        beat_row,
        beat_word,
        beat_turn_block,
        beat_turn_last,
        beat_row_last,
        config=config,
    )
    control = beat_control(
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
        config=config,
    )
    kv_credits = credits(clk, rst, kv_take, kv_release, kv_limit, kv_room, units=all_kv)
    logits_credits = credits(
        clk,
        rst,
        logits_take,
        logits_release,
        logits_limit,
        logits_few,
        units=all_logits,
    )
    scores = landing_flags(clk, rst, scores_end, scores_buffer, score_take, score_ready, cycles=LANDING)
    inverses = landing_flags(clk, rst, inverses_end, inverses_buffer, inverse_take, inverse_ready, cycles=LANDING)

    sink_a = unused(ring_a_level, level_h)
    sink_b = unused(ring_b_level, level_h)

    @always_comb
    def unpack():
        heads.next = active_instruction[heads_h:heads_l]
        head_blocks.next = active_instruction[head_blocks_h:head_blocks_l]
        weight_block.next = active_instruction[weight_h:weight_l]

    @always_comb
    def count_units():
        kv_take.next = d_grant and d_turn_last and (d_round[KIND_BITS:] == KEY or d_round[KIND_BITS:] == VALUE_QUANTISE)
        logits_take.next = d_grant and d_turn_last and d_round[KIND_BITS:] == LOGITS_OUT
        logits_room.next = logits_few and d_walker_idle and not d_round_valid

    @always(clk.posedge)
    def limit_units():
        # Three rounds may be under way when one is checked. kv_writer counts on it.
        left = intbv(0, min=0, max=2 * all_kv)
        left[:] = all_kv
        for k in range(rows):
            if row_active[k]:
                left[:] = left - 3
        kv_limit.next = left

    @always_comb
    def mark_ends():
        scores_end.next = d_finish and d_round[mark_bit]
        scores_buffer.next = d_round[buffer_bit]
        inverses_end.next = s_finish and s_round[mark_bit]
        inverses_buffer.next = s_round[buffer_bit]

    @always_comb
    def see_landed():
        drain_issued.next = d_walker_idle and drain_quiet == 0
        drain_landed.next = d_walker_idle and drain_quiet == 0 and not busy_d
        softmax_landed.next = s_walker_idle and softmax_quiet == 0 and not busy_s
        idle.next = drain_idle and not (queued_valid or instruction_valid)
        ring_a_blocks.next = concat(intbv(0)[16 - block_bits :], ring_a_level[level_h:word_bits])
        ring_b_blocks.next = concat(intbv(0)[16 - block_bits :], ring_b_level[level_h:word_bits])

    @always(clk.posedge)
    def grow_quiet():
        drain_quiet.next = concat(drain_quiet[BUSY_DELAY - 1 :], d_grant)
        softmax_quiet.next = concat(softmax_quiet[BUSY_DELAY - 1 :], s_grant)
        if rst:
            drain_quiet.next = 0
            softmax_quiet.next = 0

    @always(clk.posedge)
    def release_bank():
        # After the last read has happened.
        releasing_0.next = concat(
            releasing_0[RELEASE_DELAY - 1 :], d_finish and d_round[release_bit] and not d_round[bank_bit]
        )
        releasing_1.next = concat(
            releasing_1[RELEASE_DELAY - 1 :], d_finish and d_round[release_bit] and d_round[bank_bit]
        )
        bank_release.next = concat(releasing_1[RELEASE_DELAY - 1], releasing_0[RELEASE_DELAY - 1])
        if rst:
            releasing_0.next = 0
            releasing_1.next = 0
            bank_release.next = 0

    return instances()
