"""Liberty files: cells with their areas, pins and functions, and Verilog models of what the cells do."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

DONT_USE = ("lpflow", "probe", "dly", "clk")  # power domains, probes, delays, clock trees: by part of the name

GZIP = b"\x1f\x8b"  # how such a file begins


class LibertyError(Exception):
    """A Liberty file that cannot be used; the message names it and what is missing."""


@dataclass
class Group:
    """`kind (name) { attributes, groups }` of a Liberty file."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def of(self, kind: str) -> list[Group]:
        return [group for group in self.groups if group.kind == kind]


TOKEN = re.compile(r'\s+|/\*.*?\*/|//[^\n]*|\\\s*\n|(?P<text>"[^"]*"|[{}():;,]|[^\s{}():;,"]+)', re.S)


def _tokens(text: str) -> Iterator[str]:
    return (match["text"] for match in TOKEN.finditer(text) if match["text"])


def parse(text: str) -> Group:
    """The library group of a Liberty text."""
    tokens = list(_tokens(text))
    root = Group("", "")
    stack, at = [root], 0
    while at < len(tokens):
        name = tokens[at]
        at += 1
        if name == "}":
            if len(stack) > 1:  # some files close one group too many
                stack.pop()
        elif name in ";,":
            continue
        elif tokens[at] == ":":
            end = at + 1
            while end == at + 1 or not _ends(tokens, end):
                end += 1
            stack[-1].attributes[name] = " ".join(token.strip('"') for token in tokens[at + 1 : end])
            at = end
        elif tokens[at] == "(":
            end = tokens.index(")", at)
            arguments = " ".join(token.strip('"') for token in tokens[at + 1 : end] if token != ",")
            at = end + 1
            if tokens[at : at + 1] == ["{"]:
                group = Group(name, arguments)
                stack[-1].groups.append(group)
                stack.append(group)
                at += 1
            else:
                stack[-1].attributes[name] = arguments
    if not root.of("library"):
        raise LibertyError("no library group in it")
    return root.of("library")[0]


def _ends(tokens: list[str], at: int) -> bool:
    """Whether an attribute's value ends before this token. Some forget the semicolon: then the next name follows."""
    return tokens[at] in ";}" or tokens[at - 1].startswith('"') or tokens[at + 1] in (":", "(")


def tables(group: Group, types: tuple[str, ...], kinds: tuple[str, ...]) -> list[list[float]]:
    """The values of all tables of these kinds, such as cell_rise, in the timing groups of these types under a group."""
    found = []
    for child in group.groups:
        if group.kind == "timing" and group.attributes.get("timing_type") in types and child.kind in kinds:
            values = re.findall(r"[^,\s\\]+", child.attributes.get("values", ""))
            found += [[float(value) for value in values]] if values else []
        found += tables(child, types, kinds)
    return found


def unit(library: Group, name: str, default: str, units: dict[str, float]) -> float:
    """What `1ns` or `1 pf` of a library's attribute is, in the unit that counts 1.0 in `units`. LibertyError."""
    text = library.attributes.get(name, default)
    match = re.fullmatch(r"(\d+\.?\d*) *([a-z]+)", text.lower())
    if not match or match[2] not in units or not float(match[1]):
        raise LibertyError(f"{name} {text!r}: expected a number and one of {', '.join(units)}, as in {default!r}")
    return float(match[1]) * units[match[2]]


def nanoseconds(library: Group) -> float:
    """What one unit of time of a library is."""
    return unit(library, "time_unit", "1ns", {"ns": 1.0, "ps": 0.001})


@dataclass(frozen=True)
class Cell:
    """A cell of a library; area in um2."""

    name: str
    area: float
    group: Group

    def pins(self, direction: str) -> list[str]:
        return [pin.name for pin in self.group.of("pin") if pin.attributes.get("direction") == direction]

    def attribute(self, pin: str, name: str) -> str:
        found = next(group for group in self.group.of("pin") if group.name == pin)
        return found.attributes.get(name, "")

    @property
    def functions(self) -> dict[str, str]:
        """Liberty expression of each output."""
        return {pin: self.attribute(pin, "function") for pin in self.pins("output")}

    def verilog(self, text: str) -> str:
        """An expression of this cell as Verilog."""
        try:
            return verilog_expression(text)
        except LibertyError as error:
            raise LibertyError(f"cell {self.name}: {error}") from None

    @property
    def gates_clock(self) -> bool:
        """Whether it is a plain clock gate: an enable, taken while the clock is low, and the clock."""
        return self.group.attributes.get("clock_gating_integrated_cell") == "latch_posedge"

    @property
    def clock_gate_pins(self) -> tuple[str, str, str]:
        """Enable, clock, gated clock of a clock gate."""
        roles = ("clock_gate_enable_pin", "clock_gate_clock_pin", "clock_gate_out_pin")
        enable, clock, gated = (
            next((pin.name for pin in self.group.of("pin") if pin.attributes.get(role) == "true"), "") for role in roles
        )
        return enable, clock, gated


class Library:
    """A Liberty file of standard cells."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise LibertyError(f"{path}: {error.strerror}") from None
        try:
            self.text = (gzip.decompress(data) if data.startswith(GZIP) else data).decode(errors="replace")
        except (OSError, EOFError, zlib.error) as error:
            raise LibertyError(f"{path} is no whole gzip file: {error}") from None
        try:
            self.group = parse(self.text)
        except (LibertyError, IndexError, ValueError):
            raise LibertyError(f"{path} is no Liberty file: no library group in it") from None
        self.name = self.group.name
        if not re.fullmatch(r"\w[\w.-]*", self.name):  # folders have its name
            raise LibertyError(
                f"{path}: the library's name {self.name!r} is more than letters, digits, dots and dashes"
            )

    @cached_property
    def cells(self) -> dict[str, Cell]:
        found = {}
        for group in self.group.of("cell"):
            try:
                found[group.name] = Cell(group.name, float(group.attributes.get("area", 0)), group)
            except ValueError:
                raise LibertyError(f"{self.path}: cell {group.name}: its area is no number") from None
        return found

    def smallest(self, function: str) -> Cell:
        """The smallest cell whose only output is this expression of its sorted inputs, written A, B, ..."""
        letters = sorted(set(NAME.findall(function)))
        wanted, found = truth_table(verilog_expression(function), letters), []
        for cell in self.cells.values():
            names, functions = sorted(cell.pins("input")), list(cell.functions.values())
            if len(names) == len(letters) and len(functions) == 1 and functions[0]:
                if truth_table(cell.verilog(functions[0]), names) == wanted:
                    found.append(cell)
        if not found:
            raise LibertyError(f"{self.path}: no cell with the function {function}")
        return min(found, key=lambda cell: cell.area)

    @cached_property
    def gate_equivalent(self) -> float:
        """um2 of the smallest NAND of two inputs."""
        nand = self.smallest("!(A*B)")
        if not nand.area > 0:
            raise LibertyError(f"{self.path}: cell {nand.name}: no area, by which gate equivalents are counted")
        return nand.area

    @cached_property
    def flip_flop(self) -> Cell:
        """The smallest flip-flop."""
        found = [cell for cell in self.cells.values() if cell.group.of("ff")]
        if not found:
            raise LibertyError(f"{self.path}: no flip-flop (a cell with a group ff)")
        return min(found, key=lambda cell: cell.area)

    @cached_property
    def clock_to_output(self) -> float:
        """ns from the clock to the output of the smallest flip-flop, in the middle of its slowest table."""
        found = tables(self.flip_flop.group, ("rising_edge", "falling_edge"), ("cell_rise", "cell_fall"))
        if not found:
            raise LibertyError(f"{self.path}: cell {self.flip_flop.name}: no delay from the clock to the output")
        return self.nanoseconds * max(values[len(values) // 2] for values in found)

    @cached_property
    def buffer(self) -> Cell:
        """The buffer that drives inputs: the second smallest, of about twice the smallest's strength."""
        buffers = [
            cell
            for cell in self.cells.values()
            if len(cell.functions) == 1
            and [text and cell.verilog(text) for text in cell.functions.values()] == cell.pins("input")
            and cell.group.attributes.get("dont_use") != "true"
            and not any(word in cell.name for word in DONT_USE)
        ]
        if not buffers:
            raise LibertyError(f"{self.path}: no buffer")
        return sorted(buffers, key=lambda cell: cell.area)[min(1, len(buffers) - 1)]

    @cached_property
    def clock_gate(self) -> Cell | None:
        return min((cell for cell in self.cells.values() if cell.gates_clock), key=lambda c: c.area, default=None)

    @cached_property
    def femtofarads(self) -> float:
        """What one unit of capacitance of this library is."""
        try:
            return unit(self.group, "capacitive_load_unit", "1 pf", {"ff": 1.0, "pf": 1000.0})
        except LibertyError as error:
            raise LibertyError(f"{self.path}: {error}") from None

    @cached_property
    def nanoseconds(self) -> float:
        """What one unit of time of this library is."""
        try:
            return nanoseconds(self.group)
        except LibertyError as error:
            raise LibertyError(f"{self.path}: {error}") from None

    @cached_property
    def load(self) -> float:
        """Load of an output: four inputs of the smallest NAND, in the library's unit."""
        nand = self.smallest("!(A*B)")
        pin = nand.pins("input")[0]
        try:
            return 4 * float(nand.attribute(pin, "capacitance"))
        except ValueError:
            raise LibertyError(f"{self.path}: cell {nand.name}: the capacitance of pin {pin} is no number") from None


NAME = re.compile(r"\b[A-Za-z_]\w*")
LEVELS = (("|", "+|"), ("&", "*&"), ("^", "^"))  # as Verilog writes them and as Liberty does, the weakest first


def verilog_expression(text: str) -> str:
    """A Liberty expression as Verilog, in parentheses throughout.

    What binds strongest first: ! before or ' behind for not, ^, then * & or nothing between for and, + | for or.
    """
    symbols = re.findall(r"\w+|[^\w\s]", text)[::-1]

    def take(wanted: str) -> str:
        return symbols.pop() if symbols and symbols[-1] in wanted else ""

    def level(depth: int) -> str:
        if depth == len(LEVELS):
            return inverted()
        written, signs = LEVELS[depth]
        parts = [level(depth + 1)]
        while take(signs) or (written == "&" and symbols and re.match(r"[\w(!]", symbols[-1])):
            parts.append(level(depth + 1))
        return parts[0] if len(parts) == 1 else f"({f' {written} '.join(parts)})"

    def inverted() -> str:
        if take("!"):
            return f"(~{inverted()})"
        symbol = symbols.pop() if symbols else "its end"
        if symbol == "(":
            found = level(0)
            if not take(")"):
                raise LibertyError(f"{text!r} is no Liberty expression: a ) is missing")
        elif NAME.fullmatch(symbol):
            found = symbol
        elif symbol in ("0", "1"):
            found = f"1'b{symbol}"
        else:
            raise LibertyError(f"{text!r} is no Liberty expression: {symbol} where a pin was expected")
        while take("'"):
            found = f"(~{found})"
        return found

    found = level(0)
    if symbols:
        raise LibertyError(f"{text!r} is no Liberty expression: {symbols[-1]} where an operator was expected")
    return found


def truth_table(verilog: str, names: list[str]) -> list[int]:
    """The values of such an expression of these inputs, the first one changing fastest; none if it has others."""
    code = verilog.replace("1'b", "").replace("~", "1 ^ ")
    if not set(NAME.findall(code)) <= set(names):
        return []
    return [
        eval(NAME.sub(lambda name: str(row >> names.index(name[0]) & 1), code))  # noqa: B023
        for row in range(1 << len(names))
    ]


def cell_verilog(cell: Cell) -> str:
    """A module that does what the cell does; without timing, without power pins."""
    inputs, outputs = cell.pins("input"), cell.pins("output")
    ports = [f"input wire {pin}" for pin in inputs] + [f"output wire {pin}" for pin in outputs]
    lines = [f"module {cell.name} ({', '.join(ports)});"]
    if cell.gates_clock:
        enable, clock, gated = cell.clock_gate_pins
        lines += ["reg held;", f"always @* if (!{clock}) held = {enable};", f"assign {gated} = {clock} & held;"]
        return "\n".join([*lines, "endmodule"]) + "\n"
    for kind in ("ff", "latch"):
        for group in cell.group.of(kind):
            lines += _state(cell, kind, group)
    for pin, function in cell.functions.items():
        if not function:
            raise LibertyError(f"cell {cell.name}: no function of {pin}")
        if cell.attribute(pin, "three_state"):
            raise LibertyError(f"cell {cell.name}: {pin} has three states")
        lines.append(f"assign {pin} = {cell.verilog(function)};")
    return "\n".join([*lines, "endmodule"]) + "\n"


def _state(cell: Cell, kind: str, group: Group) -> list[str]:
    """The register or latch of a cell: `state`, its inverse, and how they follow the inputs."""
    state, inverse = group.name.split()
    used = ("clocked_on", "next_state") if kind == "ff" else ("enable", "data_in")
    trigger, value = (cell.verilog(group.attributes.get(key, "")) for key in used)
    clear, preset = (cell.verilog(text) if (text := group.attributes.get(key)) else "" for key in ("clear", "preset"))
    lines = [f"reg {state};", f"wire {inverse} = ~{state};"]
    if kind == "latch":
        resets = [
            f"if ({clear}) {state} = 1'b0; else " if clear else "",
            f"if ({preset}) {state} = 1'b1; else " if preset else "",
        ]
        return [*lines, f"always @* {''.join(resets)}if ({trigger}) {state} = {value};"]
    body = f"{state} <= {value};"
    if preset:
        body = f"if ({preset}) {state} <= 1'b1; else {body}"
    if clear:
        body = f"if ({clear}) {state} <= 1'b0; else {body}"
    edges = " or ".join(_edge(text) for text in (trigger, clear, preset) if text)
    return [*lines, f"always @({edges}) {body}"]


def _edge(expression: str) -> str:
    """The event of a Verilog expression becoming true."""
    inverse = re.fullmatch(r"\(~(\w+)\)", expression)
    return f"negedge {inverse[1]}" if inverse else f"posedge {expression}"


def models(library: Library, names: set[str]) -> str:
    """Verilog of the named cells. LibertyError where one's function is not told."""
    return "".join(cell_verilog(library.cells[name]) for name in sorted(names))
