"""How cost grows: the curves of docs/performance.md, drawn by the cycle model with points measured on the RTL.

    python -m mozg.curves measure    # the points on the RTL, a GPT-2 124M shape, many minutes
    python -m mozg.curves draw       # the figures, in seconds

Points lie in docs/performance/points.json, figures beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rtl.common.config import PRESETS

from .compiler import Image, compile_shape
from .cycle_model import CycleModel
from .device.memory import DDR4
from .driver import Row
from .explore import chip_for
from .figures import COLOURS, new_figure, save
from .layout import FORMATS
from .measure import Meter, decode_rows, prefill_rows, random_image
from .shapes import parse_shape

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "performance"
FILE = FOLDER / "points.json"
MODEL = "gpt2-124m"
CONTEXTS = (1, 64, 128, 256, 384, 512, 640, 768, 896, 1024)
BATCHES = (1, 2, 4, 8, 16)
BUSES = (256, 512, 1024)
LONG_PROMPT = 1 << 20


@dataclass(frozen=True)
class Point:
    """A step of the RTL. decode: `rows` sequences of `context` tokens; prefill: `rows` prompt tokens, the last one at
    `context`."""

    chip: str
    weights: str
    kind: str
    context: int
    rows: int
    cycles: float = 0.0


def wanted() -> list[Point]:
    """Points that are measured, the cheap chip first."""
    found = [Point("edge", weights, "decode", context, 1) for weights in FORMATS for context in (1, 512, 1024)]
    found += [Point("server", weights, "decode", context, 1) for weights in FORMATS for context in (64, 512, 1024)]
    found += [Point("server", "mxint8", "decode", context, 16) for context in (64, 512, 1024)]
    found += [Point("server", "mxint8", "decode", 512, 4)]
    found += [Point("server", "mxint8", "prefill", 512, rows) for rows in (1, 4, 16)]
    return found


def rows_of(point: Point, vocabulary: int) -> list[Row]:
    if point.kind == "decode":
        return decode_rows(point.context, point.rows, vocabulary)
    return prefill_rows(point.context - point.rows, point.rows, LONG_PROMPT, vocabulary)


def read_points() -> list[Point]:
    return [Point(**entry) for entry in json.loads(FILE.read_text())["points"]]


def write_points(points: Sequence[Point]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    entries = [json.dumps({field.name: getattr(point, field.name) for field in fields(Point)}) for point in points]
    text = ",\n  ".join(entries)
    FILE.write_text('{"command": "python -m mozg.curves measure",\n "points": [\n  ' + text + "\n]}\n")


def measure(progress: Callable[[str], None]) -> None:
    """Measures all points and writes them as they come."""
    config, found = parse_shape(MODEL), []
    groups = dict.fromkeys((point.chip, point.weights) for point in wanted())
    for chip, weights in groups:
        with Meter(random_image(config, PRESETS[chip], weights), DDR4, progress) as meter:
            for point in (p for p in wanted() if (p.chip, p.weights) == (chip, weights)):
                cycles = meter.step(point.kind, rows_of(point, config.vocabulary)).cycles
                found.append(replace(point, cycles=cycles))
                progress(f"{chip} {weights} {point.kind} {point.context} {point.rows}: {cycles:,.0f} cycles")
                write_points(found)


class Curves:
    """The figures. Lines are the cycle model, circles the RTL."""

    def __init__(self, points: Sequence[Point]):
        self.points = points
        self.config = parse_shape(MODEL)
        self.models: dict[tuple[str, str], CycleModel] = {}

    def cycles(self, point: Point) -> float:
        """The cycle model's answer for a point on a preset chip."""
        key = point.chip, point.weights
        if key not in self.models:
            image: Image = compile_shape(self.config, PRESETS[point.chip], point.weights)
            self.models[key] = CycleModel(image)
        return self.models[key].step(rows_of(point, self.config.vocabulary))

    def measured(self, **given: object) -> list[Point]:
        return [p for p in self.points if all(getattr(p, name) == value for name, value in given.items())]

    def line(self, axes, places: Sequence[float], values: Sequence[float], label: str, index: int, **more: str) -> None:
        axes.plot(places, values, color=COLOURS[index], label=label, **more)

    def dots(self, axes, places: Sequence[float], values: Sequence[float], index: int) -> None:
        axes.plot(places, values, "o", color=COLOURS[index], markersize=6, markeredgecolor="white", zorder=3)

    def context(self) -> None:
        """Cycles a token against context, one sequence."""
        figure = new_figure(2, 10, 4.2)
        for axes, chip in zip(figure.axes, ("edge", "server"), strict=True):
            for index, weights in enumerate(FORMATS):
                values = [self.cycles(Point(chip, weights, "decode", context, 1)) / 1e6 for context in CONTEXTS]
                self.line(axes, CONTEXTS, values, weights, index)
                found = self.measured(chip=chip, weights=weights, kind="decode", rows=1)
                self.dots(axes, [p.context for p in found], [p.cycles / 1e6 for p in found], index)
            axes.set_ylim(0)
            axes.set_xlim(0, 1060)
            axes.set_xlabel("context, tokens")
            axes.set_ylabel("million cycles a token")
            axes.set_title(f"{chip}, {MODEL}, one sequence")
            axes.legend(title="line: cycle model, circle: RTL", fontsize=9, title_fontsize=8)
        save(figure, FOLDER / "context.svg")

    def rows(self) -> None:
        """Cycles a token against rows in use, of a prompt and of a batch."""
        figure = new_figure(1, 6, 4.2)
        axes = figure.axes[0]
        found = self.measured(chip="server", weights="mxint8", kind="prefill", context=512)
        values = [self.cycles(Point("server", "mxint8", "prefill", 512, rows)) / rows / 1e6 for rows in BATCHES]
        self.line(axes, BATCHES, values, "a prompt, up to its token 512", 0)
        self.dots(axes, [p.rows for p in found], [p.cycles / p.rows / 1e6 for p in found], 0)
        for index, context in enumerate((64, 512, 1024), 1):
            steps = [self.cycles(Point("server", "mxint8", "decode", context, rows)) for rows in BATCHES]
            values = [cycles / rows / 1e6 for cycles, rows in zip(steps, BATCHES, strict=True)]
            self.line(axes, BATCHES, values, f"sequences of context {context}", index)
            found = self.measured(chip="server", weights="mxint8", kind="decode", context=context)
            self.dots(axes, [p.rows for p in found], [p.cycles / p.rows / 1e6 for p in found], index)
        axes.set(xscale="log", yscale="log")
        axes.set_ylim(0.08, 6)
        axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axes.minorticks_off()
        axes.set_xlabel("rows in use")
        axes.set_ylabel("million cycles a token")
        axes.set_title(f"server, {MODEL}, mxint8")
        axes.legend(title="line: cycle model, circle: RTL", fontsize=9, title_fontsize=8, loc="upper right")
        save(figure, FOLDER / "rows.svg")

    def bus(self) -> None:
        """Cycles a token against the width of the bus."""
        figure = new_figure(1, 6, 4.2)
        axes = figure.axes[0]
        for index, weights in enumerate(FORMATS):
            values = []
            for bus in BUSES:
                chip = chip_for(self.config, 16, bus, 32, 512, 1024)
                model = CycleModel(compile_shape(self.config, chip, weights))
                values.append(model.step(decode_rows(512, 1, self.config.vocabulary)) / 1e6)
            self.line(axes, BUSES, values, f"{weights}, one sequence", index)
            for name in ("edge", "server"):
                found = self.measured(chip=name, weights=weights, kind="decode", context=512, rows=1)
                bits = PRESETS[name].bus_bits
                self.dots(axes, [bits] * len(found), [p.cycles / 1e6 for p in found], index)
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(BUSES, [str(bus) for bus in BUSES])
        axes.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
        axes.minorticks_off()
        axes.set_xlabel("bus, bits (1,024: cycle model only)")
        axes.set_ylabel("million cycles a token")
        axes.set_title(f"{MODEL}, context 512, 16 rows, 32 lanes")
        axes.legend(title="line: cycle model, circle: RTL (edge, server)", fontsize=9, title_fontsize=8)
        save(figure, FOLDER / "bus.svg")

    def table(self) -> str:
        """The points as Markdown, with the model's error."""
        lines = [
            "| chip | weights | step | rows | RTL, cycles | cycle model |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for point in self.points:
            error = self.cycles(point) / point.cycles - 1
            step = f"{point.kind}, context {point.context:,}"
            cells = (point.chip, point.weights, step, str(point.rows), f"{point.cycles:,.0f}", f"{error:+.2%}")
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mozg.curves", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("measure", "draw"))
    if parser.parse_args(arguments).command == "measure":
        measure(lambda text: print(text, file=sys.stderr, flush=True))
        return 0
    curves = Curves(read_points())
    curves.context()
    curves.rows()
    curves.bus()
    print(curves.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
