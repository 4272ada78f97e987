"""One round of thread D in preparation: its block numbers, its rows, and whether it may go."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.convert import module
from rtl.vector.full_lookup import full_lookup
from rtl.vector.passes import PROPERTIES, Kind

KEY, VALUE_QUANTISE, WEIGHTED, SCORE = (
    int(Kind.KEY),
    int(Kind.VALUE_QUANTISE),
    int(Kind.WEIGHTED),
    int(Kind.SCORE),
)
EMBED, LOGIT, LOGITS_OUT = int(Kind.EMBED), int(Kind.LOGIT), int(Kind.LOGITS_OUT)
NOISE_1, NOISE_2 = int(Kind.NOISE_1), int(Kind.NOISE_2)


@module
def drain_round(
    clk,
    kind,
    index,
    index_after,
    column,
    source_base,
    block_base,
    head_block,
    head,
    head_blocks,
    bank,
    bank_taken,
    buffer,
    fill,
    mxfp4,
    has_bias,
    pass_first,
    rows,
    last_column,
    blocks,
    logits_any,
    bank_full,
    operand_full,
    ring_a_blocks,
    ring_b_blocks,
    kv_room,
    logits_room,
    inverse_ready,
    drained,
    job_end,
    group_end,
    last_read,
    go,
    waits,
    writes_operand,
    round_data,
    *,
    config,
):
    """Everything is good 2 cycles after the counters moved, 4 of them if writes_operand, which is good after 1; go,
    job_end, group_end and last_read follow the conditions then.

    It does not remember anything of earlier rounds.

    Ports: clk; the counters and properties of the round (thread_drain); index_after: index of the block that
    follows; blocks: index at which the job ends; last_column: last column of a group; conditions
    (thread_drain); job_end, group_end: the round is the last of its job, of its group; last_read: it is the
    last to read its bank; go: it may be handed on; waits: what for, where the vector unit cannot help it: {credit of
    the KV writer, inverse, parameters, bank}; round_data.
    """
    rom = PROPERTIES
    selected = Signal(intbv(0)[7:])
    biased = Signal(bool(0))
    column_bits = bits_for(config.columns)
    block_bits = bits_for(config.operand_blocks)

    block, source_block = [Signal(intbv(0)[16:]) for _ in range(2)]
    physical = Signal(intbv(0)[column_bits:])
    turn_blocks = Signal(intbv(0)[8:])
    one_beat, reads_bank, reads_ring_a, reads_ring_b, writes_kv, waits_landing = [Signal(bool(0)) for _ in range(6)]
    writes_logits, takes_inverse = [Signal(bool(0)) for _ in range(2)]
    bank_there, ring_a_there, ring_b_there, kv_there, logits_there, inverse_there, full = [
        Signal(bool(0)) for _ in range(7)
    ]
    job_ends, group_ends, last_reads = [Signal(bool(0)) for _ in range(3)]

    @always_comb
    def select():
        selected.next = rom[int(kind)]

    @always(clk.posedge)
    def classify():
        one_beat.next = selected[0]
        reads_bank.next = selected[1]
        writes_operand.next = selected[2]
        biased.next = has_bias and selected[5]
        reads_ring_a.next = (has_bias and selected[5]) or selected[3]
        reads_ring_b.next = selected[3]
        writes_kv.next = selected[4]
        waits_landing.next = pass_first and selected[6]
        writes_logits.next = kind == LOGITS_OUT
        takes_inverse.next = kind == WEIGHTED
        job_ends.next = index_after >= blocks
        group_ends.next = index_after >= blocks or column == last_column

    @always(clk.posedge)
    def number_blocks():
        block.next = block_base + index
        source_block.next = source_base + index
        physical.next = column
        turn_blocks.next = 0
        if not mxfp4:
            physical.next = column << 1
        if kind == KEY:
            block.next = concat(intbv(0)[8:], head_block)
        elif kind == VALUE_QUANTISE:
            block.next = 0
            turn_blocks.next = head_blocks - 1
        elif kind == NOISE_1 or kind == NOISE_2 or kind == LOGIT:
            block.next = concat(intbv(0)[16 - column_bits :], column)
            source_block.next = concat(intbv(0)[16 - column_bits :], column)

    @always(clk.posedge)
    def observe():
        bank_there.next = bank_full[bank] and not bank_taken[bank]
        ring_a_there.next = ring_a_blocks > index
        ring_b_there.next = ring_b_blocks > index
        kv_there.next = kv_room
        logits_there.next = logits_room
        inverse_there.next = inverse_ready[buffer]

    look_up = full_lookup(clk, operand_full, block(block_bits, 0), full, config)

    @always_comb
    def decide():
        go.next = not (
            (reads_bank and not bank_there)
            or (reads_ring_a and not ring_a_there)
            or (reads_ring_b and not ring_b_there)
            or (writes_operand and full)
            or (writes_kv and not kv_there)
            or (writes_logits and not logits_there)
            or (takes_inverse and not inverse_there)
            or (waits_landing and not drained)
        )
        waits.next = concat(
            writes_kv and not kv_there,
            takes_inverse and not inverse_there,
            (reads_ring_a and not ring_a_there) or (reads_ring_b and not ring_b_there),
            reads_bank and not bank_there,
        )
        job_end.next = job_ends
        group_end.next = group_ends
        last_reads.next = reads_bank and group_ends and not (kind == LOGIT and logits_any)

    @always_comb
    def build():
        last_read.next = last_reads
        round_data.next = concat(
            kind == SCORE and job_ends,  # mark
            last_reads,
            fill,
            one_beat,
            turn_blocks,
            head,
            block,
            index,
            source_block,
            buffer,
            physical,
            bank,
            rows,
            biased,
            kind,
        )

    return instances()
