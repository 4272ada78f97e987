"""`mozg explore`: many chips for one model by the cycle model, cycles a token against the size of the array.

A chip is rows x bus width x lanes x prefetch; its RAMs are as large as the model needs (`fit.py`). A bus of 1,024 bits
is beyond what the RTL takes today: there the model says what such a chip would do. A chip is on the frontier if it
takes fewer cycles, by more than 1 %, than every chip with fewer multipliers on it, and is the smallest of those within
1 % of the best with as many.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from rtl.common.config import BLOCK, ChipConfig

from .checkpoint import GPTConfig
from .compiler import compile_shape
from .cycle_model import CycleModel
from .device.memory import MEMORIES, MemoryConfig
from .errors import MozgError
from .fit import Plan
from .measure import decode_rows, prefill_rows
from .output import Output, write_file
from .shapes import config_of

ROWS, BUS, LANES, FIFO = (2, 4, 8, 16, 32), (256, 512, 1024), (2, 4, 8, 16, 32), (512,)
RTL_BUS = (256, 512)  # what the RTL takes
CONTEXT, PROMPT = 512, 512
ALIKE = 0.01  # cycles that differ by less are alike: the smaller chip stands for both
KINDS = {
    "decode": "decode, one sequence",
    "batch": "decode, a sequence in every row",
    "prefill": "prefill",
}


@dataclass(frozen=True)
class Choice:
    """A chip and what it does with the model: cycles a token for each of KINDS. ram: bytes of its large RAMs."""

    rows: int
    bus: int
    lanes: int
    fifo: int
    multipliers: int
    ram: int
    cycles: dict[str, float]


class EstimatedChip(ChipConfig):
    """A chip for the cycle model alone, whose bus may be wider than the RTL's."""

    MOST_PORTS = BUS[-1] // 256


def chip_for(config: GPTConfig, rows: int, bus: int, lanes: int, fifo: int, context: int) -> ChipConfig:
    """A chip whose RAMs are as large as the model needs for `context` tokens; ValueError if there is none."""
    ports = bus // 256
    group = BLOCK * ports
    longest = 1 << max(group, context).bit_length() - (max(group, context).bit_count() == 1)
    chip = EstimatedChip(
        f"chip_{rows}x{bus}x{lanes}",
        rows,
        ports,
        lanes,
        longest,
        vector_blocks=1,
        operand_blocks=1,
        ring_words=BLOCK,
        head_blocks=-(-config.head_dim // BLOCK),
        fifo_beats=fifo,
        slots=max(16, rows),
    )
    plan = Plan.of(config, chip)
    ring = 1 << (plan.ring_words - 1).bit_length()
    return replace(chip, vector_blocks=plan.vector_total, operand_blocks=plan.operand_total, ring_words=ring)


def ram_bytes(chip: ChipConfig) -> int:
    """Operands with scales, residual and scratch, scores of two heads, accumulators, rings, prefetch FIFO."""
    row = chip.operand_blocks * (BLOCK + 1) + chip.vector_blocks * 4 * BLOCK + 2 * 4 * chip.context
    row += 2 * chip.columns * 4 * BLOCK
    return chip.rows * row + 2 * 4 * chip.ring_words + chip.fifo_beats * chip.bus_bytes


def cycles_of(
    config: GPTConfig, chip: ChipConfig, weights: str, memory: MemoryConfig, context: int, prompt: int
) -> dict[str, float]:
    """Cycles a token for each of KINDS; of a prefill the mean of its first and last step, without the LM head."""
    model = CycleModel(compile_shape(config, chip, weights, slots=chip.rows), memory)
    vocabulary, rows = config.vocabulary, chip.rows
    count = min(rows, prompt)
    steps = [model.step(prefill_rows(start, count, prompt + 1, vocabulary)) for start in (0, prompt - count)]
    return {
        "decode": model.step(decode_rows(context, 1, vocabulary)),
        "batch": model.step(decode_rows(context, rows, vocabulary)) / rows,
        "prefill": sum(steps) / 2 / count,
    }


def explore(
    config: GPTConfig,
    weights: str,
    memory: MemoryConfig,
    context: int,
    prompt: int,
    sweep: Sequence[tuple[int, int, int, int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Choice]:
    """Every chip of a sweep of (rows, bus, lanes, fifo)."""
    found = []
    for index, (rows, bus, lanes, fifo) in enumerate(sweep):
        progress(index, len(sweep))
        chip = chip_for(config, rows, bus, lanes, fifo, max(context, prompt))
        cycles = cycles_of(config, chip, weights, memory, context, prompt)
        found.append(Choice(rows, bus, lanes, fifo, rows * BLOCK * chip.ports, ram_bytes(chip), cycles))
    progress(len(sweep), len(sweep))
    return found


def sweep_of(
    rows: Sequence[int], buses: Sequence[int], lanes: Sequence[int], fifos: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """All combinations that a chip may have: no fewer lanes than rows."""
    return [(r, b, v, f) for r in rows for b in buses for v in lanes for f in fifos if r <= v]


def frontier(choices: Sequence[Choice], kind: str) -> list[Choice]:
    """Choices that no other beats in cycles without more multipliers, by size, each better than the one before by more
    than ALIKE; of those within ALIKE of the best of their size the one with the fewest lanes, then the least RAM."""
    best: list[Choice] = []
    for size in sorted({choice.multipliers for choice in choices}):
        better = [
            choice
            for choice in choices
            if choice.multipliers == size and (not best or choice.cycles[kind] * (1 + ALIKE) < best[-1].cycles[kind])
        ]
        if better:
            least = min(choice.cycles[kind] for choice in better)
            alike = [choice for choice in better if choice.cycles[kind] <= least * (1 + ALIKE)]
            best.append(min(alike, key=lambda c: (c.lanes, c.ram, c.cycles[kind])))
    return best


# The command


def numbers(allowed: Sequence[int]) -> Callable[[str], list[int]]:
    """For argparse: powers of two separated by commas, from the first to the last of `allowed`; each once."""

    def parse(text: str) -> list[int]:
        parts = text.split(",")
        found = [int(part) if part.isdecimal() else 0 for part in parts]
        if not all(allowed[0] <= n <= allowed[-1] and n & (n - 1) == 0 for n in found):
            raise argparse.ArgumentTypeError(f"{text!r} is not powers of two from {allowed[0]} to {allowed[-1]}")
        return list(dict.fromkeys(found))

    return parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `mozg explore` takes beside MODEL, weights and memory."""
    parser.add_argument("--context", type=int, metavar="N", help=f"tokens of each sequence (default: {CONTEXT})")
    parser.add_argument("--prompt", type=int, metavar="N", help=f"tokens of the prefill (default: {PROMPT})")
    for name, default, allowed, what in (
        ("--rows", ROWS, ROWS, "rows of the array"),
        ("--bus", BUS, BUS, "bits of the bus; 1024 is beyond the RTL of today"),
        ("--lanes", LANES, LANES, "lanes of the vector unit, not fewer than rows"),
        ("--fifo", FIFO, (64, 8192), "beats of the prefetch FIFO"),
    ):
        listed = ",".join(map(str, default))
        parser.add_argument(
            name, type=numbers(allowed), default=list(default), metavar="N,N", help=f"{what} (default: {listed})"
        )
    parser.add_argument(
        "--json", metavar="FILE", help="write every chip (/dev/stdout: standard output, below the table)"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw cycles a token against multipliers (.png, .svg, .pdf)")


def run(options: argparse.Namespace, progress: Callable[[int, int], None]) -> int:
    """The command."""
    config, memory = config_of(options.model), MEMORIES[options.memory]
    context = min(CONTEXT, config.context) if options.context is None else options.context
    prompt = min(PROMPT, config.context) if options.prompt is None else options.prompt
    for name, value in (("--context", context), ("--prompt", prompt)):
        if not 1 <= value <= config.context:
            raise MozgError(f"{name} {value}: expected 1 to {config.context} for this model")
    sweep = sweep_of(options.rows, options.bus, options.lanes, options.fifo)
    if not sweep:
        raise MozgError("explore: no chip has fewer lanes than rows; allow more lanes or fewer rows")
    choices = explore(config, options.weights, memory, context, prompt, sweep, progress)
    title = f"{options.model}, {options.weights}, {options.memory}, context {context}, prompt {prompt}, cycle model"
    print_frontiers(title, choices)
    if options.json:
        write_file(Path(options.json), (json.dumps(record(title, choices), indent=1) + "\n").encode())
    if options.plot:
        from .figures import draw_frontiers

        draw_frontiers(Path(options.plot), title, choices)
    return 0


def record(title: str, choices: Sequence[Choice]) -> dict[str, Any]:
    best = {kind: frontier(choices, kind) for kind in KINDS}
    return {
        "title": title,
        "chips": [
            asdict(choice) | {"frontier": [kind for kind in KINDS if choice in best[kind]]} for choice in choices
        ],
    }


def rows_of(choices: Sequence[Choice]) -> Iterator[tuple[str, Choice]]:
    for kind in KINDS:
        for choice in frontier(choices, kind):
            yield kind, choice


def print_frontiers(title: str, choices: Sequence[Choice]) -> None:
    out = Output(highlight=False)
    title += f": {len(choices)} chip{'s' * (len(choices) > 1)}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    fifos = ("FIFO",) if len({choice.fifo for choice in choices}) > 1 else ()
    for name in ("frontier", "rows", "bus", "lanes", *fifos, "multipliers", "RAM", "cycles"):
        table.add_column(name, justify="left" if name == "frontier" else "right", no_wrap=True)
    before = ""
    for kind, choice in rows_of(choices):
        table.add_row(
            kind if kind != before else "",
            str(choice.rows),
            f"{choice.bus}{'' if choice.bus in RTL_BUS else '*'}",
            str(choice.lanes),
            *(f"{choice.fifo:,}" for _ in fifos),
            f"{choice.multipliers:,}",
            f"{choice.ram / 1024:,.0f} KiB",
            f"{choice.cycles[kind]:,.0f}",
        )
        before = kind
    out.print(table)
    out.print("; ".join(f"{kind}: {name}" for kind, name in KINDS.items() if kind != name))
    out.print("cycles: a token. RAM: operands, vectors, scores, accumulators, rings and FIFO")
    if any(choice.bus not in RTL_BUS for choice in choices):
        out.print("* wider than the RTL of today takes")
