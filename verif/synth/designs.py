"""What a flow works on: the modules under a block or a chip, children first, as they stand in build/."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rtl.board.board_config import ULX3S, BoardConfig
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif import benches
from verif.folders import BUILD, alone

OUT = BUILD / "synth"
ULX3S_BUS = 256  # bits that the board's memory takes


@dataclass(frozen=True)
class Module:
    """One Verilog module. block: the Python function it comes from; children: names of the modules it instantiates."""

    name: str
    file: Path
    block: str
    children: tuple[str, ...]

    @property
    def source(self) -> str:
        """rtl/arith/fp32_add.py for rtl.arith.fp32_add.fp32_add."""
        return "/".join(self.block.split(".")[:-1]) + ".py"

    @cached_property
    def names(self) -> dict[str, str]:
        """Instance -> module, of the children."""
        kinds = "|".join(self.children)
        found = re.findall(rf"^({kinds}) (\w+) \(", self.file.read_text(), re.M) if kinds else []
        return {name: kind for kind, name in found}

    def instances(self) -> Counter[str]:
        """How often each child stands in this module's text."""
        return Counter(self.names.values())


@dataclass(frozen=True)
class Design:
    """A top module with everything under it, children first."""

    top: str
    modules: dict[str, Module]

    def under(self, name: str) -> Design:
        """The design whose top is one of these modules."""
        wanted: set[str] = set()

        def visit(current: str) -> None:
            if current not in wanted:
                wanted.add(current)
                for child in self.modules[current].children:
                    visit(child)

        visit(name)
        return Design(name, {key: module for key, module in self.modules.items() if key in wanted})

    def named(self, block: str) -> list[str]:
        """The module of this name, or those that come from a Python block of this name."""
        if block in self.modules:
            return [block]
        return [name for name, module in self.modules.items() if module.block.rsplit(".", 1)[-1] == block]

    def counts(self) -> Counter[str]:
        """How often each module occurs in the flattened design."""
        found: Counter[str] = Counter({self.top: 1})
        for module in reversed(self.modules.values()):
            for child, count in module.instances().items():
                found[child] += count * found[module.name]
        return found


def chip_configuration(text: str) -> ChipConfig:
    """A preset, or one with fields changed: `edge`, `edge,rows=8,lanes=8`, `edge,packed_multiplier=0`."""
    name, *changes = text.split(",")
    config = benches.configuration(name)
    known = {field.name: field.type for field in dataclasses.fields(config) if field.name != "name"}
    values: dict[str, int | bool] = {}
    for change in changes:
        field, _, value = change.partition("=")
        if field not in known or not (value.isascii() and value.isdecimal()):
            raise benches.UnknownName(f"chip {text!r}: {change!r} is not FIELD=NUMBER with one of {', '.join(known)}")
        if field in values:
            raise benches.UnknownName(f"chip {text!r}: {field} is given twice, expected once")
        values[field] = bool(int(value)) if known[field] == "bool" else int(value)
    # The name tells chips apart in the names of modules.
    name = "_".join([config.name, *(f"{field}{int(value)}" for field, value in values.items())])
    try:
        return dataclasses.replace(config, name=name, **values)
    except ValueError as error:
        raise benches.UnknownName(f"chip {text!r}: {error}") from None


def _design(top: Converted) -> Design:
    modules = {}
    for file in top.files:
        record = json.loads(file.with_suffix(".json").read_text())
        modules[record["name"]] = Module(record["name"], file, record["function"], tuple(record["children"]))
    return Design(top.name, modules)


def _of_bench(top: Converted, block: str) -> Design:
    """The block of a bench: its top, or, where files written by hand stand around it, the module within."""
    converted = [file for file in top.files if file.with_suffix(".json").exists()]
    if len(converted) == len(top.files):
        return _design(top)
    design = _design(dataclasses.replace(top, files=converted))
    for name, module in design.modules.items():
        if module.block.rsplit(".", 1)[-1] == block:
            return design.under(name)
    raise benches.UnknownName(f"{block!r} is a bench around the board: make fpga without BLOCK is the board itself")


def whole_chip(chip: str) -> Design:
    """The chip, converted to build/verilog/<chip> if it is not there yet."""
    from rtl.top.mozg import convert_chip

    config = chip_configuration(chip)
    directory = BUILD / "verilog" / config.name
    with alone(directory):
        return _design(convert_chip(config, directory))


def ulx3s(chip: str, setup: BoardConfig) -> Design:
    """The whole ULX3S around the chip, top with pins, converted to build/verilog/<top>.

    UnknownName for a chip that the board's memory does not take.
    """
    from rtl.board.ulx3s import convert_ulx3s

    config = chip_configuration(chip)
    if config.bus_bits != ULX3S_BUS:
        raise benches.UnknownName(
            f"the board takes a bus of {ULX3S_BUS} bits, chip {chip!r} has {config.bus_bits}: add ,ports=1, or place "
            f"the chip without a board: BLOCK=mozg_{config.name}"
        )
    directory = BUILD / "verilog" / f"{setup.name}_{config.name}"
    with alone(directory):
        top = convert_ulx3s(config, directory, setup)
        inside = _design(dataclasses.replace(top, files=top.files[:-1]))
    board = top.files[-2].stem
    return Design(
        top.name, {**inside.modules, top.name: Module(top.name, top.files[-1], "rtl.board.ulx3s.ulx3s", (board,))}
    )


def find(block: str, chip: str) -> Design:
    """The design that `block` names: a bench's block, or a module of the chip or of the board around it by its name or
    by its Python block.

    No block is the whole chip. UnknownName says what comes near, or which there are where several fit.
    """
    config = chip_configuration(chip)
    if not block:
        return whole_chip(chip)
    named = [bench for bench in benches.BENCHES if bench.name == block and block != benches.WHOLE_CHIP]
    if named and config == benches.configuration(config.name.split("_")[0]):
        directory = OUT / "verilog" / f"{block}_{chip}"
        with alone(directory):
            return _of_bench(named[0].build(directory, chip), block)
    design = whole_chip(chip)
    if not design.named(block) and config.bus_bits == ULX3S_BUS:
        design = ulx3s(chip, ULX3S)  # which has the chip, too
    found = design.named(block)
    if len(found) == 1:
        return design.under(found[0])
    if found:
        raise benches.UnknownName(f"several modules are a {block!r}, name one: {', '.join(sorted(found))}")
    known = {name for module in design.modules.values() for name in (module.name, module.block.rsplit(".", 1)[-1])}
    known |= {bench.name for bench in benches.BENCHES}
    near = difflib.get_close_matches(block, sorted(known), 5)
    hint = f"is it {', '.join(near)}? " if near else ""
    raise benches.UnknownName(f"no block {block!r} in {chip}; {hint}make synth lists the modules of a chip")
