"""The read half of axi_sdram: bursts to beat requests, words to beats."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.board.sdram_controller import GROUP_BITS
from rtl.board.sdram_timing import WORD_ADDRESS_BITS
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.unused import unused
from rtl.convert import module

BEAT_BITS = 256
BEAT_LOW = 5  # of a byte address: within a beat
BEAT_ADDRESS_BITS = WORD_ADDRESS_BITS - GROUP_BITS
OKAY, DECERR = 0, 3


@module
def beat_reads(
    clk,
    rst,
    request_valid,
    request_taken,
    request_beat,
    word_valid,
    word_data,
    m_axi_araddr,
    m_axi_arlen,
    m_axi_arvalid,
    m_axi_arready,
    m_axi_rdata,
    m_axi_rresp,
    m_axi_rlast,
    m_axi_rvalid,
    m_axi_rready,
):
    """AXI4 read bursts (INCR, 256-bit beats, one ID) on a memory of 16-bit words, in order.

    One burst is worked on, the next waits at its address channel. A beat is asked for when there is room for it:
    one may wait for rready while the next one's words arrive. An address outside the memory is answered with DECERR
    (and the bytes of some other place).

    request_*: the beat wanted next, taken (pulse) by the arbiter. word_*: its 16 words, low ones first.
    """
    active = Signal(bool(0))
    left = Signal(intbv(0)[8:])
    outside = Signal(bool(0))
    ending = Signal(bool(0))
    asked = Signal(intbv(0)[2:])  # beats asked for and not yet taken by the master, at most 2
    # Of the two beats that may be asked for: last of its burst, outside; the older one in bit 0.
    lasts = Signal(intbv(0)[2:])
    outsides = Signal(intbv(0)[2:])
    words = Signal(intbv(0)[BEAT_BITS:])
    count = Signal(intbv(0)[GROUP_BITS + 1 :])
    whole = Signal(bool(0))
    given = Signal(bool(0))
    left_after = Signal(intbv(0)[2:])
    low_address = Signal(intbv(0)[BEAT_LOW:])
    unused_low = unused(low_address, BEAT_LOW)
    FULL = 1 << GROUP_BITS
    TOP = BEAT_LOW + BEAT_ADDRESS_BITS

    @always_comb
    def offer():
        low_address.next = m_axi_araddr[BEAT_LOW:]
        m_axi_arready.next = not active
        ending.next = left == 0
        request_valid.next = active and asked != 2
        given.next = m_axi_rvalid and m_axi_rready
        whole.next = count == FULL and (not m_axi_rvalid or m_axi_rready)

    @always_comb
    def account():
        left_after.next = asked
        if given:
            left_after.next = asked - 1

    @always(clk.posedge)
    def walk():
        if rst:
            active.next = 0
        elif not active:
            active.next = m_axi_arvalid
            request_beat.next = m_axi_araddr[TOP:BEAT_LOW]
            outside.next = m_axi_araddr[ADDRESS_BITS:TOP] != 0
            left.next = m_axi_arlen
        elif request_taken:
            active.next = not ending
            request_beat.next = request_beat + 1
            left.next = left - 1

    @always(clk.posedge)
    def remember():
        if rst:
            asked.next = 0
        else:
            asked.next = left_after
            if request_taken:
                asked.next = left_after + 1
        if given:
            lasts.next = lasts >> 1
            outsides.next = outsides >> 1
        if request_taken:
            if left_after == 0:
                lasts.next = concat(False, ending)
                outsides.next = concat(False, outside)
            else:
                lasts.next = concat(ending, lasts[0])
                outsides.next = concat(outside, outsides[0])
                if given:
                    lasts.next = concat(ending, lasts[1])
                    outsides.next = concat(outside, outsides[1])

    @always(clk.posedge)
    def gather():
        if rst:
            count.next = 0
        elif word_valid and whole:
            count.next = 1
        elif word_valid:
            count.next = count + 1
        elif whole:
            count.next = 0
        if word_valid:
            words.next = concat(word_data, words[BEAT_BITS:16])

    @always(clk.posedge)
    def show():
        if rst:
            m_axi_rvalid.next = 0
        elif whole:
            m_axi_rvalid.next = 1
        elif m_axi_rready:
            m_axi_rvalid.next = 0
        if whole:
            m_axi_rdata.next = words

    @always_comb
    def respond():
        m_axi_rlast.next = lasts[0]
        m_axi_rresp.next = OKAY
        if outsides[0]:
            m_axi_rresp.next = DECERR

    return instances()
