"""The control unit: registers, rows, program."""

from __future__ import annotations

from myhdl import Signal, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.registers import CAUSE_BITS, CAUSES, COUNTERS
from rtl.control.counters import counters
from rtl.control.cycle_cause import cycle_cause
from rtl.control.registers import registers
from rtl.control.row_table import row_table
from rtl.control.sequencer import sequencer
from rtl.control.supervisor import supervisor
from rtl.convert import module

EVENTS = ("read_beats", "write_beats", "instructions", "vector_beats")
assert COUNTERS == ("cycles", *CAUSES, *EVENTS), "control() wires one event to each counter that is no cause"


@module
def control(
    clk,
    rst,
    irq,
    engine_reset,
    freeze,
    bus_quiet_read,
    bus_quiet_write,
    program_base,
    program_size,
    weights_base,
    weights_size,
    kv_base,
    kv_stride,
    slots_used,
    output_base,
    output_size,
    logits_offset,
    logits_stride,
    context_limit,
    row_active,
    row_sample,
    row_greedy,
    row_logits,
    row_slot,
    row_position,
    row_token,
    row_seed,
    row_temperature,
    any_sample,
    pass_count,
    pass_mask,
    pass_slot,
    pass_tokens,
    fetch_start,
    fetch_end,
    fetch_instruction,
    fetch_valid,
    fetch_ready,
    instruction,
    stream_valid,
    stream_ready,
    stream_idle,
    array_valid,
    array_ready,
    array_idle,
    vector_valid,
    vector_ready,
    vector_idle,
    write_idle,
    sample_token,
    sample_done,
    row_fault,
    result_valid,
    result_ready,
    result_offset,
    result_data,
    read_error_valid,
    read_error_code,
    read_error_address,
    write_error_valid,
    write_error_code,
    write_error_address,
    event_consuming,
    event_stall_memory,
    event_stall_operand,
    event_stall_bank,
    operand_loading,
    value_job,
    vector_phase,
    parameter_wait,
    kv_barrier,
    event_read_beat,
    event_write_beat,
    event_vector_beat,
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
    config: ChipConfig,
):
    """Everything between the host and the engines.

    Ports: clk; rst; irq; engine_reset: synchronous reset of every engine and of the memory blocks (it includes rst,
    one clock later); freeze, bus_quiet_*: see rtl/README.md. program_base ... context_limit: registers, addresses
    of 40 bits, sizes and offsets of 32, weights_size and kv_stride of 40. row_*, any_sample, pass_*: see
    rtl/README.md. fetch_*: instructions in; fetch_end is a level: the program's window is exhausted. instruction
    with stream_*, array_*, vector_*: instructions out, each engine with its own valid and ready. write_idle:
    nothing waits to be written or answered. sample_*, row_fault, result_*: see rtl/README.md. read_error_*,
    write_error_*: held by the memory blocks until engine_reset. event_*, operand_loading, value_job,
    vector_phase, parameter_wait, kv_barrier: what the counters count. s_axi_*: AXI4-Lite.
    """
    start_request, reset_request, start, finished, ended = [Signal(bool(0)) for _ in range(5)]
    busy, done, failed, halt, progress = [Signal(bool(0)) for _ in range(5)]
    run_start, check, scan_start, scan_done, retire, dispatched = [Signal(bool(0)) for _ in range(6)]
    advance_sampled, run_error_valid, access_read, row_write = [Signal(bool(0)) for _ in range(4)]
    advance = Signal(intbv(0)[config.rows :])
    row_faulty = Signal(intbv(0)[config.rows :])
    error_code = Signal(intbv(0)[4:])
    run_error_code = Signal(intbv(0)[4:])
    error_address = Signal(intbv(0)[ADDRESS_BITS:])
    steps, steps_done, watchdog, advance_token = [Signal(intbv(0)[32:]) for _ in range(4)]
    instruction_index, error_instruction = [Signal(intbv(0)[32:]) for _ in range(2)]
    write_data, row_data, count_data = [Signal(intbv(0)[32:]) for _ in range(3)]
    access_row = Signal(intbv(0)[6:])
    access_word = Signal(intbv(0)[6:])
    access_field = access_word(4, 0)
    events = Signal(intbv(0)[len(EVENTS) :])
    in_step, fetching, counting = [Signal(bool(0)) for _ in range(3)]
    cause = Signal(intbv(0)[CAUSE_BITS:])

    host = registers(
        clk,
        rst,
        start_request,
        reset_request,
        busy,
        done,
        failed,
        ended,
        irq,
        error_code,
        error_address,
        error_instruction,
        steps,
        steps_done,
        watchdog,
        slots_used,
        program_base,
        program_size,
        weights_base,
        weights_size,
        kv_base,
        kv_stride,
        output_base,
        output_size,
        logits_offset,
        logits_stride,
        context_limit,
        access_read,
        access_row,
        access_word,
        row_write,
        write_data,
        row_data,
        count_data,
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
        config,
    )
    rows = row_table(
        clk,
        rst,
        row_write,
        access_read,
        access_row,
        access_field,
        write_data,
        row_data,
        run_start,
        check,
        scan_start,
        scan_done,
        advance,
        advance_token,
        advance_sampled,
        retire,
        slots_used,
        context_limit,
        row_fault,
        row_active,
        row_sample,
        row_greedy,
        row_logits,
        row_faulty,
        row_slot,
        row_position,
        row_token,
        row_seed,
        row_temperature,
        any_sample,
        pass_count,
        pass_mask,
        pass_slot,
        pass_tokens,
        config,
    )
    steps_and_instructions = sequencer(
        clk,
        rst,
        start,
        halt,
        steps,
        run_start,
        steps_done,
        instruction_index,
        dispatched,
        in_step,
        fetching,
        finished,
        run_error_valid,
        run_error_code,
        row_active,
        row_sample,
        row_faulty,
        check,
        scan_start,
        scan_done,
        advance,
        advance_token,
        advance_sampled,
        retire,
        fetch_start,
        fetch_end,
        fetch_instruction,
        fetch_valid,
        fetch_ready,
        instruction,
        stream_valid,
        stream_ready,
        stream_idle,
        array_valid,
        array_ready,
        array_idle,
        vector_valid,
        vector_ready,
        vector_idle,
        write_idle,
        sample_token,
        sample_done,
        result_valid,
        result_ready,
        result_offset,
        result_data,
        config,
    )
    watch = supervisor(
        clk,
        rst,
        start_request,
        reset_request,
        watchdog,
        start,
        finished,
        progress,
        instruction_index,
        run_error_valid,
        run_error_code,
        read_error_valid,
        read_error_code,
        read_error_address,
        write_error_valid,
        write_error_code,
        write_error_address,
        bus_quiet_read,
        bus_quiet_write,
        busy,
        done,
        failed,
        ended,
        error_code,
        error_address,
        error_instruction,
        freeze,
        halt,
        engine_reset,
        config,
    )
    causes = cycle_cause(
        clk,
        run_start,
        busy,
        in_step,
        fetching,
        event_consuming,
        event_stall_memory,
        event_stall_operand,
        event_stall_bank,
        operand_loading,
        value_job,
        array_idle,
        vector_phase,
        vector_idle,
        parameter_wait,
        kv_barrier,
        stream_idle,
        write_idle,
        counting,
        cause,
    )
    counts = counters(clk, rst, run_start, busy, events, counting, cause, access_read, access_word, count_data)

    @always_comb
    def gather_events():
        progress.next = dispatched or event_consuming
        events.next = concat(event_vector_beat, dispatched, event_write_beat, event_read_beat)

    return instances()
