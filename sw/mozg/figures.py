"""Figures of `mozg perf` and `mozg explore`."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MozgError
from .output import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .compiler import Image
    from .device.memory import MemoryConfig
    from .explore import Choice
    from .perf import Report

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#1b6ca8", "#e07b39", "#6a994e", "#bc4749", "#7b5ea7", "#8d99ae", "#c9a227", "#3a506b", "#b56576", "#457b9d")
# From ten causes on, hatches keep neighbours apart.
HATCHES = ("", "//", "..", "xx")


def check_figure(name: str | None) -> None:
    """MozgError unless a figure can be written under this name."""
    if name and Path(name).suffix not in FORMATS:
        raise MozgError(f"{name}: expected a figure's name that ends in {', '.join(FORMATS)}")


def new_figure(columns: int, width: float, height: float, shares: Sequence[float] | None = None) -> Figure:
    """A figure with axes side by side."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MozgError("matplotlib is not installed: run `make setup`") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.subplots(1, columns, gridspec_kw={"width_ratios": shares} if shares else None)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its name ends with; the same bytes for the same figure."""
    import matplotlib

    kind = path.suffix[1:]
    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(data, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    write_file(path, data.getbuffer())


def draw_perf(path: Path, image: Image, memory: MemoryConfig, title: str, reports: Sequence[Report]) -> None:
    """A roofline, and a stacked bar of the causes where they are known."""
    known = [each for each in reports if each.causes]
    figure = new_figure(2 if known else 1, 12 if known else 7, 5, (1.25, 1) if known else None)
    figure.suptitle(title, fontsize=11 if known else 9)
    roofline(figure.axes[0], image, memory, reports)
    if known:
        causes(figure.axes[1], known)
    save(figure, path)


def roofline(axes, image: Image, memory: MemoryConfig, reports: Sequence[Report]) -> None:
    """Useful multiplies a cycle over those a useful byte: bytes moved in vain leave a step further below its roof, by
    as much as they do in the share of the ideal reader, and do not lower the roof instead."""
    from .perf import products_per_beat

    peak, bus = products_per_beat(image), image.chip.bus_bytes
    corner = peak / bus
    low = min([corner, *(each.multiplies_per_useful_byte for each in reports)]) / 4
    high = max([corner, *(each.multiplies_per_useful_byte for each in reports)]) * 4
    for share, label, style in (
        (1.0, f"raw bus, {bus} bytes a cycle", "-"),
        (memory.reader_share, f"ideal reader, {memory.reader_share:.1%} of it", "--"),
    ):
        reach = min(peak / bus / share, high)
        axes.plot([low, reach], [low * bus * share, reach * bus * share], style, color=COLOURS[0], label=label)
    axes.plot([corner, high], [peak, peak], color=COLOURS[3], label=f"array, {peak:,} multiplies a cycle")
    for index, each in enumerate(reports):
        roof = min(peak, each.multiplies_per_useful_byte * bus * memory.reader_share)
        axes.plot(
            each.multiplies_per_useful_byte,
            each.multiplies_per_cycle,
            "os"[index % 2],
            color=COLOURS[1 + index],
            markersize=9,
            label=f"{each.kind}: {each.multiplies_per_cycle / roof:.1%} of its roof",
            zorder=3,
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_ylim(low * bus * memory.reader_share / 1.5, peak * 3)
    for axis, (first, last) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_ticks([tick for tick in _ticks(first, last) if first <= tick <= last])
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.set_xlabel("useful multiplies a useful byte (not of padding, program, writes)")
    axes.set_ylabel("useful multiplies a cycle")
    axes.set_title("Roofline")
    axes.legend(loc="lower right", fontsize=9)


def causes(axes, reports: Sequence[Report]) -> None:
    """One bar a kind of step, cut by cause; thin slices are magnified by a broken scale: the bar begins where the
    useful share does."""
    names = [name for name in reports[0].causes if any(each.causes[name] > 0 for each in reports)]
    places = range(len(reports))
    bottoms = [0.0] * len(reports)
    floor = max(0.0, math.floor((min(each.causes[names[0]] for each in reports) - 0.05) * 20) / 20)
    for index, name in enumerate(names):
        heights = [each.causes[name] for each in reports]
        largest = ", ".join(f"{height:.2%}" for height in heights)
        axes.bar(
            places,
            heights,
            0.55,
            bottoms,
            color=COLOURS[index % len(COLOURS)],
            hatch=HATCHES[index // len(COLOURS)],
            edgecolor="white",
            linewidth=0.5,
            label=f"{name.replace('_', ' ')}: {largest}",
        )
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xticks(list(places), [f"{each.kind}\n{each.cycles_per_step:,.0f} cycles a step" for each in reports])
    axes.set_ylim(floor, 1.0)
    axes.set_xlim(-0.5, len(reports) - 0.5)
    axes.set_ylabel("share of all cycles" + (f" (from {floor:.0%})" if floor else ""))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.grid(axis="x", visible=False)
    axes.set_title("Causes of all cycles")
    handles, labels = axes.get_legend_handles_labels()
    heading = ", ".join(each.kind for each in reports)
    axes.legend(
        handles[::-1],
        labels[::-1],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=9,
        title=f"cause: share in {heading}",
        title_fontsize=9,
    )


def draw_frontiers(path: Path, title: str, choices: Sequence[Choice]) -> None:
    """Cycles a token against the size of the array, a panel a kind of step; a line joins the frontier."""
    from .explore import KINDS, RTL_BUS, frontier

    figure = new_figure(len(KINDS), 5 * len(KINDS), 5)
    figure.suptitle(title)
    buses = sorted({choice.bus for choice in choices})
    lanes = sorted({choice.lanes for choice in choices})
    for axes, (kind, name) in zip(figure.axes, KINDS.items(), strict=True):
        best = frontier(choices, kind)
        axes.plot(
            [choice.multipliers for choice in best],
            [choice.cycles[kind] for choice in best],
            color="#444444",
            linewidth=1,
            drawstyle="steps-post",
            label="frontier",
            zorder=1,
        )
        for index, bus in enumerate(buses):
            shown = [choice for choice in choices if choice.bus == bus]
            axes.scatter(
                [choice.multipliers for choice in shown],
                [choice.cycles[kind] for choice in shown],
                [18 + 16 * lanes.index(choice.lanes) for choice in shown],
                color=COLOURS[index],
                marker="o" if bus in RTL_BUS else "^",
                alpha=0.75,
                edgecolors="white",
                linewidths=0.6,
                label=f"{bus} bits" + ("" if bus in RTL_BUS else ", beyond the RTL"),
                zorder=2,
            )
        axes.scatter(
            [choice.multipliers for choice in best],
            [choice.cycles[kind] for choice in best],
            120,
            facecolors="none",
            edgecolors="#222222",
            linewidths=1.2,
            zorder=3,
        )
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xticks(sorted({choice.multipliers for choice in choices}))
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        values = [choice.cycles[kind] for choice in choices]
        axes.set_yticks(_ticks(min(values), max(values)))
        axes.tick_params(axis="x", labelrotation=60)
        axes.set_xlabel("multipliers of the array (8 x 8 bits)")
        axes.set_title(name)
    figure.axes[0].set_ylabel("cycles a token")
    figure.axes[-1].legend(fontsize=9, title=f"size: {lanes[0]} to {lanes[-1]} lanes" if len(lanes) > 1 else None)
    save(figure, path)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around a range."""
    start, end = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [digit * 10.0**power for power in range(start, end + 1) for digit in (1, 2, 5)]
    return [value for value in every if low / 2.5 <= value <= high * 2.5]
