"""The chip's AXI4 on an SDR SDRAM, shared with a host that reads and writes single words."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.board.beat_reads import BEAT_ADDRESS_BITS, BEAT_BITS, beat_reads
from rtl.board.beat_writes import beat_writes
from rtl.board.sdram_controller import GROUP_BITS, GROUP_WORDS, sdram_controller
from rtl.board.sdram_timing import WORD_ADDRESS_BITS, SdramConfig
from rtl.board.word_select import word_select
from rtl.convert import module


def _bit() -> Signal:
    return Signal(bool(0))


def _vector(width: int) -> Signal:
    return Signal(intbv(0)[width:])


@module
def axi_sdram(
    clk,
    rst,
    ready,
    host_valid,
    host_ready,
    host_write,
    host_address,
    host_write_data,
    host_read_data,
    host_done,
    m_axi_araddr,
    m_axi_arlen,
    m_axi_arvalid,
    m_axi_arready,
    m_axi_rdata,
    m_axi_rresp,
    m_axi_rlast,
    m_axi_rvalid,
    m_axi_rready,
    m_axi_awaddr,
    m_axi_awlen,
    m_axi_awvalid,
    m_axi_awready,
    m_axi_wdata,
    m_axi_wstrb,
    m_axi_wlast,
    m_axi_wvalid,
    m_axi_wready,
    m_axi_bresp,
    m_axi_bvalid,
    m_axi_bready,
    command,
    bank,
    address,
    mask,
    data_out,
    data_drive,
    data_in,
    config: SdramConfig,
):
    """Grants the SDRAM beat by beat: the host first, then writes, then reads.

    Writes come first since reads of a KV cache wait for them; the host since it is rare and a byte of it must not
    wait for a burst. INCR bursts of whole 256-bit beats with byte strobes, one ID; reads and writes each in order.

    ready: the SDRAM is initialised. host_*: one word of 16 bits a request (host_address counts words): valid, write and
    address hold until ready, the written word until done (pulse), which also brings the word read; then comes the
    next request.
    m_axi_*: the chip's memory. command ... data_in: pins of the SDRAM (sdram_controller).
    """
    request_valid, request_ready, request_write, request_single = _bit(), _bit(), _bit(), _bit()
    request_address = _vector(WORD_ADDRESS_BITS)
    read_valid, read_taken, write_valid, write_taken = _bit(), _bit(), _bit(), _bit()
    read_beat, write_beat = _vector(BEAT_ADDRESS_BITS), _vector(BEAT_ADDRESS_BITS)
    write_index, group_written, outside = _vector(GROUP_BITS), _bit(), _bit()
    beat_written = _bit()
    beat_word, beat_strobe = _vector(16), _vector(2)
    write_data, write_strobe = _vector(16), _vector(2)
    read_data, read_single, word_valid, beat_word_valid = _vector(16), _bit(), _bit(), _bit()
    host_writing = _bit()

    @always(clk.posedge)
    def choose():
        """The next request waits in a register: a request takes longer than to choose one."""
        if rst:
            request_valid.next = 0
        elif not request_valid:
            request_valid.next = host_valid or write_valid or read_valid
        elif request_ready:
            request_valid.next = 0
        if not request_valid:
            request_single.next = host_valid
            request_write.next = write_valid
            request_address.next = concat(read_beat, intbv(0)[GROUP_BITS:])
            if host_valid:
                request_write.next = host_write
                request_address.next = host_address
            elif write_valid:
                request_address.next = concat(write_beat, intbv(0)[GROUP_BITS:])

    @always_comb
    def grant():
        host_ready.next = host_valid and not request_valid
        write_taken.next = write_valid and not request_valid and not host_valid
        read_taken.next = read_valid and not request_valid and not host_valid and not write_valid

    @always_comb
    def give_words():
        # Of a write, the host's or the chip's, only one is under way at a time.
        write_data.next = beat_word
        write_strobe.next = beat_strobe
        if outside:
            write_strobe.next = 0
        if host_writing:
            write_data.next = host_write_data
            write_strobe.next = 3
        beat_written.next = group_written and not host_writing

    @always_comb
    def take_words():
        beat_word_valid.next = word_valid and not read_single

    @always(clk.posedge)
    def tell_host():
        host_done.next = not rst and ((word_valid and read_single) or (group_written and host_writing))
        if word_valid:
            host_read_data.next = read_data

    words = word_select(m_axi_wdata, write_index, beat_word, width=16, count=GROUP_WORDS)
    strobes = word_select(m_axi_wstrb, write_index, beat_strobe, width=2, count=GROUP_WORDS)
    reads = beat_reads(
        clk=clk,
        rst=rst,
        request_valid=read_valid,
        request_taken=read_taken,
        request_beat=read_beat,
        word_valid=beat_word_valid,
        word_data=read_data,
        m_axi_araddr=m_axi_araddr,
        m_axi_arlen=m_axi_arlen,
        m_axi_arvalid=m_axi_arvalid,
        m_axi_arready=m_axi_arready,
        m_axi_rdata=m_axi_rdata,
        m_axi_rresp=m_axi_rresp,
        m_axi_rlast=m_axi_rlast,
        m_axi_rvalid=m_axi_rvalid,
        m_axi_rready=m_axi_rready,
    )
    writes = beat_writes(
        clk=clk,
        rst=rst,
        request_valid=write_valid,
        request_taken=write_taken,
        request_beat=write_beat,
        beat_done=beat_written,
        outside=outside,
        m_axi_awaddr=m_axi_awaddr,
        m_axi_awlen=m_axi_awlen,
        m_axi_awvalid=m_axi_awvalid,
        m_axi_awready=m_axi_awready,
        m_axi_wlast=m_axi_wlast,
        m_axi_wvalid=m_axi_wvalid,
        m_axi_wready=m_axi_wready,
        m_axi_bresp=m_axi_bresp,
        m_axi_bvalid=m_axi_bvalid,
        m_axi_bready=m_axi_bready,
    )
    controller = sdram_controller(
        clk=clk,
        rst=rst,
        ready=ready,
        request_valid=request_valid,
        request_ready=request_ready,
        request_write=request_write,
        request_single=request_single,
        request_address=request_address,
        write_index=write_index,
        write_taken=group_written,
        write_single=host_writing,
        write_data=write_data,
        write_strobe=write_strobe,
        read_data=read_data,
        read_single=read_single,
        read_valid=word_valid,
        command=command,
        bank=bank,
        address=address,
        mask=mask,
        data_out=data_out,
        data_drive=data_drive,
        data_in=data_in,
        config=config,
    )
    assert BEAT_BITS == 16 * GROUP_WORDS
    return instances()
