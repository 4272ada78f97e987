"""The order of ATTEND's drains: S0 S1 V0 S2 V1 ... S(n-1) V(n-2) V(n-1)."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.job_counter import job_counter


@module
def drain_jobs(
    clk,
    start,
    step,
    heads,
    head_blocks,
    pass_count,
    pass_mask,
    pass_tokens,
    score,
    job_rows,
    job_blocks,
    job_base,
    job_buffer,
    job_final_pass,
    over,
    *,
    config,
):
    """Step through the drains: the next job to score and the next to finish, each with its counter.

    Ports: clk; start, step (pulses); heads, head_blocks, pass_*: stable; score: an S job, else a V job;
    job_rows; job_blocks: token blocks (S) or channel blocks (V); job_base: head * head_blocks for a V job, 0
    for an S job; job_buffer; job_final_pass; over: stepped past the last. Outputs are good 2 cycles after a
    pulse.
    """
    rows = config.rows
    count_bits = bits_for(config.context) - 4

    scoring = Signal(bool(0))
    first = Signal(bool(0))
    score_step, value_step = [Signal(bool(0)) for _ in range(2)]
    score_rows, value_rows = [Signal(intbv(0)[rows:]) for _ in range(2)]
    score_blocks, value_blocks = [Signal(intbv(0)[count_bits:]) for _ in range(2)]
    score_base, value_base = [Signal(intbv(0)[16:]) for _ in range(2)]
    score_buffer, value_buffer, score_final, value_final = [Signal(bool(0)) for _ in range(4)]
    score_last, value_last, score_over, value_over = [Signal(bool(0)) for _ in range(4)]

    score_jobs = job_counter(
        clk,
        start,
        score_step,
        heads,
        head_blocks,
        pass_count,
        pass_mask,
        pass_tokens,
        score_rows,
        score_blocks,
        score_base,
        score_buffer,
        score_final,
        score_last,
        score_over,
        config=config,
    )
    value_jobs = job_counter(
        clk,
        start,
        value_step,
        heads,
        head_blocks,
        pass_count,
        pass_mask,
        pass_tokens,
        value_rows,
        value_blocks,
        value_base,
        value_buffer,
        value_final,
        value_last,
        value_over,
        config=config,
    )

    ignored = ConcatSignal(value_blocks, score_base, score_final, value_last)
    rest = unused(ignored, count_bits + 18)

    @always_comb
    def choose():
        score.next = scoring
        over.next = value_over
        score_step.next = step and scoring
        value_step.next = step and not scoring
        job_final_pass.next = value_final
        if scoring:
            job_rows.next = score_rows
            job_blocks.next = concat(intbv(0)[16 - count_bits :], score_blocks)
            job_base.next = 0
            job_buffer.next = score_buffer
        else:
            job_rows.next = value_rows
            job_blocks.next = concat(intbv(0)[8:], head_blocks)
            job_base.next = value_base
            job_buffer.next = value_buffer

    @always(clk.posedge)
    def order():
        if start:
            scoring.next = 1
            first.next = 1
        elif step:
            first.next = 0
            if scoring:
                scoring.next = first and not score_last
            else:
                scoring.next = not score_over

    return instances()
