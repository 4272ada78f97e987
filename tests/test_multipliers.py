"""Registers that go into the multipliers of an ECP5: the netlist behaves as before, and each has its place."""

import re
import subprocess
from collections import Counter

from tests.test_synth import FOLDER, PINS, needs_nextpnr, written
from verif.synth import fpga, nextpnr, paths, yosys
from verif.synth.multipliers import BLOCKS, take_in_registers


def bits(letter: str, count: int) -> str:
    """`A17, A16, ...`, as the cell's ports are named."""
    return ", ".join(f"{letter}{i}" for i in reversed(range(count)))


# What Lattice FPGA-TN-02205 says of the cell, as far as netlists here use it; a reset that nothing is connected to is
# high, and a register behind the product is not to be used.
MODEL = f"""module MULT18X18D (
    input {bits("A", 18)}, {bits("B", 18)}, {bits("C", 18)}, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK0, CE0, CE1, CE2, CE3, RST0, output {bits("P", 36)});
parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
parameter REG_INPUTA_CE = "CE0", REG_INPUTB_CE = "CE0", REG_INPUTA_RST = "RST0", REG_INPUTB_RST = "RST0";
wire reset = RST0 !== 1'b0;
wire [3:0] enables = {{CE3, CE2, CE1, CE0}};
wire [35:0] factors = {{{bits("A", 18)}, {bits("B", 18)}}};
reg [17:0] a = 0, b = 0;
wire [17:0] left = REG_INPUTA_CLK == "NONE" ? factors[35:18] : a, right = REG_INPUTB_CLK == "NONE" ? factors[17:0] : b;
wire [35:0] product = {{{{18{{left[17] & SIGNEDA}}}}, left}} * {{{{18{{right[17] & SIGNEDB}}}}, right}};
localparam [1:0] A_PLACE = REG_INPUTA_CE[1:0], B_PLACE = REG_INPUTB_CE[1:0];
always @(posedge CLK0) begin
    if (reset) a <= 0; else if (enables[A_PLACE]) a <= factors[35:18];
    if (reset) b <= 0; else if (enables[B_PLACE]) b <= factors[17:0];
end
assign {{{bits("P", 36)}}} = REG_OUTPUT_CLK == "NONE" && REG_PIPELINE_CLK == "NONE" ? product : 36'bx;
endmodule
"""

# Of each multiplier: whether it can take its registers in, and why.
DESIGN = """module top (input wire clk, input wire rst, input wire [5:0] on,
    input wire signed [17:0] x, input wire signed [9:0] y,
    output reg signed [27:0] p, q, r, output reg signed [35:0] s, t, output wire signed [17:0] seen);
initial {p, q, r, s, t, a, b, c, d, e, f, g} = 0;
reg signed [17:0] a, c, e, g;
reg signed [9:0] b, d, f;
reg signed [27:0] of_reset;
always @(posedge clk) begin
    if (on[0]) a <= x;
    if (on[1]) b <= y;
    if (on[2]) p <= a * b; // can
    if (on[3]) c <= x ^ 18'h2a5a5;
    q <= c * b; // can: b goes into two, and one register has no enable
    if (rst) d <= 0; else if (on[4]) d <= y;
    r <= c * d; // cannot: a reset; so c stays outside as well
    if (on[5]) e <= p[27:10];
    if (on[4]) s <= e * a; // can: what it reads is a product's register
    if (on[3]) f <= {5'b1, x[4:0]};
    if (on[3]) g <= x;
    t <= f * g; // can: a one among its bits, both factors with one enable
end
assign seen = g; // one of its registers is read elsewhere, too
endmodule
"""

BENCH = """module bench;
reg clk = 0, rst = 0;
reg [5:0] on = 0;
reg signed [17:0] x = 0;
reg signed [9:0] y = 0;
wire [173:0] left, right;
integer i;
top rtl (.clk(clk), .rst(rst), .on(on), .x(x), .y(y), .p(left[173:146]), .q(left[145:118]), .r(left[117:90]),
    .s(left[89:54]), .t(left[53:18]), .seen(left[17:0]));
netlist gates (.clk(clk), .rst(rst), .on(on), .x(x), .y(y), .p(right[173:146]), .q(right[145:118]), .r(right[117:90]),
    .s(right[89:54]), .t(right[53:18]), .seen(right[17:0]));
initial begin
    for (i = 0; i < 4000; i = i + 1) begin
        {on, x, y, rst} = {$random, $random};
        #1 clk = 1;
        #1 clk = 0;
        if (left !== right) begin
            $display("cycle %0d: %h, expected %h", i, right, left);
            $finish;
        end
    end
    if (left[173:146] != 0) $display("equal");
    $finish;
end
endmodule
"""


def test_a_netlist_whose_multipliers_took_registers_in_behaves_as_before():
    folder = FOLDER / "multipliers"
    design = written("multipliers", top=DESIGN)
    netlist = fpga.synthesise(design, folder)
    before = fpga.by_module(design, netlist)["top"]
    file = fpga.for_device(netlist, "top", folder, "25k")
    after = fpga.by_module(design, netlist)["top"]
    multipliers = [cell for cell in netlist["cells"].values() if cell["type"] == "MULT18X18D"]
    assert (before["MULT18X18D"], sum(map(paths.registered, multipliers))) == (5, 4)
    assert before["TRELLIS_FF"] - after["TRELLIS_FF"] >= 18 + 10 + 18
    places = Counter(cell["attributes"].get("BEL") for cell in multipliers if paths.registered(cell))
    assert len(places) == 4 and None not in places and set(places.values()) == {1}
    check_blocks(multipliers, "25k")

    model, made = folder / "model.v", folder / "netlist.v"
    model.write_text(MODEL)
    lines = [f"read_json {yosys.relative(file)}"]
    lines += [f"read_verilog -overwrite +/lattice/cells_sim_ecp5.v {yosys.relative(model)}", "hierarchy -top top"]
    lines += ["proc", "flatten", "rename top netlist", f"write_verilog -noattr {yosys.relative(made)}"]
    yosys.run(lines, folder, "netlist")
    (folder / "bench.v").write_text(BENCH)
    files = [folder / "bench.v", made, *(module.file for module in design.modules.values())]
    subprocess.run(["iverilog", "-g2005", "-s", "bench", "-o", folder / "bench", *files], check=True)
    assert subprocess.run([folder / "bench"], capture_output=True, text=True).stdout == "equal\n"


def check_blocks(multipliers: list[dict], device: str) -> None:
    """No two multipliers of a block have different nets at one of its enables."""
    shared: dict[tuple, set] = {}
    for cell in multipliers:
        if paths.registered(cell):
            column, row = place(cell)
            block = max(start for start in BLOCKS[device][1] if start <= column)
            for enable in ("CE0", "CE1", "CE2", "CE3"):
                if enable in cell["connections"]:
                    shared.setdefault((row, block, enable), set()).add(cell["connections"][enable][0])
    assert all(len(nets) == 1 for nets in shared.values())


# A constant one beside a factor's register, which is a zero in a multiplier's register until that is enabled.
ONES = """module top (input wire clk, input wire [1:0] on, input wire signed [17:0] x,
    output reg signed [35:0] p, q, r);
reg signed [17:0] a, b, c, d;
always @(posedge clk) begin
    if (on[0]) {a, b, d} <= {x, {5'b1, x[12:0]}, {4'b1, x[13:0]}};
    if (on[1]) c <= x;
    p <= a * b; // can: one enable, so both factors are zeros as long
    q <= c * b; // cannot
    r <= b * d; // cannot: ones in both, so the source's product is never zero
end
endmodule
"""


def test_a_constant_one_stays_outside_unless_both_factors_come_together():
    design = written("ones", top=ONES)
    netlist = fpga.synthesise(design, FOLDER / "ones")
    fpga.for_device(netlist, "top", FOLDER / "ones", "25k")
    multipliers = {name: c for name, c in netlist["cells"].items() if c["type"] == "MULT18X18D"}
    assert {name[0]: paths.registered(cell) for name, cell in multipliers.items()} == {
        "p": True,
        "q": False,
        "r": False,
    }


def flip_flop(enable: int, data: int, output: int) -> dict:
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "REGSET": "RESET"},
        "port_directions": {"CLK": "input", "CE": "input", "DI": "input", "Q": "output"},
        "connections": {"CLK": [1], "CE": [enable], "DI": [data], "Q": [output]},
    }


def placed(enables: dict[str, tuple[int, int]]) -> dict[str, dict]:
    """Multipliers of one bit, by name, with these enables of the registers before A and B, after take_in_registers."""
    netlist = {"cells": {}}
    for i, (name, nets) in enumerate(enables.items()):
        ports = {"A0": 1000 + 4 * i, "B0": 1001 + 4 * i}
        for (port, net), enable in zip(ports.items(), nets, strict=True):
            netlist["cells"][f"{name}_{port}"] = flip_flop(enable, net + 2, net)
        netlist["cells"][name] = {
            "type": "MULT18X18D",
            "attributes": {},
            "parameters": {},
            "port_directions": dict.fromkeys(ports, "input"),
            "connections": {port: [net] for port, net in ports.items()},
        }
    assert take_in_registers(netlist, "85k") == 2 * len(enables)
    assert len({cell["attributes"]["BEL"] for cell in netlist["cells"].values()}) == len(enables)
    return netlist["cells"]


def place(cell: dict) -> tuple[int, int]:
    """Column and row."""
    column, row = re.findall(r"[XY](\d+)", cell["attributes"]["BEL"])
    return int(column), int(row)


def test_a_row_of_the_array_lies_in_a_row_of_the_device_and_a_lane_in_one_place():
    rows = [[f"rows_{row}.p{i}" for i in range(32)] for row in range(4)]
    lanes = [[f"pipes_{lane}.{unit}.{half}" for unit in ("mul1", "mul2") for half in "abc"] for lane in range(4)]
    enables = {name: (2 + row, 2 + row) for row, names in enumerate(rows) for name in names}
    enables |= {name: (6, 6) if "mul1" in name else (7, 7) for names in lanes for name in names}
    cells = placed(enables)
    columns, lines = ([{place(cells[name])[axis] for name in names} for names in rows] for axis in (0, 1))
    assert [len(line) for line in lines] == [1, 1, 1, 2] and columns[0] == columns[1] == columns[2]
    for names in lanes:
        across, down = zip(*(place(cells[name]) for name in names), strict=True)
        assert max(across) - min(across) <= 2 * 9 and max(down) - min(down) <= 24  # two blocks, two rows


def test_a_block_has_no_more_enables_than_four():
    cells = placed({f"x{i}": (2 * i, 2 * i + 1) for i in range(1, 7)})
    check_blocks(list(cells.values()), "85k")
    assert sorted(place(cell) for cell in cells.values())[-1] == (23, 10)  # two in each of three blocks


ENABLED = """module top (input wire clk, input wire d, output reg q);
reg [40:0] line;
reg signed [17:0] a;
reg signed [9:0] b;
reg signed [27:0] p;
always @(posedge clk) begin
    line <= {line[39:0], d};
    if (line[0]) a <= line[40:23];
    if (line[1]) b <= line[20:11];
    if (line[2]) p <= a * b;
    q <= ^p;
end
endmodule
"""


@needs_nextpnr
def test_nextpnr_writes_enables_and_a_low_reset_into_the_configuration():
    folder = FOLDER / "enabled"
    netlist = fpga.synthesise(written("enabled", top=ENABLED), folder)
    file = fpga.for_device(netlist, "top", folder, "25k")
    nextpnr.route(file, folder / "top", "25k", 50, 1, PINS)
    tiles = (folder / "top.config").read_text().split("\n\n")
    (words,) = [tile.split() for tile in tiles if "REG_INPUTA_CLK CLK0" in tile]
    settings = {words[i + 1].partition(".")[2]: words[i + 2] for i, word in enumerate(words) if word == "enum:"}
    assert {settings["REG_INPUTA_CE"], settings["REG_INPUTB_CE"]} == {"CE0", "CE1"}
    assert (settings["REG_INPUTA_RST"], settings["REG_INPUTB_RST"], settings["RST0MUX"]) == ("RST0", "RST0", "RST0")
    assert (settings["REG_PIPELINE_CLK"], settings["REG_OUTPUT_CLK"]) == ("NONE", "NONE")
    # RST0 of a block's first multiplier comes by the fourth column of tiles.
    (cell,) = [cell for cell in netlist["cells"].values() if cell["type"] == "MULT18X18D"]
    column, row, place = re.findall(r"\d+", cell["attributes"]["BEL"].replace("MULT18", ""))
    (tile,) = [tile for tile in tiles if tile.strip().startswith(f".tile CIB_R{row}C{int(column) + 3}:CIB_DSP")]
    assert place == "0" and "arc: JLSR0" in tile
