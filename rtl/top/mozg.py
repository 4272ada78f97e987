"""The chip: control, memory, array and vector unit, and the three buses."""

from __future__ import annotations

from pathlib import Path

from myhdl import ResetSignal, Signal, SignalType, instances, intbv

from rtl.array.array import array
from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import INSTRUCTION_BITS
from rtl.common.registers import CAUSE_BITS
from rtl.common.unused import unused
from rtl.control.control import control
from rtl.convert import Converted, convert, find_converted, module
from rtl.memory.memory_read import memory_read
from rtl.memory.memory_write import memory_write
from rtl.vector.vector import vector

REGISTER_ADDRESS_BITS = 12


def _bit() -> Signal:
    return Signal(bool(0))


def _reset() -> ResetSignal:
    return ResetSignal(0, active=1, isasync=False)


def _vector(width: int) -> Signal:
    return Signal(intbv(0)[width:])


@module
def mozg(
    clk,
    rst,
    irq,
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
    """An open GPT inference chip: rtl/README.md is its manual.

    clk, rst (synchronous, active high); irq: a run ended; s_axi_*: registers, AXI4-Lite, 32 bits; m_axi_*: memory,
    AXI4 with 256 * ports bits of data and one ID.
    """
    rows, slot_bits, position_bits = config.rows, bits_for(config.slots), bits_for(config.context)
    lanes = config.lanes

    # Control to everyone
    engine_reset = _reset()
    freeze, bus_quiet_read, bus_quiet_write = [_bit() for _ in range(3)]
    program_base, weights_base, weights_size, kv_base, kv_stride, output_base = [
        _vector(ADDRESS_BITS) for _ in range(6)
    ]
    program_size, slots_used, output_size, logits_offset, logits_stride, context_limit = [_vector(32) for _ in range(6)]
    row_active, row_sample, row_greedy, row_logits, row_fault = [_vector(rows) for _ in range(5)]
    row_token, row_seed, row_temperature, sample_token = [_vector(32 * rows) for _ in range(4)]
    row_slot, row_position = _vector(rows * slot_bits), _vector(rows * position_bits)
    any_sample, sample_done = _bit(), _bit()
    pass_count, pass_mask = _vector(bits_for(rows + 1)), _vector(rows * rows)
    pass_slot, pass_tokens = _vector(rows * slot_bits), _vector(rows * (position_bits + 1))

    # Instructions
    fetch_start, fetch_end, fetch_valid, fetch_ready = [_bit() for _ in range(4)]
    fetch_instruction, instruction = [_vector(INSTRUCTION_BITS) for _ in range(2)]
    stream_valid, stream_ready, stream_idle = [_bit() for _ in range(3)]
    array_valid, array_ready, array_idle = [_bit() for _ in range(3)]
    vector_valid, vector_ready, vector_idle, write_idle = [_bit() for _ in range(4)]

    # Errors and events
    read_error_valid, write_error_valid = _bit(), _bit()
    read_error_code, write_error_code = _vector(4), _vector(4)
    read_error_address, write_error_address = _vector(ADDRESS_BITS), _vector(ADDRESS_BITS)
    consuming, stall_memory, stall_operand, stall_bank = [_bit() for _ in range(4)]
    read_beat, write_beat, vector_beat = [_bit() for _ in range(3)]
    operand_loading, value_job, parameter_wait, kv_barrier = [_bit() for _ in range(4)]
    vector_phase = _vector(CAUSE_BITS)

    # Memory to array and vector unit
    beat_data, beat_valid, beat_ready = _vector(config.bus_bits), _bit(), _bit()
    parameter_data, parameter_tag = _vector(lanes * 32), _vector(2)
    parameter_valid, parameter_ready = _bit(), _bit()

    # Array and vector unit
    operand_write, operand_fill = _bit(), _bit()
    operand_block = _vector(bits_for(config.operand_blocks))
    operand_row, operand_word = _vector(bits_for(rows)), _vector(bits_for(config.words))
    operand_data, operand_scale, operand_full = _vector(lanes * 8), _vector(8), _vector(config.operand_blocks)
    value_scale_write, value_scale_buffer = _bit(), _bit()
    value_scale_group = _vector(bits_for(config.context // config.group_tokens))
    value_scale_data = _vector(config.bus_bits)
    bank_full, bank_release = _vector(2), _vector(2)
    drain_valid, drain_bank = _bit(), _bit()
    drain_row, drain_column = _vector(bits_for(rows)), _vector(bits_for(config.columns))
    drain_word, drain_data = _vector(bits_for(config.words)), _vector(lanes * 32)

    # Vector unit, control and writer
    kv_start, kv_valid, kv_value, kv_last, kv_end, kv_release, kv_idle, kv_done = [_bit() for _ in range(8)]
    kv_instruction, kv_row, kv_word = (
        _vector(INSTRUCTION_BITS),
        _vector(bits_for(rows)),
        _vector(bits_for(config.words)),
    )
    kv_head, kv_block, kv_scale = [_vector(8) for _ in range(3)]
    kv_data = _vector(lanes * 8)
    logits_valid, logits_release = _bit(), _bit()
    logits_row, logits_block, logits_word = _vector(bits_for(rows)), _vector(16), _vector(bits_for(config.words))
    logits_data = _vector(lanes * 32)
    result_valid, result_ready = _bit(), _bit()
    result_offset, result_data = _vector(32), _vector(32)

    # Bounds that control itself checks, row by row.
    unused_slots, unused_limit = unused(slots_used, 32), unused(context_limit, 32)

    controller = control(
        clk=clk,
        rst=rst,
        irq=irq,
        engine_reset=engine_reset,
        freeze=freeze,
        bus_quiet_read=bus_quiet_read,
        bus_quiet_write=bus_quiet_write,
        program_base=program_base,
        program_size=program_size,
        weights_base=weights_base,
        weights_size=weights_size,
        kv_base=kv_base,
        kv_stride=kv_stride,
        slots_used=slots_used,
        output_base=output_base,
        output_size=output_size,
        logits_offset=logits_offset,
        logits_stride=logits_stride,
        context_limit=context_limit,
        row_active=row_active,
        row_sample=row_sample,
        row_greedy=row_greedy,
        row_logits=row_logits,
        row_slot=row_slot,
        row_position=row_position,
        row_token=row_token,
        row_seed=row_seed,
        row_temperature=row_temperature,
        any_sample=any_sample,
        pass_count=pass_count,
        pass_mask=pass_mask,
        pass_slot=pass_slot,
        pass_tokens=pass_tokens,
        fetch_start=fetch_start,
        fetch_end=fetch_end,
        fetch_instruction=fetch_instruction,
        fetch_valid=fetch_valid,
        fetch_ready=fetch_ready,
        instruction=instruction,
        stream_valid=stream_valid,
        stream_ready=stream_ready,
        stream_idle=stream_idle,
        array_valid=array_valid,
        array_ready=array_ready,
        array_idle=array_idle,
        vector_valid=vector_valid,
        vector_ready=vector_ready,
        vector_idle=vector_idle,
        write_idle=write_idle,
        sample_token=sample_token,
        sample_done=sample_done,
        row_fault=row_fault,
        result_valid=result_valid,
        result_ready=result_ready,
        result_offset=result_offset,
        result_data=result_data,
        read_error_valid=read_error_valid,
        read_error_code=read_error_code,
        read_error_address=read_error_address,
        write_error_valid=write_error_valid,
        write_error_code=write_error_code,
        write_error_address=write_error_address,
        event_consuming=consuming,
        event_stall_memory=stall_memory,
        event_stall_operand=stall_operand,
        event_stall_bank=stall_bank,
        operand_loading=operand_loading,
        value_job=value_job,
        vector_phase=vector_phase,
        parameter_wait=parameter_wait,
        kv_barrier=kv_barrier,
        event_read_beat=read_beat,
        event_write_beat=write_beat,
        event_vector_beat=vector_beat,
        s_axi_awaddr=s_axi_awaddr,
        s_axi_awvalid=s_axi_awvalid,
        s_axi_awready=s_axi_awready,
        s_axi_wdata=s_axi_wdata,
        s_axi_wstrb=s_axi_wstrb,
        s_axi_wvalid=s_axi_wvalid,
        s_axi_wready=s_axi_wready,
        s_axi_bresp=s_axi_bresp,
        s_axi_bvalid=s_axi_bvalid,
        s_axi_bready=s_axi_bready,
        s_axi_araddr=s_axi_araddr,
        s_axi_arvalid=s_axi_arvalid,
        s_axi_arready=s_axi_arready,
        s_axi_rdata=s_axi_rdata,
        s_axi_rresp=s_axi_rresp,
        s_axi_rvalid=s_axi_rvalid,
        s_axi_rready=s_axi_rready,
        config=config,
    )
    reader = memory_read(
        clk=clk,
        rst=engine_reset,
        freeze=freeze,
        program_base=program_base,
        program_size=program_size,
        weights_base=weights_base,
        weights_size=weights_size,
        kv_base=kv_base,
        kv_stride=kv_stride,
        row_active=row_active,
        row_token=row_token,
        row_position=row_position,
        any_sample=any_sample,
        pass_count=pass_count,
        pass_slot=pass_slot,
        pass_tokens=pass_tokens,
        kv_done=kv_done,
        fetch_start=fetch_start,
        fetch_end=fetch_end,
        idle=stream_idle,
        bus_quiet_read=bus_quiet_read,
        read_beat=read_beat,
        kv_barrier=kv_barrier,
        parameter_wait=parameter_wait,
        error_valid=read_error_valid,
        error_code=read_error_code,
        error_address=read_error_address,
        instruction=instruction,
        instruction_valid=stream_valid,
        instruction_ready=stream_ready,
        fetch_instruction=fetch_instruction,
        fetch_valid=fetch_valid,
        fetch_ready=fetch_ready,
        beat_data=beat_data,
        beat_valid=beat_valid,
        beat_ready=beat_ready,
        parameter_data=parameter_data,
        parameter_tag=parameter_tag,
        parameter_valid=parameter_valid,
        parameter_ready=parameter_ready,
        m_axi_arid=m_axi_arid,
        m_axi_araddr=m_axi_araddr,
        m_axi_arlen=m_axi_arlen,
        m_axi_arsize=m_axi_arsize,
        m_axi_arburst=m_axi_arburst,
        m_axi_arcache=m_axi_arcache,
        m_axi_arprot=m_axi_arprot,
        m_axi_arvalid=m_axi_arvalid,
        m_axi_arready=m_axi_arready,
        m_axi_rid=m_axi_rid,
        m_axi_rdata=m_axi_rdata,
        m_axi_rresp=m_axi_rresp,
        m_axi_rlast=m_axi_rlast,
        m_axi_rvalid=m_axi_rvalid,
        m_axi_rready=m_axi_rready,
        config=config,
    )
    writer = memory_write(
        clk=clk,
        rst=engine_reset,
        freeze=freeze,
        bus_quiet_write=bus_quiet_write,
        idle=write_idle,
        kv_base=kv_base,
        kv_stride=kv_stride,
        output_base=output_base,
        output_size=output_size,
        logits_offset=logits_offset,
        logits_stride=logits_stride,
        row_active=row_active,
        row_slot=row_slot,
        row_position=row_position,
        kv_start=kv_start,
        kv_instruction=kv_instruction,
        kv_valid=kv_valid,
        kv_value=kv_value,
        kv_row=kv_row,
        kv_head=kv_head,
        kv_block=kv_block,
        kv_word=kv_word,
        kv_data=kv_data,
        kv_scale=kv_scale,
        kv_last=kv_last,
        kv_end=kv_end,
        kv_release=kv_release,
        kv_idle=kv_idle,
        kv_done=kv_done,
        logits_valid=logits_valid,
        logits_row=logits_row,
        logits_block=logits_block,
        logits_word=logits_word,
        logits_data=logits_data,
        logits_release=logits_release,
        result_valid=result_valid,
        result_ready=result_ready,
        result_offset=result_offset,
        result_data=result_data,
        error_valid=write_error_valid,
        error_code=write_error_code,
        error_address=write_error_address,
        event_write_beat=write_beat,
        m_axi_awid=m_axi_awid,
        m_axi_awaddr=m_axi_awaddr,
        m_axi_awlen=m_axi_awlen,
        m_axi_awsize=m_axi_awsize,
        m_axi_awburst=m_axi_awburst,
        m_axi_awcache=m_axi_awcache,
        m_axi_awprot=m_axi_awprot,
        m_axi_awvalid=m_axi_awvalid,
        m_axi_awready=m_axi_awready,
        m_axi_wdata=m_axi_wdata,
        m_axi_wstrb=m_axi_wstrb,
        m_axi_wlast=m_axi_wlast,
        m_axi_wvalid=m_axi_wvalid,
        m_axi_wready=m_axi_wready,
        m_axi_bid=m_axi_bid,
        m_axi_bresp=m_axi_bresp,
        m_axi_bvalid=m_axi_bvalid,
        m_axi_bready=m_axi_bready,
        config=config,
    )
    multiplier = array(
        clk=clk,
        rst=engine_reset,
        row_active=row_active,
        any_sample=any_sample,
        step_start=fetch_start,
        pass_count=pass_count,
        pass_mask=pass_mask,
        pass_tokens=pass_tokens,
        instruction=instruction,
        instruction_valid=array_valid,
        instruction_ready=array_ready,
        idle=array_idle,
        consuming=consuming,
        stall_memory=stall_memory,
        stall_operand=stall_operand,
        stall_bank=stall_bank,
        operand_loading=operand_loading,
        value_job=value_job,
        beat_data=beat_data,
        beat_valid=beat_valid,
        beat_ready=beat_ready,
        operand_write=operand_write,
        operand_block=operand_block,
        operand_row=operand_row,
        operand_word=operand_word,
        operand_data=operand_data,
        operand_scale=operand_scale,
        operand_fill=operand_fill,
        operand_full=operand_full,
        value_scale_write=value_scale_write,
        value_scale_buffer=value_scale_buffer,
        value_scale_group=value_scale_group,
        value_scale_data=value_scale_data,
        bank_full=bank_full,
        bank_release=bank_release,
        drain_valid=drain_valid,
        drain_bank=drain_bank,
        drain_row=drain_row,
        drain_column=drain_column,
        drain_word=drain_word,
        drain_data=drain_data,
        config=config,
    )
    vectors = vector(
        clk=clk,
        rst=engine_reset,
        row_active=row_active,
        row_sample=row_sample,
        row_greedy=row_greedy,
        row_logits=row_logits,
        row_position=row_position,
        row_seed=row_seed,
        row_temperature=row_temperature,
        any_sample=any_sample,
        pass_count=pass_count,
        pass_mask=pass_mask,
        pass_tokens=pass_tokens,
        instruction=instruction,
        instruction_valid=vector_valid,
        instruction_ready=vector_ready,
        idle=vector_idle,
        parameter_data=parameter_data,
        parameter_tag=parameter_tag,
        parameter_valid=parameter_valid,
        parameter_ready=parameter_ready,
        value_scale_write=value_scale_write,
        value_scale_buffer=value_scale_buffer,
        value_scale_group=value_scale_group,
        value_scale_data=value_scale_data,
        operand_full=operand_full,
        operand_write=operand_write,
        operand_block=operand_block,
        operand_row=operand_row,
        operand_word=operand_word,
        operand_data=operand_data,
        operand_scale=operand_scale,
        operand_fill=operand_fill,
        bank_full=bank_full,
        bank_release=bank_release,
        drain_valid=drain_valid,
        drain_bank=drain_bank,
        drain_row=drain_row,
        drain_column=drain_column,
        drain_word=drain_word,
        drain_data=drain_data,
        kv_start=kv_start,
        kv_instruction=kv_instruction,
        kv_valid=kv_valid,
        kv_value=kv_value,
        kv_row=kv_row,
        kv_head=kv_head,
        kv_block=kv_block,
        kv_word=kv_word,
        kv_data=kv_data,
        kv_scale=kv_scale,
        kv_last=kv_last,
        kv_end=kv_end,
        kv_release=kv_release,
        kv_idle=kv_idle,
        logits_valid=logits_valid,
        logits_row=logits_row,
        logits_block=logits_block,
        logits_word=logits_word,
        logits_data=logits_data,
        logits_release=logits_release,
        sample_token=sample_token,
        sample_done=sample_done,
        row_fault=row_fault,
        vector_beat=vector_beat,
        vector_phase=vector_phase,
        config=config,
    )
    return instances()


def convert_chip(config: ChipConfig, out_dir: Path) -> Converted:
    """Write the Verilog of the whole chip."""
    return convert(mozg, **_ports(config), config=config, out_dir=out_dir)


def find_chip(config: ChipConfig, out_dir: Path) -> Converted | None:
    """The Verilog of the whole chip that `convert_chip` wrote, if it is up to date."""
    return find_converted(mozg, **_ports(config), config=config, out_dir=out_dir)


def _ports(config: ChipConfig) -> dict[str, SignalType]:
    ports = {
        "clk": _bit(),
        "rst": _reset(),
        "irq": _bit(),
        "s_axi_awaddr": _vector(REGISTER_ADDRESS_BITS),
        "s_axi_araddr": _vector(REGISTER_ADDRESS_BITS),
        "s_axi_wdata": _vector(32),
        "s_axi_rdata": _vector(32),
        "s_axi_wstrb": _vector(4),
        "m_axi_araddr": _vector(ADDRESS_BITS),
        "m_axi_awaddr": _vector(ADDRESS_BITS),
        "m_axi_rdata": _vector(config.bus_bits),
        "m_axi_wdata": _vector(config.bus_bits),
        "m_axi_wstrb": _vector(config.bus_bytes),
    }
    for bus, channels in (("s_axi", "aw w b ar r"), ("m_axi", "aw w b ar r")):
        for channel in channels.split():
            ports[f"{bus}_{channel}valid"], ports[f"{bus}_{channel}ready"] = _bit(), _bit()
        for channel in ("b", "r"):
            ports[f"{bus}_{channel}resp"] = _vector(2)
    for channel in ("ar", "aw"):
        for name, width in (("id", 1), ("len", 8), ("size", 3), ("burst", 2), ("cache", 4), ("prot", 3)):
            ports[f"m_axi_{channel}{name}"] = _vector(width)
    ports |= {"m_axi_rid": _vector(1), "m_axi_bid": _vector(1), "m_axi_rlast": _bit(), "m_axi_wlast": _bit()}
    return ports
