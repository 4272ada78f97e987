"""The command `mozg trace`: runs one step on the RTL and writes its timeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rtl.common.config import PRESETS

from .device.memory import MEMORIES
from .errors import MozgError
from .measure import Meter, decode_rows, prefill_rows
from .perf_command import CONTEXT, image_of
from .shapes import config_of
from .trace import trace_json, tracks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `mozg trace` takes beside MODEL, chip, weights and memory."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="trace, for ui.perfetto.dev (JSON)")
    parser.add_argument(
        "--context", type=int, metavar="N", help=f"tokens of each sequence after the step (default: {CONTEXT})"
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="sequences that decode together, a row each (default: 1)"
    )
    parser.add_argument(
        "--prefill",
        action="store_true",
        help="instead of decoding, take the last tokens of a prompt of --context tokens, one a row",
    )


def run(options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    """The command."""
    from .output import write_file

    chip, memory = PRESETS[options.chip], MEMORIES[options.memory]
    config = config_of(options.model)
    longest = min(config.context, chip.context)
    context = min(CONTEXT, longest) if options.context is None else options.context
    for name, value, high in (("--context", context, longest), ("--batch", options.batch, chip.rows)):
        if not 1 <= value <= high:
            raise MozgError(f"{name} {value}: expected 1 to {high} for this model on chip {chip.name!r}")
    if options.prefill and options.batch != 1:
        raise MozgError(f"--batch {options.batch} with --prefill: a prefill step is traced for one sequence")
    if options.prefill:
        count = min(context, chip.rows)
        rows = prefill_rows(context - count, count, context, config.vocabulary)
        what = f"prefill of {count} tokens to context {context}"
    else:
        rows = decode_rows(context, options.batch, config.vocabulary)
        what = f"decode at context {context}, batch {options.batch}"
    image = image_of(options.model, chip, options.weights)
    with Meter(image, memory, progress, timeline=True) as meter:
        timeline, counters = meter.timeline(rows)
    found = tracks(timeline, image, rows)
    title = f"{options.model}, {chip.name}, {options.weights}, {options.memory}: {what}"
    about = {"model": str(options.model), "chip": chip.name, "weights": options.weights, "memory": options.memory}
    about |= {"step": what, "unit": "1 us is a cycle", "counters": counters}
    data = trace_json(found, title, about).encode()
    write_file(Path(options.output), data)
    slices = sum(len(track) for track in found.values())
    print(f"{what}: {timeline.length:,} cycles, {slices:,} slices, {len(data):,} bytes in {options.output}")
    print("open it in ui.perfetto.dev or chrome://tracing; a microsecond is a cycle")
    return 0
