"""Picks one byte of a word."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def value_picker(clk, move, enable, word, place, picked, config: ChipConfig):
    """Byte `place` of `word`, one move later; zero without enable.

    Ports: clk; move: the pipeline advances; enable; word (V bytes), place; picked (8 bits).
    """
    V8 = 8 * config.lanes
    unused_shifted = Signal(intbv(0)[V8:])

    @always_comb
    def shift():
        unused_shifted.next = word >> concat(place, intbv(0)[3:])

    @always(clk.posedge)
    def pick():
        if move:
            picked.next = 0
            if enable:
                picked.next = unused_shifted[8:]

    return instances()
