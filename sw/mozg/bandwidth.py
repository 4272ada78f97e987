"""The memory limit of a step: the one definition that `mozg generate`, `mozg demo` and measurements share.

A step must read, once each, the weights of its program (elements, scales, biases, gammas and betas, in whole blocks
of 32) and, of every sequence in it, the keys and values of the tokens it looks back on with their scales. Not
counted, though the chip reads them too: program, embedding rows, blocks that only fill up a group of outputs, and
what a KV group holds beyond the last token.

The ideal reader reads these bytes one after the other from the same DRAM, loses only its refreshes and writes
nothing. The share of the memory limit reached is the cycles of the ideal reader over the cycles taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtl.common.config import BLOCK
from rtl.common.isa import Opcode

if TYPE_CHECKING:
    from .compiler import Image
    from .device.memory import MemoryConfig
    from .generation import BatchStep, Step

VECTOR_BYTES = 4 * BLOCK


def matrix_bytes(output_blocks: int, k_blocks: int, mxfp4: bool, bias: bool) -> int:
    """Elements, scales and bias of a matrix of blocks of 32 outputs x 32 inputs."""
    elements = BLOCK * BLOCK // (2 if mxfp4 else 1)
    return output_blocks * (k_blocks * (elements + BLOCK) + bias * VECTOR_BYTES)


def weight_bytes(fields: dict[str, int], opcode: Opcode) -> int:
    """Useful bytes of weights and vectors that one instruction streams; 0 for those that stream none."""
    if opcode == Opcode.NORM:
        return 2 * fields["k_blocks"] * VECTOR_BYTES
    if opcode != Opcode.MATMUL:
        return 0
    return matrix_bytes(fields["output_blocks"], fields["k_blocks"], bool(fields["mxfp4"]), bool(fields["has_bias"]))


def kv_token_bytes(head_blocks: int, kv_heads: int) -> int:
    """Bytes of keys, values and their scales that one token has in the cache of one layer."""
    keys, values = head_blocks * (BLOCK + 1), head_blocks * BLOCK + 1
    return kv_heads * (keys + values)


@dataclass(frozen=True)
class StepBytes:
    """Bytes that a step must read, by what they are. vectors: biases, gammas, betas; kv: with its scales."""

    weights: int
    scales: int
    vectors: int
    kv: int

    @property
    def total(self) -> int:
        return self.weights + self.scales + self.vectors + self.kv


def step_parts(image: Image, tokens: Iterable[int], samples: bool = True) -> StepBytes:
    """What a step must read. tokens: for each sequence in it, its length including the step's rows. samples: whether
    any row samples, so that the LM head is read."""
    tokens, weights, scales, vectors, kv = sum(tokens), 0, 0, 0, 0
    for instruction in image.program:
        fields = instruction.fields
        if fields.get("sampling_only") and not samples:
            continue
        if instruction.opcode == Opcode.MATMUL:
            blocks = fields["output_blocks"] * fields["k_blocks"]
            scales += blocks * BLOCK
            weights += blocks * BLOCK * BLOCK // (2 if fields["mxfp4"] else 1)
            vectors += fields["has_bias"] * fields["output_blocks"] * VECTOR_BYTES
        elif instruction.opcode == Opcode.NORM:
            vectors += weight_bytes(fields, instruction.opcode)
        elif instruction.opcode == Opcode.ATTEND:
            kv += tokens * kv_token_bytes(fields["head_blocks"], fields["heads"] // fields["heads_per_kv"])
    return StepBytes(weights, scales, vectors, kv)


def step_bytes(image: Image, tokens: Iterable[int], samples: bool = True) -> int:
    """Bytes that a step must read: see `step_parts`."""
    return step_parts(image, tokens, samples).total


def ideal_cycles(image: Image, memory: MemoryConfig, tokens: Iterable[int], samples: bool = True) -> float:
    """Cycles that the ideal reader needs for a step."""
    return step_bytes(image, tokens, samples) / image.chip.bus_bytes / memory.reader_share


def share_reached(image: Image, memory: MemoryConfig, steps: Iterable[Step | BatchStep]) -> float | None:
    """Share of the memory limit over some steps of a sequence or of a batch; None where no step took cycles."""
    taken = ideal = 0.0
    for step in steps:
        if step.cycles:
            taken += step.cycles
            ideal += ideal_cycles(image, memory, step.lengths, step.samples)
    return ideal / taken if taken else None
