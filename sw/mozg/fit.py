"""What a model needs of a chip: sizes of its RAMs and bytes in memory, and whether they are there.

Computed from the shapes alone, so `mozg info` and the compiler's refusal come before any packing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rtl.common import isa
from rtl.common.config import BLOCK, ChipConfig

from .bandwidth import VECTOR_BYTES, kv_token_bytes, matrix_bytes
from .checkpoint import GPTConfig
from .device.memory import MemoryConfig
from .errors import MozgError
from .layout import KVLayout, MatrixShape, ceil_div, round_up

PAGE = 4096
LARGEST_MEMORY = 64 << 30  # the chip's memory: what the simulated devices address


class FitError(MozgError):
    """The model does not fit the chip or its memory."""


@dataclass(frozen=True)
class Plan:
    """Sizes that follow from a model and a chip: what `mozg info` shows and `check_fit` compares."""

    width_blocks: int
    hidden_blocks: int
    head_blocks: int
    attention_blocks: int
    operand_attention: int
    operand_total: int
    vector_total: int
    ring_words: int
    context: int

    @classmethod
    def of(cls, config: GPTConfig, chip: ChipConfig) -> Plan:
        width, hidden = ceil_div(config.width, BLOCK), ceil_div(config.hidden, BLOCK)
        head = ceil_div(config.head_dim, BLOCK)
        attention = config.heads * head
        operand_attention = 2 * attention + 2 * chip.context_blocks
        return cls(
            width_blocks=width,
            hidden_blocks=hidden,
            head_blocks=head,
            attention_blocks=attention,
            operand_attention=operand_attention,
            operand_total=width + max(operand_attention, hidden),
            vector_total=width + attention,
            ring_words=BLOCK * max(width, hidden, attention),
            context=min(config.context, chip.context),
        )


def shortages(config: GPTConfig, chip: ChipConfig) -> list[str]:
    """Everything that the model needs more of than the chip has; empty when it fits."""
    plan = Plan.of(config, chip)
    kv = KVLayout.of(chip, plan.head_blocks, plan.context)
    limits = (
        ("operand RAM", plan.operand_total, chip.operand_blocks, "MX blocks a row"),
        ("vector RAM", plan.vector_total, chip.vector_blocks, "FP32 blocks a row"),
        ("parameter ring", plan.ring_words, chip.ring_words, "FP32 words"),
        ("head", plan.head_blocks, chip.head_blocks, "blocks of 32 channels"),
        ("number of heads", config.heads, _largest("heads"), "heads"),
        ("vocabulary", ceil_div(config.vocabulary, BLOCK), _largest("output_blocks"), "blocks of 32 ids"),
        ("KV cache", config.layers * config.heads * kv.head_stride, _largest("layer_offset"), "bytes a slot"),
    )
    return [f"{name} {need:,} of {have:,} {unit}" for name, need, have, unit in limits if need > have]


def _largest(name: str) -> int:
    return (1 << isa.FIELDS[name].width) - 1


def check_fit(config: GPTConfig, chip: ChipConfig) -> Plan:
    """The plan, or FitError naming what is short."""
    short = shortages(config, chip)
    if short:
        raise FitError(
            f"the model (width {config.width}, hidden {config.hidden}, {config.heads} heads of {config.head_dim}) does "
            f"not fit chip {chip.name!r}: {'; '.join(short)}; use a larger chip or a smaller model"
        )
    return Plan.of(config, chip)


@dataclass(frozen=True)
class Sizes:
    """Bytes in memory of a model compiled for a chip, without compiling it and without what aligns its tensors.

    resident: weights, embeddings, tables. streamed: weights read by a step that samples; useful: of those, what an
    ideal reader reads (see mozg.bandwidth). kv_slot: memory of a KV slot; kv_token: useful bytes of a token in it.
    """

    resident: int
    streamed: int
    useful: int
    kv_slot: int
    kv_token: int

    @classmethod
    def of(cls, config: GPTConfig, chip: ChipConfig, weights: str) -> Sizes:
        plan = Plan.of(config, chip)
        width, hidden, attention = plan.width_blocks, plan.hidden_blocks, plan.attention_blocks
        mxfp4, norm = weights == "mxfp4", 2 * plan.width_blocks * VECTOR_BYTES
        layer = [(attention, width)] * 3 + [(width, attention), (hidden, width), (width, hidden)]
        matrices = [(*shape, True) for shape in layer * config.layers]
        matrices.append((ceil_div(config.vocabulary, BLOCK), width, False))
        streamed = useful = (2 * config.layers + 1) * norm
        for outputs, inputs, bias in matrices:
            streamed += MatrixShape(outputs, inputs, mxfp4, chip.ports).bytes + bias * outputs * VECTOR_BYTES
            useful += matrix_bytes(outputs, inputs, mxfp4, bias)
        embeddings = (config.vocabulary + plan.context) * width * VECTOR_BYTES
        kv = KVLayout.of(chip, plan.head_blocks, plan.context)
        return cls(
            resident=isa.TABLE_ENTRIES * 12 + embeddings + streamed,
            streamed=streamed,
            useful=useful,
            kv_slot=round_up(config.layers * config.heads * kv.head_stride, PAGE),
            kv_token=config.layers * kv_token_bytes(plan.head_blocks, config.heads),
        )

    def cycles(self, chip: ChipConfig, memory: MemoryConfig, tokens: int) -> float:
        """Cycles that the ideal reader needs for one decoded token after `tokens` - 1 others."""
        return (self.useful + tokens * self.kv_token) / chip.bus_bytes / memory.reader_share


def check_memory(need: int) -> None:
    """FitError when an image of `need` bytes is more than the chip's memory, or than this computer's."""
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for have, whose in ((LARGEST_MEMORY, "the chip addresses"), (here, "this computer has")):
        if need > have:
            raise FitError(
                f"the model needs {need / 2**30:,.1f} GiB of memory, {whose} {have / 2**30:,.1f} GiB; use a smaller "
                "model, a shorter context, or mxfp4 weights"
            )
