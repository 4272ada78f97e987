"""Static timing of a mapped design by OpenSTA: without wires, clock ideal; paths named by registers of the source."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from verif.folders import ROOT
from verif.synth.designs import Design
from verif.synth.liberty import Library
from verif.synth.mapping import Mapped
from verif.synth.yosys import SynthesisError, relative

RESETS = ("engine_reset", "lanes_rst")  # registers that reset others: like the port rst, they need a tree
PATHS = 200_000  # end points asked for; more than any chip has
LATE_PATHS = 500  # late paths of which every module is looked at; of others, both ends


@dataclass(frozen=True)
class Slack:
    """The worst path to one end point: both ends as (module, name of the register or port), slack in ns."""

    start: tuple[str, str]
    end: tuple[str, str]
    slack: float


def constraints(library: Library, period: float, inputs: list[str], resets: list[str]) -> str:
    """SDC: the clock; ports as if registers stood right behind them, driven by a buffer, loaded with four NAND inputs.

    Reset is left out: a tree of buffers that layout makes. resets: the flip-flops that reset others.
    """
    others = " ".join(name for name in inputs if name != "clk")
    return "\n".join(
        [
            f"# {library.name}: times in {library.nanoseconds:g} ns, capacitances in {library.femtofarads:g} fF",
            f"create_clock -name clk -period {period / library.nanoseconds:.3f}"
            + (" [get_ports clk]" if "clk" in inputs else ""),
            *([f"set_input_delay 0 -clock clk [get_ports {{{others}}}]"] if others else []),
            "set_output_delay 0 -clock clk [all_outputs]",
            *([f"set_driving_cell -lib_cell {library.buffer.name} [get_ports {{{others}}}]"] if others else []),
            f"set_load {library.load:.5f} [all_outputs]",
            *(["set_false_path -from [get_ports rst]"] if "rst" in inputs else []),
            *(f"set_false_path -from [get_cells {cell}]" for cell in resets),
        ]
    )


class Names:
    """Names of the source for pins of the mapped design."""

    def __init__(self, design: Design, mapped: dict[str, Mapped], library: Library):
        self.design, self.mapped = design, mapped
        states = [cell.name for cell in library.cells.values() if cell.group.of("ff") or cell.group.of("latch")]
        self.register = re.compile(rf"^ +(?:{'|'.join(states)}) (\S+) \((.*?)\);", re.M | re.S)
        self.children, self.registers = cache(self._children), cache(self._registers)
        self.outputs = re.compile(r"\.(?:Q|Q_N|QN|X|Z)\(\\?([^\s)]+)")

    def _children(self, module: str) -> dict[str, str]:
        """Instance -> module."""
        if module not in self.mapped:
            return {}
        kinds = "|".join(self.design.modules[module].children)
        text = self.mapped[module].netlist.read_text()
        return {name: kind for kind, name in re.findall(rf"^ +({kinds}) (\S+) \(", text, re.M)} if kinds else {}

    def _registers(self, module: str) -> dict[str, str]:
        """Cell -> the net it drives."""
        if module not in self.mapped:
            return {}
        text = self.mapped[module].netlist.read_text()
        found = ((name, self.outputs.search(body)) for name, body in self.register.findall(text))
        return {name: match[1] for name, match in found if match}

    def cells(self, nets: tuple[str, ...]) -> list[str]:
        """Hierarchical names of the flip-flops that drive one of these nets."""
        found = []

        def visit(module: str, path: str) -> None:
            found.extend(path + cell for cell, net in self.registers(module).items() if net in nets)
            for instance, child in self.children(module).items():
                visit(child, f"{path}{instance}/")

        visit(self.design.top, "")
        return found

    def name(self, pin: str) -> tuple[str, str]:
        """(module, register or port) of a pin's hierarchical name."""
        module, parts = self.design.top, pin.replace("\\", "").split("/")
        for place, part in enumerate(parts):
            child = self.children(module).get(part)
            if child is None:
                return module, self.registers(module).get(part, "/".join(parts[place:]))
            module = child
        return module, parts[-1]


def version() -> str:
    """OpenSTA's version."""
    if shutil.which("sta") is None:
        raise SynthesisError("OpenSTA is not installed: sudo apt-get install opensta")
    done = subprocess.run(["sta", "-version"], capture_output=True, text=True)
    return f"OpenSTA {(done.stdout.split() or ['?'])[0]}"


def analyse(
    design: Design, mapped: dict[str, Mapped], library: Library, liberty: list[Path], period: float, directory: Path
) -> tuple[list[Slack], frozenset[str]]:
    """The worst path to every end point, worst first, and the modules that late paths lead through.

    SynthesisError where OpenSTA refuses the netlist.
    """
    version()
    directory.mkdir(parents=True, exist_ok=True)
    top = mapped[design.top].netlist.read_text()
    sdc = directory / f"{design.top}.sdc"
    names = Names(design, mapped, library)
    inputs = re.findall(r"^ *input (?:\[\d+:0\] )?(\w+) ?;", top, re.M)
    sdc.write_text(constraints(library, period, inputs, names.cells(RESETS)) + "\n")
    netlists = [mapped[name].netlist for name in design.modules if name in mapped]
    lines = [f"read_liberty {relative(file)}" for file in liberty]
    lines += [f"read_verilog {relative(file)}" for file in netlists]
    lines += [f"link_design {design.top}", f"read_sdc {relative(sdc)}"]
    lines += ["set_cmd_units -time ns"]  # of what is reported; the constraints are in the library's
    lines += [f"report_checks -path_delay max -format summary -group_count {PATHS}"]
    lines += ['puts "== late"', f"report_checks -path_delay max -format full -slack_max 0 -group_count {LATE_PATHS}"]
    lines += ['puts "== worst"', "report_checks -path_delay max -format full -fields {net slew}", "exit"]
    script = directory / f"{design.top}.tcl"
    script.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["sta", "-no_init", "-no_splash", "-exit", relative(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (directory / f"{design.top}.timing").write_text(done.stdout)
    errors = [line for line in done.stdout.splitlines() if line.startswith("Error")]
    if errors:
        raise SynthesisError(f"OpenSTA refuses {design.top} ({relative(script)}): {errors[0]}")
    summary, _, rest = done.stdout.partition("== late")
    found = re.findall(r"^(\S+) (?:\([^()]*\))? *(\S+) (?:\([^()]*\))? +(-?\d+\.\d+)$", summary, re.M)
    paths = [
        Slack(names.name(start.rpartition("/")[0] or start), names.name(end.rpartition("/")[0] or end), float(slack))
        for start, end, slack in found
    ]
    paths = [path for path in paths if path.start != (design.top, "clk")]  # that is the clock, gated, at a port
    cells = set(re.findall(r" (\S+)/\w+ \(\w+\)$", rest.partition("== worst")[0], re.M))
    ends = {end[0] for path in paths if path.slack < 0 for end in (path.start, path.end)}
    return paths, frozenset(ends | {names.name(cell)[0] for cell in cells})
