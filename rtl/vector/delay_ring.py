"""Delay of many cycles in a small RAM."""

from myhdl import Signal, always, always_comb, instances, intbv, modbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def delay_ring(clk, rst, write_enable, d, read_enable, q, stages: int, width: int):
    """q is d `stages` cycles later, for beats whose valid bit is write_enable with d and read_enable one cycle
    before q.

    A ring of 2^n words with a counter that runs freely: a beat's word is read where it was written. Words of
    idle cycles are neither written nor read; q then holds. rst: only the counter.
    """
    bits = bits_for(stages)
    words = [Signal(intbv(0)[width:]) for _ in range(1 << bits)]
    now = Signal(modbv(0)[bits:])
    then = Signal(modbv(0)[bits:])
    age = (1 << bits) - (stages - 1)

    @always_comb
    def look_back():
        then.next = now + age

    @always(clk.posedge)
    def count():
        if rst:
            now.next = 0
        else:
            now.next = now + 1

    @always(clk.posedge)
    def write():
        if write_enable:
            words[now].next = d

    @always(clk.posedge)
    def read():
        if read_enable:
            q.next = words[then]

    return instances()
