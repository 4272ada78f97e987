"""The parameters of one chip. Every width in the RTL derives from here."""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from typing import ClassVar

BLOCK = 32  # elements in an MX block, and outputs in an accumulator column
MOST_BLOCKS, MOST_HEAD_BLOCKS = 1 << 16, 255  # that the fields of an instruction name
MOST_RING_BLOCKS = 1 << 14  # counted in 15 bits, which the vector unit widens to 16
MOST_OPERAND_WORDS = 1 << 14  # of V bytes, of all rows: 8 banks of 2,048
MOST_SLOTS = 1 << 28  # pages of 4 KB that 40 bits address
MOST_FIFO_BEATS = 1 << 24  # converted and linted up to here
POWERS_OF_TWO = ("rows", "ports", "lanes", "context", "ring_words", "fifo_beats", "burst_beats", "slots")
BEAT_BYTES_PER_PORT = 32  # one MXINT8 block, or one k block of two MXFP4 outputs


def bits_for(count: int) -> int:
    """Bits that number `count` things, at least one."""
    return max(1, (count - 1).bit_length())


@dataclass(frozen=True)
class ChipConfig:
    """One Mozg chip. ValueError for one that the RTL cannot be.

    name: an identifier. rows: tokens that the array works on at once (R). ports: bus width in units of 256
    bits (P). lanes: FP32 lanes of the vector unit (V), a power of two, 2 <= rows <= lanes <= 32. context: longest
    sequence, in tokens. vector_blocks: residual and V scratch of one row, in blocks of 32 FP32.
    operand_blocks: quantised operands of one row, in MX blocks: two regions of softmax weights, of a whole context
    each, and what ATTEND reads and writes beside them. ring_words: FP32 words in each parameter
    ring, a power of two. head_blocks: longest head in blocks of 32 channels. fifo_beats: prefetch FIFO of the
    weight stream. burst_beats: longest AXI burst. slots: KV cache slots that the row table can name.
    packed_multiplier: leaf of the array: one 18 x 8 multiplier a lane (FPGA), or two of 8 x 5 (ASIC).
    """

    name: str
    rows: int
    ports: int
    lanes: int
    context: int
    vector_blocks: int
    operand_blocks: int
    ring_words: int
    head_blocks: int = 4
    fifo_beats: int = 512
    burst_beats: int = 64
    slots: int = 16
    packed_multiplier: bool = True

    MOST_PORTS: ClassVar[int] = 2  # regions start on 64-byte boundaries: a beat may not be longer

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", self.name):
            raise ValueError(f"ChipConfig.name is {self.name!r}: expected letters, digits and _, no digit first")
        most = {
            "vector_blocks": MOST_BLOCKS,
            "operand_blocks": MOST_BLOCKS,
            "head_blocks": MOST_HEAD_BLOCKS,
            "fifo_beats": MOST_FIFO_BEATS,
            "slots": MOST_SLOTS,
        }
        for field in dict.fromkeys((*POWERS_OF_TWO, *most)):
            value = getattr(self, field)
            if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"ChipConfig.{field} is {value!r}: expected a positive integer")
            if field in POWERS_OF_TWO and value & (value - 1):
                raise ValueError(f"ChipConfig.{field} is {value}: expected a power of two")
            if value > most.get(field, value):
                raise ValueError(f"ChipConfig.{field} is {value}: expected at most {most[field]}")
        if not 2 <= self.rows <= BLOCK:
            raise ValueError(f"ChipConfig.rows is {self.rows}: expected a power of two from 2 to {BLOCK}")
        if self.ports > self.MOST_PORTS:
            raise ValueError(f"ChipConfig.ports is {self.ports}, expected 1 or 2: regions start on 64-byte boundaries")
        if not 2 <= self.burst_beats <= self.fifo_beats:
            raise ValueError(
                f"ChipConfig.burst_beats is {self.burst_beats}, expected 2 to fifo_beats ({self.fifo_beats})"
            )
        if not self.rows <= self.lanes <= BLOCK:
            raise ValueError(f"ChipConfig.lanes is {self.lanes}: expected rows ({self.rows}) to {BLOCK}")
        # A subclass is a chip for the cycle model alone, with memories beyond the RTL's.
        if type(self) is ChipConfig:
            self._check_memories()

    def _check_memories(self) -> None:
        """ValueError where an index into a memory has no bit, or a memory has more words than the RTL takes."""
        least, most = 2 * BLOCK, MOST_RING_BLOCKS * BLOCK
        if not least <= self.ring_words <= most:
            raise ValueError(f"ChipConfig.ring_words is {self.ring_words}: expected {least} to {most}")
        most = MOST_OPERAND_WORDS // (self.rows * self.words)
        longest = 1 << (BLOCK * (most - 2) // 2).bit_length() - 1
        if not 2 * self.group_tokens <= self.context <= longest:
            raise ValueError(
                f"ChipConfig.context is {self.context}: expected {2 * self.group_tokens} to {longest} with "
                f"ports {self.ports}, rows {self.rows}, lanes {self.lanes}"
            )
        least = 2 * self.context_blocks + 2
        if not least <= self.operand_blocks <= most:
            raise ValueError(
                f"ChipConfig.operand_blocks is {self.operand_blocks}: expected {least} to {most} with "
                f"context {self.context}, rows {self.rows}, lanes {self.lanes}"
            )

    @property
    def bus_bits(self) -> int:
        return 256 * self.ports

    @property
    def bus_bytes(self) -> int:
        return BEAT_BYTES_PER_PORT * self.ports

    @property
    def columns(self) -> int:
        """Accumulator columns of a row: two a port, of which MXINT8 uses the even ones."""
        return 2 * self.ports

    @property
    def words(self) -> int:
        """Words of V elements in a block of 32."""
        return BLOCK // self.lanes

    @property
    def context_blocks(self) -> int:
        return self.context // BLOCK

    @property
    def group_tokens(self) -> int:
        """Tokens in one group of the K cache: one block a port."""
        return BLOCK * self.ports


PRESETS = {
    chip.name: chip
    for chip in (
        ChipConfig("tiny", 2, 1, 2, 128, vector_blocks=16, operand_blocks=64, ring_words=1024),
        ChipConfig("edge", 4, 1, 4, 1024, vector_blocks=64, operand_blocks=256, ring_words=4096),
        ChipConfig(
            "server",
            16,
            2,
            32,
            1024,
            vector_blocks=128,
            operand_blocks=512,
            ring_words=8192,
            fifo_beats=1024,
            packed_multiplier=False,
        ),
    )
}
