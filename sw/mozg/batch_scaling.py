"""Throughput against batch size: `python -m mozg.batch_scaling MODEL --json FILE --plot FILE`.

One decode step each on the RTL, of every batch size at every context, beside what the ideal reader needs: weights once,
keys and values of every sequence. Steps already in the JSON file are not measured again, so a long sweep goes on where
it was left, and a figure is drawn anew without the RTL.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rtl.common.config import PRESETS

from .bandwidth import ideal_cycles
from .compiler import Image
from .device.memory import MEMORIES, MemoryConfig
from .errors import MozgError
from .measure import Meter

Points = dict[tuple[int, int], dict[str, Any]]  # (context, batch) -> the step


def sizes(rows: int) -> list[int]:
    """Batch sizes: powers of two to all rows."""
    return [1 << power for power in range(rows.bit_length()) if 1 << power <= rows]


class Sweep:
    """The steps of a model on a chip, kept in a file where one is given. `of`: what they were measured on."""

    def __init__(self, of: dict[str, str], path: Path | None = None):
        self.of, self.path = of, path
        self.points: Points = {}
        if not path or not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            self.points = {(point["context"], point["batch"]): point for point in found.pop("steps")}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MozgError(
                f"{path} holds no steps of a sweep: give another file, or one that does not exist"
            ) from None
        if found != of:
            raise MozgError(
                f"{path} is of {', '.join(map(str, found.values()))}: give another file, or the same options"
            )

    def measure(self, image: Image, memory: MemoryConfig, contexts: Iterable[int]) -> None:
        """Add the missing steps; after each, all of them go to the file."""
        batches = sizes(image.chip.rows)
        wanted = [(context, batch) for context in contexts for batch in (1, batches[-1], *batches[1:-1])]
        missing = [key for key in dict.fromkeys(wanted) if key not in self.points]
        if not missing:
            return
        with Meter(image, memory, lambda text: print(text, file=sys.stderr)) as meter:
            for context, batch in missing:
                cost = meter.decode(context, batch)
                self.points[context, batch] = {
                    "context": context,
                    "batch": batch,
                    "cycles": cost.cycles,
                    "ideal_cycles": ideal_cycles(image, memory, cost.tokens),
                    "counters": cost.counters,
                    "memory_counters": cost.memory,
                }
                self.save()

    def save(self) -> None:
        from .output import write_file

        if self.path:
            found = {**self.of, "steps": [self.points[key] for key in sorted(self.points)]}
            write_file(self.path, (json.dumps(found, indent=1) + "\n").encode())


def table(points: Points) -> str:
    """A line a step: its cycles, those over one sequence's and what the ideal reader takes over one's, the share of the
    ideal reader, new tokens in a million cycles."""
    lines = [f"{'context':>7} {'batch':>5} {'cycles a step':>13} {'over one':>8} {'ideal':>6} {'share':>6} tokens/M"]
    for (context, batch), point in sorted(points.items()):
        one = points.get((context, 1))
        over = f"{point['cycles'] / one['cycles']:.2f}" if one else ""
        ideal = f"{point['ideal_cycles'] / one['ideal_cycles']:.2f}" if one else ""
        share = point["ideal_cycles"] / point["cycles"]
        lines.append(
            f"{context:7,} {batch:5} {point['cycles']:13,.0f} {over:>8} {ideal:>6} {share:6.1%} "
            f"{1e6 * batch / point['cycles']:8.2f}"
        )
    return "\n".join(lines)


def draw(path: Path, title: str, points: Points) -> None:
    """Tokens per million cycles, and cycles of a step over those of one sequence; the ideal reader dashed."""
    from .figures import COLOURS, new_figure
    from .figures import save as save_figure

    figure = new_figure(2, 11, 4.5)
    figure.suptitle(title)
    left, right = figure.axes
    for index, context in enumerate(sorted({context for context, _ in points})):
        line = [point for (at, _), point in sorted(points.items()) if at == context]
        batches = [point["batch"] for point in line]
        for name, style in (("cycles", "o-"), ("ideal_cycles", "--")):
            cycles = [point[name] for point in line]
            look = {"color": COLOURS[index], "label": f"context {context:,}" if name == "cycles" else None}
            left.plot(batches, [1e6 * n / c for n, c in zip(batches, cycles, strict=True)], style, **look)
            if batches[0] == 1:
                right.plot(batches, [c / cycles[0] for c in cycles], style, **look)
    left.plot([], [], "--", color="#444444", label="ideal reader")
    left.set_ylabel("new tokens in a million cycles")
    right.set_ylabel("cycles of a step, over those with one sequence")
    for axes in figure.axes:
        axes.set_xlabel("sequences in the batch")
        axes.set_xticks(sorted({batch for _, batch in points}))
        axes.set_ylim(bottom=0)
    left.legend()
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    from .figures import check_figure
    from .output import check_outputs
    from .perf_command import image_of

    parser = argparse.ArgumentParser(
        prog="python -m mozg.batch_scaling", description="Decode steps of a batch on the RTL, against the batch size."
    )
    parser.add_argument("model", metavar="MODEL", help="a checkpoint, or a shape such as gpt2-124m")
    parser.add_argument("--chip", choices=PRESETS, default="server", help="chip configuration (default: server)")
    parser.add_argument("--weights", choices=("mxint8", "mxfp4"), default="mxint8", help="default: mxint8")
    parser.add_argument("--memory", choices=MEMORIES, default="ddr4", help="default: ddr4")
    parser.add_argument(
        "--context", type=int, action="append", metavar="N", help="again for several (default: 64, 512, 1024)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the steps are kept, and taken from")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figure (.png, .svg, .pdf)")
    options = parser.parse_args(arguments)
    try:
        check_figure(options.plot and str(options.plot))
        check_outputs({f"--{name}": (path := getattr(options, name)) and str(path) for name in ("json", "plot")})
        of = {name: getattr(options, name) for name in ("model", "chip", "weights", "memory")}
        sweep = Sweep(of, options.json)
        image = image_of(options.model, PRESETS[options.chip], options.weights)
        contexts = options.context or [context for context in (64, 512, 1024) if context <= image.context]
        sweep.measure(image, MEMORIES[options.memory], contexts)
        print(table(sweep.points))
        if options.plot:
            draw(options.plot, f"{', '.join(of.values())}: decode", sweep.points)
    except MozgError as error:
        print(f"mozg: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
