"""What nextpnr writes and reads again: a placement that it routes as at once, a routed netlist on each speed grade."""

import re
from collections import Counter

from tests.test_synth import FOLDER, PINS, needs_nextpnr, written
from verif.synth import fpga, nextpnr

# Carries, distributed and block RAM, a multiplier, enables, resets, and logic between.
MIXTURE = """module top (input wire clk, input wire d, output reg q);
reg [63:0] line;
reg [15:0] count, other;
reg [7:0] store [0:15], word;
reg [35:0] block [0:511], of_block;
reg signed [17:0] a, b;
reg signed [35:0] product;
reg [11:0] cleared, preset;
always @(posedge clk) begin
    line <= {line[62:0], d};
    if (line[3]) count <= count + line[31:16];
    if (line[4] & line[9] & line[60]) other <= other ^ (count & line[47:32]) ^ {16{^line[20:10]}};
    if (line[5]) store[line[9:6]] <= other[7:0] ^ count[15:8];
    word <= store[count[3:0]];
    if (line[11]) block[count[8:0]] <= {other, product[19:0]};
    of_block <= block[line[20:12]];
    if (line[1]) a <= line[33:16];
    if (line[2]) b <= of_block[17:0];
    if (line[6]) product <= a * b;
    if (line[7]) cleared <= 0;
    else if (line[8]) cleared <= cleared + line[23:12];
    if (line[10]) preset <= 12'hfff;
    else preset <= {preset[10:0], ^cleared} ^ count[11:0];
    q <= ^word ^ ^other ^ ^(line[63:50] & count[13:0]) ^ ^product ^ ^of_block ^ ^preset;
end
endmodule
"""


def settings_of(configuration: str) -> Counter[tuple[str, str]]:
    """Everything that nextpnr sets in the tiles, but wires, and what its router exchanges: inputs of LUTs, and which of
    a tile's two clocks, resets and enables is which."""
    found: Counter[tuple[str, str]] = Counter()
    tile = ""
    for line in configuration.splitlines():
        if line.startswith(".tile"):
            tile = line
        elif line and not re.match(r"arc:|word: SLICE..K..INIT|enum: SLICE.\.[ABCD].MUX", line):
            found[tile, re.sub(r"(CLK|LSR|CE)[0-3]", r"\1", line)] += 1
    return found


@needs_nextpnr
def test_a_placement_read_again_is_routed_as_at_once():
    folder = FOLDER / "mixture"
    netlist = fpga.synthesise(written("mixture", top=MIXTURE), folder)
    file = fpga.for_device(netlist, "top", folder, "25k")
    settings = (file, folder / "top", "25k", 50, 1, PINS)
    configuration = folder / "top.config"
    nextpnr.route(*settings)
    at_once = settings_of(configuration.read_text())
    assert any("MULT18" in line for _, line in at_once) and any("EBR" in line for _, line in at_once)

    # Among others every open input of the multiplier is tied as before.
    placed = nextpnr.place(*settings)
    nextpnr.keep_open(placed)
    fpga.write_netlist(placed, "top", file)
    nextpnr.route(*settings, nextpnr.AS_PLACED)
    assert set(settings_of(configuration.read_text())) == set(at_once)

    routed = nextpnr.route(*settings, f"{nextpnr.AS_PLACED} --router router2")
    assert "Running router2" in (folder / "top.log").read_text()  # not the router that it was placed for
    assert routed.aim == 50 and routed.used["MULT18X18D"] == (1, 28)
    assert nextpnr.pack_bitstream(folder / "top").stat().st_size > 1000


@needs_nextpnr
def test_what_is_routed_is_timed_on_each_speed_grade():
    folder = FOLDER / "mixture_grades"
    netlist = fpga.synthesise(written("mixture_grades", top=MIXTURE), folder)
    file, stem = fpga.for_device(netlist, "top", folder, "25k"), folder / "routed"
    settings = (file, stem, "25k", 50, 1, PINS, nextpnr.kept(stem), 6)
    megahertz = nextpnr.route(*settings).megahertz
    configuration = (folder / "routed.config").read_text()

    clocks = fpga.clocks_by_grade(nextpnr.read_back(stem), megahertz, "top", settings)
    assert [*clocks] == [6, 7, 8] and clocks[6] == megahertz < clocks[7] - 5 < clocks[8] - 10
    assert {file.suffix for file in folder.glob("routed*")} == {".log", ".config", ".lpf", ".json"}

    # Read again, nothing is left to route, and all is as it was.
    again = nextpnr.read_back(stem)
    nextpnr.keep_open(again)
    fpga.write_netlist(again, "top", file)
    assert nextpnr.route(*settings[:6], nextpnr.AS_PLACED).megahertz == megahertz
    assert int(re.search(r"Routing (\d+) arcs", (folder / "routed.log").read_text())[1]) == 0
    assert settings_of((folder / "routed.config").read_text()) == settings_of(configuration)
