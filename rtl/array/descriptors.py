"""Layouts of what is queued inside the array: instructions, k blocks for the beats, k blocks for the loader."""

from rtl.common.config import ChipConfig, bits_for
from rtl.common.isa import FIELDS

QUEUED = ("weight_block", "heads", "head_blocks", "source", "groups", "k_blocks", "consume", "mxfp4")
"""Fields of an instruction that the array needs, highest bits first; above them a bit for ATTEND."""


def field_range(name: str) -> tuple[int, int]:
    """(high, low) of a field in an instruction, for a slice [high:low]."""
    return FIELDS[name].bit + FIELDS[name].width, FIELDS[name].bit


def operand_range(name: str, config: ChipConfig) -> tuple[int, int]:
    """The same of what is used of a field; of operand blocks, the bits that number them."""
    high, low = field_range(name)
    return (low + bits_for(config.operand_blocks) if name in ("source", "weight_block") else high), low


def queued_bits(config: ChipConfig) -> int:
    """Bits of a queued instruction."""
    return 1 + queued_range("weight_block", config)[0]


def queued_range(name: str, config: ChipConfig) -> tuple[int, int]:
    """(high, low) of a field in a queued instruction."""
    widths = {field: high - low for field in QUEUED for high, low in [operand_range(field, config)]}
    low = sum(widths[other] for other in QUEUED[QUEUED.index(name) + 1 :])
    return low + widths[name], low


def group_bits(config: ChipConfig) -> int:
    """Bits of the number of a token group in the K cache."""
    return bits_for(config.context // config.group_tokens)


def request_bits(config: ChipConfig) -> int:
    """A k block for the loader: {clear, operand block, row mask}."""
    return 1 + bits_for(config.operand_blocks) + config.rows


def block_bits(config: ChipConfig) -> int:
    """A k block for the beat sequencer: {group, buffer, value scales, last, first, scaled, mxfp4, row mask}."""
    return group_bits(config) + 6 + config.rows
