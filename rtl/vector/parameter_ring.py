"""One parameter ring: filled by the stream, read at random by the current instruction."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.ram import ram
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector import timing
from rtl.vector.delay_ring import delay_ring


def ring_bits(config: ChipConfig) -> int:
    """Bits of an address in a ring, which counts words of V numbers."""
    depth = config.ring_words // config.lanes
    if depth * config.lanes != config.ring_words or depth & (depth - 1) or depth < config.words:
        raise ValueError(f"ChipConfig.ring_words is {config.ring_words}: expected a power of two, at least 32")
    return bits_for(depth)


@module
def parameter_ring(
    clk,
    rst,
    free,
    free_blocks,
    block,
    word,
    address,
    write,
    write_data,
    ready,
    read,
    read_address,
    read_data,
    available,
    config: ChipConfig,
):
    """Ring of words of V FP32 numbers. It does not check that what is read has arrived: see `available`.

    free: free_blocks blocks of 32 leave; the base of the reader moves at once, the room is given to the stream
    timing.FREE_DELAY cycles later, since beats under way may still read it. address = base + block * (32 / V) + word,
    combinational, of the base in this cycle. write (only with ready), write_data (a cycle later); read, read_address,
    read_data (2 cycles later); available: words from the base on that have arrived (a bit more than an address). block
    has as many bits as the ring has blocks, free_blocks one more; what leaves in this cycle is not counted.
    """
    bits = ring_bits(config)
    depth = 1 << bits
    word_bits = (config.words - 1).bit_length()
    base, write_at = Signal(modbv(0)[bits:]), Signal(modbv(0)[bits:])
    occupied, arrived = Signal(modbv(0)[bits + 1 :]), Signal(modbv(0)[bits + 1 :])
    freed, freed_late = Signal(intbv(0)[bits + 1 :]), Signal(intbv(0)[bits + 1 :])
    leaving, gone = Signal(intbv(0)[bits + 1 :]), Signal(intbv(0)[bits + 1 :])
    entering = Signal(intbv(0)[bits + 1 :])
    flow = Signal(intbv(0)[timing.FREE_DELAY :])
    # The RAM is far from what counts its words, and is written a cycle later: long before one is read.
    write_1, write_at_1 = Signal(bool(0)), Signal(intbv(0)[bits:])
    if word_bits:
        offset = ConcatSignal(block, word)
        free_words = ConcatSignal(free_blocks, Constant(intbv(0)[word_bits:]))
    else:
        offset, free_words = block, free_blocks
        rest = unused(word, 1)

    @always_comb
    def locate():
        address.next = base + offset
        freed.next = free_words
        leaving.next = 0
        if free:
            leaving.next = free_words
        gone.next = 0
        if flow[timing.FREE_DELAY - 1]:
            gone.next = freed_late
        entering.next = 0
        if write:
            entering.next = 1

    @always_comb
    def offer():
        ready.next = not occupied[bits]
        available.next = arrived - leaving

    hold_free = delay_ring(clk, rst, free, freed, flow(timing.FREE_DELAY - 2), freed_late, timing.FREE_DELAY, bits + 1)

    @always(clk.posedge)
    def account():
        if rst:
            base.next = 0
            write_at.next = 0
            occupied.next = 0
            arrived.next = 0
            flow.next = 0
        else:
            flow.next = concat(flow[timing.FREE_DELAY - 1 :], free)
            base.next = base + leaving[bits:]
            write_at.next = write_at + entering[bits:]
            occupied.next = occupied + entering - gone
            arrived.next = arrived + entering - leaving

    @always(clk.posedge)
    def hold_write():
        write_1.next = write and not rst
        write_at_1.next = write_at

    words = ram(
        clk,
        write_1,
        write_at_1,
        write_data,
        read,
        read_address,
        read_data,
        depth=depth,
        width=32 * config.lanes,
        read_stages=2,
    )
    return instances()
