"""From instructions to k blocks: what the array has to do, in order."""

from myhdl import Signal, always_comb, always_seq, concat, enum, instances, intbv, modbv

from rtl.array.descriptors import group_bits, queued_bits, queued_range
from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module


@module
def array_jobs(
    clk,
    rst,
    row_active,
    pass_count,
    pass_mask,
    pass_tokens,
    instruction,
    block_valid,
    block_ready,
    request_payload,
    block_payload,
    working,
    config: ChipConfig,
):
    """Walk through groups and k blocks of MATMUL, and of the jobs of ATTEND in the order S0 S1 V0 S2 V1 ...

    Ports: clk, rst; row_active, pass_count, pass_mask, pass_tokens: the rows of the step; instruction: stream from
    instruction_queue; block_valid, block_ready: a k block is handed over, as request_payload to the operand loader
    and as block_payload to the beat sequencer at once (layouts: descriptors.py); working: an instruction is under way.
    """
    rows = config.rows
    block_width = bits_for(config.operand_blocks)
    token_bits, index_bits, buffer_groups = bits_for(config.context) + 1, bits_for(rows), group_bits(config)
    mask_low_bits, token_low_bits = bits_for(rows * rows), bits_for(rows * token_bits)
    head_bits = min(8, block_width)
    port_shift = config.ports.bit_length() - 1
    context_blocks = config.context_blocks
    attend_at = queued_bits(config) - 1
    _, mxfp4_at = queued_range("mxfp4", config)
    _, consume_at = queued_range("consume", config)
    k_high, k_low = queued_range("k_blocks", config)
    groups_high, groups_low = queued_range("groups", config)
    blocks_high, blocks_low = queued_range("head_blocks", config)
    heads_high, heads_low = queued_range("heads", config)
    _, source_low = queued_range("source", config)
    _, weight_low = queued_range("weight_block", config)

    phase = enum("IDLE", "CHOOSE", "SCORE", "VALUE", "RUN")
    state = Signal(phase.IDLE)
    # The job under way.
    mask = Signal(intbv(0)[rows:])
    base, block = [Signal(modbv(0)[block_width:]) for _ in range(2)]
    group, group_end, k, k_end = [Signal(intbv(0)[16:]) for _ in range(4)]
    mxfp4, scaled, score, clears, buffer_number = [Signal(bool(0)) for _ in range(5)]
    k_last, group_last = [Signal(bool(0)) for _ in range(2)]
    # What is left of ATTEND: the next S job, the next V job.
    source, query, regions = [Signal(modbv(0)[block_width:]) for _ in range(3)]
    head_blocks = Signal(modbv(0)[head_bits:])
    last_head_block, head_end, score_head, value_head = [Signal(modbv(0)[8:]) for _ in range(4)]
    score_pass, value_pass, pass_end = [Signal(modbv(0)[index_bits:]) for _ in range(3)]
    score_left, score_parity, value_parity = [Signal(bool(0)) for _ in range(3)]
    lead = Signal(intbv(0)[2:])  # S jobs ahead of V jobs
    # The pass of the next job, and the block of its last token.
    chosen_mask = Signal(intbv(0)[rows:])
    last_block = Signal(modbv(0)[token_bits - 5 :])

    @always_comb
    def offer():
        block_valid.next = state == phase.RUN
        instruction.ready.next = state == phase.IDLE
        working.next = state != phase.IDLE
        k_last.next = k == k_end
        group_last.next = group == group_end

    @always_comb
    def describe():
        request_payload.next = concat(clears & group_last, block, mask)
        block_payload.next = concat(
            group[buffer_groups:],
            buffer_number,
            score & (k == 0),
            k_last,
            k == 0,
            scaled,
            mxfp4,
            mask,
        )

    @always_comb
    def choose_pass():
        number = intbv(0)[index_bits:]
        tokens = intbv(0)[token_bits:]
        mask_low = intbv(0)[mask_low_bits:]
        token_low = intbv(0)[token_low_bits:]
        number[:] = value_pass
        if state == phase.SCORE:
            number[:] = score_pass
        mask_low[index_bits:] = number
        mask_low[:] = mask_low * rows
        chosen_mask.next = pass_mask[mask_low + rows : mask_low]
        token_low[index_bits:] = number
        token_low[:] = token_low * token_bits
        tokens[:] = pass_tokens[token_low + token_bits : token_low]
        last_block.next = tokens[token_bits:5]
        if tokens[5:] == 0:
            last_block.next = tokens[token_bits:5] - 1

    @always_seq(clk.posedge, reset=rst)
    def control():
        if state == phase.IDLE:
            if instruction.valid:
                if not instruction.payload[attend_at]:
                    state.next = phase.RUN
                elif pass_count != 0:
                    state.next = phase.CHOOSE
        elif state == phase.CHOOSE:
            if score_left & (lead != 2):
                state.next = phase.SCORE
            elif lead != 0:
                state.next = phase.VALUE
            else:
                state.next = phase.IDLE
        elif state == phase.RUN:
            if block_ready & k_last & group_last:
                state.next = phase.CHOOSE
        else:
            state.next = phase.RUN

    @always_seq(clk.posedge, reset=rst)
    def walk():
        token_groups = intbv(0)[16:]
        token_blocks = intbv(0)[16:]
        channel_groups = intbv(0)[16:]
        token_groups[token_bits - 5 :] = last_block
        token_groups[:] = token_groups >> port_shift
        token_blocks[token_bits - 5 :] = last_block
        channel_groups[8:] = last_head_block
        channel_groups[:] = channel_groups >> port_shift
        if state == phase.IDLE:
            mask.next = row_active
            mxfp4.next = instruction.payload[mxfp4_at] & (not instruction.payload[attend_at])
            scaled.next = True
            score.next = False
            clears.next = instruction.payload[consume_at]
            base.next = instruction.payload[source_low + block_width : source_low]
            block.next = instruction.payload[source_low + block_width : source_low]
            k_end.next = instruction.payload[k_high:k_low] - 1
            group_end.next = instruction.payload[groups_high:groups_low] - 1
        elif state == phase.SCORE:
            mask.next = chosen_mask
            score.next = True
            scaled.next = True
            clears.next = score_pass == pass_end
            buffer_number.next = score_parity
            base.next = query
            block.next = query
            k_end.next = concat("00000000", last_head_block)
            group_end.next = token_groups
        elif state == phase.VALUE:
            mask.next = chosen_mask
            score.next = False
            scaled.next = False
            clears.next = True
            buffer_number.next = value_parity
            if value_parity:
                base.next = regions + context_blocks
                block.next = regions + context_blocks
            else:
                base.next = regions
                block.next = regions
            k_end.next = token_blocks
            group_end.next = channel_groups
        elif (state == phase.RUN) & block_ready:
            if not k_last:
                k.next = k + 1
                block.next = block + 1
            else:
                k.next = 0
                block.next = base
                if group_last:
                    group.next = 0
                else:
                    group.next = group + 1

    @always_seq(clk.posedge, reset=rst)
    def remember():
        """Jobs that ATTEND still has to begin; MATMUL has none."""
        step = modbv(0)[block_width:]
        step[head_bits:] = head_blocks
        if state == phase.IDLE:
            score_left.next = instruction.valid & instruction.payload[attend_at]
            lead.next = 0
            score_parity.next = False
            value_parity.next = False
            score_head.next = 0
            value_head.next = 0
            score_pass.next = 0
            value_pass.next = 0
            source.next = instruction.payload[source_low + block_width : source_low]
            query.next = instruction.payload[source_low + block_width : source_low]
            regions.next = instruction.payload[weight_low + block_width : weight_low]
            head_blocks.next = instruction.payload[blocks_low + head_bits : blocks_low]
            last_head_block.next = instruction.payload[blocks_high:blocks_low] - 1
            head_end.next = instruction.payload[heads_high:heads_low] - 1
            pass_end.next = pass_count[index_bits:] - 1
        elif state == phase.SCORE:
            lead.next = lead + 1
            score_parity.next = not score_parity
            if score_head != head_end:
                score_head.next = score_head + 1
                query.next = query + step
            else:
                score_head.next = 0
                query.next = source
                if score_pass == pass_end:
                    score_left.next = False
                else:
                    score_pass.next = score_pass + 1
        elif state == phase.VALUE:
            lead.next = lead - 1
            value_parity.next = not value_parity
            if value_head != head_end:
                value_head.next = value_head + 1
            else:
                value_head.next = 0
                if value_pass != pass_end:
                    value_pass.next = value_pass + 1
        else:
            score_left.next = score_left

    return instances()
