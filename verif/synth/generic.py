"""`make synth`: any block or the whole chip in Yosys, hierarchy kept; sizes and the longest logic path by module.

Fails on latches, combinational loops (in the flattened design too) and multiple drivers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from verif.synth import yosys
from verif.synth.designs import OUT, Design, find
from verif.synth.options import exit_code
from verif.synth.tables import table

LATCHES = "t:$dlatch t:$adlatch t:$dlatchsr t:$_DLATCH_* t:$_DLATCHSR_*"


@dataclass(frozen=True)
class Figures:
    """One module, without its children.

    gates: cells of one or two inputs and multiplexers, flip-flops included. memory_bits: what stays a memory.
    levels: gates on the longest path between registers, ports, memories and children; `path` says from where to where.
    """

    name: str
    source: str
    instances: int
    gates: int
    flip_flops: int
    memories: str
    memory_bits: int
    levels: int
    path: str


def script(design: Design, directory: Path) -> list[str]:
    """Check what was written, then map to gates without restructuring: fast, and names survive."""
    out = yosys.relative(directory)
    lines = [f"read_verilog {yosys.relative(module.file)}" for module in design.modules.values()]
    lines += [f"hierarchy -check -top {design.top}", "proc", f"select -assert-none {LATCHES}", "check -assert"]
    # A loop may run through several modules.
    lines += ["design -push-copy", "flatten", "check -assert", "design -pop"]
    lines += ["synth -run coarse:fine", f"tee -q -o {out}/memories.txt dump t:$mem_v2"]
    lines += ["opt -fast -full -undriven -fine", "techmap", "opt -fast", f"select -assert-none {LATCHES}"]
    lines += [f"tee -q -o {out}/stat.json stat -json"]
    # A child would count as one gate from each input to each output.
    lines += [f"delete t:{name}" for name in design.modules if name != design.top]
    lines += ["delete t:$mem_v2", "delete t:$scopeinfo", f"tee -q -o {out}/paths.txt ltp -noff"]
    return lines


def _memories(text: str) -> dict[str, list[tuple[int, int]]]:
    """(words, width) of the memories of each module, from Yosys' dump."""
    found: dict[str, list[tuple[int, int]]] = {}
    # The module's own line is missing where there is only one; its file has its name.
    start = r'src "(?:[^"]*/)?(\w+)\.v:[^"]*"\n(?: +attribute [^\n]*\n)* +cell \$mem_v2'
    for name, body in re.findall(rf"{start}(.*?)\n +end", text, re.S):
        sizes = dict(re.findall(r"parameter \\(SIZE|WIDTH) (\d+)", body))
        found.setdefault(name, []).append((int(sizes["SIZE"]), int(sizes["WIDTH"])))
    return found


def _paths(text: str) -> dict[str, tuple[int, str]]:
    """Length of each module's longest path, and the named wires that it begins and ends with."""
    found = {}
    pattern = r"^Longest topological path in (\S+) \(length=(\d+)\):\n(.*?)(?=^Longest|\Z)"
    for name, length, body in re.findall(pattern, text, re.M | re.S):
        named = [wire + bit for wire, bit in re.findall(r"^ *\w+: \\(\S+)(?: (\[\d+\]))?", body, re.M)]
        found[name] = (int(length), f"{named[0]} -> {named[-1]}" if named else "")
    return found


def measure(design: Design, directory: Path) -> list[Figures]:
    """Figures of every module of the design; SynthesisError where Yosys refuses it."""
    yosys.run(script(design, directory), directory, design.top)
    stat = json.loads((directory / "stat.json").read_text())["modules"]
    memories = _memories((directory / "memories.txt").read_text())
    paths = _paths((directory / "paths.txt").read_text())
    counts = design.counts()
    found = []
    for name, module in design.modules.items():
        cells = stat.get(f"\\{name}", {}).get("num_cells_by_type", {})
        cells = {kind: count for kind, count in cells.items() if kind.startswith("$_")}
        sizes = memories.get(name, [])
        length, path = paths.get(name, (0, ""))
        found.append(
            Figures(
                name,
                module.source,
                counts[name],
                sum(cells.values()),
                sum(count for kind, count in cells.items() if "FF" in kind),
                " ".join(f"{words}x{width}" for words, width in sizes),
                sum(words * width for words, width in sizes),
                length,
                path,
            )
        )
    return found


def report(design: Design, figures: list[Figures]) -> str:
    """The table, largest share first, and the sums over all instances."""
    rows = [
        (f.name, f.source, f.instances, f.gates, f.flip_flops, f.memories, f.levels, f.path)
        for f in sorted(figures, key=lambda f: -f.instances * (f.gates + f.memory_bits))
    ]
    heads = ("module", "source", "instances", "gates", "flip-flops", "memories", "levels", "longest path")
    gates, flip_flops, bits = (
        sum(f.instances * getattr(f, key) for f in figures) for key in ("gates", "flip_flops", "memory_bits")
    )
    return (
        table(heads, rows)
        + f"\n{design.top}: {gates:,} gates, of them {flip_flops:,} flip-flops, and {bits:,} bits of memory; "
        + f"no latch, no loop, no second driver. {yosys.version()}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.generic", description=__doc__)
    parser.add_argument("block", nargs="?", default="", help="a bench's block or a module; none is the whole chip")
    parser.add_argument("--chip", default="tiny", help="a preset, or one with fields changed: edge,rows=8,lanes=8")
    options = parser.parse_args(arguments)
    return exit_code(lambda: run(options.block, options.chip))


def run(block: str, chip: str) -> None:
    """Measure a block or a chip, print its table and write it to a file."""
    start = time.monotonic()
    design = find(block, chip)
    directory = OUT / "generic" / design.top
    figures = measure(design, directory)
    file = directory / "report.json"
    file.write_text(json.dumps({"tool": yosys.version(), "modules": [asdict(f) for f in figures]}, indent=1) + "\n")
    print(report(design, figures))
    print(f"{yosys.relative(file)}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
