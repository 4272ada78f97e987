"""Places of the block RAMs of an ECP5: legal, one each, in the order of what they are connected to."""

import re

from tests.test_synth import FOLDER, PINS, needs_nextpnr, written
from verif.synth import fpga, nextpnr
from verif.synth.block_rams import ROWS, spread
from verif.synth.multipliers import BLOCKS


def cell(kind: str, bel: str, **nets: int) -> dict:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "connections": {pin: [net] for pin, net in nets.items()}}


def test_rams_lie_where_their_logic_does_as_many_in_each_row():
    names = [f"ram{i}" for i in range(10)]
    placed = {"cells": {name: cell("DP16KD", "X24/Y25/EBR2", D=i) for i, name in enumerate(names)}}
    # Logic of the first five high up, of the others below; from the right to the left.
    for i in range(10):
        placed["cells"][f"lut{i}"] = cell("TRELLIS_COMB", f"X{60 - i}/Y{2 if i < 5 else 45}/SLICEA.LUT0", F=i)
    netlist = {"cells": {name: {"type": "DP16KD", "attributes": {}} for name in names}}
    assert spread(netlist, placed, "25k") == 10
    places = [netlist["cells"][name]["attributes"]["BEL"] for name in names]
    found = [tuple(map(int, re.fullmatch(r"X(\d+)/Y(\d+)/EBR[0-3]", place).groups())) for place in places]
    assert len(set(found)) == 10
    assert [row for _, row in found] == [ROWS["25k"][0]] * 5 + [ROWS["25k"][1]] * 5
    first, last = BLOCKS["25k"][1][0], BLOCKS["25k"][1][-1] + 6
    for row in (found[:5], found[5:]):
        assert row == sorted(row, reverse=True) and (row[0][0], row[-1][0]) == (last, first)


def test_no_two_rams_get_one_place_where_there_are_too_many():
    names = [f"ram{i}" for i in range(60)]
    placed = {"cells": {name: cell("DP16KD", "X24/Y25/EBR2", D=i) for i, name in enumerate(names)}}
    netlist = {"cells": {name: {"type": "DP16KD", "attributes": {}} for name in names}}
    assert spread(netlist, placed, "25k") == 60
    places = [netlist["cells"][name]["attributes"].get("BEL") for name in names]
    assert places.count(None) == 4 and len(set(places)) == 57


# Three RAMs, whose address and data come in bit by bit.
MEMORIES = """module top (input wire clk, input wire d, output reg q);
reg [71:0] line;
reg [35:0] a [0:511], b [0:511], c [0:511], of_a, of_b, of_c;
always @(posedge clk) begin
    line <= {line[70:0], d};
    if (line[0]) a[line[8:0]] <= line[71:36];
    if (line[1]) b[line[9:1]] <= line[70:35];
    if (line[2]) c[line[10:2]] <= line[69:34];
    of_a <= a[line[20:12]];
    of_b <= b[of_a[8:0]];
    of_c <= c[of_b[8:0]];
    q <= ^of_c;
end
endmodule
"""


@needs_nextpnr
def test_nextpnr_takes_the_places():
    folder = FOLDER / "memories"
    netlist = fpga.synthesise(written("memories", top=MEMORIES), folder)
    file = fpga.for_device(netlist, "top", folder, "25k")
    settings = (file, folder / "top", "25k", 50, 1, PINS)
    assert spread(netlist, nextpnr.place(*settings), "25k") == 3
    wanted = {name: c["attributes"]["BEL"] for name, c in netlist["cells"].items() if c["type"] == "DP16KD"}
    fpga.write_netlist(netlist, "top", file)
    placed = nextpnr.place(*settings)
    assert {name: placed["cells"][name]["attributes"]["NEXTPNR_BEL"] for name in wanted} == wanted
    assert nextpnr.route(*settings).used["DP16KD"] == (3, 56)
