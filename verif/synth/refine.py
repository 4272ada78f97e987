"""Timing of an ECP5 placement, and moves of LUTs and flip-flops that shorten its longest paths.

nextpnr's static placer ends with cells that found no room near what they are connected to and lie tens of tiles away,
and the search that follows looks no further than a few tiles. A path through such a cell is the longest of the
design, whatever its logic. Here cells on long paths move, one after the other, to a free place that makes the longest
path through them shorter; all others stay.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from verif.synth.paths import CARRY, CARRY_IN, CLOCK_TO_OUTPUT, LUT, PRODUCT, REGISTERED_RAM, SETUP, SUM

# ns of a wire: within a tile; out of it, and a tile of the first FAR and of further ones. Between the fastest tenth and
# the middle of what nextpnr's router made of such wires.
CLOSE, START, TILE, FAR_TILE = 0.4, 0.55, 0.095, 0.05
FAR = 10
GAIN = 0.1  # a move that gains less is none
PASSES = 6  # more of them move next to nothing
SEARCH = 300  # tiles looked at for a move
CROWD = 64  # loads of a wire whose cells need not wait for one another's moves
AROUND = 4  # tiles beyond the box of the two cells that it lies between
SLICES = "ABCD"
PLACE = re.compile(r"X(\d+)/Y(\d+)/(?:SLICE([A-D])\.(K|FF)([01])$)?")
CONTROL = ("CLKMUX", "LSRMUX", "CEMUX", "GSR", "SRMODE", "REGSET")  # of a flip-flop
CONTROL_NETS = ("CLK", "LSR", "CE")
SHARED = {"CLK": ("CLKMUX",), "LSR": ("LSRMUX", "SRMODE")}  # by the flip-flops of a tile
FACTORS = re.compile(r"[AB]\d+$")

Tile = tuple[int, int]  # column, row
Site = tuple[int, int, str, str]  # column, row, slice, 0 or 1 in it
Input = tuple[str, str]  # a cell, a port
Group = tuple[str | None, str | None]  # a LUT, a flip-flop


@dataclass
class Cell:
    """A cell: nets of its inputs that count, by port; of its outputs; where it lies."""

    kind: str
    inputs: list[tuple[str, int]]
    outputs: list[tuple[str, int]]
    at: Tile
    site: Site | None
    begins: bool  # its outputs come from registers, its inputs go to some
    delay: float  # ns to its outputs: from the clock where it begins, else from its inputs
    inner: bool = False  # a flip-flop that takes its LUT's output inside the slice


def wire(a: Tile, b: Tile) -> float:
    """ns from a tile to another."""
    tiles = abs(a[0] - b[0]) + abs(a[1] - b[1])
    return START + TILE * min(tiles, FAR) + FAR_TILE * max(tiles - FAR, 0) if tiles else CLOSE


@dataclass
class Part:
    """Wires of a cell that may move, each with the place of its other end, None where that moves along: before, with
    the ns at which it is there; behind, with the ns at which it must be."""

    before: list[tuple[float, Tile | None]] = field(default_factory=list)
    behind: list[tuple[float, Tile | None]] = field(default_factory=list)


@dataclass
class Wires:
    """Those of a group. inside: when the LUT's output must be there for the flip-flop behind it, None without one."""

    inside: float | None
    lut: Part = field(default_factory=Part)
    register: Part = field(default_factory=Part)

    def slack(self, at: Tile, period: float) -> float:
        """ns that the longest path through the group would have left with its place there."""
        there = LUT + max((time + wire(place or at, at) for time, place in self.lut.before), default=0.0)
        left = [need - wire(place or at, at) - there for need, place in self.lut.behind]
        left += [self.inside - there] if self.inside is not None else []
        left += [period - SETUP - time - wire(place or at, at) for time, place in self.register.before]
        begin = CLOCK_TO_OUTPUT["TRELLIS_FF"]
        left += [need - wire(place or at, at) - begin for need, place in self.register.behind]
        return min(left, default=1e9)

    def length(self, at: Tile) -> int:
        """Tiles to all that it is connected to."""
        ends = self.lut.before + self.lut.behind + self.register.before + self.register.behind
        return sum(abs(place[0] - at[0]) + abs(place[1] - at[1]) for _, place in ends if place)

    def corners(self, at: Tile) -> list[Tile]:
        """Where the latest wire before it comes from and the most urgent one behind it goes."""
        before = [(time + wire(place, at), place) for time, place in self.lut.before + self.register.before if place]
        behind = [(need - wire(place, at), place) for need, place in self.lut.behind + self.register.behind if place]
        found = [max(before)[1]] if before else []
        return found + ([min(behind)[1]] if behind else []) or [at]


@dataclass(frozen=True)
class Result:
    """How many moved; the longest path in ns and the registers and RAMs later than the period, before and after."""

    moves: int
    before: float
    after: float
    late_before: int
    late_after: int


class Placement:
    """The top of nextpnr's JSON after placement, with times in ns; see refine."""

    def __init__(self, module: dict, routed: Mapping[Input, float] | None = None):
        self.netlist, self.routed = module["cells"], dict(routed or {})
        self.moved: set[str] = set()
        self.cells: dict[str, Cell] = {}
        self.driver: dict[int, tuple[str, str]] = {}
        self.sinks: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.taken: dict[tuple[Site, str], str] = {}
        for name, body in self.netlist.items():
            place = PLACE.match(body["attributes"].get("NEXTPNR_BEL", ""))
            if place:
                self._add(name, body, place)
        self.control = {name: self._control(name) for name, cell in self.cells.items() if cell.kind == "TRELLIS_FF"}
        self.order, self.groups = self._order(), self._groups()
        self.tiles = {cell.at for cell in self.cells.values() if cell.site}

    def _add(self, name: str, body: dict, place: re.Match) -> None:
        kind, directions = body["type"], body["port_directions"]
        at = int(place[1]), int(place[2])
        site = (*at, place[3], place[5]) if place[3] else None
        if site:
            self.taken[site, place[4]] = name
        begins, delay = kind in ("TRELLIS_FF", "DP16KD"), CLOCK_TO_OUTPUT.get(kind, LUT)
        if kind == "MULT18X18D":
            begins = bool(body["connections"].get("CLK0"))
            delay = delay if begins else PRODUCT
        if kind == "DP16KD":
            used = {port[2] for port, nets in body["connections"].items() if port.startswith("DO") and nets}
            if all(body["parameters"].get(f"REGMODE_{side}") == "OUTREG" for side in used):
                delay = REGISTERED_RAM
        if kind == "TRELLIS_RAMW":
            delay = 0.0
        cell = Cell(kind, [], [], at, site, begins, delay)
        for port, nets in body["connections"].items():
            for net in nets:
                if not isinstance(net, int) or port.startswith(("CLK", "WCK")):
                    continue
                if directions[port] == "output":
                    cell.outputs.append((port, net))
                    self.driver[net] = name, port
                else:
                    cell.inputs.append((port, net))
                    self.sinks[net].append((name, port))
        cell.inner = kind == "TRELLIS_FF" and body["parameters"].get("SD", "").strip() == "1"
        self.cells[name] = cell

    def _control(self, name: str) -> tuple:
        body = self.netlist[name]
        nets = tuple(tuple(body["connections"].get(port, ())) for port in CONTROL_NETS)
        return nets, tuple(body["parameters"].get(key, "") for key in CONTROL)

    def through(self, cell: Cell, port: str, out: str) -> float | None:
        """ns from an input to an output of a cell, None where no path leads."""
        if cell.begins:
            return None
        if cell.kind == "TRELLIS_COMB":
            if port[0] == "W" or port.startswith("DI"):
                return None  # writes of distributed RAM
            if out == "FCO":
                return CARRY / 2 if port == "FCI" else CARRY_IN
            return SUM if port == "FCI" else LUT
        if cell.kind == "MULT18X18D":
            return PRODUCT if FACTORS.match(port) else None
        return 0.0 if cell.kind == "TRELLIS_RAMW" else None

    def hop(self, source: str, out: str, sink: str, port: str) -> float:
        """ns of the wire from an output to an input."""
        if port == "FCI" or (port == "DI" and self.cells[sink].inner):
            return 0.0
        if (sink, port) in self.routed:
            return self.routed[sink, port]
        return wire(self.cells[source].at, self.cells[sink].at)

    def _order(self) -> list[str]:
        """Cells, each behind those that its outputs depend on in the same clock."""
        waits = {}
        for name, cell in self.cells.items():
            waits[name] = 0
            if not cell.begins:
                waits[name] = sum(net in self.driver for _, net in cell.inputs)
        ready = [name for name, count in waits.items() if not count]
        for name in ready:
            for _, net in self.cells[name].outputs:
                for sink, _ in self.sinks[net]:
                    if not self.cells[sink].begins:
                        waits[sink] -= 1
                        if not waits[sink]:
                            ready.append(sink)
        return ready

    def time(self, period: float) -> float:
        """Find when each net is there and when it must be; the longest path, in ns."""
        arrival: dict[int, float] = {}
        longest = 0.0
        for name in self.order:
            cell = self.cells[name]
            if not cell.begins and not cell.inputs:
                continue  # a constant
            for out, net in cell.outputs:
                when = cell.delay if cell.begins else 0.0
                for port, source in cell.inputs:
                    through = self.through(cell, port, out)
                    if through is not None and source in arrival:
                        when = max(when, arrival[source] + self.hop(*self.driver[source], name, port) + through)
                arrival[net] = when
        self.arrival, self.required, self.period = arrival, {}, period
        for name in reversed(self.order):
            for out, net in self.cells[name].outputs:
                need = 1e9
                for sink, port in self.sinks[net]:
                    need = min(need, self.need(sink, port) - self.hop(name, out, sink, port))
                self.required[net] = need
                if net in arrival:
                    longest = max(longest, arrival[net] - need + period)
        return longest

    def need(self, name: str, port: str) -> float:
        """When an input must be there."""
        cell = self.cells[name]
        found = self.period - SETUP if cell.begins or cell.kind == "TRELLIS_COMB" and port[0] in "W" else 1e9
        for out, net in cell.outputs:
            through = self.through(cell, port, out)
            if through is not None and net in self.required:
                found = min(found, self.required[net] - through)
        return found

    def late(self) -> int:
        """Registers and RAMs with an input that comes later than the period allows."""
        ends = (name for name, cell in self.cells.items() if cell.begins)
        return sum(self._latest(name) > self.period - SETUP for name in ends)

    def _groups(self) -> list[Group]:
        """What can move: a LUT, a flip-flop, or one with the LUT whose output it takes."""
        registers = {
            self.driver[net][0]: name
            for name, cell in self.cells.items()
            if cell.inner
            for port, net in cell.inputs
            if port == "DI"
        }
        found: list[Group] = []
        for name, cell in self.cells.items():
            if cell.site and cell.kind == "TRELLIS_COMB" and self._plain(name):
                found.append((name, registers.get(name)))
            elif cell.site and cell.kind == "TRELLIS_FF" and not cell.inner:
                found.append((None, name))
        return found

    def _plain(self, name: str) -> bool:
        """A LUT is one of logic: no carry, no distributed RAM."""
        return "MODE" not in self.netlist[name]["parameters"]

    def _left(self, group: Group) -> float:
        """ns that the longest path through a group has left, by the times found last."""
        left = 1e9
        for name in filter(None, group):
            cell = self.cells[name]
            for _, net in cell.outputs:
                if net in self.arrival:
                    left = min(left, self.required[net] - self.arrival[net])
            if cell.begins:
                left = min(left, self.period - SETUP - self._latest(name))
        return left

    def _latest(self, name: str) -> float:
        """When the last input of a cell is there."""
        cell = self.cells[name]
        times = [
            self.arrival[net] + self.hop(*self.driver[net], name, port)
            for port, net in cell.inputs
            if net in self.arrival
        ]
        return max(times, default=0.0)

    def wires(self, group: Group) -> Wires:
        """The wires whose length a group's place decides."""
        lut, register = group
        found = Wires(self.period - SETUP if lut and register else None)
        for name, part in ((lut, found.lut), (register, found.register)):
            if name is None:
                continue
            for port, net in self.cells[name].inputs:
                if net in self.arrival and not (port == "DI" and self.cells[name].inner):
                    source = self.driver[net][0]
                    place = None if source in group else self.cells[source].at
                    part.before.append((self.arrival[net], place))
            for _, net in self.cells[name].outputs:
                for sink, port in self.sinks[net]:
                    if sink != register or port != "DI":
                        place = None if sink in group else self.cells[sink].at
                        part.behind.append((self.need(sink, port), place))
        return found

    def free(self, group: Group, tile: Tile) -> Site | None:
        """A place in a tile that takes the group."""
        lut, register = group
        for letter in SLICES:
            both = [(*tile, letter, half) for half in "01"]
            neighbours = [self.taken.get((site, "K")) for site in both]
            if any(name and not self._plain(name) for name in neighbours):
                continue
            for site, other in zip(both, reversed(both), strict=True):
                if lut and (site, "K") in self.taken:
                    continue
                if register and ((site, "FF") in self.taken or not self._fits(register, other)):
                    continue
                return site
        return None

    def _fits(self, register: str, other: Site) -> bool:
        """A flip-flop can lie in a slice: it shares all control with the one at the other place, or, without one, clock
        and reset with those of the tile. (A tile has an enable for each slice, but two clocks and two resets.)"""
        beside = self.taken.get((other, "FF"))
        if beside:
            return self.control[beside] == self.control[register]
        column, row = other[:2]
        for letter, half in product(SLICES, "01"):
            name = self.taken.get(((column, row, letter, half), "FF"))
            for port, settings in SHARED.items():
                sets = [self._shared(cell, port, settings) for cell in (name, register) if cell]
                if all(sets) and len(set(sets)) > 1:
                    return False
        return True

    def _shared(self, name: str, port: str, settings: tuple[str, ...]) -> tuple | None:
        """The net of a flip-flop's clock or reset with its settings, None without one."""
        body = self.netlist[name]
        net = body["connections"].get(port)
        return (net[0], *(body["parameters"].get(key) for key in settings)) if net else None

    def move(self, group: Group, site: Site) -> None:
        for name, part in zip(group, ("K", "FF"), strict=True):
            if name is not None:
                cell = self.cells[name]
                ends = [(name, port) for port, _ in cell.inputs]
                for end in ends + [end for _, net in cell.outputs for end in self.sinks[net]]:
                    self.routed.pop(end, None)
                self.moved.add(name)
                del self.taken[cell.site, part]
                self.taken[site, part] = name
                cell.site, cell.at = site, site[:2]
                bel = f"X{site[0]}/Y{site[1]}/SLICE{site[2]}.{part}{site[3]}"
                self.netlist[name]["attributes"]["NEXTPNR_BEL"] = bel

    def better(self, group: Group) -> Site | None:
        """The free place that gives the group the most slack, if it gains by it."""
        at = next(self.cells[name].at for name in group if name)
        wires = self.wires(group)
        corners = wires.corners(at)
        xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
        left, right, top, bottom = xs[0] - AROUND, xs[-1] + AROUND, ys[0] - AROUND, ys[-1] + AROUND
        step = max(1, round(((right - left + 1) * (bottom - top + 1) / SEARCH) ** 0.5))
        found, best = None, (self._left(group) + GAIN, 0)
        for tile in product(range(left, right + 1, step), range(top, bottom + 1, step)):
            site = self.free(group, tile) if tile in self.tiles and tile != at else None
            if site:
                merit = wires.slack(tile, self.period), -wires.length(tile)
                if merit > best:
                    found, best = site, merit
        return found

    def improve(self) -> int:
        """Move what is late, each that no neighbour of moved before; how many moved."""
        late = sorted((left, i) for i, group in enumerate(self.groups) if (left := self._left(group)) < 0)
        moved: set[str] = set()
        count = 0
        for _, i in late:
            group = self.groups[i]
            site = None if moved & self._around(group) else self.better(group)
            if site:
                self.move(group, site)
                moved.update(filter(None, group))
                count += 1
        return count

    def _around(self, group: Group) -> set[str]:
        """The group and its neighbours, but those at wires with many loads."""
        found = set(filter(None, group))
        for name in filter(None, group):
            for _, net in self.cells[name].inputs + self.cells[name].outputs:
                if net in self.driver and len(self.sinks[net]) < CROWD:
                    found.add(self.driver[net][0])
                    found.update(sink for sink, _ in self.sinks[net])
        return found


def refine(placed: dict, period: float, routed: Mapping[Input, float] | None = None) -> Result:
    """Shorten what is longer than the period (ns) in a placement, in place.

    placed: the top of nextpnr's JSON after placement, or after routing; then routed has the ns of the wire to each
    input. Only the NEXTPNR_BEL of cells change, and the ROUTING of nets whose driver moves goes: of other nets nextpnr
    forgets by itself what leads to where a cell was.
    """
    placement = Placement(placed, routed)
    before, late_before = placement.time(period), placement.late()
    moves, after = 0, before
    for _ in range(PASSES):
        count = placement.improve()
        moves, after = moves + count, placement.time(period)
        if not count:
            break
    drivers = {net for name in placement.moved for _, net in placement.cells[name].outputs}
    for net in placed.get("netnames", {}).values():
        if net["bits"][0] in drivers:
            net["attributes"].pop("ROUTING", None)
    return Result(moves, before, after, late_before, placement.late())
