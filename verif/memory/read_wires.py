"""Signals of memory_read for its conversion."""

from __future__ import annotations

from myhdl import ResetSignal, Signal, intbv

from rtl.common.config import ChipConfig, bits_for


def read_widths(config: ChipConfig) -> dict[str, int]:
    """Port name of memory_read -> bits; 0 is a single bit (bool)."""
    rows, slot, position = config.rows, bits_for(config.slots), bits_for(config.context)
    return {
        "clk": 0,
        "rst": 0,
        "freeze": 0,
        "program_base": 40,
        "program_size": 32,
        "weights_base": 40,
        "weights_size": 40,
        "kv_base": 40,
        "kv_stride": 40,
        "row_active": rows,
        "row_token": 32 * rows,
        "row_position": rows * position,
        "any_sample": 0,
        "pass_count": bits_for(rows + 1),
        "pass_slot": rows * slot,
        "pass_tokens": rows * (position + 1),
        "kv_done": 0,
        "fetch_start": 0,
        "fetch_end": 0,
        "idle": 0,
        "bus_quiet_read": 0,
        "read_beat": 0,
        "kv_barrier": 0,
        "parameter_wait": 0,
        "error_valid": 0,
        "error_code": 4,
        "error_address": 40,
        "instruction": 512,
        "instruction_valid": 0,
        "instruction_ready": 0,
        "fetch_instruction": 512,
        "fetch_valid": 0,
        "fetch_ready": 0,
        "beat_data": config.bus_bits,
        "beat_valid": 0,
        "beat_ready": 0,
        "parameter_data": 32 * config.lanes,
        "parameter_tag": 2,
        "parameter_valid": 0,
        "parameter_ready": 0,
        "m_axi_arid": 1,
        "m_axi_araddr": 40,
        "m_axi_arlen": 8,
        "m_axi_arsize": 3,
        "m_axi_arburst": 2,
        "m_axi_arcache": 4,
        "m_axi_arprot": 3,
        "m_axi_arvalid": 0,
        "m_axi_arready": 0,
        "m_axi_rid": 1,
        "m_axi_rdata": config.bus_bits,
        "m_axi_rresp": 2,
        "m_axi_rlast": 0,
        "m_axi_rvalid": 0,
        "m_axi_rready": 0,
    }


def read_signals(config: ChipConfig) -> dict[str, Signal]:
    """A fresh Signal for each port."""
    found = {name: Signal(intbv(0)[width:]) if width else Signal(False) for name, width in read_widths(config).items()}
    return found | {"rst": ResetSignal(0, active=1, isasync=False)}
