"""The AXI4 read master: issues bursts that have room reserved, and sorts what comes back."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.fifo import fifo
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import INSTRUCTION_BYTES
from rtl.common.stream import Stream
from rtl.convert import module
from rtl.memory.descriptor import BURST_QUEUE, LENGTH_BITS


@module
def read_port(
    clk,
    rst,
    freeze,
    quiet,
    unreserved,
    read_beat,
    error_valid,
    error_address,
    burst_address,
    burst_length,
    burst_tag,
    burst_valid,
    burst_ready,
    request_address,
    request_valid,
    request_ready,
    beat,
    beat_tag,
    beat_valid,
    beat_taken,
    fetch_valid,
    m_axi_arid,
    m_axi_araddr,
    m_axi_arlen,
    m_axi_arsize,
    m_axi_arburst,
    m_axi_arcache,
    m_axi_arprot,
    m_axi_arvalid,
    m_axi_arready,
    m_axi_rid,
    m_axi_rdata,
    m_axi_rresp,
    m_axi_rlast,
    m_axi_rvalid,
    m_axi_rready,
    config: ChipConfig,
):
    """One burst a cycle at most, all with ID 0, so that beats come back in order; instruction bursts first.

    A data burst goes out only when the data FIFO has room for all of it, a clock after it was offered at the earliest;
    beat_taken (pulse) gives one place back. Instruction bursts have room by construction. So rready is never low
    outside reset.
    A response with an error drops that beat and all after it and raises error_valid (held) with the burst's
    address; freeze drops all data. Neither lets a new burst out; an arvalid that stands is kept (AXI).

    beat, beat_tag, beat_valid: data beats, one cycle after the bus, no ready. fetch_valid: the beat is one of
    an instruction. read_beat: a beat was accepted from the bus. quiet: no burst outstanding.
    unreserved: the data FIFO is empty and no data burst is outstanding.
    """
    depth = config.fifo_beats
    credit_bits = max(LENGTH_BITS + 1, depth.bit_length())
    queue_bits = ADDRESS_BITS + 3
    fetch_length = INSTRUCTION_BYTES // config.bus_bytes - 1
    size = config.bus_bytes.bit_length() - 1

    credit = Signal(intbv(0)[credit_bits:])
    charge = Signal(intbv(0)[credit_bits:])
    length = Signal(intbv(0)[credit_bits:])
    unused_bits = Signal(False)  # one ID, and EXOKAY is no error
    unused_valid = Signal(False)
    room = Signal(False)
    free = Signal(False)
    enough = Signal(False)
    issue_burst = Signal(False)
    issue_fetch = Signal(False)
    drop = Signal(False)
    head_tag = Signal(intbv(0)[3:])
    got_valid = Signal(False)
    got_last = Signal(False)
    got_error = Signal(False)
    queue_in = Stream(queue_bits)
    queue_out = Stream.of(Signal(intbv(0)[queue_bits:]), unused_valid, Signal(False))
    queue_count = Signal(intbv(0)[BURST_QUEUE.bit_length() :])
    queue = fifo(clk, rst, queue_in, queue_out, queue_count, depth=BURST_QUEUE, width=queue_bits, distributed=True)

    @always_comb
    def choose():
        room.next = (m_axi_arready or not m_axi_arvalid) and queue_in.ready
        free.next = (m_axi_arready or not m_axi_arvalid) and queue_in.ready and not (freeze or error_valid)
        length.next = concat(intbv(0)[credit_bits - LENGTH_BITS :], burst_length)
        charge.next = concat(intbv(0)[credit_bits - LENGTH_BITS :], burst_length) + 1

    @always_comb
    def grant():
        issue_fetch.next = free and request_valid
        # A request taken after an error, or while frozen, is never sent.
        request_ready.next = room
        issue_burst.next = free and enough and not request_valid
        burst_ready.next = free and enough and not request_valid
        unreserved.next = credit == depth
        quiet.next = queue_count == 0

    @always_comb
    def remember():
        queue_in.valid.next = issue_fetch or issue_burst
        if issue_fetch:
            queue_in.payload.next = concat(True, intbv(0)[2:], request_address)
        else:
            queue_in.payload.next = concat(False, burst_tag, burst_address)

    @always(clk.posedge)
    def issue():
        m_axi_arid.next = 0
        m_axi_arsize.next = size
        m_axi_arburst.next = 1
        m_axi_arcache.next = 3
        m_axi_arprot.next = 0
        if rst:
            m_axi_arvalid.next = False
        elif issue_fetch:
            m_axi_arvalid.next = True
            m_axi_araddr.next = request_address
            m_axi_arlen.next = fetch_length
        elif issue_burst:
            m_axi_arvalid.next = True
            m_axi_araddr.next = burst_address
            m_axi_arlen.next = burst_length
        elif m_axi_arready:
            m_axi_arvalid.next = False

    @always(clk.posedge)
    def look_ahead():
        # Of the burst that waits: credit only grows until it goes.
        enough.next = burst_valid and (credit > length) and not (rst or issue_burst)

    @always(clk.posedge)
    def reserve():
        if rst:
            credit.next = depth
        elif issue_burst and beat_taken:
            credit.next = credit - length
        elif issue_burst:
            credit.next = credit - charge
        elif beat_taken:
            credit.next = credit + 1

    @always(clk.posedge)
    def receive():
        if rst:
            m_axi_rready.next = False
            got_valid.next = False
        else:
            m_axi_rready.next = True
            got_valid.next = m_axi_rvalid and m_axi_rready
        if m_axi_rvalid:
            beat.next = m_axi_rdata
            got_last.next = m_axi_rlast
            got_error.next = m_axi_rresp[1]

    @always_comb
    def sort():
        unused_bits.next = m_axi_rid[0] or m_axi_rresp[0]
        read_beat.next = m_axi_rvalid and m_axi_rready
        head_tag.next = queue_out.payload[ADDRESS_BITS + 3 : ADDRESS_BITS]
        queue_out.ready.next = got_valid and got_last
        drop.next = freeze or error_valid or got_error

    @always_comb
    def deliver():
        beat_tag.next = head_tag[2:]
        beat_valid.next = got_valid and (not head_tag[2]) and not drop
        # An instruction may come while frozen, when no data does: the sequencer takes none then.
        fetch_valid.next = got_valid and head_tag[2] and not (got_error or error_valid)

    @always(clk.posedge)
    def watch():
        if rst:
            error_valid.next = False
        elif got_valid and got_error and not (freeze or error_valid):
            error_valid.next = True
            error_address.next = queue_out.payload[ADDRESS_BITS:]

    return instances()
