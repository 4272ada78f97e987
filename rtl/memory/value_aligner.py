"""Picks one byte of a word and puts it into its lane of 32."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def value_aligner(clk, move, enable, word, place, lane, aligned, config: ChipConfig):
    """The byte of `word` at bit `place`, one move later in byte `lane` of `aligned`; zero without enable.

    Ports: clk; move: the pipeline advances; enable; word (V bytes), place (bit number of the byte), lane (0..31,
    constant meanwhile); aligned (32 bytes).
    """
    picked = Signal(intbv(0)[8:])
    WIDTH = len(aligned)
    V8 = 8 * config.lanes

    @always(clk.posedge)
    def pick():
        unused_shifted = intbv(0)[V8:]
        if move:
            picked.next = 0
            if enable:
                unused_shifted[:] = word >> place
                picked.next = unused_shifted[8:]

    @always_comb
    def put():
        spread = modbv(0)[WIDTH:]
        spread[:] = concat(intbv(0)[WIDTH - 8 :], picked)
        spread[:] = spread << concat(lane, intbv(0)[3:])
        aligned.next = spread

    return instances()
