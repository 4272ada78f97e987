"""Signals for the ports of control(), for benches and for the chip."""

from __future__ import annotations

from myhdl import Signal, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import INSTRUCTION_BITS
from rtl.common.registers import CAUSE_BITS

BITS = (
    "irq engine_reset freeze bus_quiet_read bus_quiet_write any_sample fetch_start fetch_end fetch_valid fetch_ready "
    "stream_valid stream_ready stream_idle array_valid array_ready array_idle vector_valid vector_ready vector_idle "
    "write_idle sample_done result_valid result_ready read_error_valid write_error_valid event_consuming "
    "event_stall_memory event_stall_operand event_stall_bank operand_loading value_job parameter_wait kv_barrier "
    "event_read_beat event_write_beat event_vector_beat "
    "s_axi_awvalid s_axi_awready s_axi_wvalid s_axi_wready s_axi_bvalid s_axi_bready s_axi_arvalid "
    "s_axi_arready s_axi_rvalid s_axi_rready clk rst"
)


def control_ports(config: ChipConfig) -> dict[str, Signal]:
    """Every port of control() by name, as a fresh Signal of its width."""
    R, S, C = config.rows, bits_for(config.slots), bits_for(config.context)
    widths = dict.fromkeys(("row_active", "row_sample", "row_greedy", "row_logits", "row_fault"), R)
    widths |= dict.fromkeys(("row_token", "row_seed", "row_temperature", "sample_token"), 32 * R)
    widths |= {"row_slot": R * S, "row_position": R * C}
    widths |= {"pass_count": bits_for(R + 1), "pass_mask": R * R, "pass_slot": R * S, "pass_tokens": R * (C + 1)}
    widths |= dict.fromkeys(("program_base", "weights_base", "weights_size", "kv_base", "kv_stride"), ADDRESS_BITS)
    widths |= dict.fromkeys(("output_base", "read_error_address", "write_error_address"), ADDRESS_BITS)
    widths |= dict.fromkeys(("program_size", "slots_used", "output_size", "logits_offset", "logits_stride"), 32)
    widths |= dict.fromkeys(("context_limit", "result_offset", "result_data", "s_axi_wdata", "s_axi_rdata"), 32)
    widths |= dict.fromkeys(("read_error_code", "write_error_code", "s_axi_wstrb"), 4)
    widths |= {"vector_phase": CAUSE_BITS}
    widths |= dict.fromkeys(("instruction", "fetch_instruction"), INSTRUCTION_BITS)
    widths |= {"s_axi_awaddr": 12, "s_axi_araddr": 12, "s_axi_bresp": 2, "s_axi_rresp": 2}
    ports = {name: Signal(bool(0)) for name in BITS.split()}
    return ports | {name: Signal(intbv(0)[width:]) for name, width in widths.items()}
