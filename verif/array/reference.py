"""What the array must do with a list of instructions: beats, operands, V scales and sums, bit for bit.

Sums come from `sw/mozg/fp32.py`; the order of groups, k blocks and jobs from rtl/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mozg import fp32
from rtl.common.config import BLOCK, ChipConfig
from rtl.common.isa import Opcode, encode

TWICE_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])


@dataclass
class Fill:
    """One operand block: elements (rows, 32) and scales (rows) of the rows that take part."""

    block: int
    rows: list[int]
    elements: NDArray[np.int64]
    scales: NDArray[np.int64]


@dataclass
class Group:
    """One filled bank: sums (rows, physical columns, 32) as FP32 bits; mask of rows, stride of columns."""

    rows: list[int]
    columns: list[int]
    sums: NDArray[np.uint32]


@dataclass
class Plan:
    """All that one step brings to the array and expects of it."""

    row_active: int = 0
    passes: list[tuple[int, int]] = field(default_factory=list)  # (mask, tokens)
    instructions: list[int] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    value_scales: list[tuple[int, int, int]] = field(default_factory=list)  # (buffer, group, data)


def rows_of(mask: int) -> list[int]:
    return [row for row in range(mask.bit_length()) if mask >> row & 1]


class Reference:
    """Builds a Plan with random operands and weights."""

    def __init__(self, config: ChipConfig, rng: np.random.Generator, special: float = 0.02) -> None:
        self.config = config
        self.rng = rng
        self.special = special
        self.plan = Plan()
        self.operands: dict[int, Fill] = {}  # blocks that are full

    def begin_step(self, passes: list[tuple[int, int]]) -> None:
        """Rows of the step, by pass: (row mask, tokens)."""
        self.plan.passes = passes
        self.plan.row_active = sum(mask for mask, _ in passes)

    def scale_bytes(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        usual = self.rng.integers(117, 138, shape)
        odd = self.rng.choice([0, 1, 30, 64, 190, 230, 254, 255], shape)
        return np.where(self.rng.random(shape) < self.special, odd, usual)

    def fill(self, block: int, mask: int) -> None:
        rows = rows_of(mask)
        elements = self.rng.integers(-128, 128, (self.config.rows, BLOCK))
        if self.rng.random() < self.special:
            elements[:] = -128
        done = Fill(block, rows, elements, self.scale_bytes((self.config.rows,)))
        self.plan.fills.append(done)
        self.operands[block] = done

    def weight_word(self) -> NDArray[np.uint8]:
        """Bytes of one port in one weight beat."""
        if self.rng.random() < self.special:
            return np.full(BLOCK, self.rng.choice([0x80, 0x7F, 0xFF, 0x77]), dtype=np.uint8)
        return self.rng.integers(0, 256, BLOCK).astype(np.uint8)

    def k_block(self, mxfp4: bool, scaled: bool, operand: Fill) -> NDArray[np.uint32]:
        """Emit the beats of one k block; return its values (rows, physical columns, 32)."""
        ports, factor = self.config.ports, 2 if mxfp4 else 1
        scales = np.full((2 * ports, BLOCK), 127)
        if scaled:
            used = self.scale_bytes((ports, factor, BLOCK))
            for n in range(factor):
                self.plan.beats.append(int.from_bytes(used[:, n].astype(np.uint8).tobytes(), "little"))
                scales[n::2] = used[:, n]
        words = np.stack([[self.weight_word() for _ in range(ports)] for _ in range(BLOCK)])
        for j in range(BLOCK):
            self.plan.beats.append(int.from_bytes(words[j].tobytes(), "little"))
        # (output, port, element) -> (column, output, element)
        if mxfp4:
            weights = np.stack([TWICE_E2M1[words & 15], TWICE_E2M1[words >> 4]], axis=2).reshape(BLOCK, -1, BLOCK)
        else:
            weights = np.zeros((BLOCK, 2 * ports, BLOCK), dtype=np.int64)
            weights[:, ::2] = words.view(np.int8)
        sums = np.einsum("re,jce->rcj", operand.elements, weights)
        sa, sw = operand.scales[:, None, None], scales[None]
        exponent = sa + sw - 254 - (7 if mxfp4 else 12)
        return fp32.from_int(sums, exponent, (sa == 255) | (sw == 255))

    def accumulate(self, mask: int, mxfp4: bool, scaled: bool, blocks: list[int]) -> None:
        """One group: all its k blocks, and the bank that they fill."""
        total = np.zeros((self.config.rows, self.config.columns, BLOCK), dtype=np.float32)
        for block in blocks:
            total = fp32.add(total, self.k_block(mxfp4, scaled, self.operands[block]))
        columns = list(range(0, self.config.columns, 1 if mxfp4 else 2))
        self.plan.groups.append(Group(rows_of(mask), columns, fp32.to_bits(total).copy()))

    def matmul(self, mxfp4: bool, groups: int, k_blocks: int, source: int, consume: bool) -> None:
        instruction = encode(
            Opcode.MATMUL,
            mxfp4=int(mxfp4),
            consume=int(consume),
            groups=groups,
            k_blocks=k_blocks,
            source=source,
        )
        self.plan.instructions.append(int.from_bytes(instruction, "little"))
        blocks = list(range(source, source + k_blocks))
        for block in blocks:
            if block not in self.operands:
                self.fill(block, self.plan.row_active)
        for _ in range(groups):
            self.accumulate(self.plan.row_active, mxfp4, True, blocks)
        if consume:
            for block in blocks:
                del self.operands[block]

    def ignored(self, opcode: Opcode, **fields: int) -> None:
        """An instruction that the array must drop."""
        self.plan.instructions.append(int.from_bytes(encode(opcode, **fields), "little"))

    def attend(self, heads: int, head_blocks: int, source: int, weight_block: int) -> None:
        config = self.config
        instruction = encode(
            Opcode.ATTEND, heads=heads, head_blocks=head_blocks, source=source, weight_block=weight_block, consume=1
        )
        self.plan.instructions.append(int.from_bytes(instruction, "little"))
        for block in range(source, source + heads * head_blocks):
            self.fill(block, self.plan.row_active)
        jobs = [(mask, tokens, head) for mask, tokens in self.plan.passes for head in range(heads)]
        for number in range(len(jobs) + 1):
            if number < len(jobs):
                mask, tokens, head = jobs[number]
                first = source + head * head_blocks
                for group in range(-(-tokens // config.group_tokens)):
                    data = int.from_bytes(self.rng.bytes(config.bus_bytes), "little")
                    self.plan.beats.append(data)
                    self.plan.value_scales.append((number % 2, group, data))
                    self.accumulate(mask, False, True, list(range(first, first + head_blocks)))
            if number > 0:
                mask, tokens, _ = jobs[number - 1]
                first = weight_block + (number - 1) % 2 * config.context_blocks
                blocks = list(range(first, first + -(-tokens // BLOCK)))
                for block in blocks:
                    self.fill(block, mask)
                for _ in range(-(-head_blocks // config.ports)):
                    self.accumulate(mask, False, False, blocks)
                for block in blocks:
                    del self.operands[block]
        for block in range(source, source + heads * head_blocks):
            del self.operands[block]
