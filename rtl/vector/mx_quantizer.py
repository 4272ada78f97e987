"""Quantises units of words (a block of 32, or a head) to MXINT8."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.arith import MX_QUANTIZE_ELEMENT_LATENCY
from rtl.arith.mx_quantize_element import mx_quantize_element
from rtl.common.config import ChipConfig
from rtl.common.ram import ram
from rtl.convert import module
from rtl.vector.delay_line import delay_line
from rtl.vector.largest_tree import largest_tree


@module
def mx_quantizer(
    clk,
    rst,
    valid_in,
    unit_end,
    tag,
    x,
    valid_out,
    tag_out,
    scale_out,
    data_out,
    busy,
    config: ChipConfig,
    tag_bits: int,
):
    """Keeps the words of a unit until its largest exponent is known, then emits them in order, one a cycle.

    A unit is one to head_blocks * 32 / V consecutive words, the last one with unit_end. Takes a word every cycle,
    has no stall: what comes while a unit is emitted waits in a ring with room for the longest unit and the words on
    the way.

    valid_in, unit_end, tag (tag_bits, come out unchanged beside the word; bit 0 must be unit_end), x (V * 32);
    valid_out, tag_out, scale_out (8; the same for all words of a unit), data_out (V * 8); busy: words inside.
    """
    lanes = config.lanes
    levels = (lanes - 1).bit_length()
    bits = (config.head_blocks * config.words + 16 - 1).bit_length()
    depth = 1 << bits
    latency = MX_QUANTIZE_ELEMENT_LATENCY
    width = 32 * lanes + tag_bits
    write_at, read_at, released, head, tail = [Signal(modbv(0)[bits:]) for _ in range(5)]
    next_at = Signal(modbv(0)[bits:])
    mark, mark_late = Signal(intbv(0)[bits + 1 :]), Signal(intbv(0)[bits + 1 :])
    end_late = Signal(False)
    flow, moving = [Signal(intbv(0)[levels + 1 :]) for _ in range(2)]
    going = Signal(intbv(0)[latency + 1 :])  # from the read, which takes two cycles, on
    exponents = ConcatSignal(*[x(32 * k + 31, 32 * k + 23) for k in reversed(range(lanes))])
    largest, so_far, largest_now = [Signal(intbv(0)[8:]) for _ in range(3)]
    fresh, read, fetched = [Signal(False) for _ in range(3)]
    tops = [Signal(intbv(0)[8:]) for _ in range(depth)]
    kept, word = Signal(intbv(0)[width:]), Signal(intbv(0)[width:])
    top, top_late = Signal(intbv(0)[8:]), Signal(intbv(0)[8:])
    fetched_tag = Signal(intbv(0)[tag_bits:])
    going_3 = Signal(intbv(0)[latency:])
    elements = [Signal(intbv(0, min=-128, max=128)) for _ in range(lanes)]
    emitted = [Signal(False) for _ in range(lanes)]

    @always_comb
    def prepare():
        kept.next = concat(tag, x)
        next_at.next = write_at + 1
        mark.next = concat(unit_end, write_at)
        moving.next = concat(flow[levels:], valid_in)
        read.next = read_at != released

    @always(clk.posedge)
    def advance():
        if rst:
            write_at.next = 0
            read_at.next = 0
            flow.next = 0
            going.next = 0
            busy.next = False
        else:
            # What is there in the next cycle.
            busy.next = valid_in | (read_at != write_at) | (going != 0) | (flow[levels:] != 0)
            flow.next = moving
            going.next = concat(going[latency:], read)
            if valid_in:
                write_at.next = next_at
            if read:
                read_at.next = read_at + 1

    words = ram(clk, valid_in, write_at, kept, read, read_at, word, depth=depth, width=width, read_stages=2)
    tree = largest_tree(clk, moving(levels, 0) if levels > 1 else moving(0), exponents, largest, lanes)
    hold_mark = delay_line(clk, moving(levels, 0), mark, mark_late, levels, bits + 1)

    @always_comb
    def accumulate():
        end_late.next = flow[levels - 1] & mark_late[bits]
        largest_now.next = largest
        if (not fresh) & (so_far > largest):
            largest_now.next = so_far

    @always(clk.posedge)
    def close_unit():
        if rst:
            fresh.next = True
            released.next = 0
            tail.next = 0
        elif flow[levels - 1]:
            fresh.next = end_late
            if end_late:
                released.next = mark_late[bits:] + 1
                tail.next = tail + 1

    @always(clk.posedge)
    def keep_largest():
        if flow[levels - 1]:
            so_far.next = largest_now
            if end_late:
                tops[tail].next = largest_now

    @always(clk.posedge)
    def take_unit():
        if rst:
            head.next = 0
        elif going[1] & fetched_tag[0]:
            head.next = head + 1

    @always_comb
    def fetch():
        fetched_tag.next = word[width : 32 * lanes]
        fetched.next = going[1]
        top.next = tops[head]
        going_3.next = going[latency + 1 : 1]

    quantise = [
        mx_quantize_element(clk, rst, fetched, word(32 * k + 32, 32 * k), top, emitted[k], elements[k])
        for k in range(lanes)
    ]
    hold_tag = delay_line(clk, going_3, fetched_tag, tag_out, latency, tag_bits)
    hold_top = delay_line(clk, going_3, top, top_late, latency, 8)
    data = ConcatSignal(*[element(8, 0) for element in reversed(elements)])

    @always_comb
    def give():
        valid_out.next = emitted[0]
        data_out.next = data
        scale_out.next = top_late
        if top_late == 0:
            scale_out.next = 127

    return instances()
