"""What `mozg info` shows: a model's shape, its size in a chip's memory, what is short, and a chip's peak rates."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rtl.common.config import BLOCK, ChipConfig

from .checkpoint import Checkpoint
from .device.memory import DDR4
from .fit import Plan, Sizes, shortages
from .layout import FORMATS
from .llm import chip_config

EXAMPLE_MHZ = 400  # the clock at which the DRAM model's times are stated


def _size(count: float) -> str:
    """Bytes with a unit that leaves at most four digits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def _pairs(title: str, rows: Sequence[tuple[str, str]]) -> RenderableType:
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return Group(Text(title, style="bold"), table)


def _tokenizer(checkpoint: Checkpoint) -> str:
    if checkpoint.tokenizer.error is not None:
        return f"cannot be used, token ids can: {checkpoint.tokenizer.error}"
    return "yes" if checkpoint.tokenizer.available else "no: use token ids"


def model_info(checkpoint: Checkpoint) -> RenderableType:
    """Shape, constants and size of a checkpoint."""
    config = checkpoint.config
    scales = sorted({config.attention_scale(0), config.attention_scale(config.layers - 1)})
    scale = f"{scales[-1]:.6g}" if len(scales) == 1 else f"{scales[-1]:.6g} to {scales[0]:.6g}, by layer"
    return _pairs(
        checkpoint.name,
        [
            ("layers", str(config.layers)),
            ("heads", f"{config.heads} of {config.head_dim} channels"),
            ("width", str(config.width)),
            ("MLP width", f"{config.hidden}, {config.activation}"),
            ("context", f"{config.context} tokens"),
            ("vocabulary", f"{config.vocabulary:,}, LM head {'tied' if config.tied else 'of its own'}"),
            ("attention scale", scale),
            ("layer norm epsilon", f"{config.epsilon:g}"),
            ("stop id", "none" if config.end_of_text is None else str(config.end_of_text)),
            ("tokenizer", _tokenizer(checkpoint)),
            ("parameters", f"{checkpoint.parameters:,} ({_size(4 * checkpoint.parameters)} in float32)"),
        ],
    )


def fit_info(checkpoint: Checkpoint, chips: Sequence[str | ChipConfig]) -> RenderableType:
    """For each chip: whether the model fits and what is short; for each format: sizes and the memory limit."""
    config, parts = checkpoint.config, []
    for chip in map(chip_config, chips):
        plan, short = Plan.of(config, chip), shortages(config, chip)
        rows = [("fits", "yes")] if not short else [("fits", "no")] + [("short", text) for text in short]
        rows.append(("operand RAM", f"{plan.operand_total} of {chip.operand_blocks} MX blocks a row"))
        rows.append(("vector RAM", f"{plan.vector_total} of {chip.vector_blocks} FP32 blocks a row"))
        rows.append(("parameter ring", f"{plan.ring_words:,} of {chip.ring_words:,} FP32 words"))
        context = f"{plan.context} tokens"
        if plan.context < config.context:
            context += f" (the model has {config.context}, the chip {chip.context})"
        rows.append(("context", context))
        for weights in FORMATS:
            sizes = Sizes.of(config, chip, weights)
            first, last = (f"{sizes.cycles(chip, DDR4, tokens):,.0f}" for tokens in (1, plan.context))
            rows.append((weights, f"{_size(sizes.resident)} in memory, {_size(sizes.streamed)} streamed a step"))
            rows.append(("", f"at least {first} cycles a token, {last} at context {plan.context}"))
        rows.append(("KV cache", f"{_size(sizes.kv_slot)} a slot, {sizes.kv_token:,} bytes read a token of context"))
        parts += [Text(), _pairs(f"on {chip.name}", rows)]
    return Group(*parts)


def chip_info(chip: str | ChipConfig) -> RenderableType:
    """Parameters and peak rates of a chip."""
    chip = chip_config(chip)
    leaf = "one 18 x 8 multiplier a lane (FPGA)" if chip.packed_multiplier else "two 8 x 5 multipliers a lane (ASIC)"
    parameters = [
        ("rows", f"{chip.rows} tokens a step"),
        ("bus", f"{chip.bus_bits} bits ({chip.ports} x 256)"),
        ("vector unit", f"{chip.lanes} FP32 lanes"),
        ("array leaf", leaf),
        ("context", f"{chip.context} tokens"),
        ("KV slots", str(chip.slots)),
        ("operand RAM", f"{chip.operand_blocks} MX blocks a row"),
        ("vector RAM", f"{chip.vector_blocks} FP32 blocks a row"),
        ("parameter rings", f"2 x {chip.ring_words:,} FP32 words"),
        ("longest head", f"{chip.head_blocks * BLOCK} channels"),
        ("prefetch", f"{chip.fifo_beats} beats, bursts of up to {chip.burst_beats}"),
    ]
    rates = [("bytes a cycle", f"{chip.bus_bytes}")]
    for index, weights in enumerate(FORMATS):
        count = chip.rows * BLOCK * chip.ports * (index + 1)
        rates.append((f"multiplies a cycle, {weights}", f"{count:,}"))
    for index, weights in enumerate(FORMATS):
        count = chip.rows * BLOCK * chip.ports * (index + 1)
        rates.append((f"multiplies a second, {weights}", f"{count * EXAMPLE_MHZ / 1e3:,.1f} G"))
    raw = chip.bus_bytes * EXAMPLE_MHZ / 1e3
    rates.append(("memory", f"{raw:.1f} GB/s raw, {raw * DDR4.reader_share:.2f} GB/s to an ideal reader"))
    title = f"peak rates (a second: at {EXAMPLE_MHZ} MHz, the clock of the DRAM model; an example, not a result)"
    return Group(_pairs(f"chip {chip.name}", parameters), Text(), _pairs(title, rates))
