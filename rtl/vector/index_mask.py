"""Which elements of a word count."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, always, always_comb, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module
from rtl.vector.control_word import Mask
from rtl.vector.delay_line import delay_line
from rtl.vector.lane_mask import lane_mask
from rtl.vector.pick import pick

COUNT = int(Mask.COUNT)


@module
def index_mask(clk, enable, kind, row, index, row_position, count, mask, config: ChipConfig):
    """mask bit l: element index * V + l is within the limit of `kind`; 3 cycles after enable[0].

    enable (3 bits, one a stage), kind (Mask), row, index (32 - log2 V bits: of the word), row_position (R * C), count
    (32); mask (V bits).
    """
    lanes = config.lanes
    lane_bits = (lanes - 1).bit_length()
    position_bits = bits_for(config.context)
    position = Signal(intbv(0)[position_bits:])
    position_word = ConcatSignal(Constant(intbv(0)[32 - position_bits :]), position)
    asked, asked_late = Signal(intbv(0)[34 - lane_bits :]), Signal(intbv(0)[34 - lane_bits :])
    limit = Signal(intbv(0)[32:])
    every, some = Signal(False), Signal(False)
    low = Signal(intbv(0)[lane_bits:])
    asked_now = ConcatSignal(kind, index)
    choose_position = pick(clk, enable(0), row_position, row, position, config.rows, position_bits)

    @always_comb
    def ask():
        asked.next = asked_now

    hold_asked = delay_line(clk, enable(0), asked, asked_late, 1, 34 - lane_bits)

    @always_comb
    def choose_limit():
        # The context is below 2^31, so the sum fits.
        limit.next = position_word + 1
        if asked_late[34 - lane_bits : 32 - lane_bits] == COUNT:
            limit.next = count

    @always(clk.posedge)
    def compare():
        if enable[1]:
            every.next = asked_late[34 - lane_bits : 32 - lane_bits] == 0
            if asked_late[32 - lane_bits :] < limit[32:lane_bits]:
                every.next = True
            some.next = asked_late[32 - lane_bits :] == limit[32:lane_bits]
            low.next = limit[lane_bits:]

    decide = lane_mask(clk, enable(2), every, some, low, mask, lanes)
    return instances()
