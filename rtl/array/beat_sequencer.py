"""Taking of beats: what each one is, and when it can be taken."""

from myhdl import Signal, always, always_comb, always_seq, concat, instances, intbv, modbv

from rtl.array import STAGE_ADD, STAGE_WRITE
from rtl.array.descriptors import group_bits
from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def beat_sequencer(
    clk,
    rst,
    block,
    beat_valid,
    beat_ready,
    operand_ready,
    switching,
    mxfp4,
    weight_1,
    row_valid_1,
    switch_1,
    switching_1,
    mxfp4_1,
    scale_write_1,
    unit_1,
    index_1,
    element_6,
    fresh_7,
    element_13,
    value_scale_write,
    value_scale_buffer,
    value_scale_group,
    bank_full,
    bank_release,
    busy,
    consuming,
    stall_memory,
    stall_operand,
    stall_bank,
    value_job,
    config: ChipConfig,
):
    """Take the beats of one k block after the other: V scales, scale beats, 32 weight beats.

    The first weight beat waits for the operands and, in the first k block of a group, for a free bank. Banks alternate
    from group to group, beginning with 0; one is full when the group's last sum is written.

    Ports: clk, rst; block: stream of k blocks (descriptors.py); beat_valid, beat_ready; operand_ready: the rows'
    next operands are loaded; switching: a beat is taken for which rows switch; mxfp4: of the k block.
    A cycle later: weight_1: it is a weight beat, of output index_1; row_valid_1: for these rows; switch_1: the first of
    its k block (a bit a row), switching_1: of any row; mxfp4_1; scale_write_1: scale beat 0 or 1; unit_1: no scales;
    value_scale_write, _buffer, _group: it holds V scales.
    element_6, fresh_7, element_13: see array_column. bank_full, bank_release; busy: something is in the pipeline or
    claimed. Of consuming, stall_memory, stall_operand, stall_bank one is 1 in each cycle with a k block at hand.
    value_job: its weights are values.
    """
    rows, group_width = config.rows, group_bits(config)
    # An entry {last of its group, bank, output} goes down the line from stage 1 to the write.
    entry = 7
    line_bits, fresh_bits = entry * STAGE_WRITE, STAGE_ADD - 1
    read_low, write_low = entry * (STAGE_ADD - 3), entry * (STAGE_WRITE - 1)

    active, scaled, first, last, buffer_number, value_scales = [Signal(bool(0)) for _ in range(6)]
    block_end, bank, finished = [Signal(bool(0)) for _ in range(3)]
    take = Signal(bool(0))
    taken = Signal(bool(0))  # the bank was not free a cycle ago
    # The next beat is one of weights, the first of its k block, the last: known a cycle ahead, since a beat comes late.
    weights, start, ending = [Signal(bool(0)) for _ in range(3)]
    mask = Signal(intbv(0)[rows:])
    any_row = Signal(bool(0))
    group = Signal(intbv(0)[group_width:])
    scales_left, claimed = [Signal(intbv(0)[2:]) for _ in range(2)]
    index = Signal(modbv(0)[5:])
    line = Signal(intbv(0)[line_bits:])
    fresh_line = Signal(intbv(0)[fresh_bits:])

    @always_comb
    def decide():
        operand_wait = intbv(0)[1:]
        bank_wait = intbv(0)[1:]
        able = intbv(0)[1:]
        operand_wait[0] = start & (not operand_ready)
        bank_wait[0] = start & first & taken
        able[0] = active & (not operand_wait[0]) & (not bank_wait[0])
        beat_ready.next = able[0]
        take.next = able[0] & beat_valid
        switching.next = able[0] & beat_valid & start & any_row
        block_end.next = active & beat_valid & ending  # only a first beat waits
        consuming.next = able[0] & beat_valid
        stall_memory.next = able[0] & (not beat_valid)
        stall_operand.next = operand_wait[0]
        stall_bank.next = bank_wait[0] & (not operand_wait[0])
        value_job.next = not scaled

    @always_comb
    def offer():
        block.ready.next = (not active) | block_end
        busy.next = active | (claimed != 0)

    @always_seq(clk.posedge, reset=rst)
    def step():
        if block_end & last:
            bank.next = not bank
        if take & weights:
            index.next = index + 1
        if (not active) | block_end:
            active.next = block.valid
            weights.next = block.valid & (not block.payload[rows + 1]) & (not block.payload[rows + 4])
            start.next = block.valid & (not block.payload[rows + 1]) & (not block.payload[rows + 4])
            ending.next = False
        elif take & weights:
            start.next = False
            ending.next = index == 30
        elif take:
            # V scales come before scale beats.
            if value_scales:
                weights.next = scales_left == 0
                start.next = scales_left == 0
            else:
                weights.next = scales_left == 1
                start.next = scales_left == 1

    @always(clk.posedge)
    def describe():
        if (not active) | block_end:
            mask.next = block.payload[rows:]
            any_row.next = block.payload[rows:] != 0
            mxfp4.next = block.payload[rows]
            scaled.next = block.payload[rows + 1]
            first.next = block.payload[rows + 2]
            last.next = block.payload[rows + 3]
            value_scales.next = block.payload[rows + 4]
            buffer_number.next = block.payload[rows + 5]
            group.next = block.payload[rows + 6 + group_width : rows + 6]
            scales_left.next = 0
            if block.payload[rows + 1]:
                scales_left.next = 1
                if block.payload[rows]:
                    scales_left.next = 2
        elif take & (not weights):
            if value_scales:
                value_scales.next = False
            else:
                scales_left.next = scales_left - 1

    @always_seq(clk.posedge, reset=rst)
    def classify():
        weight_1.next = take & weights
        row_valid_1.next = 0
        switch_1.next = 0
        switching_1.next = switching
        if take & weights:
            row_valid_1.next = mask
            if start:
                switch_1.next = mask
        scale_write_1.next = 0
        if take & (not weights) & (not value_scales):
            if mxfp4 & (scales_left == 1):
                scale_write_1.next = 2
            else:
                scale_write_1.next = 1
        value_scale_write.next = take & value_scales

    @always(clk.posedge)
    def label():
        if take:
            mxfp4_1.next = mxfp4
            unit_1.next = not scaled
            index_1.next = index
            value_scale_buffer.next = buffer_number
            value_scale_group.next = group

    @always_seq(clk.posedge, reset=rst)
    def escort():
        line.next = concat(line[line_bits - entry :], block_end & last, bank, index)
        fresh_line.next = concat(fresh_line[fresh_bits - 1 :], first)

    @always_comb
    def pick():
        element_6.next = line[read_low + 6 : read_low]
        fresh_7.next = fresh_line[fresh_bits - 1]
        element_13.next = line[write_low + 6 : write_low]
        finished.next = line[write_low + 6]

    @always_seq(clk.posedge, reset=rst)
    def look_at_bank():
        # A bank is claimed only while it is the present one, so nothing is missed.
        taken.next = claimed[bank] | bank_full[bank]
        if block_end & last:
            taken.next = claimed[not bank] | bank_full[not bank]

    @always_seq(clk.posedge, reset=rst)
    def track_banks():
        if finished:
            bank_full.next[line[write_low + 5]] = True
            claimed.next[line[write_low + 5]] = False
        if take & start & first:
            claimed.next[bank] = True
        if bank_release[0]:
            bank_full.next[0] = False
        if bank_release[1]:
            bank_full.next[1] = False

    return instances()
