"""One word of a wide word."""

from __future__ import annotations

from myhdl import always_comb, instances

from rtl.convert import module


def word_select_verilog(wide, index, word, width: int, count: int) -> str:
    zeros = width.bit_length() - 1
    return f"assign word = wide[{{index, {zeros}'d0}} +: {width}];"


@module(verilog=word_select_verilog)
def word_select(wide, index, word, width: int, count: int):
    """word = bits index * width and up of `wide`; width and count are powers of two.

    Written as an indexed part-select: from a case, Yosys makes four times as many LUTs."""
    ones = (1 << width) - 1

    @always_comb
    def choose():
        word.next = (int(wide) >> (int(index) * width)) & ones

    return instances()
