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
            while end == at + 1 or (
                tokens[end] not in ";}" and not tokens[end - 1].startswith('"')
            ):  # some forget the semicolon
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
    if not root.groups:
        raise LibertyError("no library group in it")
    return root.groups[0]


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
            self.text = (gzip.decompress(data) if self.path.suffix == ".gz" else data).decode(errors="replace")
        except (OSError, EOFError, zlib.error) as error:
            raise LibertyError(f"{path} is no gzip file: {error}") from None
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
        found = []
        for cell in self.cells.values():
            names = sorted(cell.pins("input"))
            text = next(iter(cell.functions.values()), "") if len(cell.functions) == 1 else ""
            for letter, name in zip("ABCD", names, strict=False):
                text = re.sub(rf"\b{name}\b", letter.lower(), text)
            if text and _same(text, function.lower(), len(names)):
                found.append(cell)
        if not found:
            raise LibertyError(f"{self.path}: no cell with the function {function}")
        return min(found, key=lambda cell: cell.area)

    @cached_property
    def gate_equivalent(self) -> float:
        """um2 of the smallest NAND of two inputs."""
        return self.smallest("!(A*B)").area

    @cached_property
    def buffer(self) -> Cell:
        """The buffer that drives inputs: the second smallest, of about twice the smallest's strength."""
        buffers = [
            cell
            for cell in self.cells.values()
            if len(cell.functions) == 1
            and [text.strip("() ") for text in cell.functions.values()] == cell.pins("input")
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
        scale, unit = self.group.attributes.get("capacitive_load_unit", "1 pf").split()
        return float(scale) * {"ff": 1.0, "pf": 1000.0}[unit.lower()]

    @cached_property
    def load(self) -> float:
        """Load of an output: four inputs of the smallest NAND, in the library's unit."""
        nand = self.smallest("!(A*B)")
        return 4 * float(nand.attribute(nand.pins("input")[0], "capacitance"))


def _same(text: str, other: str, inputs: int) -> bool:
    """Whether two expressions of a, b, c, d have one truth table."""

    def table(expression: str) -> list[bool] | None:
        code = python_expression(expression)
        try:
            return [
                bool(eval(code, {"__builtins__": {}}, {n: bool(k >> i & 1) for i, n in enumerate("abcd"[:inputs])}))
                for k in range(1 << inputs)
            ]
        except (SyntaxError, NameError):
            return None

    return inputs <= 4 and table(text) is not None and table(text) == table(other)


def verilog_expression(text: str) -> str:
    """A Liberty expression as Verilog: + | or, * & and a blank for and, ! and ' for not."""
    text = re.sub(r"(\w+|\([^()]*\))\s*'", r"!\1", text)
    text = re.sub(r"\s*([*&+|^!()])\s*", r"\1", text.strip())
    text = re.sub(r"\s+", "*", text)
    text = re.sub(r"([\w)])(?=[!(])", r"\1*", text)  # a(b) and a!b
    return text.replace("*", " & ").replace("+", " | ").replace("|", " | ").replace("!", "~").replace("  ", " ")


def python_expression(text: str) -> str:
    """The same for eval() over bool values."""
    return verilog_expression(text).replace("~", " not ").replace("&", " and ").replace("|", " or ").replace("^", "!=")


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
            lines += _state(kind, group)
    for pin, function in cell.functions.items():
        if not function:
            raise LibertyError(f"cell {cell.name}: no function of {pin}")
        if cell.attribute(pin, "three_state"):
            raise LibertyError(f"cell {cell.name}: {pin} has three states")
        lines.append(f"assign {pin} = {verilog_expression(function)};")
    return "\n".join([*lines, "endmodule"]) + "\n"


def _state(kind: str, group: Group) -> list[str]:
    """The register or latch of a cell: `state`, its inverse, and how they follow the inputs."""
    state, inverse = group.name.split()
    given = {key: verilog_expression(value) for key, value in group.attributes.items()}
    clear, preset = given.get("clear"), given.get("preset")
    trigger, value = (given["clocked_on"], given["next_state"]) if kind == "ff" else (given["enable"], given["data_in"])
    lines = [f"reg {state};", f"wire {inverse} = ~{state};"]
    if kind == "latch":
        resets = [
            f"if ({clear}) {state} = 1'b0; else " if clear else "",
            f"if ({preset}) {state} = 1'b1; else " if preset else "",
        ]
        return [*lines, f"always @* {''.join(resets)}if ({trigger}) {state} = {value};"]
    edge = f"negedge {trigger[1:].strip('()')}" if trigger.startswith("~") else f"posedge {trigger}"
    body = f"{state} <= {value};"
    if preset:
        body = f"if ({preset}) {state} <= 1'b1; else {body}"
    if clear:
        body = f"if ({clear}) {state} <= 1'b0; else {body}"
    asynchronous = []
    for text in filter(None, (clear, preset)):
        asynchronous.append(f"negedge {text[1:].strip('()')}" if text.startswith("~") else f"posedge {text}")
    return [*lines, f"always @({' or '.join([edge, *asynchronous])}) {body}"]


def models(library: Library, names: set[str]) -> str:
    """Verilog of the named cells. LibertyError where one's function is not told."""
    return "".join(cell_verilog(library.cells[name]) for name in sorted(names))
