"""Netlists of a whole chip, and whether they compute what the RTL computes: tokens, logits, cycles.

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
from pathlib import Path

import numpy as np

from mozg.checkpoint import load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device import DeviceError, open_device
from mozg.device.verilator import VerilatorDevice
from mozg.device.verilator_build import MONITOR, build_plain
from mozg.driver import Driver, Row
from mozg.random_checkpoint import make_random_checkpoint
from rtl.convert import Converted, HierarchyError
from verif import benches
from verif.synth import yosys
from verif.synth.designs import OUT, Design, chip_configuration, whole_chip
from verif.synth.liberty import LibertyError, Library, models
from verif.synth.mapping import Mapper
from verif.synth.options import megahertz

MODEL = {"layers": 1, "heads": 2, "width": 48, "context": 40, "vocabulary": 37, "seed": 5}
PROMPT = (5, 6, 7)
NEW_TOKENS = 3


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
    """What a device computed: new tokens, logits of every step (float32 bits), cycles of every step."""

    tokens: list[int]
    logits: np.ndarray
    cycles: list[int]


def generate(device, image: Image, fill: int) -> Trace:
    """Greedy tokens after PROMPT, one row a step. `fill`: what memory holds at first."""
    driver = Driver(device, image, fill=fill)
    tokens, logits, cycles = list(PROMPT), [], []
    for position in range(len(PROMPT) + NEW_TOKENS - 1):
        result = driver.step([Row(0, position, tokens[position], sample=True, logits=True)])
        logits.append(driver.logits(0).view(np.uint32).copy())
        cycles.append(result.cycles)
        if position >= len(PROMPT) - 1:
            tokens.append(result.tokens[0][0])
    return Trace(tokens[len(PROMPT) :], np.array(logits), cycles)


def check(design: Design, top: Converted, chip: str, what: str, seeds=(1, 2), progress=print) -> str:
    """Run the netlist with several power-up states against RTL and NumPy model; GateError if a bit differs."""
    config = chip_configuration(chip)
    with tempfile.TemporaryDirectory() as folder:
        make_random_checkpoint(Path(folder) / "model", **MODEL)
        image = compile_model(load_checkpoint(Path(folder) / "model"), config)
    with open_device("model", config, image.memory.size) as device:
        expected = generate(device, image, 0)
    rtl = Converted(design.top, [module.file for module in design.modules.values()], [])
    traces = {}
    for name, verilog in (("RTL", rtl), (what, top)):
        library = build_plain(verilog, config, OUT / "gates" / f"device_{config.name}_{name}", progress)
        for seed in seeds if verilog is top else seeds[:1]:
            start = time.monotonic()
            with VerilatorDevice(config, image.memory.size, seed=seed, built=library) as device:
                traces[name, seed] = trace = generate(device, image, 0xFF)
            seconds = time.monotonic() - start
            progress(f"{name}, power-up state {seed}: {sum(trace.cycles):,} cycles in {seconds:.1f} s")
            if trace.tokens != expected.tokens:
                raise GateError(f"{name}, power-up state {seed}: tokens {trace.tokens}, the model's {expected.tokens}")
            wrong = int(np.count_nonzero(trace.logits != expected.logits))
            if wrong:
                raise GateError(f"{name}, power-up state {seed}: {wrong} of {trace.logits.size} logits differ")
            if trace.cycles != traces["RTL", seeds[0]].cycles:
                raise GateError(f"{name}, power-up state {seed}: {trace.cycles} cycles, unlike the RTL")
    return f"{what} of {chip}: tokens {expected.tokens}, {expected.logits.size} logits and all cycles equal the RTL's"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.gates", description=__doc__)
    parser.add_argument("--chip", default="tiny")
    parser.add_argument("--liberty", help="standard cells; without it, only Yosys' generic gates")
    parser.add_argument(
        "--clock", type=megahertz, default=250, help="MHz for which the cells are chosen (default: 250)"
    )
    parser.add_argument("--no-clock-gates", action="store_true", help="keep a multiplexer at each enabled flip-flop")
    parser.add_argument("--cells-only", action="store_true", help="not the generic gates")
    options = parser.parse_args(arguments)
    if options.cells_only and not options.liberty:
        parser.error("--cells-only needs --liberty (make: LIBERTY=file)")
    try:
        library = Library(options.liberty) if options.liberty else None
        design = whole_chip(options.chip)
        if not options.cells_only:
            print(check(design, generic(design), options.chip, "generic"))
        if library:
            top = cells(design, library, options.clock, not options.no_clock_gates)
            print(check(design, top, options.chip, library.name))
    except (
        benches.UnknownName,
        HierarchyError,
        yosys.SynthesisError,
        LibertyError,
        DeviceError,
        GateError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
