"""The write half of axi_sdram: bursts to beat requests, answered in order."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.board.beat_reads import BEAT_ADDRESS_BITS, BEAT_LOW, DECERR, OKAY
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.unused import unused
from rtl.convert import module


@module
def beat_writes(
    clk,
    rst,
    request_valid,
    request_taken,
    request_beat,
    beat_done,
    outside,
    m_axi_awaddr,
    m_axi_awlen,
    m_axi_awvalid,
    m_axi_awready,
    m_axi_wlast,
    m_axi_wvalid,
    m_axi_wready,
    m_axi_bresp,
    m_axi_bvalid,
    m_axi_bready,
):
    """AXI4 write bursts (INCR, 256-bit beats, one ID) as requests of one beat each, in order.

    One burst is worked on, the next waits at its address channel. The burst is answered when its last beat has gone
    to the memory, which keeps to the order of its requests: a read after the answer sees it. An address outside the
    memory is answered with DECERR, and `outside` says to write nothing.

    request_*: the beat wanted next, when its data is there; taken (pulse). beat_done (pulse): its words were read
    from the data channel; m_axi_wready follows a cycle later, from a register, so that no path runs from the SDRAM's
    controller into the chip.
    """
    active = Signal(bool(0))
    asked = Signal(bool(0))
    unused_bits = Signal(intbv(0)[BEAT_LOW + 8 :])
    unused_inputs = unused(unused_bits, BEAT_LOW + 8)
    TOP = BEAT_LOW + BEAT_ADDRESS_BITS

    @always_comb
    def offer():
        m_axi_awready.next = not active
        request_valid.next = active and m_axi_wvalid and not asked and not m_axi_wready and not m_axi_bvalid
        m_axi_bresp.next = OKAY
        if outside:
            m_axi_bresp.next = DECERR

    @always_comb
    def ignore():
        # The end of a burst is told by wlast.
        unused_bits.next = concat(m_axi_awaddr[BEAT_LOW:], m_axi_awlen)

    @always(clk.posedge)
    def walk():
        if rst:
            active.next = 0
            asked.next = 0
            m_axi_wready.next = 0
            m_axi_bvalid.next = 0
        elif not active:
            active.next = m_axi_awvalid
            request_beat.next = m_axi_awaddr[TOP:BEAT_LOW]
            outside.next = m_axi_awaddr[ADDRESS_BITS:TOP] != 0
        else:
            if request_taken:
                asked.next = 1
            if beat_done:
                asked.next = 0
                request_beat.next = request_beat + 1
            m_axi_wready.next = beat_done
            if m_axi_wready:
                m_axi_bvalid.next = m_axi_wlast
            if m_axi_bvalid and m_axi_bready:
                m_axi_bvalid.next = 0
                active.next = 0

    return instances()
