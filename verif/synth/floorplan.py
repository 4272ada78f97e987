"""Where a routed design lies on an ECP5: tiles in the colour of the chip's part in them, and the path that limits the
clock."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from mozg.figures import new_figure, save
from verif.synth.designs import Design
from verif.synth.nextpnr import Routed

# Folders of rtl/ that are parts; what lies in others (arith, common) is part of what it stands in.
PARTS = {
    "array": "#1b6ca8",
    "vector": "#e07b39",
    "memory": "#6a994e",
    "control": "#bc4749",
    "board": "#7b5ea7",
    "top": "#8d99ae",
}
# Of a part's colour a tile has so much at least, and all of it with this many cells; it has 16 places of LUTs and
# flip-flops.
PALE, FULL = 0.25, 10
PLACE = re.compile(r"X(\d+)/Y(\d+)/")


def part_of(design: Design, cell: str) -> str:
    """The innermost part around a cell of the flattened design."""
    module, found = design.modules[design.top], ""
    for name in (*cell.split("."), ""):
        folder = module.source.split("/")[1]
        found = folder if folder in PARTS else found
        if name not in module.names:
            break
        module = design.modules[module.names[name]]
    return found or "top"


def tiles(design: Design, netlist: dict) -> dict[tuple[int, int], Counter[str]]:
    """Cells of each part by tile, (column, row) from the upper left. netlist: the top as nextpnr writes it."""
    found: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    parts: dict[str, str] = {}
    for name, cell in netlist["cells"].items():
        place = PLACE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        if place:
            path = name.rpartition(".")[0]
            if path not in parts:
                parts[path] = part_of(design, name)
            found[int(place[1]), int(place[2])][parts[path]] += 1
    return found


def colours(found: dict[tuple[int, int], Counter[str]]) -> list[list[tuple[float, ...]]]:
    """Red, green and blue of every tile, a list a row: its parts' colours mixed, paler where few cells are."""
    from matplotlib.colors import to_rgb

    width, height = (max(tile[axis] for tile in found) + 2 for axis in (0, 1))
    rows: list[list[tuple[float, ...]]] = [[(1.0, 1.0, 1.0)] * width for _ in range(height)]
    for (column, row), parts in found.items():
        mixed = [sum(to_rgb(PARTS[part])[i] * n for part, n in parts.items()) / parts.total() for i in range(3)]
        share = min(1.0, PALE + parts.total() / FULL)
        rows[row][column] = tuple(1 - share * (1 - value) for value in mixed)
    return rows


def draw(path: Path, design: Design, netlist: dict, routed: Routed, title: str) -> None:
    """Write the picture of a netlist that nextpnr.read_back gave."""
    from matplotlib.patches import Patch

    found = tiles(design, netlist)
    figure = new_figure(1, 11, 7.2)
    axes = figure.axes[0]
    axes.grid(visible=False)
    axes.imshow(colours(found), interpolation="nearest")
    total = sum(found.values(), Counter())
    handles = [
        Patch(color=colour, label=f"{part}: {total[part]:,} cells") for part, colour in PARTS.items() if total[part]
    ]
    where = [PLACE.match(netlist["cells"][step.cell]["attributes"]["NEXTPNR_BEL"]) for step in routed.path]
    across, down = ([int(place[axis]) for place in where if place] for axis in (1, 2))
    if across:
        axes.plot(across, down, color="white", linewidth=3.5)
        label = f"critical path, {routed.path[-1].time:.1f} ns"
        handles += axes.plot(across, down, "o-", color="black", linewidth=1.4, markersize=3.5, label=label)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, frameon=False)
    axes.set(title=title, xlabel="column of tiles", ylabel="row of tiles")
    save(figure, path)
