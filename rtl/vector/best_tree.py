"""Largest key of the lanes, and whose it is."""

from __future__ import annotations

from myhdl import Signal, always, concat, instances, intbv

from rtl.convert import module


@module
def best_tree(clk, enable, keys, key, place, count: int):
    """key = the largest of `count` (a power of two, at least 2) packed keys, place = the lowest index that holds it.

    One level a cycle; enable: one bit a level, the first level's lowest. place: log2(count) bits.
    """
    levels = (count - 1).bit_length()
    half = count // 2
    if count == 2:

        @always(clk.posedge)
        def choose():
            if enable:
                if keys[64:32] > keys[32:]:
                    key.next = keys[64:32]
                    place.next = 1
                else:
                    key.next = keys[32:]
                    place.next = 0

        return instances()

    low_key, high_key = Signal(intbv(0)[32:]), Signal(intbv(0)[32:])
    low_place, high_place = [Signal(intbv(0)[levels - 1 :]) for _ in range(2)]
    older = enable(levels - 1, 0) if levels > 2 else enable(0)
    low_half = best_tree(clk, older, keys(32 * half, 0), low_key, low_place, half)
    high_half = best_tree(clk, older, keys(32 * count, 32 * half), high_key, high_place, half)

    @always(clk.posedge)
    def join_halves():
        if enable[levels - 1]:
            if high_key > low_key:
                key.next = high_key
                place.next = concat("1", high_place)
            else:
                key.next = low_key
                place.next = concat("0", low_place)

    return instances()
