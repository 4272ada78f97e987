"""From Verilog to the cells of a library, module by module: Yosys and ABC, results kept until something changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from verif.folders import alone
from verif.synth import yosys
from verif.synth.designs import OUT, Design, Module
from verif.synth.liberty import DONT_USE, Library
from verif.synth.rams import ram_of

# Yosys' own script leaves ripple adders and chains of AND: `if -g` restructures them. Buffers only for large fan-outs.
ABC = (
    "strash; ifraig; scorr; dc2; if -g -K 6 -C 16; st; dch; &get -n; &nf -R 32; &put; "
    "buffer -N 16; topo; upsize {D}; dnsize {D}"
)
# For what misses the period: parallel-prefix adders, and no area recovery before the restructuring.
FAST = ("-extra-map +/choices/kogge-stone.v", ABC.replace("dc2; ", ""))
LOGIC = 0.62  # of the period, as ABC counts it: registers, set-up and slopes need the rest
FAST_LOGIC = 0.3  # for a module on a late path, which others share; cells grow only where this is missed
MULTIPLIER = Path(__file__).parent / "signed_multiplier.v"
CLOCK_GATE_MINIMUM = 4  # flip-flops; fewer keep their multiplexers
RECIPE = 3  # part of the key of what is kept


@dataclass(frozen=True)
class Mapped:
    """One module mapped, without its children. cells: count by cell; area in um2, the children's not in it."""

    name: str
    netlist: Path
    cells: dict[str, int]

    def area(self, library: Library) -> float:
        return sum(count * library.cells[kind].area for kind, count in self.cells.items() if kind in library.cells)

    def flip_flops(self, library: Library) -> int:
        return sum(n for kind, n in self.cells.items() if kind in library.cells and library.cells[kind].group.of("ff"))


def plain(netlist: str) -> str:
    """The netlist in the Verilog that OpenSTA reads: no signs (gates see none), no concatenation assigned."""
    netlist = re.sub(r"^( *(?:input|output|wire)) signed ", r"\1 ", netlist, flags=re.M)
    widths = {name: int(high) for high, name in re.findall(r"^ *wire \[(\d+):0\] (\w+);", netlist, re.M)}

    def bits(items: str) -> list[str]:
        found = []
        for item in items.split(", "):
            part = re.fullmatch(r"(\w+)(?:\[(\d+):(\d+)\])?", item.strip())
            constant = re.fullmatch(r"\d+'b([01]+)", item.strip())
            if constant:
                found += [f"1'b{bit}" for bit in constant[1]]
            elif part and (part[2] or part[1] in widths):
                high, low = (int(part[2]), int(part[3])) if part[2] else (widths[part[1]], 0)
                found += [f"{part[1]}[{bit}]" for bit in range(high, low - 1, -1)]
            else:
                found.append(item.strip() + " ")
        return found

    def each(match: re.Match[str]) -> str:
        pairs = zip(bits(match[1]), bits(match[2]), strict=True)
        return "\n".join(f"  assign {left} = {right};" for left, right in pairs)

    return re.sub(r"^  assign \{ (.*?) \} = \{ (.*?) \};$", each, netlist, flags=re.M)


class Mapper:
    """Maps modules for one library and one clock period in ns. `gates`: enables become clock gates."""

    def __init__(self, library: Library, period: float, gates: bool = True):
        self.library, self.period = library, period
        self.gate = library.clock_gate if gates else None
        self.folder = OUT / "asic" / library.name
        self.liberty = self.folder / f"{library.name}.lib"

    def key(self, module: Module, design: Design, fast: bool) -> str:
        """What the netlist depends on: the module's text, its children's ports, the library, the recipe."""
        digest = hashlib.sha256(module.file.read_bytes())
        for child in module.children:
            digest.update(design.modules[child].file.read_text().split(");")[0].encode())
        digest.update(self.library.text.encode())
        digest.update(MULTIPLIER.read_bytes())
        gate = self.gate and self.gate.name
        digest.update(f"{yosys.version()} {DONT_USE}".encode())
        digest.update(f"{self.period} {gate} {ABC} {FAST} {CLOCK_GATE_MINIMUM} {LOGIC} {RECIPE} {fast}".encode())
        if fast:
            digest.update(f"{FAST_LOGIC}".encode())
        return digest.hexdigest()[:16]

    def script(self, module: Module, design: Design, netlist: Path, fast: bool) -> list[str]:
        liberty = yosys.relative(self.liberty)
        children = [f"read_verilog -lib {yosys.relative(design.modules[child].file)}" for child in module.children]
        lines = [*children, f"read_verilog {yosys.relative(module.file)}"]
        lines += [f"hierarchy -check -top {module.name}", "proc", "opt", "wreduce"]
        lines += [
            f"techmap -map {yosys.relative(MULTIPLIER)}",
            "opt_clean",
            f"synth -noabc {FAST[0] if fast else ''} -run begin:check",
        ]
        if self.gate:
            pins = ":".join(self.gate.clock_gate_pins)
            lines.append(f"clockgate -pos {self.gate.name} {pins} -min_net_size {CLOCK_GATE_MINIMUM}")
        abc = "fast.script" if fast else "abc.script"
        dont_use = " ".join(f"-dont_use *{word}*" for word in DONT_USE)
        lines += [f"dfflibmap -liberty {liberty}", "setundef -zero"]
        lines.append(
            f"abc -liberty {liberty} {dont_use} -constr {yosys.relative(self.folder / 'abc.constr')} "
            f"-D {1000 * (FAST_LOGIC if fast else LOGIC) * self.period:.0f} -script {yosys.relative(self.folder / abc)}"
        )
        lines += ["opt_clean -purge", *self._ties(), "rename -wire", "splitnets", "opt_clean -purge"]
        lines += [f"tee -q -o {yosys.relative(netlist.with_suffix('.json'))} stat -json"]
        lines += [f"write_verilog -noattr -noexpr -nohex {yosys.relative(netlist)}"]
        return lines

    def _ties(self) -> list[str]:
        pairs = []
        for option, value in (("-hicell", "1"), ("-locell", "0")):
            cells = [cell for cell in self.library.cells.values() if not cell.pins("input")]
            found = [(cell, pin) for cell in cells for pin, text in cell.functions.items() if text == value]
            if found:
                cell, pin = min(found, key=lambda item: item[0].area)
                pairs.append(f"{option} {cell.name} {pin}")
        return [f"hilomap -singleton {' '.join(pairs)}"] if pairs else []

    def map(
        self, design: Design, progress: Callable[[str], None] = lambda _: None, fast: frozenset[str] = frozenset()
    ) -> dict[str, Mapped]:
        """Every module of the design but the RAM macros; maps those that changed. `fast`: for these speed is first.

        A process each: in one process, what was mapped before changes the result of what follows. A second run with
        this library waits: scripts are of a clock, and what the first one maps need not be mapped again.
        """
        with alone(self.folder, lambda: progress(f"wait for another run with {self.library.name}")):
            return self._map(design, progress, fast)

    def _map(self, design: Design, progress: Callable[[str], None], fast: frozenset[str]) -> dict[str, Mapped]:
        if not self.liberty.exists() or self.liberty.read_text() != self.library.text:
            self.liberty.write_text(self.library.text)  # Yosys reads it below the project only
        for name, text, share in (("abc", ABC, LOGIC), ("fast", FAST[1], FAST_LOGIC)):
            text = text.replace("{D}", f"-D {1000 * share * self.period:.0f}").replace("; ", "\n")
            (self.folder / f"{name}.script").write_text(text + "\n")
        load = self.library.load * self.library.femtofarads
        (self.folder / "abc.constr").write_text(f"set_driving_cell {self.library.buffer.name}\nset_load {load:.3f}\n")
        netlists, todo = {}, []
        for module in design.modules.values():
            if ram_of(module):
                continue
            netlists[module.name] = (
                self.folder / "modules" / f"{module.name}_{self.key(module, design, module.name in fast)}.v"
            )
            if not netlists[module.name].exists():
                todo.append(module)
        if todo:
            progress(f"map {len(todo)} of {len(design.modules)} modules to {self.library.name}")
            (self.folder / "modules").mkdir(exist_ok=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(
                    pool.map(lambda module: self._run(module, design, netlists[module.name], module.name in fast), todo)
                )
        return {name: self._read(name, netlist) for name, netlist in netlists.items()}

    def _run(self, module: Module, design: Design, netlist: Path, fast: bool) -> None:
        written = netlist.with_suffix(".part.v")  # a run that is stopped leaves no half of a netlist
        yosys.run(self.script(module, design, written, fast), self.folder / "logs", module.name)
        written.with_suffix(".json").rename(netlist.with_suffix(".json"))
        written.write_text(plain(written.read_text()))
        written.rename(netlist)

    def _read(self, name: str, netlist: Path) -> Mapped:
        stat = json.loads(netlist.with_suffix(".json").read_text())["modules"]
        cells = next((body["num_cells_by_type"] for key, body in stat.items() if key.lstrip("\\") == name), {})
        return Mapped(name, netlist, {re.sub(r"^\\", "", kind): count for kind, count in cells.items()})
