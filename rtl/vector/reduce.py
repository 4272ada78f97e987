"""Sums of blocks of 32, and their running sums by row."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.arith.fp32_add import fp32_add
from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module
from rtl.vector import timing
from rtl.vector.delay_line import delay_line
from rtl.vector.delay_ring import delay_ring
from rtl.vector.sum_pairs import sum_pairs
from rtl.vector.sum_tree import sum_tree


@module
def reduce(
    clk,
    rst,
    valid_in,
    block_end,
    first,
    scalar,
    row,
    x,
    read_address,
    read_data,
    write,
    write_address,
    write_data,
    config: ChipConfig,
):
    """Sums each block of 32 by the fixed tree of adjacent pairs, then adds it to the running sum of its row.

    Words of a block follow one another; blocks of one row and scalar are at least 6 cycles apart. The running sum of a
    block with `first` starts from +0. timing.SUM_TREE cycles after block_end the running sum is added, 5 later written.
    It is read a cycle before, so that the adder has it from a register; a sum that is written in that cycle is taken
    over.

    valid_in, block_end (the last word of a block), first, scalar (2 bits: bank address of the sum), row, x (V * 32,
    masked elements +0); towards the bank of sums: read_address {scalar, row}, read_data (same cycle), write,
    write_address, write_data.
    """
    lanes = config.lanes
    row_bits = bits_for(config.rows)
    tag_bits = row_bits + 3
    block_levels = (config.words - 1).bit_length()
    valids = [Signal(False) for _ in range(block_levels + 1)]
    sums = [Signal(intbv(0)[32:]) for _ in range(block_levels + 1)]
    tag, tag_late = Signal(intbv(0)[tag_bits:]), Signal(intbv(0)[tag_bits:])
    so_far = Signal(intbv(0)[32:])
    end_valid, tag_read = Signal(False), Signal(False)
    late_address = Signal(intbv(0)[row_bits + 2 :])
    move_tag = Signal(intbv(0)[6:])
    written_now = Signal(False)
    depth = timing.SUM_TREE

    @always_comb
    def tag_block():
        end_valid.next = valid_in and block_end
        tag.next = concat(first, scalar, row)

    valid_1 = Signal(False)
    x_1 = Signal(intbv(0)[32 * lanes :])

    @always(clk.posedge)
    def hold():
        valid_1.next = valid_in and not rst
        if valid_in:
            x_1.next = x

    over_lanes = sum_tree(clk, rst, valid_1, x_1, valids[0], sums[0], lanes)
    in_time = [sum_pairs(clk, rst, valids[k], sums[k], valids[k + 1], sums[k + 1]) for k in range(block_levels)]
    total_valid, total = valids[block_levels], sums[block_levels]
    ends = Signal(intbv(0)[depth + 4 :])

    @always(clk.posedge)
    def age():
        if rst:
            ends.next = 0
        else:
            ends.next = concat(ends[depth + 3 :], end_valid)

    @always_comb
    def watch():
        tag_read.next = ends[depth - 3]
        move_tag.next = ends[depth + 4 : depth - 2]

    hold_tag = delay_ring(clk, rst, end_valid, tag, tag_read, tag_late, depth - 1, tag_bits)

    @always_comb
    def read_sum():
        read_address.next = tag_late[tag_bits - 1 :]
        written_now.next = write & (write_address == tag_late[tag_bits - 1 :])

    @always(clk.posedge)
    def recall():
        if ends[depth - 2]:
            if tag_late[tag_bits - 1]:
                so_far.next = 0
            elif written_now:
                so_far.next = write_data
            else:
                so_far.next = read_data

    add = fp32_add(clk, rst, total_valid, so_far, total, write, write_data)
    hold_address = delay_line(clk, move_tag, late_address, write_address, 6, row_bits + 2)

    @always_comb
    def name_sum():
        late_address.next = tag_late[tag_bits - 1 :]

    return instances()
