"""Frames on a byte stream, as register and memory accesses."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.board.crc16 import crc16
from rtl.board.protocol import CRC_BYTES, HEADER_BYTES, SYNC_REPLY, SYNC_REQUEST, Operation, ReplyStatus
from rtl.board.sdram_timing import WORD_ADDRESS_BITS
from rtl.common.unused import unused
from rtl.convert import module

REGISTER_ADDRESS_BITS = 12
STATUS_BITS = 3


@module
def uart_bridge(
    clk,
    rst,
    receiving,
    refused,
    rx_data,
    rx_valid,
    tx_data,
    tx_valid,
    tx_ready,
    host_valid,
    host_ready,
    host_write,
    host_address,
    host_write_data,
    host_read_data,
    host_done,
    s_axi_awaddr,
    s_axi_awvalid,
    s_axi_awready,
    s_axi_wdata,
    s_axi_wstrb,
    s_axi_wvalid,
    s_axi_wready,
    s_axi_bresp,
    s_axi_bvalid,
    s_axi_bready,
    s_axi_araddr,
    s_axi_arvalid,
    s_axi_arready,
    s_axi_rdata,
    s_axi_rresp,
    s_axi_rvalid,
    s_axi_rready,
    timeout_clocks: int,
):
    """Master of the chip's registers (AXI4-Lite) and of the memory, by the frames of rtl/board/README.md.

    One request at a time; bytes that come before its reply is out are lost. Nothing is done before the header's CRC
    was right. A frame in which no byte comes for timeout_clocks is given up without a reply; so is everything until
    the next sync byte.

    receiving: inside a request. refused: the last request was given up or answered with an error. rx_*: bytes, no
    ready. tx_*: bytes. host_*: see axi_sdram. s_axi_*: the registers. timeout_clocks: a power of two.
    """
    if timeout_clocks & (timeout_clocks - 1) or timeout_clocks < 2:
        raise ValueError(f"uart_bridge: timeout_clocks is {timeout_clocks}: expected a power of two")
    TIMEOUT_BIT = timeout_clocks.bit_length() - 1
    REQUEST_MARK, REPLY_MARK = SYNC_REQUEST, SYNC_REPLY
    READ_REGISTER, WRITE_REGISTER = int(Operation.READ_REGISTER), int(Operation.WRITE_REGISTER)
    READ_MEMORY, WRITE_MEMORY = int(Operation.READ_MEMORY), int(Operation.WRITE_MEMORY)
    FILL_MEMORY = int(Operation.FILL_MEMORY)
    OK, HEADER_CRC, PAYLOAD_CRC = int(ReplyStatus.OK), int(ReplyStatus.HEADER_CRC), int(ReplyStatus.PAYLOAD_CRC)
    BAD_OPERATION, BAD_ADDRESS = int(ReplyStatus.OPERATION), int(ReplyStatus.ADDRESS)
    BUS, OVERRUN = int(ReplyStatus.BUS), int(ReplyStatus.OVERRUN)
    HEADER_END = HEADER_BYTES + CRC_BYTES - 1
    FIELDS = HEADER_BYTES
    TOP = WORD_ADDRESS_BITS + 1

    state_t = enum(
        "HUNT",
        "HEADER",
        "JUDGE",
        "ACCESS",
        "PAYLOAD",
        "CHECK",
        "FILL",
        "SETTLE",
        "MARK",
        "STATUS",
        "VALUE",
        "FETCH",
        "LOW",
        "HIGH",
        "CRC_HIGH",
        "CRC_LOW",
    )
    state = Signal(state_t.HUNT)
    place = Signal(modbv(0)[4:])
    operation = Signal(intbv(0)[8:])
    address = Signal(modbv(0)[32:])
    count = Signal(modbv(0)[16:])
    word = Signal(intbv(0)[16:])
    status = Signal(intbv(0)[STATUS_BITS:])
    silence = Signal(modbv(0)[TIMEOUT_BIT + 1 :])
    storing = Signal(bool(0))
    odd = Signal(bool(0))
    next_address = Signal(modbv(0)[32:])
    next_count = Signal(modbv(0)[16:])
    none_left = Signal(bool(0))
    sent = Signal(bool(0))
    expired = Signal(bool(0))
    is_register = Signal(bool(0))
    outside = Signal(bool(0))
    unused_resp = Signal(intbv(0)[2:])
    unused_low_resp = unused(unused_resp, 2)

    crc = Signal(intbv(0)[16:])
    crc_clear, crc_step = Signal(bool(0)), Signal(bool(0))
    crc_data = Signal(intbv(0)[8:])
    check = crc16(clk, crc_clear, crc_step, crc_data, crc)

    @always_comb
    def listen():
        receiving.next = state == state_t.HEADER or state == state_t.PAYLOAD or state == state_t.CHECK
        expired.next = silence[TIMEOUT_BIT]

    @always_comb
    def sum_up():
        crc_clear.next = state == state_t.HUNT or state == state_t.MARK or (state == state_t.JUDGE)
        crc_data.next = tx_data
        crc_step.next = sent
        if receiving:
            crc_data.next = rx_data
            crc_step.next = rx_valid

    @always_comb
    def count_on():
        next_address.next = address + 2
        next_count.next = count - 1
        none_left.next = count == 0

    @always_comb
    def judge():
        is_register.next = operation == READ_REGISTER or operation == WRITE_REGISTER
        unused_resp.next = concat(s_axi_bresp[0], s_axi_rresp[0])

    @always_comb
    def reach():
        host_address.next = address[TOP:1]
        s_axi_awaddr.next = address[REGISTER_ADDRESS_BITS:]
        s_axi_araddr.next = address[REGISTER_ADDRESS_BITS:]
        s_axi_wdata.next = concat(word, count)
        s_axi_wstrb.next = 15
        s_axi_bready.next = state == state_t.ACCESS
        s_axi_rready.next = state == state_t.ACCESS

    @always_comb
    def talk():
        tx_valid.next = (
            state == state_t.MARK
            or state == state_t.STATUS
            or state == state_t.VALUE
            or state == state_t.LOW
            or state == state_t.HIGH
            or state == state_t.CRC_HIGH
            or state == state_t.CRC_LOW
        )
        if state == state_t.MARK:
            tx_data.next = REPLY_MARK
        elif state == state_t.STATUS:
            tx_data.next = concat(intbv(0)[8 - STATUS_BITS :], status)
        elif state == state_t.VALUE:
            tx_data.next = count[8:]
        elif state == state_t.CRC_HIGH or state == state_t.CRC_LOW:
            # The low byte moves up when the high byte enters the sum itself.
            tx_data.next = crc[16:8]
        else:
            tx_data.next = word[8:]

    @always_comb
    def send():
        sent.next = tx_valid and tx_ready

    @always(clk.posedge)
    def look():
        # The address is there while the CRC comes.
        outside.next = address[0] or address[32:TOP] != 0

    @always(clk.posedge)
    def watch():
        if not receiving or rx_valid:
            silence.next = 0
        else:
            silence.next = silence + 1

    @always(clk.posedge)
    def run():
        if rst:
            state.next = state_t.HUNT
            storing.next = 0
            refused.next = 0
            host_valid.next = 0
            s_axi_awvalid.next = 0
            s_axi_wvalid.next = 0
            s_axi_arvalid.next = 0
        else:
            if host_ready:
                host_valid.next = 0
            if host_done:
                storing.next = 0
                address.next = next_address
            if s_axi_awready:
                s_axi_awvalid.next = 0
            if s_axi_wready:
                s_axi_wvalid.next = 0
            if s_axi_arready:
                s_axi_arvalid.next = 0

            if state == state_t.HUNT:
                place.next = 0
                status.next = OK
                if rx_valid and rx_data == REQUEST_MARK:
                    state.next = state_t.HEADER

            elif state == state_t.HEADER:
                if rx_valid:
                    place.next = place + 1
                    if place < FIELDS:
                        word.next = concat(rx_data, word[16:8])
                        count.next = concat(word[8:], count[16:8])
                        address.next = concat(count[8:], address[32:8])
                        operation.next = address[8:]
                    if place == HEADER_END:
                        state.next = state_t.JUDGE

            elif state == state_t.JUDGE:
                place.next = 0
                odd.next = 0
                if crc != 0:
                    status.next = HEADER_CRC
                    state.next = state_t.MARK
                elif is_register:
                    state.next = state_t.ACCESS
                    if operation == WRITE_REGISTER:
                        s_axi_awvalid.next = 1
                        s_axi_wvalid.next = 1
                    else:
                        s_axi_arvalid.next = 1
                else:
                    state.next = state_t.MARK
                    if outside:
                        status.next = BAD_ADDRESS
                    if operation == WRITE_MEMORY:
                        state.next = state_t.PAYLOAD
                        if none_left:
                            state.next = state_t.CHECK
                    elif operation == FILL_MEMORY:
                        if not outside:
                            state.next = state_t.FILL
                    elif operation != READ_MEMORY:
                        status.next = BAD_OPERATION

            elif state == state_t.ACCESS:
                if s_axi_bvalid or s_axi_rvalid:
                    state.next = state_t.MARK
                    if (s_axi_bvalid and s_axi_bresp[1]) or (s_axi_rvalid and s_axi_rresp[1]):
                        status.next = BUS
                if s_axi_rvalid:
                    word.next = s_axi_rdata[32:16]
                    count.next = s_axi_rdata[16:]

            elif state == state_t.PAYLOAD:
                if rx_valid:
                    odd.next = not odd
                    word.next = concat(rx_data, word[16:8])
                    if odd:
                        count.next = next_count
                        if count == 1:
                            state.next = state_t.CHECK
                        if storing:
                            status.next = OVERRUN
                        elif status == OK:
                            host_valid.next = 1
                            host_write.next = 1
                            host_write_data.next = concat(rx_data, word[16:8])
                            storing.next = 1

            elif state == state_t.CHECK:
                if rx_valid:
                    odd.next = not odd
                    if odd:
                        state.next = state_t.SETTLE

            elif state == state_t.FILL:
                if none_left:
                    state.next = state_t.SETTLE
                elif not storing:
                    count.next = next_count
                    host_valid.next = 1
                    host_write.next = 1
                    host_write_data.next = word
                    storing.next = 1

            elif state == state_t.SETTLE:
                if not storing:
                    state.next = state_t.MARK
                if operation == WRITE_MEMORY and status == OK and crc != 0:
                    status.next = PAYLOAD_CRC

            elif state == state_t.MARK:
                refused.next = status != OK
                if sent:
                    state.next = state_t.STATUS

            elif state == state_t.STATUS:
                if sent:
                    state.next = state_t.CRC_HIGH
                    if status == OK and operation == READ_REGISTER:
                        state.next = state_t.VALUE
                    elif status == OK and operation == READ_MEMORY:
                        state.next = state_t.FETCH

            elif state == state_t.VALUE:
                if sent:
                    place.next = place + 1
                    word.next = concat(intbv(0)[8:], word[16:8])
                    count.next = concat(word[8:], count[16:8])
                    if place == 3:
                        state.next = state_t.CRC_HIGH

            elif state == state_t.FETCH:
                # One request: `storing` until its word is there.
                if none_left and not storing:
                    state.next = state_t.CRC_HIGH
                elif not storing:
                    count.next = next_count
                    host_valid.next = 1
                    host_write.next = 0
                    storing.next = 1
                elif host_done:
                    word.next = host_read_data
                    state.next = state_t.LOW

            elif state == state_t.LOW:
                if sent:
                    word.next = concat(word[8:], word[16:8])
                    state.next = state_t.HIGH

            elif state == state_t.HIGH:
                if sent:
                    state.next = state_t.FETCH

            elif state == state_t.CRC_HIGH:
                if sent:
                    state.next = state_t.CRC_LOW

            else:
                if sent:
                    state.next = state_t.HUNT

            # Last, so that the registers of bytes do not wait for it.
            if receiving and expired:
                refused.next = 1
                state.next = state_t.HUNT

    return instances()
