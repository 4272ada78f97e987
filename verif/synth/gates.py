"""Netlists of a whole chip, and whether they compute what the RTL computes: tokens, logits, KV cache, cycles.

`python -m verif.synth.gates` is `make test-gates`: `tiny` as Yosys' generic gates and, with --liberty, as cells with
models made from the library's functions. RAMs (`ram`, and for generic gates every memory) stay as they are written.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from mozg.checkpoint import load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device import Device, open_device
from mozg.device.verilator import VerilatorDevice
from mozg.device.verilator_build import MONITOR, build_plain
from mozg.driver import Driver, Row
from mozg.errors import MozgError
from mozg.layout import FORMATS
from mozg.random_checkpoint import make_random_checkpoint
from rtl.convert import Converted
from verif.synth import yosys
from verif.synth.designs import OUT, Design, chip_configuration, whole_chip
from verif.synth.liberty import Library, models
from verif.synth.mapping import Mapper
from verif.synth.options import exit_code, megahertz

MODEL = {"layers": 1, "heads": 2, "width": 48, "context": 40, "vocabulary": 37, "seed": 5}
PROMPT = 5  # its first token; the next ones count up
SAMPLED = 2
TEMPERATURE = 0.8


class GateError(Exception):
    """A netlist computes something else; the message says what."""


def generic(design: Design) -> Converted:
    """The design as Yosys' gates and flip-flops, hierarchy kept, memories as memories: one Verilog file."""
    directory = OUT / "gates" / f"{design.top}_generic"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{design.top}.v"
    lines = [f"read_verilog {yosys.relative(module.file)}" for module in design.modules.values()]
    lines += [f"hierarchy -check -top {design.top}", "synth -run coarse:fine", "opt -fast -full -undriven -fine"]
    lines += ["techmap", "opt -fast", "opt_clean", f"write_verilog -noattr {yosys.relative(file)}"]
    yosys.run(lines, directory, "netlist")
    return Converted(design.top, [file], [])


def cells(design: Design, library: Library, megahertz: float, clock_gates: bool, progress=print) -> Converted:
    """The design in cells of a library, with models of the cells, and RAM macros as they are written."""
    mapped = Mapper(library, 1000 / megahertz, clock_gates).map(design, progress)
    directory = OUT / "gates" / f"{design.top}_{library.name}"
    directory.mkdir(parents=True, exist_ok=True)
    used = {kind for module in mapped.values() for kind in module.cells if kind in library.cells}
    (directory / "cells.v").write_text(models(library, used))
    files = [mapped[name].netlist if name in mapped else module.file for name, module in design.modules.items()]
    files[-1] = directory / f"{design.top}.v"
    files[-1].write_text(joined(mapped[design.top].netlist.read_text()))
    return Converted(design.top, [directory / "cells.v", *files], [])


def joined(netlist: str) -> str:
    """The top's netlist with the buses that the device library watches, which mapping leaves as single bits."""
    lines = []
    for name in re.findall(r'-var "(\w+)"', MONITOR.read_text()):
        bits = {int(bit) for bit in re.findall(rf"^ *wire \\{name}\[(\d+)\] ;", netlist, re.M)}
        if bits:
            parts = ", ".join(f"\\{name}[{bit}] " for bit in range(max(bits), -1, -1))
            lines.append(f"  wire [{max(bits)}:0] {name} = {{{parts}}};\n")
    body, end, rest = netlist.rpartition("endmodule")
    return body + "".join(lines) + end + rest


@dataclass(frozen=True)
class Trace:
    """What a device computed: new tokens of every row and step, logits (float32 bits) and cycles of every step, the
    bytes of the KV cache."""

    tokens: list[list[int | None]]
    logits: np.ndarray
    cycles: list[int]
    kv: np.ndarray


def generate(device: Device, image: Image) -> Trace:
    """A prompt, a token a row; then a sequence a row, every other one sampled at TEMPERATURE, which run by themselves
    for SAMPLED steps, and the first one alone once more."""
    driver, rows, vocabulary = Driver(device, image, fill=0xFF), image.chip.rows, image.config.vocabulary
    tokens, logits, cycles = [], [], []

    def step(batch: list[Row], steps: int = 1) -> list[int | None]:
        result = driver.step(batch, steps)
        tokens.extend(result.tokens)
        logits.extend(driver.logits(i).view(np.uint32).copy() for i in range(len(batch)))
        cycles.append(result.cycles)
        return result.tokens[-1]

    def row(i: int, position: int, token: int | None) -> Row:
        assert token is not None
        return Row(i, position, token, sample=True, logits=True, temperature=TEMPERATURE * (i % 2), seed=i)

    last = step([Row(0, i, PROMPT + i, sample=i == rows - 1, logits=True) for i in range(rows)])
    batch = [row(i, 0, (PROMPT + 2 * rows + i) % vocabulary) for i in range(1, rows)]
    last = step([row(0, rows, last[-1]), *batch], SAMPLED)
    step([row(0, rows + SAMPLED, last[0])])
    return Trace(tokens, np.array(logits), cycles, driver.kv_bytes())


def compare(what: str, found: Trace, expected: Trace, cycles: list[int]) -> None:
    """GateError for the first thing that is not as expected, or took other cycles."""
    if found.tokens != expected.tokens:
        raise GateError(f"{what}: tokens {found.tokens}, the model's {expected.tokens}")
    for name in ("logits", "kv"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        if wrong := int(np.count_nonzero(ours != theirs)):
            raise GateError(
                f"{what}: {wrong} of {ours.size} {'bytes of the KV cache' if name == 'kv' else name} differ"
            )
    if found.cycles != cycles:
        raise GateError(f"{what}: {found.cycles} cycles, the RTL {cycles}")


def check(design: Design, top: Converted, chip: str, what: str, seeds=(1, 2), progress=print) -> str:
    """Run the netlist with several power-up states against RTL and NumPy model; GateError if a bit differs."""
    config = chip_configuration(chip)
    with tempfile.TemporaryDirectory() as folder:
        make_random_checkpoint(Path(folder) / "model", **MODEL)
        checkpoint = load_checkpoint(Path(folder) / "model")
        images = {weights: compile_model(checkpoint, config, weights) for weights in FORMATS}
    expected = {}
    for weights, image in images.items():
        with open_device("model", config, image.memory.size) as device:
            expected[weights] = generate(device, image)
    rtl = Converted(design.top, [module.file for module in design.modules.values()], [])
    cycles: dict[str, list[int]] = {}
    for name, verilog in (("RTL", rtl), (what, top)):
        library = build_plain(verilog, config, OUT / "gates" / f"device_{config.name}_{name}", progress)
        for seed, (weights, image) in product(seeds if verilog is top else seeds[:1], images.items()):
            start = time.monotonic()
            with VerilatorDevice(config, image.memory.size, seed=seed, built=library) as device:
                trace = generate(device, image)
            run = f"{name}, {weights}, power-up state {seed}"
            compare(run, trace, expected[weights], cycles.setdefault(weights, trace.cycles))
            progress(f"{run}: {sum(trace.cycles):,} cycles in {time.monotonic() - start:.1f} s")
    tokens = sum(token is not None for trace in expected.values() for step in trace.tokens for token in step)
    logits = sum(trace.logits.size for trace in expected.values())
    total = sum(sum(each) for each in cycles.values())
    return f"{what} of {chip}: {tokens} tokens, {logits:,} logits, the KV cache and {total:,} cycles equal the RTL's"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.gates", description=__doc__)
    parser.add_argument("--chip", default="tiny", help="a preset, or one with fields changed (default: tiny)")
    parser.add_argument("--liberty", help="standard cells; without it, only Yosys' generic gates")
    parser.add_argument(
        "--clock", type=megahertz, default=250, help="MHz for which the cells are chosen (default: 250)"
    )
    parser.add_argument("--no-clock-gates", action="store_true", help="keep a multiplexer at each enabled flip-flop")
    parser.add_argument("--cells-only", action="store_true", help="not the generic gates")
    options = parser.parse_args(arguments)
    if options.cells_only and not options.liberty:
        parser.error("--cells-only needs --liberty (make: LIBERTY=file)")
    return exit_code(lambda: run(options), MozgError, GateError)


def run(options: argparse.Namespace) -> None:
    library = Library(options.liberty) if options.liberty else None
    design = whole_chip(options.chip)
    if not options.cells_only:
        print(check(design, generic(design), options.chip, "generic"))
    if library:
        top = cells(design, library, options.clock, not options.no_clock_gates)
        print(check(design, top, options.chip, library.name))


if __name__ == "__main__":
    sys.exit(main())
