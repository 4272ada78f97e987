"""`make costs`: what each choice of a chip costs in gates and RAM bits, beside what it buys in cycles per token.

The chip as it is, and with one choice changed at a time: twice the rows, the bus, the lanes. Gates are Yosys' generic
ones, so no library is needed, and levels are the longest chain of them in any module; with --liberty a second table
takes a row of the array apart, in gate equivalents, and --clocks maps every choice for its MHz, minutes each, so that
gates are multiplied by microseconds, not by cycles.
Cycles: GPT-2 124M at context 512 by the cycle model, decode of one sequence and prefill, DDR4.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from mozg.compiler import compile_shape
from mozg.cycle_model import predict_decode, predict_prefill
from mozg.errors import MozgError
from mozg.layout import FORMATS
from mozg.shapes import parse_shape
from rtl.common.config import BLOCK, ChipConfig
from rtl.convert import HierarchyError
from verif.synth import asic, yosys
from verif.synth.designs import OUT, Design, Module, chip_configuration, find, whole_chip
from verif.synth.generic import measure
from verif.synth.liberty import Library
from verif.synth.options import exit_code, megahertz
from verif.synth.tables import table

CONTEXT = 512
# What MXFP4 and FP32 are compared with, in the form of the array's leaf: 32 products of int8, and sums of integers.
PLAIN_DOT = """module plain_dot (input wire clk, input wire [2:0] enable, input wire [255:0] activations,
    input wire [255:0] weights, output reg signed [20:0] total);
wire [17:0] four [0:7];
genvar i;
generate for (i = 0; i < 8; i = i + 1) begin: fours
    reg signed [17:0] sum;
    always @(posedge clk) if (enable[0]) sum <= {products};
    assign four[i] = sum ^ 18'h20000;
end endgenerate
reg [20:0] all;
always @(posedge clk) if (enable[1]) all <= ((four[0] + four[1]) + (four[2] + four[3]))
    + ((four[4] + four[5]) + (four[6] + four[7]));
always @(posedge clk) if (enable[2]) total <= all ^ 21'h100000;
endmodule
"""
PLAIN_SUM = """module plain_sum (input wire clk, input wire enable, input wire fresh, input wire signed [20:0] total,
    input wire signed [31:0] accumulated, output reg signed [31:0] sum);
always @(posedge clk) if (enable) sum <= (fresh ? 32'sd0 : accumulated) + total;
endmodule
"""


def changes(chip: str) -> dict[str, str]:
    """What is changed -> the chip's name, for a preset: twice each of what can be doubled."""
    config = chip_configuration(chip)
    found = {"as it is": chip}
    lanes = max(config.lanes, 2 * config.rows)
    wider = f",lanes={lanes}" if lanes != config.lanes else ""
    if lanes <= BLOCK:
        found[f"rows {config.rows} -> {2 * config.rows}{wider}"] = f"{chip},rows={2 * config.rows}{wider}"
    if config.rows > 2:
        found[f"rows {config.rows} -> {config.rows // 2}"] = f"{chip},rows={config.rows // 2}"
    for ports in (2 * config.ports, config.ports // 2):
        if 1 <= ports <= ChipConfig.MOST_PORTS:
            found[f"bus {config.bus_bits} -> {256 * ports} bits"] = f"{chip},ports={ports}"
    if 2 * config.lanes <= BLOCK:
        found[f"lanes {config.lanes} -> {2 * config.lanes}"] = f"{chip},lanes={2 * config.lanes}"
    if config.lanes // 2 >= max(2, config.rows):
        found[f"lanes {config.lanes} -> {config.lanes // 2}"] = f"{chip},lanes={config.lanes // 2}"
    found[f"context {config.context} -> {2 * config.context}"] = f"{chip},context={2 * config.context}"
    return found


def cycles(config: ChipConfig, weights: str) -> tuple[int, int] | None:
    """Cycles a token of GPT-2 124M by the cycle model: decode, prefill. None where the model does not fit the chip."""
    try:
        image = compile_shape(parse_shape("gpt2-124m"), config, weights)
    except MozgError:
        return None
    steps = predict_prefill(image, CONTEXT)
    return round(predict_decode(image, CONTEXT).cycles), round(sum(step.cycles for step in steps) / CONTEXT)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A chip with one choice changed. cycles: a token, by (weights, kind of step); empty where 124M does not fit."""

    what: str
    gates: int
    flip_flops: int
    memory_bits: int
    levels: int
    deepest: str
    megahertz: float | None
    cycles: dict[tuple[str, str], int]

    def products(self) -> dict[tuple[str, str], float]:
        """Gates times cycles a token, or times its microseconds where the clock is known."""
        return {key: self.gates * cycles / (self.megahertz or 1) for key, cycles in self.cycles.items()}


def choice(what: str, name: str, library: Library | None, megahertz: float) -> Choice:
    """Measure a chip; its clock only with a library."""
    design = whole_chip(name)
    figures = measure(design, OUT / "generic" / design.top)
    gates, flip_flops, bits = (
        sum(f.instances * getattr(f, key) for f in figures) for key in ("gates", "flip_flops", "memory_bits")
    )
    deepest = max(figures, key=lambda f: f.levels)
    clock = asic.run(design, library, [], megahertz, True, lambda _: None).megahertz if library else None
    # A larger context needs no other cycles; 124M does not fit into every chip.
    config = dataclasses.replace(chip_configuration(name), context=max(1024, chip_configuration(name).context))
    found = {}
    for weights in FORMATS:
        if both := cycles(config, weights):
            found |= dict(zip(((weights, "decode"), (weights, "prefill")), both, strict=True))
    source = design.modules[deepest.name].block.rsplit(".", 1)[-1]
    return Choice(what, gates, flip_flops, bits, deepest.levels, source, clock, found)


def chips(chip: str, library: Library | None = None, megahertz: float = 250) -> str:
    """The tables of whole chips: sizes and cycles a token, then what area and time make together."""
    found: list[Choice] = []
    lines: list[str] = []
    start, every = time.monotonic(), changes(chip)
    for done, (what, name) in enumerate(every.items()):
        left = f", about {(time.monotonic() - start) * (len(every) / done - 1) / 60:.0f} minutes left" if done else ""
        print(f"{chip}, {what} ({done + 1} of {len(every)}{left})", file=sys.stderr)
        try:
            found.append(choice(what, name, library, megahertz))
        except HierarchyError:
            lines.append(f"{what}: the RTL does not convert")
    keys = [(weights, kind) for weights in FORMATS for kind in ("decode", "prefill")]
    heads = [f"{kind} {weights}" for weights, kind in keys]
    base = found[0]
    sizes: list[list[object]] = []
    products: list[list[object]] = []
    for one in found:
        row = [one.what, one.gates, f"{100 * (one.gates / base.gates - 1):+.1f} %", one.flip_flops]
        row += [round(one.memory_bits / 1024), f"{one.levels} {one.deepest}"]
        row += [one.megahertz] if library else []
        sizes.append([*row, *(one.cycles.get(key) for key in keys)])
        product, first = one.products(), base.products()
        change = {key: f"{100 * (value / first[key] - 1):+.0f} %" for key, value in product.items()}
        shown = {key: f"{value:.2e}" for key, value in product.items()} if one is base else change
        products.append([one.what, *(shown.get(key) for key in keys)])
    mhz = ("MHz",) if library else ()
    columns = ("choice", "gates", "change", "flip-flops", "RAM kbit", "levels", *mhz, *heads)
    product_of = "gates x us" if library else "gates x cycles"
    return "\n".join([*lines, table(columns, sizes), "", table((product_of, *heads), products)])


def plain(name: str, text: str, library: Library, megahertz: float) -> tuple[float, float]:
    """Gate equivalents and MHz of a module that stands here as text."""
    directory = OUT / "costs"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}.v"
    file.write_text(text)
    design = Design(name, {name: Module(name, file, f"verif.synth.costs.{name}", ())})
    result = asic.run(design, library, [], megahertz, True, lambda _: None)
    return result.gate_equivalents, result.megahertz


def row_of_the_array(library: Library, megahertz: float) -> str:
    """The table of what is in a row of 32 lanes, in gate equivalents."""
    chip = "server,ports=1"
    result = asic.run(find("array_row", chip), library, [], megahertz, True, lambda _: None)
    names = {module.block.rsplit(".", 1)[-1]: name for name, module in result.design.modules.items()}
    leaf, column = result.under(names["dot_split"]), result.under(names["array_column"])
    accumulators = result.under(names["accumulator_ram"])
    products = " + ".join(
        f"$signed(weights[32 * i + {8 * k} +: 8]) * $signed(activations[32 * i + {8 * k} +: 8])" for k in range(4)
    )
    dot, dot_clock = plain("plain_dot", PLAIN_DOT.replace("{products}", products), library, megahertz)
    total, sum_clock = plain("plain_sum", PLAIN_SUM, library, megahertz)
    lane = asic.run(find("lane", "server"), library, [], megahertz, True, lambda _: None)
    rows = [
        ("a row as it is, without accumulators", round(result.gate_equivalents - 2 * accumulators), result.megahertz),
        ("  its leaf, 32 MXINT8 or 64 MXFP4 products", round(leaf), None),
        ("  one of its two columns: scale, FP32 conversion, FP32 adder", round(column - accumulators), None),
        ("32 products of int8 alone, in the same form", round(dot), dot_clock),
        ("a 32-bit integer sum instead of a column", round(total), sum_clock),
        ("MXFP4: leaf - plain products + one column", round(leaf - dot + column - accumulators), None),
        ("FP32 accumulation and block scales: a column - an integer sum", round(column - accumulators - total), None),
        ("accumulators of a column in flip-flops, 64 x 32 bits", round(accumulators), None),
        ("a vector lane (its RAM apart)", round(lane.gate_equivalents), lane.megahertz),
    ]
    return table((f"gate equivalents in {library.name}", "GE", "MHz"), rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verif.synth.costs", description=__doc__)
    parser.add_argument("--chip", default="server", help="a preset, or one with fields changed")
    parser.add_argument("--liberty", help="standard cells, for the table of a row")
    parser.add_argument("--clock", type=megahertz, default=250, help="MHz (default: 250)")
    parser.add_argument("--clocks", action="store_true", help="with --liberty: map every choice, and time it")
    parser.add_argument("--row-only", action="store_true", help="only the table of a row")
    options = parser.parse_args(arguments)
    if (options.row_only or options.clocks) and not options.liberty:
        parser.error("--row-only and --clocks need --liberty (make: LIBERTY=file)")
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    start = time.monotonic()
    library = Library(Path(options.liberty)) if options.liberty else None
    if not options.row_only:
        print(chips(options.chip, library if options.clocks else None, options.clock))
        print(f"cycles a token of GPT-2 124M, context {CONTEXT}, by the cycle model; gates by {yosys.version()}")
    if library:
        print(row_of_the_array(library, options.clock))
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
