"""The command `mozg perf`: measures or predicts, prints tables, writes JSON and figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from rtl.common.config import PRESETS, ChipConfig

from .compiler import Image, compile_model, compile_shape
from .cycle_model import predict_decode, predict_prefill
from .device.memory import MEMORIES, MemoryConfig
from .errors import MozgError
from .measure import Meter, StepCost, measure_attention, random_image
from .output import Output, write_file
from .perf import Report, products_per_beat, report
from .shapes import config_of, is_shape

CONTEXT, PROMPT = 512, 64  # unless given, or where the model's context is shorter
REFRESHES = 50  # a shorter step is run several times, with the refreshes at other moments
MOST_REPEATS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `mozg perf` takes beside MODEL, chip, weights and memory."""
    parser.add_argument(
        "--context", type=int, metavar="N", help=f"tokens of each sequence at the decode step (default: {CONTEXT})"
    )
    parser.add_argument("--prompt", type=int, metavar="N", help=f"tokens of the prefill; 0: none (default: {PROMPT})")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="sequences that decode together, a row each (default: 1)"
    )
    parser.add_argument(
        "--predict",
        action="store_true",
        help="by the cycle model instead of the RTL: any size at once, without causes; within 3 %% where a step takes "
        "10,000 cycles and more (docs/performance.md)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write all figures (/dev/stdout: standard output, below the tables)"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw a roofline and the causes of all cycles (.png, .svg, .pdf)"
    )


def measure(
    image: Image, memory: MemoryConfig, context: int, prompt: int, batch: int, progress: Callable[[str], None]
) -> list[list[StepCost]]:
    """Decode and prefill on the RTL; without a prompt, decode only."""
    with Meter(image, memory, progress) as meter:
        decode = meter.decode(context, batch)
        repeats = min(MOST_REPEATS, round(REFRESHES * memory.refresh_interval / decode.cycles))
        found = [[meter.decode(context, batch, repeats) if repeats > 1 else decode]]
        if prompt:
            found.append(list(meter.prefill(prompt)))
    return found


def run(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    """The command."""
    chip, memory = PRESETS[options.chip], MEMORIES[options.memory]
    config = config_of(options.model)
    longest = min(config.context, chip.context)
    context = min(CONTEXT, longest) if options.context is None else options.context
    prompt = min(PROMPT, longest) if options.prompt is None else options.prompt
    for name, value, low, high in (
        ("--context", context, 1, longest),
        ("--prompt", prompt, 0, longest),
        ("--batch", options.batch, 1, chip.rows),
    ):
        if not low <= value <= high:
            raise MozgError(f"{name} {value}: expected {low} to {high} for this model on chip {chip.name!r}")
    attention = None
    if options.predict:
        image = compile_shape(config, chip, options.weights)
        costs = [[predict_decode(image, context, options.batch, memory)]]
        costs += [predict_prefill(image, prompt, memory)] if prompt else []
    else:
        image = image_of(options.model, chip, options.weights)
        costs = measure(image, memory, context, prompt, options.batch, progress)
        if prompt:
            attention = measure_attention(config, chip, prompt, memory, progress)
    reports = [report(image, memory, part) for part in costs]
    found = record(options, image, memory, context, prompt, reports, attention)
    print_reports(found, reports, chip.lanes)
    if options.json:
        write_file(Path(options.json), (json.dumps(found, indent=1) + "\n").encode())
    if options.plot:
        from .figures import draw_perf

        draw_perf(Path(options.plot), image, memory, figure_title(found), reports)
    return 0


def image_of(model: str, chip: ChipConfig, weights: str) -> Image:
    """The image of a checkpoint, or of a shape with random weights."""
    if is_shape(model):
        return random_image(config_of(model), chip, weights)
    from .checkpoint import load_checkpoint

    return compile_model(load_checkpoint(model), chip, weights)


def record(
    options: argparse.Namespace,
    image: Image,
    memory: MemoryConfig,
    context: int,
    prompt: int,
    reports: list[Report],
    attention: tuple[float, int] | None,
) -> dict[str, Any]:
    """What --json holds."""
    found: dict[str, Any] = {
        "model": str(options.model),
        "chip": options.chip,
        "weights": options.weights,
        "memory": options.memory,
        "context": context,
        "prompt": prompt,
        "batch": options.batch,
        "source": "cycle model" if options.predict else "RTL",
        "reader_share": memory.reader_share,
        **{each.kind: each.as_dict() for each in reports},
    }
    if attention:
        cycles, products = attention
        # Keys and values are MXINT8 whatever the weights are.
        share = products / (products_per_beat(image, "mxint8") * cycles * memory.reader_share)
        found["attention"] = {"cycles_a_layer": cycles, "unmasked_products": products, "multiplies_share": share}
    return found


def title(found: dict[str, Any]) -> str:
    return f"{found['model']}, {found['chip']}, {found['weights']}, {found['memory']}, {found['source']}"


def figure_title(found: dict[str, Any]) -> str:
    """All that the figures of a plot hang on, in two lines."""
    steps = f"decode at context {found['context']}, batch {found['batch']}"
    if found["prompt"]:
        steps += f"; prefill of {found['prompt']} tokens"
    return (
        f"{found['model']} on chip {found['chip']}, weights {found['weights']}, memory {found['memory']}\n"
        f"{steps}; {found['source']}"
    )


def print_reports(found: dict[str, Any], reports: list[Report], lanes: int) -> None:
    """Tables on standard output. lanes: those of the chip."""
    out = Output(highlight=False)
    table = Table(title=title(found), title_justify="left", box=None, padding=(0, 2))
    table.add_column("", style="dim", no_wrap=True)
    for each in reports:
        what = (
            f"context {found['context']}, batch {found['batch']}" if each.kind == "decode" else f"{each.tokens} tokens"
        )
        table.add_column(f"{each.kind}\n{what}", justify="right")

    def row(name: str, text: Callable[[Report], str]) -> None:
        table.add_row(name, *(text(each) for each in reports))

    row("cycles a token", lambda r: f"{r.cycles_per_token:,.0f}")
    row("cycles a step", lambda r: f"{r.cycles_per_step:,.0f}")
    row("useful bytes a step", lambda r: f"{r.useful_bytes_total:,.0f}")
    for name in reports[0].useful_bytes:
        row(f"  {name}", lambda r, name=name: f"{r.useful_bytes[name]:,.0f}")
    row("bytes read a step", lambda r: f"{r.bytes_read:,.0f}")
    row("bytes written a step", lambda r: f"{r.bytes_written:,.0f}")
    row("moved over useful", lambda r: f"{r.moved_over_useful:.4f}")
    row("share of the ideal reader", lambda r: f"{r.share_of_ideal:.2%}")
    row("share of the raw bus", lambda r: f"{r.share_of_bus:.2%}")
    row("multiplies done of possible", lambda r: f"{r.multiplies_share:.2%}")
    if found["weights"] == "mxfp4":
        row("  with KV beats counted as MXFP4", lambda r: f"{r.multiplies_share_of_peak:.2%}")
    row("  useful multiplies a cycle", lambda r: f"{r.multiplies_per_cycle:,.1f}")
    out.print(table)
    if "attention" in found:
        part = found["attention"]
        out.print(
            f"\ncausal attention alone, {found['prompt']} tokens: {part['multiplies_share']:.2%} of the multiplies "
            f"possible, {part['cycles_a_layer']:,.0f} cycles a layer"
        )
    if reports[0].causes:
        table = Table(title="\nwhere the cycles of a step went", title_justify="left", box=None, padding=(0, 2))
        table.add_column("", style="dim", no_wrap=True)
        for each in reports:
            table.add_column(each.kind, justify="right")
            table.add_column("", justify="right")
        for name in reports[0].causes:
            cells = []
            for each in reports:
                cells += [f"{each.causes[name] * each.cycles_per_step:,.0f}", f"{each.causes[name]:.2%}"]
            table.add_row(name.replace("_", " "), *cells)
        cells = []
        for each in reports:
            cells += [f"{each.cycles_per_step:,.0f}", f"{sum(each.causes.values()):.2%}"]
        table.add_row("sum", *cells)
        out.print(table)
        others = ", ".join(f"{each.other_beats:,.0f} in a step of {each.kind}" for each in reports)
        out.print(
            "wait memory: refreshes, row misses, latency, writes of keys and values, and beats that the array does not "
            f"take (biases, norms, embeddings, program): {others}"
        )
    table = Table(title="\nfor energy, a token", title_justify="left", box=None, padding=(0, 2))
    table.add_column("", style="dim", no_wrap=True)
    for each in reports:
        table.add_column(each.kind, justify="right")
    for name in reports[0].energy_per_token:
        table.add_row(name.replace("_", " "), *(f"{each.energy_per_token[name]:,.0f}" for each in reports))
    out.print(table)
    out.print(
        f"vector beat: {lanes} elements through the lanes; by its pass (rtl/README.md) it reads up to three words of "
        "as many from accumulators, vector RAM, score RAM or rings and writes at most one, which are not counted"
    )
