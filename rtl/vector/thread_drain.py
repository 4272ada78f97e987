"""Thread D: embedding, norms and accumulator drains as rounds, instruction by instruction."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.isa import FIELDS, Epilogue, Opcode
from rtl.convert import module
from rtl.vector.drain_jobs import drain_jobs
from rtl.vector.drain_phase import drain_phase
from rtl.vector.drain_round import drain_round
from rtl.vector.passes import KIND_BITS, Kind, round_bits

IDLE, START, SETTLE_1, SETTLE_2, JOB, LOOK_1, LOOK_2, LOOK_3, LOOK_4, CHECK, NEXT, FINISH = range(12)
EMBED, MEAN, VARIANCE, SPREAD, DEVIATION, NORMALISE = (int(Kind(k)) for k in range(6))
QUANTIZE, ACTIVATE, RESIDUAL, KEY, VALUE, VALUE_QUANTISE = (int(Kind(k)) for k in range(6, 12))
SCORE, WEIGHTED, NOISE_1, NOISE_2, LOGIT, LOGITS_OUT = (int(Kind(k)) for k in range(12, 18))
OP_EMBED, OP_NORM, OP_MATMUL, OP_ATTEND = (int(o) for o in (Opcode.EMBED, Opcode.NORM, Opcode.MATMUL, Opcode.ATTEND))
FOR_RESIDUAL, FOR_KEY, FOR_VALUE, FOR_SAMPLE = (
    int(e) for e in (Epilogue.RESIDUAL, Epilogue.KEY, Epilogue.VALUE, Epilogue.SAMPLE)
)


@module
def thread_drain(
    clk,
    rst,
    row_active,
    row_sample,
    row_greedy,
    row_logits,
    pass_count,
    pass_mask,
    pass_tokens,
    instruction,
    instruction_valid,
    instruction_ready,
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
    issued,
    landed,
    pipeline_busy,
    softmax_waits,
    sample_done,
    idle,
    phase,
    round_valid,
    round_ready,
    round_data,
    *,
    config,
):
    """Make the rounds of EMBED, NORM, MATMUL and ATTEND's drains, in order, each when all it waits for is
    there.

    An instruction begins when every beat of the one before has landed. NORM begins behind the last beat of RESIDUAL or
    EMBED: its first pass waits for the sums, and neither of these uses a constant of its instruction. Within it the
    loops are: jobs of ATTEND, or rows of EMBED; groups of columns (a bank); passes; blocks. A round takes 4 cycles
    to prepare, 6 of them if it writes operands (NEXT: counters; LOOK: block numbers, conditions; CHECK: until all
    hold), beside the walker that issues the one before.

    Ports: clk, rst; row_*, pass_*; instruction: stream; active_instruction: the one under way; softmax_start:
    pulse, thread S begins its jobs; bank_full, operand_full; ring_*_blocks: blocks of 32 present in a ring,
    ring_*_free (pulses) with ring_free_blocks; kv_*, logits_room: credit for this round and those on their
    way; inverse_ready (2), inverse_take (2, pulses); issued: the walker is idle and the lanes have all its beats;
    landed: these can be read when the next comes; pipeline_busy: also of what leaves the unit; softmax_waits: thread
    S waits for scores; sample_done: pulse; idle: no instruction; phase: see drain_phase; round_*: stream of rounds.
    """
    rows = config.rows
    column_bits = bits_for(config.columns)
    wide_last, narrow_last = 2 * config.ports - 1, config.ports - 1
    opcode_h, opcode_l = 8, FIELDS["opcode"].bit
    epilogue_l = FIELDS["epilogue"].bit
    epilogue_h = epilogue_l + 3
    k_blocks_l, output_l, source_l, destination_l, heads_l, head_blocks_l = (
        FIELDS[name].bit for name in ("k_blocks", "output_blocks", "source", "destination", "heads", "head_blocks")
    )
    k_blocks_h, output_h, source_h, destination_h = (
        k_blocks_l + 16,
        output_l + 16,
        source_l + 16,
        destination_l + 16,
    )
    heads_h, head_blocks_h = heads_l + 8, head_blocks_l + 8
    mxfp4_bit, bias_bit, activate_bit = (FIELDS[name].bit for name in ("mxfp4", "has_bias", "activate"))

    held = Signal(intbv(0)[512:])
    opcode = Signal(intbv(0)[8:])
    epilogue = Signal(intbv(0)[3:])
    k_blocks, output_blocks, source, destination = [Signal(intbv(0)[16:]) for _ in range(4)]
    heads, head_blocks = [Signal(intbv(0)[8:]) for _ in range(2)]
    matmul, mxfp4, has_bias = [Signal(bool(0)) for _ in range(3)]
    sample_rows, noise_rows, logits_rows, embed_rest, embed_row = [Signal(intbv(0)[rows:]) for _ in range(5)]
    noise_any, logits_any = [Signal(bool(0)) for _ in range(2)]

    step, score, final_pass, over, job_buffer, starting = [Signal(bool(0)) for _ in range(6)]
    job_rows = Signal(intbv(0)[rows:])
    job_blocks, job_base = [Signal(intbv(0)[16:]) for _ in range(2)]

    state = Signal(intbv(0)[4:])
    kind = Signal(intbv(0)[KIND_BITS:])
    bank = Signal(bool(0))
    bank_taken = Signal(intbv(0)[2:])  # its last read is on its way, and it has not been seen empty since
    taking = Signal(intbv(0)[2:])
    index, index_after, blocks, group_first, source_base, block_base = [Signal(intbv(0)[16:]) for _ in range(6)]
    column, last_column = [Signal(intbv(0)[column_bits:]) for _ in range(2)]
    head_block, head = [Signal(intbv(0)[8:]) for _ in range(2)]
    pass_first, buffer, fill = [Signal(bool(0)) for _ in range(3)]
    pass_rows = Signal(intbv(0)[rows:])

    job_end, group_end, last_read, go, valid, drained, handing = [Signal(bool(0)) for _ in range(7)]
    rows_left, over_to_norm, leaves = [Signal(bool(0)) for _ in range(3)]
    prepared = Signal(intbv(0)[round_bits(config) :])
    waits = Signal(intbv(0)[4:])
    checking, lanes_rest, writes_operand = [Signal(bool(0)) for _ in range(3)]
    # Of the kind and of the counters, a clock later: nobody asks in the clock after they have changed.
    head_ends = Signal(bool(0))
    alone, statistics, noise, logit, to_memory, by_head, value, attends = [Signal(bool(0)) for _ in range(8)]

    jobs = drain_jobs(
        clk,
        starting,
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
        final_pass,
        over,
        config=config,
    )
    preparation = drain_round(
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
        pass_rows,
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
        prepared,
        config=config,
    )
    phases = drain_phase(kind, checking, waits, lanes_rest, phase)

    @always_comb
    def unpack():
        opcode.next = held[opcode_h:opcode_l]
        epilogue.next = held[epilogue_h:epilogue_l]
        k_blocks.next = held[k_blocks_h:k_blocks_l]
        output_blocks.next = held[output_h:output_l]
        source.next = held[source_h:source_l]
        destination.next = held[destination_h:destination_l]
        heads.next = held[heads_h:heads_l]
        head_blocks.next = held[head_blocks_h:head_blocks_l]

    @always_comb
    def derive():
        matmul.next = opcode == OP_MATMUL
        mxfp4.next = held[mxfp4_bit] and opcode == OP_MATMUL
        has_bias.next = held[bias_bit] and opcode == OP_MATMUL
        index_after.next = index + 1
        if kind == VALUE_QUANTISE:
            index_after.next = index + concat(intbv(0)[8:], head_blocks)

    @always_comb
    def drive():
        active_instruction.next = held
        instruction_ready.next = state == IDLE
        idle.next = state == IDLE
        softmax_start.next = starting
        ring_free_blocks.next = k_blocks
        if matmul:
            ring_free_blocks.next = output_blocks
        round_valid.next = valid
        handing.next = checking and go and (round_ready or not valid)
        lanes_rest.next = softmax_waits and not pipeline_busy and not valid

    @always_comb
    def decide_end():
        rows_left.next = opcode == OP_EMBED and embed_rest != embed_row
        over_to_norm.next = (
            (opcode == OP_EMBED or kind == RESIDUAL) and instruction_valid and instruction[opcode_h:opcode_l] == OP_NORM
        )

    @always(clk.posedge)
    def sort_kinds():
        alone.next = kind == EMBED or kind == NORMALISE
        statistics.next = kind == MEAN or kind == VARIANCE or kind == SPREAD or kind == DEVIATION
        noise.next = kind == NOISE_1 or kind == NOISE_2
        logit.next = kind == LOGIT
        to_memory.next = kind == LOGITS_OUT
        by_head.next = kind == KEY or kind == VALUE_QUANTISE
        value.next = kind == VALUE
        attends.next = kind == SCORE or kind == WEIGHTED
        head_ends.next = kind == VALUE_QUANTISE or head_block + 1 == head_blocks

    @always(clk.posedge)
    def leave():
        # A clock late, and not wrong then: nothing begins between the last round of a pass and the next, or
        # at the end of an instruction.
        drained.next = landed and not valid
        leaves.next = landed and not valid and not pipeline_busy
        if rows_left or over_to_norm:
            leaves.next = issued and not valid

    @always_comb
    def take_bank():
        taking.next = 0
        if handing and last_read:
            taking.next = concat(bank, not bank)

    @always(clk.posedge)
    def choose_rows():
        # The row table is stable during a step.
        sample_rows.next = row_active & row_sample
        noise_rows.next = row_active & row_sample & ~row_greedy
        logits_rows.next = row_active & row_sample & row_logits
        noise_any.next = noise_rows != 0
        logits_any.next = logits_rows != 0
        embed_row.next = embed_rest & (~embed_rest + 1)
        if kind == EMBED:
            pass_rows.next = embed_row
        elif kind == SCORE or kind == WEIGHTED:
            pass_rows.next = job_rows
        elif kind == NOISE_1 or kind == NOISE_2:
            pass_rows.next = noise_rows
        elif kind == LOGIT:
            pass_rows.next = sample_rows
        elif kind == LOGITS_OUT:
            pass_rows.next = logits_rows
        else:
            pass_rows.next = row_active

    @always(clk.posedge)
    def follow_check():
        # state == CHECK, in a register of its own.
        checking.next = (state == LOOK_2 and not writes_operand) or state == LOOK_4 or (checking and not handing)
        if rst:
            checking.next = 0

    @always(clk.posedge)
    def hand_on():
        bank_taken.next = (bank_taken | taking) & (bank_full | taking)
        if handing:
            valid.next = 1
            round_data.next = prepared
        elif round_ready:
            valid.next = 0
        if rst:
            valid.next = 0
            bank_taken.next = 0

    @always(clk.posedge)
    def work_through():
        starting.next = 0
        step.next = 0
        inverse_take.next = 0
        kv_start.next = 0
        kv_end.next = 0
        ring_a_free.next = 0
        ring_b_free.next = 0
        sample_done.next = 0

        if state == IDLE:
            if instruction_valid:
                held.next = instruction
                state.next = START

        elif state == START:
            index.next = 0
            column.next = 0
            group_first.next = 0
            head_block.next = 0
            head.next = 0
            pass_first.next = 1
            buffer.next = 0
            fill.next = 1
            source_base.next = 0
            block_base.next = destination
            blocks.next = k_blocks
            embed_rest.next = row_active
            last_column.next = narrow_last
            if mxfp4:
                last_column.next = wide_last
            if opcode == OP_EMBED:
                kind.next = EMBED
                state.next = SETTLE_1
            elif opcode == OP_NORM:
                kind.next = MEAN
                blocks.next = 1
                source_base.next = source
                state.next = LOOK_1
            elif opcode == OP_MATMUL:
                blocks.next = output_blocks
                state.next = LOOK_1
                if epilogue == FOR_KEY or epilogue == FOR_VALUE:
                    kv_start.next = kv_idle
                    kind.next = KEY
                    if epilogue == FOR_VALUE:
                        kind.next = VALUE
                    if not kv_idle:
                        state.next = START
                elif epilogue == FOR_SAMPLE:
                    block_base.next = 0
                    kind.next = LOGIT
                    pass_first.next = noise_any
                    if noise_any:
                        kind.next = NOISE_1
                elif epilogue == FOR_RESIDUAL:
                    kind.next = RESIDUAL
                elif held[activate_bit]:
                    kind.next = ACTIVATE
                else:
                    kind.next = QUANTIZE
            elif opcode == OP_ATTEND:
                starting.next = 1
                kind.next = SCORE
                state.next = SETTLE_1
            else:
                state.next = IDLE

        elif state == SETTLE_1:
            state.next = SETTLE_2

        elif state == SETTLE_2:
            state.next = LOOK_1
            if opcode == OP_ATTEND:
                state.next = JOB

        elif state == JOB:
            kind.next = WEIGHTED
            block_base.next = destination + job_base
            fill.next = final_pass
            if score:
                kind.next = SCORE
                block_base.next = 0
            blocks.next = job_blocks
            buffer.next = job_buffer
            index.next = 0
            column.next = 0
            state.next = LOOK_1
            if over:
                state.next = FINISH

        elif state == LOOK_1:
            state.next = LOOK_2

        elif state == LOOK_2:
            state.next = CHECK
            if writes_operand:
                state.next = LOOK_3

        elif state == LOOK_3:
            state.next = LOOK_4

        elif state == LOOK_4:
            state.next = CHECK

        elif state == CHECK:
            if handing:
                state.next = NEXT
                if last_read:
                    bank.next = not bank

        elif state == NEXT:
            state.next = LOOK_1
            pass_first.next = 0
            index.next = index_after
            if by_head:
                head_block.next = head_block + 1
                if head_ends:
                    head_block.next = 0
                    head.next = head + 1
            column.next = column + 1
            if group_end:
                column.next = 0
            if alone:
                if job_end:
                    state.next = FINISH
            elif statistics:
                if job_end:
                    kind.next = kind + 1
                    pass_first.next = 1
                    index.next = 0
                    blocks.next = k_blocks
                    if kind == VARIANCE or kind == SPREAD:
                        blocks.next = 1
            elif group_end:
                if noise:
                    kind.next = kind + 1
                    pass_first.next = 1
                    index.next = group_first
                elif logit and logits_any:
                    kind.next = LOGITS_OUT
                    index.next = group_first
                elif not job_end:
                    group_first.next = index_after
                    if to_memory or logit:
                        kind.next = LOGIT
                        pass_first.next = noise_any
                        if noise_any:
                            kind.next = NOISE_1
                elif value:
                    kind.next = VALUE_QUANTISE
                    pass_first.next = 1
                    index.next = 0
                    source_base.next = destination
                elif attends:
                    step.next = 1
                    state.next = SETTLE_1
                    if kind == WEIGHTED:
                        inverse_take.next = concat(buffer, not buffer)
                else:
                    state.next = FINISH

        elif leaves:
            state.next = IDLE
            kv_end.next = by_head
            sample_done.next = matmul and epilogue == FOR_SAMPLE
            ring_a_free.next = has_bias or opcode == OP_EMBED or opcode == OP_NORM
            ring_b_free.next = opcode == OP_EMBED or opcode == OP_NORM
            if opcode == OP_EMBED:
                embed_rest.next = embed_rest & ~embed_row
                index.next = 0
                if rows_left:
                    state.next = SETTLE_1

        if rst:
            state.next = IDLE
            kind.next = EMBED
            bank.next = 0
            starting.next = 0
            step.next = 0
            inverse_take.next = 0
            kv_start.next = 0
            kv_end.next = 0
            ring_a_free.next = 0
            ring_b_free.next = 0
            sample_done.next = 0

    return instances()
