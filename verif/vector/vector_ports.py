"""Signals of the vector unit for its conversion."""

from __future__ import annotations

from pathlib import Path

from myhdl import Signal, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.registers import CAUSE_BITS
from rtl.convert import Converted, convert
from rtl.vector.vector import vector
from verif.vector.issue_ports import issue_widths


def vector_widths(config: ChipConfig) -> dict[str, int]:
    """Port name -> bits; 0 is a single bit (bool)."""
    rows, wide = config.rows, 32 * config.lanes
    inside = ("ring_", "phase", "busy_", "pipeline_busy", "active_instruction", "issue_")
    widths = {name: bits for name, bits in issue_widths(config).items() if not name.startswith(inside)}
    row_bits, word_bits = bits_for(rows), bits_for(config.words)
    return widths | {
        "row_position": rows * bits_for(config.context),
        "row_seed": 32 * rows,
        "row_temperature": 32 * rows,
        "parameter_data": wide,
        "parameter_tag": 2,
        "parameter_valid": 0,
        "parameter_ready": 0,
        "value_scale_write": 0,
        "value_scale_buffer": 0,
        "value_scale_group": bits_for(config.context // config.group_tokens),
        "value_scale_data": config.bus_bits,
        "operand_write": 0,
        "operand_block": bits_for(config.operand_blocks),
        "operand_row": row_bits,
        "operand_word": word_bits,
        "operand_data": 8 * config.lanes,
        "operand_scale": 8,
        "operand_fill": 0,
        "drain_valid": 0,
        "drain_bank": 0,
        "drain_row": row_bits,
        "drain_column": bits_for(config.columns),
        "drain_word": word_bits,
        "drain_data": wide,
        "kv_instruction": 512,
        "kv_valid": 0,
        "kv_value": 0,
        "kv_row": row_bits,
        "kv_head": 8,
        "kv_block": 8,
        "kv_word": word_bits,
        "kv_data": 8 * config.lanes,
        "kv_scale": 8,
        "kv_last": 0,
        "logits_valid": 0,
        "logits_row": row_bits,
        "logits_block": 16,
        "logits_word": word_bits,
        "logits_data": wide,
        "sample_token": 32 * rows,
        "row_fault": rows,
        "vector_beat": 0,
        "vector_phase": CAUSE_BITS,
    }


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    """Convert the whole vector unit."""
    signals = {
        name: Signal(intbv(0)[width:]) if width else Signal(False) for name, width in vector_widths(chip).items()
    }
    return convert(vector, **signals, config=chip, out_dir=out_dir)
