"""Thread S: softmax and the inverse of its sum, job by job, for ATTEND."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.full_lookup import full_lookup
from rtl.vector.job_counter import job_counter
from rtl.vector.passes import Kind

IDLE, SETTLE_1, SETTLE_2, SCORES, LOOK_1, LOOK_2, LOOK_3, OFFER, SUMS = range(9)


@module
def thread_softmax(
    clk,
    rst,
    start,
    heads,
    head_blocks,
    weight_block,
    pass_count,
    pass_mask,
    pass_tokens,
    score_ready,
    score_take,
    operand_full,
    landed,
    waiting,
    round_valid,
    round_ready,
    round_data,
    *,
    config,
):
    """For each job: wait for its scores, a SOFTMAX round for each token block, wait for the sums, one INVERSE
    round.

    A SOFTMAX round waits for an empty operand block. The INVERSE round is marked; the next job does not wait
    for it.

    Ports: clk, rst; start: a pulse; heads, head_blocks, weight_block: of the ATTEND, stable until all its
    jobs are done; pass_*; score_ready (2): scores of the job in this buffer have landed, score_take (2,
    pulses) clears it; operand_full; landed: every beat of this thread has; waiting: for a start, or for
    scores; round_*: stream of rounds.
    """
    column_bits = bits_for(config.columns)
    count_bits = bits_for(config.context) - 4
    block_bits = bits_for(config.operand_blocks)
    context_blocks = config.context_blocks

    state = Signal(intbv(0)[4:])
    advance = Signal(bool(0))
    job_rows = Signal(intbv(0)[config.rows :])
    job_blocks = Signal(intbv(0)[count_bits:])
    job_base = Signal(intbv(0)[16:])
    job_buffer, job_final_pass, job_last, exhausted = [Signal(bool(0)) for _ in range(4)]

    valid = Signal(bool(0))
    index, block = [Signal(intbv(0)[16:]) for _ in range(2)]
    full = Signal(bool(0))

    jobs = job_counter(
        clk,
        start,
        advance,
        heads,
        head_blocks,
        pass_count,
        pass_mask,
        pass_tokens,
        job_rows,
        job_blocks,
        job_base,
        job_buffer,
        job_final_pass,
        job_last,
        exhausted,
        config=config,
    )

    ignored = ConcatSignal(job_base, job_final_pass, job_last)
    rest = unused(ignored, 18)

    @always_comb
    def drive():
        round_valid.next = valid
        waiting.next = (state == IDLE) or (state == SCORES)

    look_up = full_lookup(clk, operand_full, block(block_bits, 0), full, config)

    @always(clk.posedge)
    def work_through():
        advance.next = 0
        score_take.next = 0
        if valid and round_ready:
            valid.next = 0
        if state == IDLE:
            if start:
                state.next = SETTLE_1
        elif state == SETTLE_1:
            if not advance:
                state.next = SETTLE_2
        elif state == SETTLE_2:
            state.next = SCORES
        elif state == SCORES:
            index.next = 0
            block.next = weight_block
            if job_buffer:
                block.next = weight_block + context_blocks
            if exhausted:
                state.next = IDLE
            elif score_ready[job_buffer]:
                score_take.next = concat(job_buffer, not job_buffer)
                state.next = LOOK_1
        elif state == LOOK_1:
            state.next = LOOK_2
        elif state == LOOK_2:
            state.next = LOOK_3
        elif state == LOOK_3:
            state.next = OFFER
        elif state == OFFER:
            if not (valid or full):
                valid.next = 1
                round_data.next = concat(
                    intbv(0)[2:],  # mark, release
                    True,  # fill
                    False,  # one_beat
                    intbv(0)[16:],  # turn_blocks, head
                    block,
                    index,
                    index,  # source_block
                    job_buffer,
                    intbv(0)[column_bits:],
                    False,  # bank
                    job_rows,
                    False,  # bias
                    intbv(SOFTMAX)[5:],
                )
                index.next = index + 1
                block.next = block + 1
                state.next = LOOK_1
                if index + 1 == concat(intbv(0)[16 - count_bits :], job_blocks):
                    state.next = SUMS
        else:
            if landed and not valid:
                valid.next = 1
                round_data.next = concat(
                    True,  # mark
                    intbv(0)[2:],
                    True,  # one_beat
                    intbv(0)[64:],
                    job_buffer,
                    intbv(0)[column_bits:],
                    False,
                    job_rows,
                    False,
                    intbv(INVERSE)[5:],
                )
                advance.next = 1
                state.next = SETTLE_1
        if rst:
            state.next = IDLE
            valid.next = 0
            advance.next = 0
            score_take.next = 0

    return instances()


SOFTMAX, INVERSE = int(Kind.SOFTMAX), int(Kind.INVERSE)
