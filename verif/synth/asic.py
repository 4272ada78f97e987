"""`make asic LIBERTY=file`: a block or the whole chip in the cells of a library, with static timing.

Each module is mapped for itself (Yosys, ABC) and timed within the whole (OpenSTA, no wires, ideal clock). Areas are
of cells only: no wires, no clock tree, no utilisation. RAMs are black boxes, their area from the table of macros.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from verif.benches import UnknownName
from verif.folders import alone
from verif.synth import timing, yosys
from verif.synth.designs import OUT, Design, chip_configuration, find
from verif.synth.liberty import Library
from verif.synth.mapping import Mapper
from verif.synth.options import exit_code, megahertz
from verif.synth.rams import Choice, Macro, Ram, choose, liberty, ram_of, read_macros
from verif.synth.tables import table

RAM_SHARE = 0.95  # of the period that a macro's access may take
LEAVES = ("dot_split", "dot_packed")  # 32 multiplier lanes each
FAST_ROUNDS = 3  # maps what is late once more, and what is late then


@dataclass(frozen=True)
class Figures:
    """One module, without its children. um2 and gate equivalents of one instance; slack in ns, None without paths.

    Of a RAM with two read stages these are of the register behind the macro.
    """

    name: str
    source: str
    instances: int
    um2: float
    gate_equivalents: float
    flip_flops: int
    slack: float | None
    path: str


@dataclass(frozen=True)
class Result:
    """A design in a library. rams: macros by ram, None without a table."""

    design: Design
    library: Library
    period: float
    figures: list[Figures]
    rams: dict[Ram, Choice | None]
    paths: list[timing.Slack]

    @property
    def gate_equivalents(self) -> float:
        """All cells of all instances, RAM macros not among them."""
        return sum(f.instances * f.gate_equivalents for f in self.figures)

    def under(self, name: str, without: tuple[str, ...] = ()) -> float:
        """Gate equivalents of one instance of a module with all that is under it; not of these Python blocks."""
        own = {f.name: f.gate_equivalents for f in self.figures}

        def total(name: str) -> float:
            if _is(self.design, name, without):
                return 0.0
            instances = self.design.modules[name].instances()
            return own.get(name, 0.0) + sum(count * total(child) for child, count in instances.items())

        return total(name)

    @property
    def slack(self) -> float | None:
        return self.paths[0].slack if self.paths else None

    @property
    def megahertz(self) -> float:
        """Infinite without a path."""
        return math.inf if self.slack is None else 1000 / (self.period - self.slack)


def run(design: Design, library: Library, macros: list[Macro], megahertz: float, gates: bool, progress=print) -> Result:
    """Map and time a design."""
    if ram_of(design.modules[design.top]):
        raise yosys.SynthesisError(f"{design.top} is a RAM macro: there is nothing to map; name a block that uses it")
    mapper = Mapper(library, 1000 / megahertz, gates)
    directory = mapper.folder / "reports"
    with alone(directory, lambda: progress(f"wait for another run with {library.name}")):
        return _run(design, mapper, macros, directory, progress)


def _run(design: Design, mapper: Mapper, macros: list[Macro], directory: Path, progress) -> Result:
    library, period = mapper.library, mapper.period
    mapped = mapper.map(design, progress)
    rams = {ram: choose(ram, macros, RAM_SHARE * period) for ram in map(ram_of, design.modules.values()) if ram}
    boxes = directory / f"{design.top}_rams.lib"
    boxes.write_text(liberty(rams, library))
    progress(f"time {design.top} at {1000 / period:.0f} MHz")
    files, fast = [mapper.liberty, *([boxes] if rams else [])], frozenset()
    paths, late = timing.analyse(design, mapped, library, files, period, directory)
    for _ in range(FAST_ROUNDS):
        late &= set(mapped)
        if late <= fast:
            break
        # Not every module on a late path is to blame; what is not is hardly larger.
        fast |= late
        mapped = mapper.map(design, progress, fast)
        paths, late = timing.analyse(design, mapped, library, files, period, directory)
    worst: dict[str, timing.Slack] = {}
    for path in paths:
        worst.setdefault(path.end[0], path)
    counts, figures = design.counts(), []
    for name, module in design.modules.items():
        if name in mapped:
            area, flip_flops = mapped[name].area(library), mapped[name].flip_flops(library)
        elif (ram := ram_of(module)) and ram.stages == 2:  # the register behind the macro
            area, flip_flops = ram.width * library.flip_flop.area, ram.width
        else:
            continue
        path = worst.get(name)
        shown = f"{described(design, path.start)} -> {path.end[1]}" if path else ""
        equivalents, slack = area / library.gate_equivalent, path.slack if path else None
        figures.append(Figures(name, module.source, counts[name], area, equivalents, flip_flops, slack, shown))
    return Result(design, library, period, figures, rams, paths)


def described(design: Design, end: tuple[str, str]) -> str:
    """`fp32_add.total_3[4]`, or the port's name alone for the top's own."""
    module, name = end
    return name if module == design.top else f"{design.modules[module].block.rsplit('.', 1)[-1]}.{name}"


def report(result: Result, without: tuple[str, ...] = ()) -> str:
    """Tables of modules and RAMs, sums, the critical path.

    `without`: Python names of blocks, for a second sum that leaves them out.
    """
    order = sorted(result.figures, key=lambda f: -f.instances * f.um2)
    rows = [
        (
            f.name,
            f.source,
            f.instances,
            round(f.um2),
            round(f.gate_equivalents),
            f.flip_flops,
            round(f.instances * f.gate_equivalents),
            f.slack,
            f.path,
        )
        for f in order
    ]
    heads = ("module", "source", "instances", "um2", "GE", "flip-flops", "GE of all", "slack ns", "worst path into it")
    lines = [table(heads, rows), ""]
    counts = result.design.counts()
    if result.rams:
        rams = [
            (r.name, counts[r.name], r.words, r.width, str(c) if c else "not available", c and round(c.area))
            for r, c in result.rams.items()
        ]
        lines += [table(("RAM", "instances", "words", "bits", "macros", "um2"), rams), ""]
    top, library = result.design.top, result.library
    area = sum(f.instances * f.um2 for f in result.figures)
    lines.append(
        f"{top} in {library.name}: {area:,.0f} um2 of cells = {result.gate_equivalents:,.0f} gate equivalents of "
        f"{library.gate_equivalent} um2, flip-flops {sum(f.instances * f.flip_flops for f in result.figures):,}"
    )
    if without:
        lines.append(f"  without {', '.join(without)}: {result.under(top, without):,.0f} gate equivalents")
    lines += multiplier_lane(result)
    if result.rams:
        bits = sum(counts[ram.name] * ram.bits for ram in result.rams)
        known = all(result.rams.values())
        size = sum(counts[ram.name] * choice.area for ram, choice in result.rams.items() if choice)
        lines.append(f"  RAM: {bits:,} bits, " + (f"{size:,.0f} um2 of macros" if known else "area not available"))
    if result.paths:
        lines.append(
            f"  clock {1000 / result.period:.0f} MHz: slack {result.slack:.2f} ns, so {result.megahertz:.0f} MHz; "
            "typical, no wires, ideal clock"
        )
        path = result.paths[0]
        ends = (
            f"{described(result.design, end)} ({result.design.modules[end[0]].source})"
            for end in (path.start, path.end)
        )
        lines.append(f"  critical path: {' -> '.join(ends)}")
    else:
        lines.append("  no path between registers or ports, so no clock")
    lines.append(f"  {yosys.version()}, {timing.version()}")
    return "\n".join(lines)


def _is(design: Design, name: str, blocks: tuple[str, ...]) -> bool:
    return design.modules[name].block.rsplit(".", 1)[-1] in blocks


def multiplier_lane(result: Result) -> list[str]:
    """A line on a lane: its share of a row of the array without accumulators, or of a leaf alone; none without both."""
    design = result.design
    rows, leaves = ([name for name in design.modules if _is(design, name, kind)] for kind in (("array_row",), LEAVES))
    if not leaves:
        return []
    name = (rows or leaves)[0]
    counts = design.under(name).counts()
    lanes = 32 * sum(counts[leaf] for leaf in leaves)
    equivalents = result.under(name, ("accumulator_ram",)) / lanes
    of = "a row without its accumulators" if rows else "a leaf"
    return [f"  a multiplier lane: {equivalents:,.0f} gate equivalents ({lanes} lanes in {of})"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.asic", description=__doc__)
    parser.add_argument("block", nargs="?", default="", help="a bench's block or a module; none is the whole chip")
    parser.add_argument("--liberty", required=True, help="standard cells: a Liberty file, or one packed by gzip")
    parser.add_argument("--sram", help="folder with a Liberty file for each RAM macro; without it, no area of RAMs")
    parser.add_argument("--chip", default="tiny", help="a preset, or one with fields changed: edge,packed_multiplier=0")
    parser.add_argument("--clock", type=megahertz, default=250, help="MHz (default: 250)")
    parser.add_argument("--no-clock-gates", action="store_true", help="keep a multiplexer at each enabled flip-flop")
    parser.add_argument("--without", action="append", default=[], metavar="BLOCK", help="a sum without this block, too")
    options = parser.parse_args(arguments)
    return exit_code(lambda: measure(options))


def measure(options: argparse.Namespace) -> None:
    """What the options ask for: the report, printed, and its figures in a file."""
    start = time.monotonic()
    chip_configuration(options.chip)
    library = Library(options.liberty)
    macros = read_macros(Path(options.sram)) if options.sram else []
    design = find(options.block, options.chip)
    blocks = sorted({module.block.rsplit(".", 1)[-1] for module in design.modules.values()})
    for block in options.without:
        if block not in blocks:
            raise UnknownName(f"--without: no block {block!r} in {design.top}; there are: {', '.join(blocks)}")
    result = run(design, library, macros, options.clock, not options.no_clock_gates)
    text = report(result, tuple(options.without))
    file = OUT / "asic" / library.name / "reports" / f"{design.top}.json"
    summary = {
        "library": library.name,
        "megahertz": 1000 / result.period,
        "slack": result.slack,
        "gate_equivalents": result.gate_equivalents,
        "tools": [yosys.version(), timing.version()],
        "modules": [asdict(figures) for figures in result.figures],
        "rams": {ram.name: str(choice) for ram, choice in result.rams.items()},
    }
    file.write_text(json.dumps(summary, indent=1) + "\n")
    print(text)
    print(f"{yosys.relative(file)}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
