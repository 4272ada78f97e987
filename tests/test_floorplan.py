"""The picture of a routed design: each tile in the colour of the part that its cells belong to."""

from collections import Counter

import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from verif.synth.designs import Design, Module
from verif.synth.floorplan import PARTS, colours, draw, part_of, tiles
from verif.synth.nextpnr import Routed, Step


@pytest.fixture
def design(tmp_path) -> Design:
    """A board around a chip with a FIFO of its own and a lane, which has an adder."""

    def module(name: str, block: str, **children: str) -> Module:
        file = tmp_path / f"{name}.v"
        file.write_text("".join(f"{kind} {instance} (\n);\n" for instance, kind in children.items()))
        return Module(name, file, block, tuple(children.values()))

    modules = [
        module("fifo", "rtl.common.fifo.fifo"),
        module("adder", "rtl.arith.fp32_add.fp32_add"),
        module("lane", "rtl.vector.lane.lane", sum="adder"),
        module("chip", "rtl.top.mozg.mozg", lane_0="lane", queue="fifo"),
        module("board", "rtl.board.ulx3s.ulx3s", chip="chip"),
    ]
    return Design("board", {each.name: each for each in modules})


@pytest.mark.parametrize(
    "cell, part",
    [
        ("leds_TRELLIS_FF_Q", "board"),
        ("chip.queue.count_LUT4_A", "top"),
        ("chip.lane_0.value_TRELLIS_FF_Q", "vector"),
        ("chip.lane_0.sum.exponent_LUT4_A_1", "vector"),
        ("$nextpnr_made_it", "board"),
    ],
)
def test_a_cell_belongs_to_the_innermost_part_around_it(design, cell, part):
    assert part_of(design, cell) == part


def test_a_tile_has_the_colours_of_its_cells_and_is_paler_with_few(design, tmp_path):
    places = {
        "chip.lane_0.a": "X3/Y1/SLICEA.FF0",
        "leds": "X3/Y1/SLICEB.FF1",
        "chip.queue.b": "X0/Y2/PIOA",
        "open": None,
    }
    cells = {name: {"attributes": {"NEXTPNR_BEL": at} if at else {}} for name, at in places.items()}
    cells |= {f"chip.lane_0.sum.{i}": {"attributes": {"NEXTPNR_BEL": f"X5/Y4/SLICEA.K{i}"}} for i in range(16)}
    found = tiles(design, {"cells": cells})
    assert found == {(3, 1): Counter(vector=1, board=1), (0, 2): Counter(top=1), (5, 4): Counter(vector=16)}

    rows = colours(found)
    assert (len(rows), len(rows[0])) == (6, 7)
    assert rows[4][5] == pytest.approx(to_rgb(PARTS["vector"])) and rows[0][0] == (1, 1, 1)
    mixed = [(a + b) / 2 for a, b in zip(to_rgb(PARTS["vector"]), to_rgb(PARTS["board"]), strict=True)]
    assert all(value < pale < 1 for value, pale in zip(mixed, rows[1][3], strict=True))

    for path in ((), (Step("chip.lane_0.a", 0.5, 0.0), Step("chip.lane_0.sum.3", 2.0, 1.1))):
        picture = tmp_path / f"{len(path)}.png"
        draw(picture, design, {"cells": cells}, Routed(90.0, 100.0, path, {}), "board")
        assert imread(picture).shape[0] > 500
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "2.png").read_bytes()
