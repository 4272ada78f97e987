"""`make fpga`: the chip on a ULX3S board, to a bitstream, or one block alone, on a Lattice ECP5, by Yosys and nextpnr.

Tells the use of the device by module, the routed clock and what limits it. Without a block: the board's top with its
pins. A block is out of context: ports are not pins, nothing but the logic is placed. --xilinx only counts what Yosys'
synth_xilinx makes of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from rtl.board.board_config import OSCILLATOR_KHZ, ULX3S, BoardConfig
from rtl.board.ulx3s import CONSTRAINTS
from verif.synth import block_rams, floorplan, nextpnr, paths, yosys
from verif.synth.designs import OUT, Design, Module, find, ulx3s
from verif.synth.multipliers import take_in_registers
from verif.synth.nextpnr import Routed
from verif.synth.options import exit_code, megahertz, seed
from verif.synth.tables import table
from verif.synth.yosys import SynthesisError, relative

# LUT4, flip-flops, 18 x 18 multipliers, block RAMs of 18 kbit (Lattice FPGA-DS-02012, table 1.1).
DEVICES = {"25k": (24_288, 24_288, 28, 56), "45k": (43_848, 43_848, 72, 108), "85k": (83_640, 83_640, 156, 208)}
# A carry cell takes two; 16 x 4 bits of distributed RAM take four, and the two whose inputs carry its write address.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
SDRAM_MEGAHERTZ = 60  # about what half a cycle less the SDRAM's access time allows (rtl/board/README.md)
# What abc9 aims at between registers; what is faster than that, it makes smaller. It takes a wire for 300 ps; a routed
# one is 700.
LOGIC_PICOSECONDS = 3000

# Fewer flip-flops than this get no enable and no reset of their own: those are LUTs before them. The two flip-flops of
# a slice share an enable, the eight of a tile two resets, so many small groups keep a placement apart.
CONTROL_SET = 8
# What synth_ecp5 does there, with those limits.
FLIP_FLOPS = (
    "dfflegalize -cell $_DFF_?_ 01 -cell $_DFF_?P?_ r -cell $_SDFF_?P?_ r -cell $_DFFE_??_ 01 -cell $_DFFE_?P??_ r "
    f"-cell $_SDFFE_?P??_ r -cell $_DLATCH_?_ x -mince {CONTROL_SET} -minsrst {CONTROL_SET}"
)

WHOLE_CHIP = "--placer static"  # wires of edge are 13 % shorter than with nextpnr's default
FAMILIES = 10  # of paths, in the report before placement

CELLS = "TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|DP16KD|TRELLIS_DPR16X4"  # in names that Yosys makes


@dataclass(frozen=True)
class Use:
    """What the instances of a module take together, without their children."""

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


def synthesise(design: Design, directory: Path) -> dict:
    """The netlist for an ECP5: the flattened top module as Yosys' JSON has it, which is also <top>.json.

    The design is flattened first, so logic is made across modules; a cell counts for the module after whose wire or
    register Yosys named it. Kept while the script, the sources and Yosys stay: another seed or device needs no second
    synthesis.
    """
    run = f"synth_ecp5 -nowidelut -top {design.top} -run"
    lines = [f"scratchpad -set abc9.D {LOGIC_PICOSECONDS}", f"{run} begin:map_ffs", "opt_clean", FLIP_FLOPS]
    lines += [f"{run} map_ffs:", f"write_json {relative(directory)}/{design.top}.json"]
    _run_yosys(design, directory, "ecp5", lines)
    return json.loads((directory / f"{design.top}.json").read_text())["modules"][design.top]


def cells_of_xilinx(design: Design, directory: Path) -> Counter[str]:
    """What synth_xilinx makes of the flattened design, by kind."""
    statistics = directory / "xilinx.stat"
    lines = [f"synth_xilinx -flatten -noiopad -noclkbuf -top {design.top}"]
    _run_yosys(design, directory, "xilinx", [*lines, f"tee -q -o {relative(statistics)} stat -json"])
    modules = json.loads(statistics.read_text())["modules"]
    cells = Counter({name.lstrip("\\"): body["num_cells_by_type"] for name, body in modules.items()}[design.top])
    del cells["$scopeinfo"]
    return cells


def xilinx_sums(top: str, cells: Counter[str]) -> str:
    """One line: LUT1 to LUT6 together, flip-flops of all kinds together."""
    sums = {"LUTs": r"LUT\d", "flip-flops": "FD[A-Z]E", "DSP48E1": "DSP48E1", "distributed RAMs": r"RAM\d+.*"}
    sums |= {"RAMB18E1": "RAMB18E1", "RAMB36E1": "RAMB36E1"}
    counts = {name: sum(n for kind, n in cells.items() if re.fullmatch(kinds, kind)) for name, kinds in sums.items()}
    return f"{top}: {', '.join(f'{count:,} {name}' for name, count in counts.items() if count)}; {yosys.version()}"


def _run_yosys(design: Design, directory: Path, family: str, lines: list[str]) -> None:
    """Run the script on the design's sources, unless that was done before."""
    lines = [f"read_verilog {relative(module.file)}" for module in design.modules.values()] + lines
    texts = (*lines, yosys.version(), *(module.file.read_text() for module in design.modules.values()))
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    made_of = directory / f"{family}.sha256"
    if not made_of.exists() or made_of.read_text() != digest:
        made_of.unlink(missing_ok=True)
        yosys.run(lines, directory, f"{design.top}_{family}")
        made_of.write_text(digest)


def for_device(netlist: dict, top: str, directory: Path, device: str) -> Path:
    """Give the multipliers of the netlist, in place, their registers and places on the device; the file of it, for
    nextpnr."""
    take_in_registers(netlist, device)
    file = directory / f"{top}_{device}.json"
    write_netlist(netlist, top, file)
    return file


def write_netlist(netlist: dict, top: str, file: Path) -> None:
    file.write_text(json.dumps({"creator": yosys.version(), "modules": {top: netlist}}))


def clocks_by_grade(routed: dict, megahertz: float, top: str, settings: tuple) -> dict[int, float]:
    """MHz of a routed netlist, as read_back gives it, on each speed grade: read again, with nothing left to route.
    settings: nextpnr.route's that gave megahertz."""
    file, stem, device, aim, seed, pins, _, grade = settings
    nextpnr.keep_open(routed)
    write_netlist(routed, top, file)
    again = stem.with_name(f"{stem.name}_again")
    options = (pins, nextpnr.AS_PLACED)
    found = {
        each: megahertz if each == grade else nextpnr.route(file, again, device, aim, seed, *options, each).megahertz
        for each in nextpnr.SPEED_GRADES
    }
    for left in again.parent.glob(f"{again.name}.*"):
        left.unlink()
    return found


def by_module(design: Design, netlist: dict) -> dict[str, Counter[str]]:
    """Cells of a flattened netlist by module and kind."""
    found: dict[str, Counter[str]] = {name: Counter() for name in design.modules}
    places: dict[str, str] = {}
    for cell, body in netlist["cells"].items():
        path = cell.rpartition(".")[0]
        if path not in places:
            places[path] = place_of(design, cell)[0].name
        found[places[path]][body["type"]] += 1
    return found


def place_of(design: Design, cell: str) -> tuple[Module, str]:
    """The module that a cell of the flattened netlist belongs to, and its name there."""
    parts = cell.split(".")
    module = design.modules[design.top]
    while len(parts) > 1 and parts[0] in module.names:
        module = design.modules[module.names[parts.pop(0)]]
    return module, ".".join(parts)


def uses(design: Design, cells: dict[str, dict[str, int]]) -> list[Use]:
    """Use of every module on an ECP5."""
    counts, found = design.counts(), []
    for name, module in design.modules.items():
        kinds = Counter(cells.get(name, {}))
        numbers = (kinds[k] for k in ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF", "MULT18X18D", "DP16KD"))
        found.append(Use(name, module.source, counts[name], *numbers))
    return found


def described(design: Design, cell: str) -> str:
    """`array_column.exponent_5 (rtl/array/array_column.py)` for a cell of the flattened netlist."""
    if cell == paths.PIN:
        return cell
    module, name = place_of(design, re.sub(rf"_(?:{CELLS})_.*|(?:\.\d+)*(?:\$.*)?$", "", cell))
    return f"{module.block.rsplit('.', 1)[-1]}.{name} ({module.source})"


def report(design: Design, found: list[Use], device: str) -> str:
    """Use by module, of all its instances, and the share of the device."""
    rows = [
        (u.name, u.source, u.instances, u.lut4, u.carry, u.distributed, u.flip_flops, u.multipliers, u.block_rams)
        for u in sorted(found, key=lambda u: -u.luts)
    ]
    heads = ("module", "source", "instances", "LUT4", "CCU2C", "DPR16X4", "flip-flops", "MULT18X18D", "DP16KD")
    totals = [sum(getattr(u, key) for u in found) for key in ("luts", "flip_flops", "multipliers", "block_rams")]
    shares = (
        f"{total:,} of {limit:,} {name} ({100 * total / limit:.1f} %)"
        for total, limit, name in zip(totals, DEVICES[device], nextpnr.SITES.values(), strict=True)
    )
    lines = [table(heads, rows), "", f"{design.top} on ECP5 {device}: {', '.join(shares)}"]
    lines.append("  LUT4: a carry cell counts as two, 16 x 4 bits of distributed RAM as six; before packing")
    return "\n".join(lines)


def path_report(design: Design, netlist: dict, megahertz: float) -> str:
    """The longest paths by cells alone, as far as placement does not matter."""
    found = paths.longest(netlist)
    if not found:
        return "before placement: no path between registers"
    period = 1000 / megahertz
    late = sum(path.nanoseconds > period for path in found)
    rows = [
        (described(design, path.start), described(design, path.cell), path.cells, f"{path.nanoseconds:.1f}", alike)
        for path, alike in paths.families(found, FAMILIES)
    ]
    title = (
        f"before placement, {paths.WIRE} ns or more a wire: {late:,} of {len(found):,} registers and RAMs later than "
    )
    return f"{title}{period:.1f} ns; the longest\n{table(('from', 'to', 'cells', 'ns', 'alike'), rows)}"


def clock_report(design: Design, routed: Routed, grade: int) -> str:
    """What packing took of the device, the routed clock, and the path that limits it, cell by cell."""
    shares = []
    for kind, name in nextpnr.SITES.items():
        if kind in routed.used:
            used, there = routed.used[kind]
            shares.append(f"{used:,} of {there:,} {name} ({100 * used / there:.1f} %)")
    lines = [f"  after packing: {', '.join(shares)}"]
    if "TRELLIS_COMB" in routed.used:
        used, there = routed.used["TRELLIS_COMB"]
        lines.append(f"  LUT4 left free: {there - used:,} ({100 * (there - used) / there:.1f} %)")
    if not routed.path:
        return "\n".join([*lines, "  routed; no path between registers, so no clock to tell"])
    lines.append(f"  routed, speed grade {grade}: {routed.megahertz:.1f} MHz (aim: {routed.aim:g} MHz)")
    first, last = (described(design, step.cell) for step in (routed.path[0], routed.path[-1]))
    lines.append(f"  critical path, {len(routed.path) - 1} cells: {first} -> {last}")
    lines.append(f"  {routed.path[-1].time:.2f} ns, {routed.logic:.2f} of them in cells; ns at the output of each:")
    for name, steps in groupby(routed.path, lambda step: described(design, step.cell)):
        times = [step.time for step in steps]
        lines.append(f"    {times[-1]:6.2f}  {name}{f', {len(times)} cells' if len(times) > 1 else ''}")
    return "\n".join(lines)


def constraints(setup: BoardConfig, megahertz: float) -> str:
    """The board's pins, and the clock that placement aims at, which may be faster than the board's."""
    pins = CONSTRAINTS.read_text()
    if setup.pll is None:
        return re.sub(r'(FREQUENCY PORT "clk_25mhz") [\d.]+ MHZ', rf"\1 {megahertz} MHZ", pins)
    return f'{pins}\nFREQUENCY NET "clk" {megahertz} MHZ;\n'


def board_setup(megahertz: float) -> BoardConfig:
    """The ULX3S at another clock than its oscillator's. SynthesisError where its PLL, UART or SDRAM cannot have it."""
    khz = round(1000 * megahertz)
    try:
        setup = ULX3S if khz == ULX3S.clock_khz else replace(ULX3S, name=f"ulx3s_{khz}khz", clock_khz=khz)
        _ = setup.sdram  # whose timing may refuse the clock
        return setup
    except ValueError as error:
        raise SynthesisError(f"no board at {megahertz:g} MHz: {error}") from None


def board_report(setup: BoardConfig, routed: Routed, clocks: dict[int, float], bits: Path) -> str:
    """clocks: MHz by speed grade."""
    megahertz = setup.clock_khz / 1000
    source = "its oscillator" if setup.clock_khz == OSCILLATOR_KHZ else "its PLL"
    met = "met" if routed.megahertz >= megahertz else "MISSED"
    grades = ", ".join(f"{clock:.1f} MHz on grade {grade}" for grade, clock in clocks.items())
    lines = [
        f"  the same on each speed grade: {grades}",
        f"  the board's clock, from {source}: {megahertz:g} MHz, {met}",
    ]
    if megahertz > SDRAM_MEGAHERTZ:
        lines.append(f"  its SDRAM answers in time up to about {SDRAM_MEGAHERTZ} MHz only")
    return "\n".join([*lines, f"  bitstream, never run on a board: {relative(bits)}"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.fpga", description=__doc__)
    parser.add_argument(
        "block", nargs="?", default="", help="a bench's block or a module; none is the chip on the board"
    )
    parser.add_argument("--chip", default="edge", help="a preset, or one with fields changed")
    parser.add_argument("--device", choices=DEVICES, default="85k", help="size of the ECP5 (default: 85k)")
    parser.add_argument(
        "--speed", type=int, choices=nextpnr.SPEED_GRADES, default=nextpnr.SPEED_GRADES[0], help="grade (default: 6)"
    )
    parser.add_argument("--clock", type=megahertz, default=100, help="MHz that placement aims at (default: 100)")
    parser.add_argument("--board-clock", type=megahertz, default=ULX3S.clock_khz / 1000, help="MHz of the board")
    parser.add_argument("--seed", type=seed, default=1, help="of the placement")
    parser.add_argument("--nextpnr", default="", help="further options of nextpnr, in one word")
    parser.add_argument("--no-route", action="store_true", help="stop after synthesis")
    parser.add_argument("--xilinx", action="store_true", help="cells by synth_xilinx instead")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    code = exit_code(lambda: place(options))
    if not code:
        print(f"{yosys.version()}, {nextpnr.version()}, {time.monotonic() - start:.0f} s")
    return code


def place(options: argparse.Namespace) -> None:
    """What the options ask for, printed as it becomes known."""
    setup = None if options.block or options.xilinx else board_setup(options.board_clock)
    design = ulx3s(options.chip, setup) if setup else find(options.block, options.chip)
    directory = OUT / "fpga" / design.top
    directory.mkdir(parents=True, exist_ok=True)
    if options.xilinx:
        cells = cells_of_xilinx(design, directory)
        print(table(("cell of synth_xilinx (7 series)", design.top), cells.most_common()))
        print(xilinx_sums(design.top, cells))
        return
    print(f"Yosys: {design.top}, minutes for a whole chip", file=sys.stderr)
    netlist = synthesise(design, directory)
    file = for_device(netlist, design.top, directory, options.device)
    print(report(design, uses(design, by_module(design, netlist)), options.device), flush=True)
    print(path_report(design, netlist, options.clock), flush=True)
    if options.no_route:
        return
    grade = "" if options.speed == nextpnr.SPEED_GRADES[0] else f"_grade{options.speed}"
    clock = f"_{setup.clock_khz}khz" if setup and setup != ULX3S else ""
    stem = directory / f"{design.top}_{options.device}{grade}{clock}_seed{options.seed}"
    pins = constraints(setup, options.clock) if setup else None
    print(f"nextpnr: an hour or two for a whole chip, log {relative(stem)}.log", file=sys.stderr)
    extra = options.nextpnr if not setup or "--placer" in options.nextpnr else f"{WHOLE_CHIP} {options.nextpnr}"
    settings = (file, stem, options.device, options.clock, options.seed, pins, extra, options.speed)
    if not setup:
        print(clock_report(design, nextpnr.route(*settings), options.speed))
        return
    block_rams.spread(netlist, nextpnr.place(*settings), options.device)
    write_netlist(netlist, design.top, file)
    placed = nextpnr.place(*settings)
    nextpnr.keep_open(placed)
    write_netlist(placed, design.top, file)
    settings = (*settings[:6], f"{nextpnr.AS_PLACED} {nextpnr.kept(stem)} {options.nextpnr}", options.speed)
    routed = nextpnr.route(*settings)
    print(clock_report(design, routed, options.speed), flush=True)
    bits = nextpnr.pack_bitstream(stem)
    netlist, picture = nextpnr.read_back(stem), stem.with_name(f"{stem.name}.png")
    stem.with_name(f"{stem.name}.json").unlink()
    title = f"{design.top} on ECP5 {options.device}, speed grade {options.speed}: {routed.megahertz:.1f} MHz"
    floorplan.draw(picture, design, netlist, routed, title)
    print(f"  where everything lies: {relative(picture)}", flush=True)
    clocks = clocks_by_grade(netlist, routed.megahertz, design.top, settings)
    print(board_report(setup, routed, clocks, bits))


if __name__ == "__main__":
    sys.exit(main())
