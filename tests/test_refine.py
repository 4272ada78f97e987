"""Moves after placement: shorter paths, legal places, and a placement that nextpnr routes."""

import re
from collections import Counter, defaultdict

import pytest

from tests.test_synth import FOLDER, PINS, needs_nextpnr, written
from verif.synth import fpga, nextpnr
from verif.synth.paths import CLOCK_TO_OUTPUT, LUT, SETUP
from verif.synth.refine import CONTROL, CONTROL_NETS, Placement, refine, wire
from verif.synth.yosys import SynthesisError

OUTPUTS = ("F", "FCO", "Q")


def cell(kind: str, bel: str, parameters: dict | None = None, **nets: int) -> dict:
    ways = {port: "output" if port in OUTPUTS else "input" for port in nets}
    connections = {port: [net] for port, net in nets.items()}
    attributes = {"NEXTPNR_BEL": bel}
    return {
        "type": kind,
        "attributes": attributes,
        "parameters": parameters or {},
        "port_directions": ways,
        "connections": connections,
    }


def detour(**more: dict) -> dict:
    """Two flip-flops in a tile and its neighbour, which stay, as if they belonged to LUTs, and the LUT between them at
    the other end of the device."""
    cells = {
        "first": cell("TRELLIS_FF", "X2/Y2/SLICEA.FF0", {"SD": "1 "}, Q=1),
        "lut": cell("TRELLIS_COMB", "X60/Y40/SLICED.K1", A=1, F=2),
        "last": cell("TRELLIS_FF", "X3/Y2/SLICEA.FF0", {"SD": "1 "}, M=2),
    }
    return {"cells": cells | more}


def places(placed: dict) -> dict[str, str]:
    return {name: body["attributes"]["NEXTPNR_BEL"] for name, body in placed["cells"].items()}


def test_a_lut_far_from_its_registers_comes_back():
    placed = detour()
    logic = CLOCK_TO_OUTPUT["TRELLIS_FF"] + LUT + SETUP
    assert Placement(placed).time(5.0) == pytest.approx(logic + wire((2, 2), (60, 40)) + wire((60, 40), (3, 2)))
    result = refine(placed, 5.0)
    assert places(placed)["lut"] in {f"X{x}/Y2/SLICE{s}.K{k}" for x in (2, 3) for s in "ABCD" for k in "01"}
    assert (result.moves, result.late_before, result.late_after) == (1, 1, 0)
    assert result.after == pytest.approx(logic + wire((2, 2), (3, 2)) + wire((2, 2), (2, 2)))


def test_what_is_early_stays():
    placed = detour()
    before = places(placed)
    assert refine(placed, 30.0).moves == 0 and places(placed) == before


def test_a_lut_takes_no_place_that_is_taken_or_beside_a_carry():
    full = {
        f"{kind}{x}{s}": cell("TRELLIS_COMB", f"X{x}/Y2/SLICE{s}.K0", {"MODE": kind} if kind else {})
        for x in (2, 3)
        for s, kind in zip("ABCD", ("CCU2", "DPRAM", "RAMW_BLOCK", ""), strict=True)
    }
    placed = detour(**full)
    refine(placed, 5.0)
    assert places(placed)["lut"] in ("X2/Y2/SLICED.K1", "X3/Y2/SLICED.K1")


@pytest.mark.parametrize(
    "control, others, slices",
    [
        (dict(CE=9), {"X2/Y2/SLICEB.FF0": {}}, "X[23]/Y2/SLICE[ACD]|X3/Y2/SLICEB"),
        (dict(LSR=5), {"X2/Y2/SLICEB.FF0": dict(LSR=5), "X3/Y2/SLICEB.FF0": dict(LSR=6)}, "X2/Y2/SLICE[BCD]"),
        (dict(LSR=5, CE=9), {"X2/Y2/SLICEB.FF0": dict(LSR=5), "X3/Y2/SLICEB.FF0": dict(LSR=6)}, "X2/Y2/SLICE[CD]"),
        (dict(LSR=5), {"X2/Y2/SLICEB.FF0": dict(LSR=6), "X3/Y2/SLICEB.FF0": dict(LSR=6)}, "X60/Y40/SLICED"),
        (dict(CLK=7), {"X2/Y2/SLICEB.FF0": dict(CLK=8), "X3/Y2/SLICEB.FF0": dict(CLK=7)}, "X3/Y2/SLICE[BCD]"),
    ],
)
def test_a_flip_flop_shares_control_with_its_slice_and_clock_and_reset_with_its_tile(control, others, slices):
    cells = detour(
        inner=cell("TRELLIS_FF", "X60/Y40/SLICED.FF1", {"SD": "1 "}, DI=2, Q=3, **control),
        after=cell("TRELLIS_FF", "X3/Y2/SLICEA.FF0", {"SD": "1 "}, M=3, CE=1),
        **{bel: cell("TRELLIS_FF", bel, **nets) for bel, nets in others.items()},
    )
    del cells["cells"]["last"]
    refine(cells, 5.0)
    found = places(cells)
    assert re.fullmatch(rf"({slices})\.FF.", found["inner"]) and found["lut"] == found["inner"].replace("FF", "K")


def test_a_routed_wire_is_as_long_as_it_is_told_until_its_cell_moves():
    placed = detour()
    placed["netnames"] = {name: {"bits": [net], "attributes": {"ROUTING": ""}} for name, net in (("q", 1), ("f", 2))}
    routed = {("lut", "A"): 7.0, ("last", "M"): 9.0}
    logic = CLOCK_TO_OUTPUT["TRELLIS_FF"] + LUT + SETUP
    assert Placement(placed, routed).time(5.0) == pytest.approx(logic + 16.0)
    assert refine(placed, 30.0, routed).moves == 0
    result = refine(placed, 5.0, routed)
    assert result.before == pytest.approx(logic + 16.0) and result.after < 5.0
    # The LUT's output is routed anew; of its input nextpnr forgets what leads to where it was.
    assert [name for name, net in placed["netnames"].items() if "ROUTING" in net["attributes"]] == ["q"]


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


def unlawful(placed: dict) -> list[str]:
    """Flip-flops beside others of another control set, without the LUT that they take the output of, or in a tile
    with more than two clocks or resets."""
    sets, tiles, wrong = {}, defaultdict(set), []
    luts = {body["connections"]["F"][0]: name for name, body in placed["cells"].items() if body["connections"].get("F")}
    for name, body in placed["cells"].items():
        if body["type"] == "TRELLIS_FF":
            bel, nets = body["attributes"]["NEXTPNR_BEL"], body["connections"]
            control = [(port, *nets.get(port, [])) for port in CONTROL_NETS]
            control += [(key, body["parameters"].get(key)) for key in CONTROL if key != "REGSET"]
            tile, slice_, _ = re.match(r"(X\d+/Y\d+)/(SLICE.)\.FF(.)", bel).groups()
            tiles[tile].update(pair for pair in control if pair[0] in CONTROL_NETS and len(pair) > 1)
            if sets.setdefault((tile, slice_), control) != control:
                wrong.append(f"{name}: control set")
            if body["parameters"]["SD"].strip() == "1" and nets["DI"]:
                lut = placed["cells"][luts[nets["DI"][0]]]
                if lut["attributes"]["NEXTPNR_BEL"] != bel.replace("FF", "K"):
                    wrong.append(f"{name}: LUT elsewhere")
    for tile, found in tiles.items():
        wrong += [f"{tile}: {port}" for port in ("CLK", "LSR") if sum(pair[0] == port for pair in found) > 2]
    return wrong


def other_tiles(settings: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Those of pins, multipliers, RAMs and clocks."""
    return Counter({key: count for key, count in settings.items() if "PLC2" not in key[0]})


def slices(settings: Counter[tuple[str, str]]) -> Counter[str]:
    """Those of LUTs and flip-flops, wherever they lie."""
    found: Counter[str] = Counter()
    for (tile, line), count in settings.items():
        if "PLC2" in tile and "SLICE" in line and "MODE LOGIC" not in line:
            found[re.sub(r"SLICE.|REG.|INJECT1_.", "", line)] += count
    return found


def broken(routed: dict) -> list[str]:
    """Nets whose wires are no tree from one place, and wires of two nets."""
    of, wrong = {}, []
    for name, net in routed["netnames"].items():
        steps = net["attributes"].get("ROUTING", "").split(";")
        above = {wire: pip for wire, pip in zip(steps[::3], steps[1::3], strict=False) if wire}
        wrong += [f"{wire}: of {of[wire]}, {name}" for wire in above if of.setdefault(wire, name) != name]
        if above and list(above.values()).count("") != 1:
            wrong.append(f"{name}: not one source")
    return wrong


@needs_nextpnr
def test_nextpnr_routes_what_was_moved():
    folder = FOLDER / "mixture"
    netlist = fpga.synthesise(written("mixture", top=MIXTURE), folder)
    file = fpga.for_device(netlist, "top", folder, "25k")
    settings = (file, folder / "top", "25k", 50, 1, PINS)
    configuration = folder / "top.config"
    nextpnr.route(*settings)
    at_once = settings_of(configuration.read_text())
    placed = nextpnr.place(*settings)

    # Read again it is the same: among others every open input of the multiplier is tied as before.
    nextpnr.keep_open(placed)
    fpga.write_netlist(placed, "top", file)
    nextpnr.route(*settings, nextpnr.AS_PLACED)
    assert set(settings_of(configuration.read_text())) == set(at_once)
    assert any("MULT18" in line for _, line in at_once) and any("EBR" in line for _, line in at_once)

    before = places(placed)
    result = refine(placed, 1.0)
    after = places(placed)
    assert result.moves > 10 and len({*after.values()}) == len(after) and before != after
    resets = sum(bool(body["connections"].get("LSR")) for body in placed["cells"].values())
    assert resets >= 24 and unlawful(placed) == []
    fpga.write_netlist(placed, "top", file)
    routed = nextpnr.route(*settings, f"{nextpnr.AS_PLACED} --router router2")
    assert "Running router2" in (folder / "top.log").read_text()  # not the router that it was placed for
    assert routed.aim == 50 and routed.used["MULT18X18D"] == (1, 28)
    moved = settings_of(configuration.read_text())
    assert other_tiles(moved) == other_tiles(at_once) and slices(moved) == slices(at_once)
    assert nextpnr.pack_bitstream(folder / "top").stat().st_size > 1000


@needs_nextpnr
def test_what_is_late_by_its_routed_wires_moves_and_is_routed_again_alone(capsys):
    folder = FOLDER / "mixture_rounds"
    netlist = fpga.synthesise(written("mixture_rounds", top=MIXTURE), folder)
    file, stem = fpga.for_device(netlist, "top", folder, "25k"), folder / "routed"
    settings = (file, stem, "25k", 50, 1, PINS)

    def routed(placed: dict) -> tuple[float, int, dict[tuple[str, str], float], Counter[tuple[str, str]]]:
        nextpnr.keep_open(placed)
        fpga.write_netlist(placed, "top", file)
        megahertz = nextpnr.route(*settings, f"{nextpnr.AS_PLACED} {nextpnr.kept(stem)}").megahertz
        arcs = int(re.search(r"Routing (\d+) arcs", (folder / "routed.log").read_text())[1])
        placed.clear()
        read, delays = nextpnr.read_back(stem)
        placed.update(read)
        return megahertz, arcs, delays, settings_of((folder / "routed.config").read_text())

    placed = nextpnr.place(*settings)
    megahertz, arcs, delays, before = routed(placed)
    again, none, same, after = routed(placed)
    assert (again, none, same) == (megahertz, 0, delays) and after == before

    period = 1000 / megahertz - 1
    assert Placement(placed, delays).time(period) == pytest.approx(1000 / megahertz, abs=0.3)
    assert refine(placed, period, delays).moves and unlawful(placed) == []
    _, some, _, moved = routed(placed)
    assert 0 < some < arcs / 4 and broken(placed) == []
    assert other_tiles(moved) == other_tiles(before) and slices(moved) == slices(before)

    rounds = fpga.route_in_rounds(placed, "top", 1000 / period, 3, (*settings, nextpnr.AS_PLACED, 6))
    first = float(re.search(r"routed, ([\d.]+) MHz", capsys.readouterr().out)[1])
    assert rounds == nextpnr.read_log((folder / "routed.log").read_text()) and rounds.megahertz > first
    assert slices(settings_of((folder / "routed.config").read_text())) == slices(before)
    assert not list(folder.glob("*_round*"))

    clocks = fpga.clocks_by_grade("top", rounds, (*settings, nextpnr.AS_PLACED, 6))
    assert [*clocks] == [6, 7, 8] and clocks[6] == rounds.megahertz < clocks[7] - 5 < clocks[8] - 10
    assert {file.suffix for file in folder.glob("routed*")} == {".log", ".config", ".lpf"}


@pytest.mark.parametrize(
    "rounds, best", [(0, "routed"), (1, "routed_round1"), (3, "routed_round1"), (5, "routed_round4")]
)
def test_each_round_begins_with_the_best_and_the_best_stays(rounds, best, monkeypatch, capsys):
    """Clocks of 80, 90, 85, 88 and 95 MHz, then nextpnr refuses."""
    folder = FOLDER / f"rounds_{rounds}"
    folder.mkdir(parents=True, exist_ok=True)
    clocks, seeds, begun = [80.0, 90.0, 85.0, 88.0, 95.0], [], []

    def route(netlist, stem, device, megahertz, seed, *settings):
        seeds.append(seed)
        if len(seeds) > len(clocks):
            raise SynthesisError("nextpnr refuses this")
        for suffix in ("log", "config", "json", "sdf"):
            stem.with_name(f"{stem.name}.{suffix}").write_text(f"{suffix} of {stem.name}")
        return nextpnr.Routed(clocks[len(seeds) - 1], 100.0, (), {})

    def read_back(stem):
        begun.append((stem.name, stem.with_name(f"{stem.name}.json").read_text()))
        return detour() | {"netnames": {}}, {}

    monkeypatch.setattr(nextpnr, "route", route)
    monkeypatch.setattr(nextpnr, "read_back", read_back)
    settings = (folder / "top.json", folder / "routed", "25k", 100, 7, PINS, nextpnr.AS_PLACED, 6)
    assert fpga.route_in_rounds(detour(), "top", 200, rounds, settings).megahertz == max(clocks[: rounds + 1])
    assert seeds == list(range(7, 8 + rounds))
    names = ["routed", "routed_round1", "routed_round1", "routed_round1", "routed_round4"][:rounds]
    assert begun == [(name, f"json of {name}") for name in names]
    assert (folder / "routed.config").read_text() == f"config of {best}"
    kept = {f"routed.{kind}" for kind in ("log", "config", "json", "sdf")}
    assert {file.name for file in folder.iterdir()} == {"top.json"} | kept
    assert (folder / "routed.json").read_text() == f"json of {best}"
    told = capsys.readouterr().out
    assert ("nextpnr refuses this; what was routed before stays" in told) == (rounds == 5)
    assert [period in told for period in ("later than 5.0", "later than 4.8", "later than 4.6")] == [
        rounds > 0, rounds > 2, rounds > 3
    ]  # fmt: skip
