"""The write side of memory: KV cache, logits and results, to one AXI4 write master."""

from __future__ import annotations

from myhdl import ResetSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.common.clock_gate import clock_gate
from rtl.common.config import ChipConfig
from rtl.common.interfaces import ADDRESS_BITS
from rtl.convert import module
from rtl.memory.kv_writer import kv_writer
from rtl.memory.output_writer import output_writer
from rtl.memory.write_port import write_port

AFTER_WRITES = 16  # cycles after the last busy one in which something may still change


@module
def memory_write(
    clk,
    rst,
    freeze,
    bus_quiet_write,
    idle,
    kv_base,
    kv_stride,
    output_base,
    output_size,
    logits_offset,
    logits_stride,
    row_active,
    row_slot,
    row_position,
    kv_start,
    kv_instruction,
    kv_valid,
    kv_value,
    kv_row,
    kv_head,
    kv_block,
    kv_word,
    kv_data,
    kv_scale,
    kv_last,
    kv_end,
    kv_release,
    kv_idle,
    kv_done,
    logits_valid,
    logits_row,
    logits_block,
    logits_word,
    logits_data,
    logits_release,
    result_valid,
    result_ready,
    result_offset,
    result_data,
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
    """Everything that the chip writes.

    KV writes go before logits and results. Each burst is checked against its window: the slot of its row, or the
    output.

    Ports: clk; rst; freeze (acts a clock later), bus_quiet_write: see rtl/README.md; idle: nothing waits to be written
    or answered, no KEY or VALUE instruction is open. Registers; rows; kv_*, logits_*, result_*: see rtl/README.md.
    error_*: held until rst, which acts a clock later. event_write_beat; m_axi_*: AXI4.
    """
    kv_request, kv_request_ready, kv_beat, kv_beat_ready, kv_finished, kv_quiet = [Signal(bool(0)) for _ in range(6)]
    out_request, out_request_ready, out_beat, out_beat_ready, out_busy, quiet = [Signal(bool(0)) for _ in range(6)]
    request, request_ready, beat, beat_ready, port_busy, owner_kv = [Signal(bool(0)) for _ in range(6)]
    request_kv, choose_kv = [Signal(bool(0)) for _ in range(2)]
    kv_address, out_address, request_address = [Signal(intbv(0)[ADDRESS_BITS:]) for _ in range(3)]
    kv_window, request_window, request_size = [Signal(intbv(0)[ADDRESS_BITS:]) for _ in range(3)]
    kv_beats, out_beats, request_beats = [Signal(intbv(0)[6:]) for _ in range(3)]
    kv_beat_data, out_data, beat_data = [Signal(intbv(0)[config.bus_bits :]) for _ in range(3)]
    kv_strobe, out_strobe, beat_strobe = [Signal(intbv(0)[config.bus_bytes :]) for _ in range(3)]
    HIGH = ADDRESS_BITS - 32
    unanswered = Signal(intbv(0)[8:])
    frozen = Signal(bool(0))

    # The engines' reset comes from afar.
    reset = ResetSignal(1, active=1, isasync=False)

    @always(clk.posedge)
    def take_reset():
        reset.next = rst

    # At rest between instructions that write.
    write_clk, wake = Signal(bool(0)), Signal(bool(0))
    gate = clock_gate(clk, reset, wake, write_clk, tail=AFTER_WRITES)

    @always_comb
    def wake_up():
        wake.next = kv_start or kv_valid or kv_end or logits_valid or m_axi_bvalid or not idle

    keys_values = kv_writer(
        write_clk,
        reset,
        kv_base,
        kv_stride,
        row_active,
        row_slot,
        row_position,
        kv_start,
        kv_instruction,
        kv_valid,
        kv_value,
        kv_row,
        kv_head,
        kv_block,
        kv_word,
        kv_data,
        kv_scale,
        kv_last,
        kv_end,
        kv_release,
        kv_idle,
        kv_finished,
        kv_request,
        kv_request_ready,
        kv_address,
        kv_beats,
        kv_window,
        kv_beat,
        kv_beat_ready,
        kv_beat_data,
        kv_strobe,
        config,
    )
    outputs = output_writer(
        write_clk,
        reset,
        output_base,
        logits_offset,
        logits_stride,
        logits_valid,
        logits_row,
        logits_block,
        logits_word,
        logits_data,
        logits_release,
        result_valid,
        result_ready,
        result_offset,
        result_data,
        out_busy,
        out_request,
        out_request_ready,
        out_address,
        out_beats,
        out_beat,
        out_beat_ready,
        out_data,
        out_strobe,
        config,
    )
    port = write_port(
        write_clk,
        reset,
        frozen,
        request,
        request_ready,
        choose_kv,
        request_address,
        request_beats,
        request_window,
        request_size,
        beat,
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
        config,
    )

    @always(clk.posedge)
    def stop():
        frozen.next = freeze and not reset

    @always_comb
    def arbitrate():
        # The port takes a request only when the beats of the one before have passed.
        choose_kv.next = kv_request
        request.next = kv_request or out_request
        request_address.next = out_address
        request_beats.next = out_beats
        request_window.next = output_base
        request_size.next = concat(intbv(0)[HIGH:], output_size)
        if kv_request:
            request_address.next = kv_address
            request_beats.next = kv_beats
            request_window.next = kv_window
            request_size.next = kv_stride
        kv_request_ready.next = request_ready and kv_request
        out_request_ready.next = request_ready and not kv_request

    @always_comb
    def pass_beats():
        beat.next = out_beat
        beat_data.next = out_data
        beat_strobe.next = out_strobe
        if owner_kv:
            beat.next = kv_beat
            beat_data.next = kv_beat_data
            beat_strobe.next = kv_strobe
        kv_beat_ready.next = beat_ready and owner_kv
        out_beat_ready.next = beat_ready and not owner_kv

    @always(write_clk.posedge)
    def own():
        if reset:
            owner_kv.next = 0
        elif request_ready:
            owner_kv.next = kv_request

    @always(write_clk.posedge)
    def answer():
        kv_done.next = 0
        if reset:
            unanswered.next = 0
        elif kv_finished:
            unanswered.next = unanswered + 1
        elif unanswered != 0 and kv_quiet:
            unanswered.next = unanswered - 1
            kv_done.next = 1

    @always_comb
    def tell():
        bus_quiet_write.next = quiet
        idle.next = quiet and kv_idle and not out_busy and (unanswered == 0) and not kv_done

    return instances()
