"""The jobs of ATTEND in order: pass by pass, in a pass head by head."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def job_counter(
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
    *,
    config,
):
    """Count through the jobs and tell who takes part.

    Ports: clk; start: to the first job; advance: to the next; heads, head_blocks, pass_*: stable; job_rows:
    rows of the pass; job_blocks: blocks of 32 tokens that exist; job_base: head * head_blocks; job_buffer:
    job number modulo 2; job_final_pass, job_last: as they say; exhausted: advanced past the last. Outputs are
    good 2 cycles after start or advance.
    """
    rows = config.rows
    row_bits = bits_for(rows)
    token_bits = bits_for(config.context) + 1

    number = Signal(intbv(0)[row_bits:])
    head = Signal(intbv(0)[8:])
    base = Signal(intbv(0)[16:])
    buffer = Signal(bool(0))
    done = Signal(bool(0))
    last_head = Signal(bool(0))
    final_pass = Signal(bool(0))
    mask_from = Signal(intbv(0)[bits_for(rows * rows) :])
    tokens_from = Signal(intbv(0)[bits_for(rows * token_bits) :])
    tokens = Signal(intbv(0)[token_bits:])

    @always(clk.posedge)
    def compare():
        last_head.next = head + 1 == heads
        final_pass.next = number + 1 == pass_count

    @always_comb
    def drive():
        job_base.next = base
        job_buffer.next = buffer
        job_final_pass.next = final_pass
        job_last.next = final_pass and last_head
        exhausted.next = done
        job_blocks.next = tokens[token_bits:5]
        if tokens[5:] != 0:
            job_blocks.next = tokens[token_bits:5] + 1

    @always(clk.posedge)
    def count():
        if start:
            number.next = 0
            mask_from.next = 0
            tokens_from.next = 0
            head.next = 0
            base.next = 0
            buffer.next = 0
            done.next = 0
        elif advance:
            buffer.next = not buffer
            if not last_head:
                head.next = head + 1
                base.next = base + concat(intbv(0)[8:], head_blocks)
            else:
                head.next = 0
                base.next = 0
                if final_pass:
                    done.next = 1
                else:
                    number.next = number + 1
                    mask_from.next = mask_from + rows
                    tokens_from.next = tokens_from + token_bits

    @always(clk.posedge)
    def look_up():
        job_rows.next = pass_mask[mask_from + rows : mask_from]
        tokens.next = pass_tokens[tokens_from + token_bits : tokens_from]

    return instances()
