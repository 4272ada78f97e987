"""Signals for the ports of memory_write(), for benches and for the chip."""

from __future__ import annotations

from myhdl import Signal, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import INSTRUCTION_BITS

BITS = (
    "clk rst freeze bus_quiet_write idle kv_start kv_valid kv_value kv_last kv_end kv_release kv_idle kv_done "
    "logits_valid logits_release result_valid result_ready "
    "error_valid event_write_beat m_axi_awvalid m_axi_awready m_axi_wlast "
    "m_axi_wvalid m_axi_wready m_axi_bvalid m_axi_bready"
)


def memory_write_ports(config: ChipConfig) -> dict[str, Signal]:
    """Every port of memory_write() by name, as a fresh Signal of its width."""
    R, S, C = config.rows, bits_for(config.slots), bits_for(config.context)
    row, word, V = bits_for(R), bits_for(config.words), config.lanes
    widths = dict.fromkeys(("kv_base", "kv_stride", "output_base", "error_address", "m_axi_awaddr"), ADDRESS_BITS)
    widths |= dict.fromkeys(("output_size", "logits_offset", "logits_stride", "result_offset", "result_data"), 32)
    widths |= {"row_active": R, "row_slot": R * S, "row_position": R * C, "kv_instruction": INSTRUCTION_BITS}
    widths |= {"kv_row": row, "kv_head": 8, "kv_block": 8, "kv_word": word, "kv_data": 8 * V, "kv_scale": 8}
    widths |= {"logits_row": row, "logits_block": 16, "logits_word": word, "logits_data": 32 * V, "error_code": 4}
    widths |= {"m_axi_awid": 1, "m_axi_awlen": 8, "m_axi_awsize": 3, "m_axi_awburst": 2, "m_axi_awcache": 4}
    widths |= {"m_axi_awprot": 3, "m_axi_wdata": config.bus_bits, "m_axi_wstrb": config.bus_bytes}
    widths |= {"m_axi_bid": 1, "m_axi_bresp": 2}
    ports = {name: Signal(bool(0)) for name in BITS.split()}
    return ports | {name: Signal(intbv(0)[width:]) for name, width in widths.items()}
