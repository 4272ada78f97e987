"""Paths between registers of a netlist for the ECP5, in seconds and before placement.

Each cell has the delay that nextpnr gives it at speed grade 6, each wire one that only depends on its loads. So it
tells which paths have many cells, not what placement makes of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# ns
CLOCK_TO_OUTPUT = {"TRELLIS_FF": 0.52, "DP16KD": 5.7, "MULT18X18D": 3.86}
REGISTERED_RAM = 1.0  # a block RAM with its output register
LUT, CARRY_IN, CARRY, SUM = 0.24, 0.45, 0.07, 0.45
PRODUCT = 3.93  # of a multiplier without registers
FACTORS = [f"{factor}{i}" for factor in "AB" for i in range(18)]
SETUP = 0.2
PIN = "a pin"  # where a path begins that no register does
WIRE = 0.7
LOADS = ((8, 1.0), (32, 1.3), (128, 1.8))  # wires with fewer loads than that take so many times WIRE, others 2.5


@dataclass(frozen=True)
class Path:
    """nanoseconds from the clock edge to the set-up of `cell`'s `port`; start: the cell it begins at; cells between."""

    nanoseconds: float
    start: str
    cells: int
    cell: str
    port: str


def registered(multiplier: dict) -> bool:
    """The cell has its registers, of both factors."""
    return "CLK0" in multiplier["connections"]


class Netlist:
    """The top of a flattened netlist as Yosys writes it in JSON, with the time at which each net is there."""

    def __init__(self, module: dict):
        self.cells: dict[str, dict] = module["cells"]
        self.driver: dict[int, tuple[str, str]] = {}
        self.loads: Counter[int] = Counter()
        for name, cell in self.cells.items():
            for port, nets in cell["connections"].items():
                for net in nets:
                    if not isinstance(net, int):
                        continue
                    if cell["port_directions"][port] == "output":
                        self.driver[net] = (name, port)
                    else:
                        self.loads[net] += 1
        self.arrival: dict[int, float] = {}
        self.origin: dict[int, tuple[str, int]] = {}  # net -> cell of its path's begin, cells on the way

    def wire(self, net: int) -> float:
        return WIRE * next((factor for loads, factor in LOADS if self.loads[net] < loads), 2.5)

    def sources(self, net: int) -> list[tuple[int, float]]:
        """Nets that this one depends on in the same clock, and the ns from there through the cell that drives it."""
        if net not in self.driver:
            return []
        name, port = self.driver[net]
        cell = self.cells[name]
        kind, nets = cell["type"], cell["connections"]
        if kind == "TRELLIS_DPR16X4":
            return [(n, self.wire(n) + LUT) for n in nets["RAD"] if isinstance(n, int)]
        if kind == "LUT4":
            return [(n, self.wire(n) + LUT) for p in "ABCD" for n in nets.get(p, ()) if isinstance(n, int)]
        if kind == "MULT18X18D" and not registered(cell):
            return [(n, self.wire(n) + PRODUCT) for p in FACTORS for n in nets.get(p, ()) if isinstance(n, int)]
        if kind != "CCU2C":
            return []
        found = []
        for p in ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "CIN"):
            n = nets.get(p, ["x"])[0]
            if not isinstance(n, int) or (port == "S0" and p.endswith("1")):
                continue
            if p == "CIN":
                found.append((n, CARRY if port == "COUT" else SUM))
            else:
                found.append((n, self.wire(n) + CARRY_IN))
        return found

    def begin(self, net: int) -> float:
        """ns from the clock edge to a net that no other net leads to."""
        if net not in self.driver:
            return 0.0
        cell = self.cells[self.driver[net][0]]
        if cell["type"] == "DP16KD":
            side = self.driver[net][1][2]  # of DOA or DOB
            if cell["parameters"].get(f"REGMODE_{side}") == "OUTREG":
                return REGISTERED_RAM
        return CLOCK_TO_OUTPUT.get(cell["type"], 0.0)

    def settle(self, net: int) -> float:
        """Find the arrival of a net and of all that it depends on; Yosys has refused combinational loops before."""
        stack = [net]
        while stack:
            current = stack[-1]
            if current in self.arrival:
                stack.pop()
                continue
            before = self.sources(current)
            missing = [n for n, _ in before if n not in self.arrival]
            if missing:
                stack += missing
                continue
            stack.pop()
            if before:
                self.arrival[current], n = max((self.arrival[n] + delay, n) for n, delay in before)
                start, cells = self.origin[n]
                self.origin[current] = (start, cells + 1)
            else:
                self.arrival[current] = self.begin(current)
                self.origin[current] = (self.driver[current][0] if current in self.driver else PIN, 0)
        return self.arrival[net]

    def ends(self) -> Iterator[tuple[str, str, int]]:
        """Cell, port, net of every input of a register or RAM."""
        for name, cell in self.cells.items():
            if cell["type"] == "TRELLIS_FF":
                ports = ["DI", "M", "CE", "LSR"]
            elif cell["type"] == "TRELLIS_DPR16X4":
                ports = ["DI", "WAD", "WRE"]
            elif cell["type"] == "DP16KD" or (cell["type"] == "MULT18X18D" and registered(cell)):
                ports = [port for port, way in cell["port_directions"].items() if way == "input"]
            else:
                continue
            for port in ports:
                for net in cell["connections"].get(port, ()):
                    if isinstance(net, int):
                        yield name, port, net


def longest(module: dict) -> list[Path]:
    """The longest path into every register and RAM, longest first."""
    netlist = Netlist(module)
    found: dict[str, Path] = {}
    for name, port, net in netlist.ends():
        time = netlist.settle(net) + netlist.wire(net) + SETUP
        if name not in found or found[name].nanoseconds < time:
            found[name] = Path(time, *netlist.origin[net], name, port)
    return sorted(found.values(), key=lambda path: -path.nanoseconds)


def families(paths: list[Path], count: int) -> list[tuple[Path, int]]:
    """The longest path of each pair of registers, and how many there are like it: bits of one register are alike."""

    def alike(cell: str) -> str:
        return re.sub(r"\d+", "", re.split(r"_TRELLIS_|_LUT4_|_CCU2C_|_DP16KD|_MULT18X18D|\.\d+\.\d+", cell)[0])

    groups: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        groups.setdefault((alike(path.start), alike(path.cell)), []).append(path)
    return [(group[0], len(group)) for group in list(groups.values())[:count]]
