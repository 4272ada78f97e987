"""Measures the points that the cycle model is fitted to and checked on, and fits its latencies.

    python -m mozg.calibrate measure    # all points on the RTL, minutes; writes sw/mozg/cycle_points.json
    python -m mozg.calibrate fit        # latencies to put into cycle_model.py, from the points marked "fit"
    python -m mozg.calibrate check      # the model against every point
    python -m mozg.calibrate sample --seed 1 --count 60    # the model against random steps, measured now

A point is a step: "decode CONTEXT BATCH", or all rows from prompt token START on: "prefill START" in the middle of a
long prompt, "last START" at its end, where the last row samples.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rtl.common.config import PRESETS, ChipConfig

from .compiler import Image, compile_shape
from .cycle_model import FITTED, CycleModel, Latencies
from .device.memory import MEMORIES
from .driver import Row
from .errors import MozgError
from .measure import Meter, decode_rows, prefill_rows, random_image
from .shapes import config_of

FILE = Path(__file__).with_name("cycle_points.json")
REPEATS = 4  # of a short step, with the refreshes at other moments
LONG = 1_000_000  # cycles from which one run is enough
LONG_PROMPT = 1 << 20

# Beside the presets: a chip of 8 rows, so that the model is checked on one that nobody else uses.
CHIPS = PRESETS | {
    "eight": ChipConfig("eight", 8, 1, 16, 1024, vector_blocks=64, operand_blocks=256, ring_words=4096),
}


@dataclass(frozen=True)
class Point:
    """A step and what it took on the RTL. use: "fit" or "check"."""

    use: str
    chip: str
    model: str
    weights: str
    memory: str
    step: str
    cycles: float = 0.0

    @property
    def group(self) -> tuple[str, str, str, str]:
        return self.chip, self.model, self.weights, self.memory

    def rows(self, vocabulary: int) -> list[Row]:
        kind, *numbers = self.step.split()
        if kind == "decode":
            return decode_rows(int(numbers[0]), int(numbers[1]), vocabulary)
        start, count = int(numbers[0]), CHIPS[self.chip].rows
        return prefill_rows(start, count, start + count if kind == "last" else LONG_PROMPT, vocabulary)


SMALL = "gpt2-124m,layers=2,heads=4,width=128,context=128,vocabulary=600"
TWO_LAYERS = "gpt2-124m,layers=2,vocabulary=1024"
WHOLE = "gpt2-124m"
THREE_HEADS = "gpt2-124m,layers=3,heads=3,width=96,context=128,vocabulary=1000"
NARROW = "gpt2-124m,layers=3,heads=4,width=256,vocabulary=2048"
# Small widths, odd heads, few and many.
HEADS_OF_5 = "gpt2-124m,layers=4,heads=8,width=40,hidden=512,vocabulary=300"
HEADS_OF_8 = "gpt2-124m,layers=6,heads=12,width=96,hidden=384,vocabulary=65"
HEADS_OF_12 = "gpt2-124m,layers=3,heads=10,width=120,hidden=288,vocabulary=78"
HEADS_OF_24 = "gpt2-124m,layers=3,heads=9,width=216,hidden=860,vocabulary=189"
HEADS_OF_32 = "gpt2-124m,layers=12,heads=2,width=64,hidden=256,vocabulary=96"
HEADS_OF_40 = "gpt2-124m,layers=4,heads=3,width=120,hidden=200,vocabulary=1001"
HEADS_OF_80 = "gpt2-124m,layers=6,heads=2,width=160,hidden=640,vocabulary=500"
HEADS_OF_96 = "gpt2-124m,layers=3,heads=3,width=288,hidden=1000,vocabulary=1000"
HEAD_OF_64 = "gpt2-124m,layers=3,heads=1,width=64,hidden=256,vocabulary=1000"
HEAD_OF_96 = "gpt2-124m,layers=3,heads=1,width=96,hidden=500,vocabulary=777"


def points() -> list[Point]:
    """All points, not measured."""

    def each(use: str, chip: str, model: str, weights: str, memory: str, *steps: str) -> Iterator[Point]:
        return (Point(use, chip, model, weights, memory, step) for step in steps)

    return [
        *each("fit", "tiny", SMALL, "mxint8", "ddr4", "decode 33 1", "decode 128 2", "prefill 100"),
        *each("fit", "tiny", SMALL, "mxfp4", "ideal", "decode 128 2", "prefill 0"),
        *each("fit", "edge", "shakespeare", "mxint8", "ddr4", "decode 128 1", "prefill 128"),
        *each("fit", "edge", TWO_LAYERS, "mxfp4", "ddr4", "decode 512 1", "prefill 512"),
        *each("fit", "server", "shakespeare", "mxint8", "ddr4", "decode 128 1", "decode 200 16", "prefill 128"),
        *each("fit", "server", TWO_LAYERS, "mxfp4", "ddr4", "decode 64 16", "prefill 512"),
        *each("fit", "tiny", HEADS_OF_12, "mxfp4", "ddr4", "decode 30 2", "prefill 46"),
        *each("fit", "edge", HEADS_OF_5, "mxint8", "ideal", "decode 64 4", "prefill 28"),
        *each("fit", "server", HEADS_OF_24, "mxint8", "hbm2e", "decode 101 1", "last 48"),
        *each("fit", "server", HEAD_OF_64, "mxfp4", "ideal", "decode 64 16", "prefill 33"),
        *each("check", "tiny", THREE_HEADS, "mxint8", "hbm2e", "decode 77 1", "prefill 60"),
        *each("check", "edge", NARROW, "mxint8", "lpddr4", "decode 300 1", "decode 100 4", "prefill 200"),
        *each("check", "edge", "shakespeare", "mxfp4", "ddr4", "decode 200 1", "prefill 40"),
        *each("check", "server", NARROW, "mxint8", "ddr4", "decode 1000 1", "decode 300 8", "prefill 300"),
        *each("check", "server", TWO_LAYERS, "mxint8", "ddr4", "decode 512 1", "decode 1024 16"),
        *each("check", "server", TWO_LAYERS, "mxint8", "ddr4", "prefill 0", "prefill 1008"),
        *each("check", "eight", NARROW, "mxint8", "ddr4", "decode 200 1", "decode 500 8", "prefill 100"),
        *each("check", "eight", "shakespeare", "mxfp4", "hbm2e", "decode 200 3", "prefill 100"),
        *each("check", "tiny", HEADS_OF_5, "mxint8", "ddr4", "decode 64 2", "last 60"),
        *each("check", "tiny", HEADS_OF_32, "mxfp4", "ideal", "decode 1 1", "prefill 64"),
        *each("check", "tiny", HEADS_OF_32, "mxfp4", "ddr4", "decode 64 2", "prefill 20"),
        *each("check", "tiny", HEADS_OF_40, "mxint8", "ddr4", "decode 100 1", "prefill 98"),
        *each("check", "tiny", HEAD_OF_96, "mxfp4", "ddr4", "decode 64 2", "prefill 30"),
        *each("check", "tiny", HEADS_OF_12, "mxint8", "lpddr4", "decode 90 1", "decode 17 2", "prefill 77"),
        *each("check", "edge", HEADS_OF_8, "mxfp4", "ddr4", "decode 20 1", "prefill 16"),
        *each("check", "edge", HEADS_OF_8, "mxfp4", "lpddr4", "decode 64 4", "last 60"),
        *each("check", "edge", HEADS_OF_5, "mxint8", "ddr4", "decode 64 4", "prefill 100"),
        *each("check", "edge", HEADS_OF_80, "mxfp4", "ddr4", "decode 500 1", "prefill 36"),
        *each("check", "edge", HEADS_OF_24, "mxint8", "hbm2e", "decode 200 3", "prefill 300"),
        *each("check", "server", HEADS_OF_5, "mxint8", "ddr4", "decode 64 16", "prefill 100"),
        *each("check", "server", HEADS_OF_8, "mxfp4", "lpddr4", "decode 300 1", "decode 40 5", "prefill 9"),
        *each("check", "server", HEADS_OF_12, "mxfp4", "hbm2e", "decode 43 12", "prefill 17"),
        *each("check", "server", HEADS_OF_96, "mxfp4", "hbm2e", "decode 64 16", "prefill 128"),
        *each("check", "server", HEAD_OF_64, "mxfp4", "ddr4", "decode 700 1", "last 320"),
        *each("check", "edge", WHOLE, "mxint8", "ddr4", "decode 512 1"),
        *each("check", "server", WHOLE, "mxfp4", "ddr4", "decode 512 1", "prefill 496"),
    ]


HEAD_SIZES = (5, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
SHORT = 10_000  # cycles below which a step is not held to the tolerance


def random_points(seed: int, count: int) -> list[Point]:
    """`count` steps of random small models on random presets, formats and memories, not measured."""
    draw = random.Random(seed)
    found: list[Point] = []
    while len(found) < count:
        chip = PRESETS[draw.choice(("tiny", "edge", "server"))]
        heads, hidden = draw.randint(1, 12), 4 * draw.randint(8, 250)
        width = heads * draw.choice(HEAD_SIZES)
        shape = f"layers={draw.randint(2, 6)},heads={heads},width={width},hidden={hidden}"
        model = f"gpt2-124m,{shape},vocabulary={draw.randint(64, 2000)}"
        weights, memory = draw.choice(("mxint8", "mxfp4")), draw.choice(tuple(MEMORIES))
        try:
            context = compile_shape(config_of(model), chip, weights).context
        except MozgError:  # too large for the chip's RAMs
            continue
        longest = min(context, draw.choice((16, 64, 256, 1024)))
        steps = (
            f"decode {draw.randint(1, longest)} 1",
            f"decode {draw.randint(1, longest)} {draw.randint(2, chip.rows)}",
            f"{draw.choice(('prefill', 'last'))} {draw.randint(0, max(0, longest - chip.rows))}",
        )
        found += [Point("check", chip.name, model, weights, memory, step) for step in steps]
    return found[:count]


def read_points() -> list[Point]:
    return [Point(**entry) for entry in json.loads(FILE.read_text())["points"]]


def write_points(found: Sequence[Point]) -> None:
    entries = [json.dumps({field.name: getattr(point, field.name) for field in fields(Point)}) for point in found]
    text = ",\n  ".join(entries)
    FILE.write_text('{"command": "python -m mozg.calibrate measure",\n "points": [\n  ' + text + "\n]}\n")


def measure(wanted: Sequence[Point], progress: Callable[[str], None]) -> list[Point]:
    """The points with the cycles that they take on the RTL."""
    found: dict[Point, Point] = {}
    for group in dict.fromkeys(point.group for point in wanted):
        chip, model, weights, memory = group
        image = random_image(config_of(model), CHIPS[chip], weights)
        with Meter(image, MEMORIES[memory], progress) as meter:
            for point in (point for point in wanted if point.group == group):
                rows = point.rows(image.config.vocabulary)
                cost = meter.step(point.step, rows)
                if cost.cycles < LONG:
                    cost = meter.step(point.step, rows, REPEATS)
                found[point] = replace(point, cycles=cost.cycles)
                progress(f"{point.use:5} {' '.join(group)} {point.step}: {cost.cycles:,.0f} cycles")
    return [found[point] for point in wanted]


class Errors:
    """The model's error at some points, for any latencies."""

    def __init__(self, wanted: Sequence[Point]):
        self.points = wanted
        images: dict[tuple[str, ...], Image] = {}
        self.cases = []
        for point in wanted:
            key = point.group[:3]
            if key not in images:
                images[key] = compile_shape(config_of(point.model), CHIPS[point.chip], point.weights)
            image = images[key]
            self.cases.append((image, MEMORIES[point.memory], point.rows(image.config.vocabulary), point.cycles))

    def of(self, latencies: Latencies = FITTED) -> list[float]:
        """Predicted over measured, less 1, for each point."""
        return [
            CycleModel(image, memory, latencies).step(rows) / cycles - 1 for image, memory, rows, cycles in self.cases
        ]


def fit(errors: Errors, start: Latencies, rounds: int, progress: Callable[[str], None]) -> Latencies:
    """Latencies with the least squared errors, by coordinate descent in ever smaller steps."""

    def loss(latencies: Latencies) -> float:
        found = errors.of(latencies)
        return sum(error**2 for error in found) + 5 * max(abs(error) for error in found) ** 2

    best, least, step = start, loss(start), 0.3
    for index in range(rounds):
        for field in fields(Latencies):
            for factor in (1 + step, 1 - step):
                tried = replace(best, **{field.name: round(getattr(best, field.name) * factor, 1)})
                value = loss(tried)
                if value < least:
                    best, least = tried, value
                    break
        step *= 0.7
        worst = max(abs(error) for error in errors.of(best))
        progress(f"round {index + 1}: worst error {worst:.2%}")
    return best


def table(found: Sequence[Point]) -> str:
    """Every point and the model's error, as Markdown."""
    lines = ["| use | chip | model | weights | memory | step | RTL, cycles | cycle model |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for point, error in zip(found, Errors(found).of(), strict=True):
        cells = (point.use, *point.group, point.step, f"{point.cycles:,.0f}", f"{error:+.2%}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(found: Sequence[Point]) -> str:
    """The largest errors at these points, in a sentence."""
    errors = [(abs(error), point) for error, point in zip(Errors(found).of(), found, strict=True)]
    parts = []
    for what, part in (
        (f"steps of {SHORT:,} cycles and more", [e for e, point in errors if point.cycles >= SHORT]),
        ("shorter steps", [e for e, point in errors if point.cycles < SHORT]),
    ):
        if part:
            parts.append(f"{len(part)} {what}: within {max(part):.2%}, {sum(part) / len(part):.2%} in the mean")
    return "; ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mozg.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("measure", "fit", "check", "sample"))
    parser.add_argument("--rounds", type=int, default=8, help="of the fit (default: 8)")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure: points whose chip, model, ... hold it")
    parser.add_argument("--seed", type=int, default=1, help="sample: of the random steps (default: 1)")
    parser.add_argument("--count", type=int, default=60, help="sample: random steps (default: 60)")
    options = parser.parse_args(arguments)
    if options.command == "sample":
        sampled = measure(
            random_points(options.seed, options.count), lambda text: print(text, file=sys.stderr, flush=True)
        )
        print(table(sampled))
        print(summary(sampled), file=sys.stderr)
        return 0
    if options.command == "measure":
        known = {replace(point, cycles=0.0): point for point in read_points()} if FILE.exists() else {}
        wanted = [p for p in points() if options.only in " ".join((*p.group, p.step))]
        for point in measure(wanted, lambda text: print(text, file=sys.stderr, flush=True)):
            known[replace(point, cycles=0.0)] = point
            write_points([known[p] for p in points() if p in known])
        return 0
    found = read_points()
    if options.command == "fit":
        print(fit(Errors([p for p in found if p.use == "fit"]), FITTED, options.rounds, print))
        return 0
    print(table(found))
    print(summary(found), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
