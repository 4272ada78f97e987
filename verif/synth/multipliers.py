"""Registers before the multipliers of an ECP5 netlist become those that every MULT18X18D has inside.

Yosys leaves them outside. Inside they cost no flip-flop and no wire, and a path ends before the multiplication: a
product comes 3.9 ns after the clock (nextpnr, speed grade 6). Their reset is active high, and high where nothing is
connected, so it is tied low. The register behind the product stays outside: the enable of the output register is not in
nextpnr's database of the device, so none is written to the bitstream, and the pipeline register is not in its timing.

The four multipliers of a block share four enables, a clock and a reset (Lattice FPGA-TN-02205), which nextpnr's placers
do not look ahead for; so they are given their places here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

KIND, FLIP_FLOP = "MULT18X18D", "TRELLIS_FF"
FACTORS, FACTOR_BITS = ("A", "B"), 18
REGISTERS = {"A": "REG_INPUTA", "B": "REG_INPUTB"}
ENABLES = 4  # of a block

# Of each device: the rows of tiles that have multipliers, and the column in which each block begins; the places in it.
BLOCKS = {
    "25k": ((13,), (4, 13, 22, 33, 42, 51, 60)),
    "45k": ((22, 46), (4, 13, 22, 31, 42, 51, 60, 69, 78)),
    "85k": ((10, 34, 58), (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)),
}
IN_BLOCK = ((0, 0), (1, 1), (4, 4), (5, 5))  # columns from the first, number in the name


@dataclass(frozen=True)
class Control:
    """What the bits of one register have in common: nets of clock and of enable, which "1" is always."""

    clock: int
    enable: int | str


class _Netlist:
    """The flattened top of Yosys' JSON, with who drives and who reads each net."""

    def __init__(self, module: dict):
        self.cells: dict[str, dict] = module["cells"]
        self.driver: dict[int, str] = {}
        self.readers: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for name, cell in self.cells.items():
            for port, nets in cell["connections"].items():
                for net in nets:
                    if isinstance(net, int):
                        if cell["port_directions"][port] == "output":
                            self.driver[net] = name
                        else:
                            self.readers[net].append((name, port))
        for port in module.get("ports", {}).values():
            for net in port["bits"]:
                if port["direction"] != "input" and isinstance(net, int):
                    self.readers[net].append(("", "pin"))

    def control(self, name: str) -> Control | None:
        """Of a flip-flop that a multiplier can take in: rising edge, no reset, zero at power-up."""
        cell = self.cells[name]
        settings, nets = cell["parameters"], cell["connections"]
        if cell["type"] != FLIP_FLOP or settings.get("CLKMUX", "CLK") != "CLK" or settings.get("REGSET") == "SET":
            return None
        if nets.get("LSR", ["0"]) != ["0"] or "DI" not in nets or not isinstance(nets["CLK"][0], int):
            return None
        enable = nets.get("CE", ["1"])[0]
        way = settings.get("CEMUX", "CE").strip()  # Yosys writes "1 ": a string, no number
        if way == "1" or (way == "CE" and enable == "1"):
            return Control(nets["CLK"][0], "1")
        return Control(nets["CLK"][0], enable) if way == "CE" and isinstance(enable, int) else None

    def has_one(self, name: str, factor: str) -> bool:
        nets = self.cells[name]["connections"]
        return any(nets.get(f"{factor}{i}") == ["1"] for i in range(FACTOR_BITS))

    def before(self, name: str, factor: str) -> tuple[Control, dict[str, str]] | None:
        """The register before a factor, and its flip-flop by port; constants may be among its bits."""
        found: dict[str, str] = {}
        controls = set()
        for i in range(FACTOR_BITS):
            port = f"{factor}{i}"
            net = self.cells[name]["connections"].get(port, ["0"])[0]
            if net in ("0", "1"):
                continue
            source = self.driver.get(net) if isinstance(net, int) else None
            control = self.control(source) if source else None
            if control is None:
                return None
            controls.add(control)
            found[port] = source
        return (controls.pop(), found) if len(controls) == 1 else None

    def parts(self, name: str) -> dict[str, tuple[Control, dict[str, str]]] | None:
        """The registers that the multiplier can take in, of both factors; None where one is missing."""
        found = {factor: self.before(name, factor) for factor in FACTORS}
        if None in found.values() or len({control.clock for control, _ in found.values()}) != 1:
            return None
        # A constant one is a zero until its register is first enabled: no matter if the other factor is one as long.
        ones = [self.has_one(name, factor) for factor in FACTORS]
        return None if all(ones) or any(ones) and found["A"][0] != found["B"][0] else found

    def take_in(self, name: str, part: str, control: Control, flip_flops: dict[str, str], enable: str) -> None:
        """Move one register into the multiplier, with the block's enable of that name."""
        cell = self.cells[name]
        register = REGISTERS[part]
        cell["parameters"] |= {f"{register}_CLK": "CLK0", f"{register}_CE": enable, f"{register}_RST": "RST0"}
        cell["connections"] |= {"CLK0": [control.clock], "RST0": ["0"], enable: [control.enable]}
        cell["port_directions"] |= {"CLK0": "input", "RST0": "input", enable: "input"}
        for port, flip_flop in flip_flops.items():
            nets = self.cells[flip_flop]["connections"]
            data, output = nets["DI"][0], nets["Q"][0]
            cell["connections"][port] = [data]
            self.readers[output].remove((name, port))
            if isinstance(data, int):
                self.readers[data].append((name, port))
            if not self.readers[output]:
                if isinstance(data, int):
                    self.readers[data].remove((flip_flop, "DI"))
                del self.cells[flip_flop]


@dataclass
class _Block:
    """Up to four multipliers, and the nets of their enables in the order of the block's."""

    names: list[str] = field(default_factory=list)
    enables: list[int | str] = field(default_factory=list)
    clock: int | None = None

    def fits(self, controls: list[Control]) -> bool:
        enables = {*self.enables, *(control.enable for control in controls)}
        return (
            len(self.names) < len(IN_BLOCK)
            and len(enables) <= ENABLES
            and self.clock in (None, *(control.clock for control in controls))
        )

    def add(self, name: str, controls: list[Control]) -> None:
        self.names.append(name)
        self.clock = controls[0].clock
        self.enables += [e for e in dict.fromkeys(c.enable for c in controls) if e not in self.enables]


def _natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _in_blocks(controls: dict[str, list[Control]]) -> Iterator[list[_Block]]:
    """Runs of blocks, in the order of their names: one for the whole blocks of a row of the array, whose multipliers
    have the same controls; then one of all that is left, so that those of a lane, which are few alike, lie together."""
    left = []
    for _, alike in groupby(sorted(controls, key=_natural), key=controls.__getitem__):
        names = list(alike)
        whole = len(names) - len(names) % len(IN_BLOCK)
        left += names[whole:]
        if whole:
            yield list(_filled(names[:whole], controls))
    yield list(_filled(left, controls))


def _filled(names: list[str], controls: dict[str, list[Control]]) -> Iterator[_Block]:
    """Blocks of these multipliers, in their order; one that does not fit begins the next."""
    block = _Block()
    for name in names:
        if not block.fits(controls[name]):
            yield block
            block = _Block()
        block.add(name, controls[name])
    if block.names:
        yield block


def _places(device: str, lengths: list[int]) -> Iterator[list[list[str]]]:
    """Names of the places of each run of blocks: in one row of the device where that has as many left, from its begin,
    so that runs lie above each other; else in pairs in what is left of the rows, those next to the one with most."""
    rows, columns = BLOCKS[device]
    free = {row: list(columns) for row in rows}
    for length in lengths:
        taken: list[tuple[int, int]] = []
        most = max(rows, key=lambda row: len(free[row]))
        near = sorted(rows, key=lambda row: abs(row - most))
        fitting = [row for row in rows if len(free[row]) >= length] or near
        for step in (2, 1):
            for row in fitting:
                while free[row] and len(taken) < length and len(free[row]) >= min(step, length - len(taken)):
                    taken += [(row, free[row].pop(0)) for _ in range(min(step, length - len(taken)))]
        yield [[f"X{column + offset}/Y{row}/MULT18_{place}" for offset, place in IN_BLOCK] for row, column in taken]


def take_in_registers(module: dict, device: str) -> int:
    """Change the netlist in place: every multiplier that can takes in the registers before it, and gets
    its place on the device; a flip-flop that nobody reads any more goes. Returns how many went.

    A multiplier can with registers of one control each before both factors, on one clock.
    """
    netlist = _Netlist(module)
    before = len(netlist.cells)
    parts = {name: netlist.parts(name) for name, cell in netlist.cells.items() if cell["type"] == KIND}
    controls = {name: [control for control, _ in found.values()] for name, found in parts.items() if found}
    runs = list(_in_blocks(controls))
    placed = [
        (block, places)
        for run, spots in zip(runs, _places(device, [len(run) for run in runs]), strict=True)
        for block, places in zip(run, spots, strict=False)
    ]
    for block, places in placed:
        for name, place in zip(block.names, places, strict=False):
            found = netlist.parts(name)  # anew: a register may have gone into another multiplier
            if found:
                netlist.cells[name]["attributes"]["BEL"] = place
                for part, (control, flip_flops) in found.items():
                    netlist.take_in(name, part, control, flip_flops, f"CE{block.enables.index(control.enable)}")
    return before - len(netlist.cells)
