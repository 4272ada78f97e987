"""RAM macros: which ones make up a `ram` of the chip, their area and their delay, from a folder of Liberty files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from verif.synth.designs import Module
from verif.synth.liberty import LibertyError, Library, nanoseconds, parse, tables

MACRO_BITS = 2048  # a smaller `ram` is flip-flops
STACK_DELAY = 0.17  # ns for each doubling of depth: a multiplexer of four takes 0.33 in SG13G2
NAME = re.compile(r"ram_depth(\d+)_width(\d+)(?:_parts(\d+))?(?:_read_stages(\d))?\Z")


@dataclass(frozen=True)
class Macro:
    """One RAM macro. area in um2; access: ns from the clock to the data; setup: ns of address and data before it."""

    name: str
    words: int
    bits: int
    area: float
    access: float
    setup: float


@dataclass(frozen=True)
class Ram:
    """A `ram` of the chip."""

    name: str
    words: int
    width: int
    parts: int
    stages: int

    @property
    def bits(self) -> int:
        return self.words * self.width


def ram_of(module: Module) -> Ram | None:
    """What a module keeps in a macro: a `ram` that is large enough; None for all other modules."""
    match = NAME.match(module.name)
    if not match or not module.block.endswith(".ram.ram"):
        return None
    words, width, parts, stages = (int(value or 1) for value in match.groups())
    found = Ram(module.name, words, width, parts, stages)
    return found if found.bits >= MACRO_BITS else None


def read_macro(path: Path) -> Macro:
    """A macro from its Liberty file: the worst access and set-up times of all its tables."""
    text = path.read_text(errors="replace")
    library = parse(text)
    words = {key: re.search(rf"\b{key}\s*:\s*([\d.]+)", text) for key in ("address_width", "word_width", "area")}
    if not all(words.values()) or not library.of("cell"):
        raise LibertyError("no memory with an area")
    address, width, area = (float(match[1]) for match in words.values())
    unit = nanoseconds(library)
    access = unit * max(map(max, tables(library, ("rising_edge",), ("cell_rise", "cell_fall"))))
    setup = unit * max(
        map(max, tables(library, ("setup_rising",), ("rise_constraint", "fall_constraint"))), default=0.0
    )
    return Macro(library.of("cell")[0].name, 1 << int(address), int(width), area, access, max(setup, 0.0))


def read_macros(folder: Path) -> list[Macro]:
    """The macros of all Liberty files of a folder."""
    found = []
    for path in sorted(folder.glob("*.lib")):
        try:
            found.append(read_macro(path))
        except (OSError, LibertyError, IndexError, KeyError, ValueError) as error:
            raise LibertyError(f"{path} is no RAM macro with an area and an access time: {error}") from None
    if not found:
        raise LibertyError(f"{folder}: no RAM macro (*.lib) in it")
    return found


@dataclass(frozen=True)
class Choice:
    """The macros that make up a ram: `deep` x `wide` of one kind; area of all in um2."""

    macro: Macro
    deep: int
    wide: int

    @property
    def access(self) -> float:
        """ns from the clock to the data, behind the multiplexer of what is stacked."""
        return self.macro.access + STACK_DELAY * (self.deep - 1).bit_length()

    @property
    def area(self) -> float:
        return self.deep * self.wide * self.macro.area

    def __str__(self) -> str:
        return f"{self.deep * self.wide} x {self.macro.name}"


def choose(ram: Ram, macros: list[Macro], limit: float) -> Choice | None:
    """The smallest of the macros that answer within `limit` ns; the fastest where none does; None without macros."""
    options = [Choice(macro, -(-ram.words // macro.words), -(-ram.width // macro.bits)) for macro in macros]
    fast = [option for option in options if option.access <= limit]
    if fast:
        return min(fast, key=lambda option: option.area)
    return min(options, key=lambda option: option.access, default=None)


def liberty(rams: dict[Ram, Choice | None], library: Library) -> str:
    """A Liberty library of the rams as black boxes, for timing: constants from the table, zeros without macros.

    Address and data are taken at the edge, data come `access` later; with two read stages they come from the register
    behind the macro, as late as from the smallest flip-flop of the cells' library. An input loads like one of a NAND.
    """
    input_load = library.load / 4 * library.femtofarads / 1000
    lines = ["library (rams) {", 'time_unit : "1ns"; capacitive_load_unit (1, pf); delay_model : table_lookup;']
    lines += ['voltage_unit : "1V"; current_unit : "1mA"; pulling_resistance_unit : "1kohm"; nom_voltage : 1.2;']
    lines += ["nom_process : 1; nom_temperature : 25; input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;"]
    lines += ["output_threshold_pct_rise : 50; output_threshold_pct_fall : 50; slew_lower_threshold_pct_rise : 20;"]
    lines += ["slew_lower_threshold_pct_fall : 20; slew_upper_threshold_pct_rise : 80;"]
    lines += ["slew_upper_threshold_pct_fall : 80;"]
    widths = {bits for ram in rams for bits in (ram.width, address_bits(ram), ram.parts) if bits > 1}
    for bits in sorted(widths):
        lines.append(
            f"type (bus{bits}) {{ base_type : array; data_type : bit; bit_width : {bits}; "
            f"bit_from : {bits - 1}; bit_to : 0; downto : true; }}"
        )
    for ram, choice in rams.items():
        access = library.clock_to_output if ram.stages == 2 else choice.access if choice else 0.0
        setup = choice.macro.setup if choice else 0.0
        lines += [f"cell ({ram.name}) {{", f"area : {choice.area if choice else 0};", "dont_touch : true;"]
        lines.append(f"pin (clk) {{ direction : input; clock : true; capacitance : {input_load}; }}")
        inputs = {"write_enable": ram.parts, "read_enable": 1, "write_data": ram.width}
        inputs |= {"write_address": address_bits(ram), "read_address": address_bits(ram)}
        for pin, bits in inputs.items():
            timing = (
                'timing () { related_pin : "clk"; timing_type : setup_rising; '
                f'rise_constraint (scalar) {{ values ("{setup}"); }} '
                f'fall_constraint (scalar) {{ values ("{setup}"); }} }}'
            )
            lines.append(_pin(pin, bits, f"direction : input; capacitance : {input_load}; {timing}"))
        arcs = " ".join(
            f'{kind} (scalar) {{ values ("{value}"); }}'
            for kind, value in (
                ("cell_rise", access),
                ("cell_fall", access),
                ("rise_transition", 0.1),
                ("fall_transition", 0.1),
            )
        )
        timing = f'timing () {{ related_pin : "clk"; timing_type : rising_edge; {arcs} }}'
        lines.append(_pin("read_data", ram.width, f"direction : output; {timing}"))
        lines.append("}")
    return "\n".join([*lines, "}"]) + "\n"


def address_bits(ram: Ram) -> int:
    return max(1, (ram.words - 1).bit_length())


def _pin(name: str, bits: int, body: str) -> str:
    return f"pin ({name}) {{ {body} }}" if bits == 1 else f"bus ({name}) {{ bus_type : bus{bits}; {body} }}"
