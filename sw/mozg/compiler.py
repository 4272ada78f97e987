"""Checkpoint + chip -> memory image: weights in the order in which they are consumed, and the program of one step.

The order of instructions is the schedule (design: "order is the schedule"): V and K before Q, so that the new keys and
values are in memory when the scores need them; attention heads interleave inside ATTEND. What only a sampled token
needs, everything behind the last layer's keys and values, is left out of steps in which no row samples.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtl.common import isa
from rtl.common.config import BLOCK, ChipConfig
from rtl.common.isa import Epilogue, Opcode

from . import tables
from .bandwidth import VECTOR_BYTES
from .checkpoint import Checkpoint, GPTConfig, Layer, LayerNorm, Linear
from .errors import MozgError
from .fit import PAGE, FitError, Plan, Sizes, check_fit, check_memory
from .layout import FORMATS, KVLayout, MatrixShape, ceil_div, pack_matrix, round_up
from .tokenizer import Tokenizer

VECTOR_ALIGNMENT = 64


@dataclass(frozen=True)
class Region:
    """A named piece of the memory map."""

    name: str
    base: int
    size: int


@dataclass(frozen=True)
class Instruction:
    """One instruction of the program and the name that listings and traces give it."""

    name: str
    opcode: Opcode
    fields: dict[str, int]

    def encode(self) -> bytes:
        return isa.encode(self.opcode, **self.fields)


@dataclass
class Image:
    """What the chip's memory holds before the first step, and where.

    `memory` covers everything, KV cache and output included (they are not initialised: any bytes will do). `used`: its
    bytes. An image of `compile_shape` has none: program and places only.
    """

    chip: ChipConfig
    config: GPTConfig
    weights: str
    memory: NDArray[np.uint8]
    setup: list[Instruction]
    program: list[Instruction]
    regions: dict[str, Region]
    slots: int
    slot_bytes: int
    context: int
    logits_offset: int
    logits_stride: int
    streamed_bytes: int  # weights, scales, biases and norms read by a step that samples
    operand_blocks: int = 0
    vector_blocks: int = 0
    names: dict[int, str] = field(default_factory=dict)  # address -> tensor name

    @property
    def used(self) -> int:
        return max(region.base + region.size for region in self.regions.values())


def _pad_heads(matrix: NDArray[np.float32], heads: int, head_blocks: int, axis: int) -> NDArray[np.float32]:
    """Pad each head along `axis` to head_blocks * 32 channels with zeros. A shape without numbers stays one."""
    if _is_shape(matrix):
        shape = list(matrix.shape)
        shape[axis] = heads * head_blocks * BLOCK
        return np.broadcast_to(matrix.flat[0], shape)
    moved = np.moveaxis(matrix, axis, 0)
    split = moved.reshape(heads, -1, *moved.shape[1:])
    padded = np.zeros((heads, head_blocks * BLOCK, *moved.shape[1:]), dtype=np.float32)
    padded[:, : split.shape[1]] = split
    return np.moveaxis(padded.reshape(-1, *moved.shape[1:]), 0, axis)


def _is_shape(array: NDArray[np.float32]) -> bool:
    """Whether it is of `compile_shape`: a shape whose elements are all one number in memory."""
    return not any(array.strides)


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


class _Builder:
    """Lays out sections and collects instructions."""

    def __init__(self, chip: ChipConfig, mxfp4: bool):
        self.chip, self.mxfp4 = chip, mxfp4
        self.sections: list[tuple[int, str, NDArray[np.uint8] | None]] = []
        self.end = 0
        self.program: list[Instruction] = []

    def place(self, name: str, data: NDArray[np.uint8] | None, size: int) -> int:
        base = round_up(self.end, VECTOR_ALIGNMENT)
        self.sections.append((base, name, data))
        self.end = base + size
        return base

    def vector(self, name: str, values: NDArray[np.float32], blocks: int) -> int:
        if _is_shape(values):
            return self.place(name, None, blocks * VECTOR_BYTES)
        padded = np.zeros(blocks * BLOCK, dtype="<f4")
        padded[: values.size] = values
        return self.place(name, padded.view(np.uint8), padded.nbytes)

    def embedding(self, name: str, table: NDArray[np.float32], blocks: int) -> int:
        if _is_shape(table):
            return self.place(name, None, len(table) * blocks * VECTOR_BYTES)
        padded = np.zeros((len(table), blocks * BLOCK), dtype="<f4")
        padded[:, : table.shape[1]] = table
        return self.place(name, padded.reshape(-1).view(np.uint8), padded.nbytes)

    def emit(self, name: str, opcode: Opcode, **fields: int) -> None:
        self.program.append(Instruction(name, opcode, fields))

    def norm(self, name: str, norm: LayerNorm, epsilon: float, plan: Plan, **fields: int) -> None:
        blocks = plan.width_blocks
        self.emit(
            name,
            Opcode.NORM,
            address=self.vector(f"{name}.gamma", norm.gamma, blocks),
            address_b=self.vector(f"{name}.beta", norm.beta, blocks),
            k_blocks=blocks,
            count=norm.gamma.size,
            constant_a=_bits(np.float32(1) / np.float32(norm.gamma.size)),
            constant_b=_bits(epsilon),
            **fields,
        )

    def matmul(
        self, name: str, weights: NDArray, bias: NDArray | None, epilogue: Epilogue, count: int, **fields: int
    ) -> None:
        """weights [outputs, inputs]; count: outputs that exist."""
        shape = MatrixShape(
            ceil_div(weights.shape[0], BLOCK), ceil_div(weights.shape[1], BLOCK), self.mxfp4, self.chip.ports
        )
        if bias is not None:
            fields["address_b"] = self.vector(f"{name}.bias", bias, shape.output_blocks)
        self.emit(
            name,
            Opcode.MATMUL,
            address=self.place(
                f"{name}.weight", None if _is_shape(weights) else pack_matrix(weights, shape), shape.bytes
            ),
            mxfp4=int(self.mxfp4),
            has_bias=int(bias is not None),
            epilogue=epilogue,
            k_blocks=shape.k_blocks,
            groups=shape.groups,
            output_blocks=shape.output_blocks,
            count=count,
            **fields,
        )


def _layer(build: _Builder, checkpoint: Checkpoint, index: int, plan: Plan, kv: KVLayout, layer_offset: int) -> None:
    config, layer, name = checkpoint.config, checkpoint.layers[index], f"layer{index}"
    width, heads = plan.width_blocks, config.heads
    normed, query = 0, width
    output, weight = query + plan.attention_blocks, query + 2 * plan.attention_blocks
    hidden = width
    sampling = {"sampling_only": 1} if index + 1 == config.layers else {}
    cache = {
        "head_blocks": plan.head_blocks,
        "heads": heads,
        "layer_offset": layer_offset,
        "head_stride": kv.head_stride,
        "value_offset": kv.value_offset,
        "value_stride": kv.value_stride,
    }

    def project(which: str, epilogue: Epilogue, **fields: int) -> None:
        """One of Q, K, V: outputs are heads padded to whole blocks."""
        linear = getattr(layer, which)
        weights = _pad_heads(linear.weight.T, heads, plan.head_blocks, 0)
        bias = _pad_heads(linear.bias, heads, plan.head_blocks, 0)
        build.matmul(f"{name}.{which}", weights, bias, epilogue, bias.size, source=normed, **fields)

    build.norm(f"{name}.ln_1", layer.ln_1, config.epsilon, plan, source=0, destination=normed)
    project("v", Epilogue.VALUE, destination=width, **cache)
    project("k", Epilogue.KEY, **cache)
    project("q", Epilogue.QUANTIZE, destination=query, consume=1, **sampling)
    build.emit(
        f"{name}.attention",
        Opcode.ATTEND,
        source=query,
        destination=output,
        weight_block=weight,
        constant_a=_bits(math.log2(math.e) * config.attention_scale(index)),
        heads_per_kv=1,
        **cache,
        **sampling,
    )
    build.matmul(
        f"{name}.attention.out",
        _pad_heads(layer.attention_out.weight.T, heads, plan.head_blocks, 1),
        layer.attention_out.bias,
        Epilogue.RESIDUAL,
        config.width,
        source=output,
        destination=0,
        consume=1,
        **sampling,
    )
    build.norm(f"{name}.ln_2", layer.ln_2, config.epsilon, plan, source=0, destination=normed, **sampling)
    build.matmul(
        f"{name}.mlp.in",
        layer.mlp_in.weight.T,
        layer.mlp_in.bias,
        Epilogue.QUANTIZE,
        config.hidden,
        source=normed,
        destination=hidden,
        consume=1,
        activate=1,
        first_exponent=tables.ACTIVATIONS[config.activation].first_exponent,
        **sampling,
    )
    build.matmul(
        f"{name}.mlp.out",
        layer.mlp_out.weight.T,
        layer.mlp_out.bias,
        Epilogue.RESIDUAL,
        config.width,
        source=hidden,
        destination=0,
        consume=1,
        **sampling,
    )


def compile_model(
    checkpoint: Checkpoint,
    chip: ChipConfig,
    weights: str = "mxint8",
    slots: int | None = None,
    output_rows: int | None = None,
) -> Image:
    """The memory image of a checkpoint for a chip. Raises FitError when the chip or the memory is too small.

    weights: "mxint8" or "mxfp4", for every matrix including the LM head. slots: KV caches (default: one a
    row, or all that the chip has where these are fewer).
    output_rows: rows whose logits have room (default: the chip's; the NumPy machine may take more).
    """
    if weights not in FORMATS:
        raise MozgError(f"weights {weights!r} is unknown: expected one of {', '.join(FORMATS)}")
    return _compile(checkpoint, chip, weights, slots, output_rows)


def compile_shape(config: GPTConfig, chip: ChipConfig, weights: str = "mxint8", slots: int | None = None) -> Image:
    """The image of a model of which only the shape is known: program and places, without memory. Raises FitError."""

    def none(*shape: int) -> NDArray[np.float32]:
        return np.broadcast_to(np.float32(0), shape)

    norm = LayerNorm(none(config.width), none(config.width))

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(none(inputs, outputs), none(outputs))

    square = linear(config.width, config.width)
    layer = Layer(
        ln_1=norm,
        q=square,
        k=square,
        v=square,
        attention_out=square,
        ln_2=norm,
        mlp_in=linear(config.width, config.hidden),
        mlp_out=linear(config.hidden, config.width),
    )
    vocabulary = none(config.vocabulary, config.width)
    shape = Checkpoint(
        name="shape",
        path=Path(),
        config=config,
        wte=vocabulary,
        wpe=none(config.context, config.width),
        layers=(layer,) * config.layers,
        ln_f=norm,
        lm_head=vocabulary,
        tokenizer=Tokenizer(None, config.vocabulary, Path()),
    )
    return _compile(shape, chip, weights, slots, None)


def _compile(
    checkpoint: Checkpoint, chip: ChipConfig, weights: str, slots: int | None, output_rows: int | None
) -> Image:
    config = checkpoint.config
    plan = check_fit(config, chip)
    slots = min(chip.rows, chip.slots) if slots is None else slots
    if not isinstance(slots, numbers.Integral) or not 1 <= slots <= chip.slots:
        raise FitError(f"{slots!r} KV slots asked for: chip {chip.name!r} has 1 to {chip.slots}")
    if not _is_shape(checkpoint.wte):
        sizes = Sizes.of(config, chip, weights)
        check_memory(sizes.resident + slots * sizes.kv_slot)
    build = _Builder(chip, weights == "mxfp4")
    kv = KVLayout.of(chip, plan.head_blocks, plan.context)

    table = tables.build_tables(config.activation).T.astype("<f4")
    setup = [
        Instruction(
            "tables", Opcode.TABLE, {"address": build.place("tables", table.reshape(-1).view(np.uint8), table.nbytes)}
        ),
        Instruction("end", Opcode.END, {}),
    ]
    build.emit(
        "embedding",
        Opcode.EMBED,
        address=build.embedding("token_embedding", checkpoint.wte, plan.width_blocks),
        address_b=build.embedding("position_embedding", checkpoint.wpe[: plan.context], plan.width_blocks),
        row_stride=plan.width_blocks * BLOCK * 4,
        k_blocks=plan.width_blocks,
        destination=0,
        count=config.width,
    )
    layer_bytes = config.heads * kv.head_stride
    stream_start = build.end
    for index in range(config.layers):
        _layer(build, checkpoint, index, plan, kv, index * layer_bytes)
    build.norm(
        "ln_f",
        checkpoint.ln_f,
        config.epsilon,
        plan,
        source=0,
        destination=0,
        sampling_only=1,
    )
    build.matmul(
        "lm_head",
        checkpoint.lm_head,
        None,
        Epilogue.SAMPLE,
        config.vocabulary,
        source=0,
        consume=1,
        sampling_only=1,
    )
    build.emit("end", Opcode.END)
    slot_bytes = round_up(config.layers * layer_bytes, PAGE)
    rows = max(chip.rows, output_rows or 0)
    return _assemble(build, setup, checkpoint, weights, plan, slots, slot_bytes, stream_start, rows)


def _assemble(
    build: _Builder,
    setup: list[Instruction],
    checkpoint: Checkpoint,
    weights: str,
    plan: Plan,
    slots: int,
    slot_bytes: int,
    stream_start: int,
    output_rows: int,
) -> Image:
    """Program, weights, KV slots and output, each on its own page; addresses become absolute."""
    chip, config = build.chip, checkpoint.config
    program_bytes = (len(setup) + len(build.program)) * isa.INSTRUCTION_BYTES
    weights_base = round_up(program_bytes, PAGE)
    kv_base = round_up(weights_base + build.end, PAGE)
    output_base = kv_base + slots * slot_bytes
    logits_offset = round_up(4 * chip.rows * (plan.context + 1), PAGE)
    logits_stride = round_up(4 * BLOCK * ceil_div(config.vocabulary, BLOCK), PAGE)
    output_size = logits_offset + output_rows * logits_stride
    has_memory = not _is_shape(checkpoint.wte)
    total = output_base + output_size if has_memory else 0
    check_memory(total)

    def absolute(instruction: Instruction) -> Instruction:
        moved = {k: v + weights_base if k in ("address", "address_b") else v for k, v in instruction.fields.items()}
        return Instruction(instruction.name, instruction.opcode, moved)

    setup, program = [absolute(i) for i in setup], [absolute(i) for i in build.program]
    memory = np.zeros(total, dtype=np.uint8)
    if has_memory:
        code = b"".join(i.encode() for i in setup + program)
        memory[: len(code)] = np.frombuffer(code, dtype=np.uint8)
    names = {}
    for base, name, data in build.sections:
        names[weights_base + base] = name
        if data is not None and has_memory:
            memory[weights_base + base : weights_base + base + data.size] = data
    setup_bytes = len(setup) * isa.INSTRUCTION_BYTES
    regions = (
        Region("setup", 0, setup_bytes),
        Region("program", setup_bytes, program_bytes - setup_bytes),
        Region("weights", weights_base, round_up(build.end, VECTOR_ALIGNMENT)),
        Region("kv", kv_base, slots * slot_bytes),
        Region("output", output_base, output_size),
    )
    return Image(
        chip=chip,
        config=config,
        weights=weights,
        memory=memory,
        setup=setup,
        program=program,
        regions={region.name: region for region in regions},
        slots=slots,
        slot_bytes=slot_bytes,
        context=plan.context,
        logits_offset=logits_offset,
        logits_stride=logits_stride,
        streamed_bytes=build.end - stream_start,
        operand_blocks=plan.operand_total,
        vector_blocks=plan.vector_total,
        names=names,
    )


def listing(image: Image) -> str:
    """Memory map and program as text."""
    lines = [f"; {image.config.layers} layers, width {image.config.width}, chip {image.chip.name}, {image.weights}"]
    lines += ["; memory map", f"; {'region':<10} {'base':>12} {'bytes':>14}"]
    lines += [f"; {r.name:<10} {r.base:>#12x} {r.size:>14,}" for r in image.regions.values()]
    lines += ["; tensors"]
    lines += [f"; {address:>#12x} {name}" for address, name in sorted(image.names.items())]
    for title in ("setup", "program"):
        lines += ["", f"{title}:"]
        for index, instruction in enumerate(getattr(image, title)):
            fields = " ".join(
                f"{k}={v:#x}" if k.startswith(("address", "constant", "layer", "value_", "head_stride")) else f"{k}={v}"
                for k, v in instruction.fields.items()
                if v
            )
            lines.append(f"{index:5d}  {instruction.opcode.name:<7} {fields}  ; {instruction.name}")
    return "\n".join(lines) + "\n"
