"""Whether an operand block is full."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def full_lookup(clk, operand_full, block, full, config):
    """full = operand_full[block], three clocks later: of each group of bits the one at the block's place, then the
    group's, and a clock for the way back, since the bits are far away.

    operand_full (a bit a block), block.
    """
    block_bits = bits_for(config.operand_blocks)
    place_bits = block_bits // 2
    width, groups = 1 << place_bits, 1 << (block_bits - place_bits)
    spare = groups * width - config.operand_blocks + 1  # above the last block; at least one bit
    bits = Signal(intbv(0)[groups * width + 1 :])
    found = Signal(intbv(0)[groups:])
    group = Signal(intbv(0)[block_bits - place_bits :])
    chosen = Signal(bool(0))

    @always_comb
    def pad():
        bits.next = concat(intbv(0)[spare:], operand_full)

    if place_bits > 0:

        @always(clk.posedge)
        def look_in_groups():
            unused_bits = intbv(0)[groups * width + 1 :]
            unused_bits[:] = bits >> block[place_bits:]
            for i in range(groups):
                found.next[i] = unused_bits[i * width]

    else:

        @always(clk.posedge)
        def look_in_groups():
            found.next = bits[groups:]

    @always(clk.posedge)
    def choose_group():
        group.next = block[block_bits:place_bits]
        chosen.next = found[group]
        full.next = chosen

    return instances()
