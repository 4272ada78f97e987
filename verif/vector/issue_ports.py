"""Signals of the issue logic for its conversion."""

from __future__ import annotations

from pathlib import Path

from myhdl import Signal, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.registers import CAUSE_BITS
from rtl.convert import Converted, convert
from rtl.vector.control_word import control_bits
from rtl.vector.issue import issue


def issue_widths(config: ChipConfig) -> dict[str, int]:
    """Port name -> bits; 0 is a single bit (bool)."""
    rows, position = config.rows, bits_for(config.context)
    level = bits_for(config.ring_words // config.lanes + 1)
    return {
        "clk": 0,
        "rst": 0,
        "row_active": rows,
        "row_sample": rows,
        "row_greedy": rows,
        "row_logits": rows,
        "any_sample": 0,
        "pass_count": bits_for(rows + 1),
        "pass_mask": rows * rows,
        "pass_tokens": rows * (position + 1),
        "instruction": 512,
        "instruction_valid": 0,
        "instruction_ready": 0,
        "idle": 0,
        "bank_full": 2,
        "bank_release": 2,
        "operand_full": config.operand_blocks,
        "ring_a_level": level,
        "ring_b_level": level,
        "ring_a_free": 0,
        "ring_b_free": 0,
        "ring_free_blocks": 16,
        "kv_start": 0,
        "kv_end": 0,
        "kv_release": 0,
        "kv_idle": 0,
        "logits_release": 0,
        "sample_done": 0,
        "pipeline_busy": 0,
        "busy_d": 0,
        "busy_s": 0,
        "active_instruction": 512,
        "phase": CAUSE_BITS,
        "issue_valid": 0,
        "issue_control": control_bits(config),
    }


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    """Convert the issue logic alone."""
    signals = {name: Signal(intbv(0)[width:]) if width else Signal(False) for name, width in issue_widths(chip).items()}
    return convert(issue, **signals, config=chip, out_dir=out_dir)
