"""The AXI4 write master."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.registers import ErrorCode
from rtl.convert import module

CODE_WRITE_RESPONSE, CODE_WINDOW = int(ErrorCode.WRITE_RESPONSE), int(ErrorCode.WINDOW)
OUTSTANDING = 32
"""Bursts that may wait for their response; the responses come in order, since they have one ID."""


@module
def write_port(
    clk,
    rst,
    freeze,
    request_valid,
    request_ready,
    request_kv,
    request_address,
    request_beats,
    request_window,
    request_size,
    beat_valid,
    beat_ready,
    beat_data,
    beat_strobe,
    kv_quiet,
    quiet,
    error_valid,
    error_code,
    error_address,
    event_write_beat,
    m_axi_awid,
    m_axi_awaddr,
    m_axi_awlen,
    m_axi_awsize,
    m_axi_awburst,
    m_axi_awcache,
    m_axi_awprot,
    m_axi_awvalid,
    m_axi_awready,
    m_axi_wdata,
    m_axi_wstrb,
    m_axi_wlast,
    m_axi_wvalid,
    m_axi_wready,
    m_axi_bid,
    m_axi_bresp,
    m_axi_bvalid,
    m_axi_bready,
    config: ChipConfig,
):
    """Writes requests of 1 to 32 whole beats to memory: checked against their window, split at 4 KB, many
    outstanding.

    One request at a time: accepted, checked in three clocks, addressed, then its beats pass; the responses are not
    waited for. Address and data are offered together. It never reads and never reorders. A request outside its
    window raises error WINDOW and is not written; a bad response raises WRITE_RESPONSE; after either, nothing more
    is accepted. While freeze is high no burst begins, what is left of a burst that was addressed goes out without
    strobes, and beats that come are dropped. Two beats wait for wready at most, so beat_ready comes from registers.

    Ports: clk; rst; freeze; request_*: address (its part within a beat is ignored), beats, window (base) and size
    of the window, kv: counts for kv_quiet; beat_*: the request's beats, in order; quiet, kv_quiet: no request is under
    way and every burst, every KV burst, is answered; error_*: held until rst, code and address mean nothing without
    error_valid; event_write_beat; m_axi_*: AXI4, one ID, INCR.
    """
    W = config.bus_bits
    B = config.bus_bytes
    LOW = bits_for(B)
    PAGE_BEATS = 4096 // B
    ROOM_BITS = 8
    PAGE_BITS = 12 - LOW
    FULL = OUTSTANDING
    RECORD = ADDRESS_BITS + 1
    SIZE_CODE = LOW

    state_t = enum("IDLE", "MEASURE", "SUM", "JUDGE", "SPLIT", "PASS")
    state = Signal(state_t.IDLE)
    is_kv = Signal(bool(0))
    address = Signal(intbv(0)[ADDRESS_BITS:])
    window = Signal(intbv(0)[ADDRESS_BITS:])
    size = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    offset = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    extent = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    below = Signal(bool(0))
    left = Signal(intbv(0)[6:])
    part = Signal(intbv(0)[6:])
    room = Signal(intbv(0)[ROOM_BITS:])
    beats_now = Signal(intbv(0)[6:])
    take = Signal(bool(0))
    load = Signal(bool(0))
    open_burst = Signal(bool(0))
    unused_inputs = Signal(intbv(0)[ADDRESS_BITS + 3 :])
    answered = Signal(bool(0))
    # The beat behind the one on the bus.
    spare_valid, spare_last = [Signal(bool(0)) for _ in range(2)]
    spare_data = Signal(intbv(0)[W:])
    spare_strobe = Signal(intbv(0)[B:])

    records = [Signal(intbv(0)[RECORD:]) for _ in range(OUTSTANDING)]
    write_place = Signal(modbv(0)[bits_for(OUTSTANDING) :])
    read_place = Signal(modbv(0)[bits_for(OUTSTANDING) :])
    oldest = Signal(intbv(0)[RECORD:])
    outstanding = Signal(intbv(0)[bits_for(OUTSTANDING + 1) :])
    kv_outstanding = Signal(intbv(0)[bits_for(OUTSTANDING + 1) :])

    @always(clk.posedge)
    def hold_constants():
        m_axi_awid.next = 0
        m_axi_awsize.next = SIZE_CODE
        m_axi_awburst.next = 1
        m_axi_awcache.next = 3
        m_axi_awprot.next = 2
        m_axi_bready.next = 1

    @always_comb
    def ignore():
        # One ID; of the responses OKAY and EXOKAY are good; requests are cut to whole beats.
        unused_inputs.next = concat(m_axi_bid, m_axi_bresp, request_address)

    @always_comb
    def decide():
        take.next = (state == state_t.IDLE) and request_valid
        beats_now.next = left
        if room < concat(intbv(0)[2:], left):
            beats_now.next = room[6:]
        open_burst.next = (
            (state == state_t.SPLIT)
            and not freeze
            and not error_valid
            and (not m_axi_awvalid or m_axi_awready)
            and (outstanding != FULL)
        )
        load.next = (state == state_t.PASS) and (beat_valid or freeze) and not spare_valid
        answered.next = m_axi_bvalid
        oldest.next = records[read_place]

    @always_comb
    def offer():
        # A matter of the state alone, for who asks decides by this what to do next. What is taken after an error, or
        # while frozen, comes to nothing in SPLIT.
        request_ready.next = state == state_t.IDLE
        # Not a matter of beat_valid, which comes late and would go round.
        beat_ready.next = (state == state_t.PASS) and not spare_valid
        event_write_beat.next = m_axi_wvalid and m_axi_wready
        # A request whose burst is not yet opened may have handed all its beats over.
        quiet.next = (state == state_t.IDLE) and outstanding == 0
        kv_quiet.next = (state == state_t.IDLE) and kv_outstanding == 0

    @always(clk.posedge)
    def measure_page():
        # The address was set two clocks before a burst is opened, or earlier.
        room.next = PAGE_BEATS - concat(intbv(0)[ROOM_BITS - PAGE_BITS :], address[12:LOW])

    @always(clk.posedge)
    def run_request():
        if rst:
            state.next = state_t.IDLE
            m_axi_awvalid.next = 0
        else:
            if m_axi_awready:
                m_axi_awvalid.next = 0
            if state == state_t.IDLE:
                if take:
                    is_kv.next = request_kv
                    address.next = concat(request_address[ADDRESS_BITS:LOW], intbv(0)[LOW:])
                    window.next = request_window
                    size.next = concat(intbv(0)[1:], request_size)
                    left.next = request_beats
                    state.next = state_t.MEASURE
            elif state == state_t.MEASURE:
                below.next = address < window
                offset.next = 0
                if address >= window:
                    offset.next = address - window
                state.next = state_t.SUM
            elif state == state_t.SUM:
                extent.next = offset + concat(intbv(0)[ADDRESS_BITS - 5 - LOW :], left, intbv(0)[LOW:])
                state.next = state_t.JUDGE
            elif state == state_t.JUDGE:
                state.next = state_t.SPLIT
                if below or extent > size:
                    state.next = state_t.IDLE
            elif state == state_t.SPLIT:
                if freeze or error_valid:
                    state.next = state_t.IDLE
                elif open_burst:
                    m_axi_awvalid.next = 1
                    m_axi_awaddr.next = address
                    m_axi_awlen.next = concat(intbv(0)[2:], beats_now) - 1
                    part.next = beats_now
                    left.next = left - beats_now
                    address.next = address + concat(intbv(0)[ADDRESS_BITS - 6 - LOW :], beats_now, intbv(0)[LOW:])
                    state.next = state_t.PASS
            else:
                if load:
                    part.next = part - 1
                    if part == 1:
                        state.next = state_t.SPLIT
                        if left == 0:
                            state.next = state_t.IDLE

    @always(clk.posedge)
    def pass_beats():
        if rst:
            m_axi_wvalid.next = 0
            spare_valid.next = 0
        elif m_axi_wready or not m_axi_wvalid:
            m_axi_wvalid.next = load or spare_valid
            spare_valid.next = 0
        elif load:
            spare_valid.next = 1

    @always(clk.posedge)
    def keep_beat():
        if m_axi_wready or not m_axi_wvalid:
            if spare_valid:
                m_axi_wlast.next = spare_last
                m_axi_wdata.next = spare_data
                m_axi_wstrb.next = spare_strobe
            else:
                m_axi_wlast.next = part == 1
                m_axi_wdata.next = beat_data
                m_axi_wstrb.next = beat_strobe
                if freeze:
                    m_axi_wstrb.next = 0

    @always(clk.posedge)
    def keep_spare():
        if not spare_valid:
            spare_last.next = part == 1
            spare_data.next = beat_data
            spare_strobe.next = beat_strobe
            if freeze:
                spare_strobe.next = 0

    @always(clk.posedge)
    def record():
        if open_burst:
            records[write_place].next = concat(is_kv, address)

    @always(clk.posedge)
    def count():
        if rst:
            write_place.next = 0
            read_place.next = 0
            outstanding.next = 0
            kv_outstanding.next = 0
        else:
            if open_burst:
                write_place.next = write_place + 1
            if answered:
                read_place.next = read_place + 1
            if open_burst and not answered:
                outstanding.next = outstanding + 1
            if answered and not open_burst:
                outstanding.next = outstanding - 1
            if (open_burst and is_kv) and not (answered and oldest[ADDRESS_BITS]):
                kv_outstanding.next = kv_outstanding + 1
            if (answered and oldest[ADDRESS_BITS]) and not (open_burst and is_kv):
                kv_outstanding.next = kv_outstanding - 1

    @always(clk.posedge)
    def judge():
        if rst:
            error_valid.next = 0
        elif (answered and m_axi_bresp[1]) or ((state == state_t.JUDGE) and (below or extent > size)):
            error_valid.next = 1

    @always(clk.posedge)
    def tell_error():
        # What an error would be: whether it is one comes late.
        if not error_valid:
            error_code.next = CODE_WINDOW
            error_address.next = address
            if answered and m_axi_bresp[1]:
                error_code.next = CODE_WRITE_RESPONSE
                error_address.next = oldest[ADDRESS_BITS:]

    return instances()
