"""Block RAMs of an ECP5, spread over their rows of tiles by a first placement.

Placers put them as close together as wires are shortest, and then too few wires lead to them: nextpnr's routers do not
come to an end. Where each sits in a row as wide as the device, in the order of what it is connected to, wires are no
longer and far fewer are wanted twice (measured in README.md).
"""

from __future__ import annotations

import re
from collections import defaultdict

from verif.synth.multipliers import BLOCKS

KIND = "DP16KD"
# Rows of tiles with block RAMs; their columns are those of the multipliers' blocks, four RAMs to each.
ROWS = {"25k": (25, 37), "45k": (10, 34, 58), "85k": (22, 46, 70, 82)}
IN_COLUMN = (0, 2, 4, 6)
WIDEST = 40  # pins of a net that tells where a RAM wants to be


def _sites(device: str) -> dict[int, list[str]]:
    """Names of the places of each row, from left to right."""
    columns = BLOCKS[device][1]
    return {
        row: [f"X{column + offset}/Y{row}/EBR{i}" for column in columns for i, offset in enumerate(IN_COLUMN)]
        for row in ROWS[device]
    }


def _wanted(placed: dict) -> list[tuple[float, float, str]]:
    """(y, x, name) of every block RAM: the mean place of the other cells at its nets, which are not RAMs."""
    cells, where, nets = placed["cells"], {}, defaultdict(list)
    for name, cell in cells.items():
        found = re.match(r"X(\d+)/Y(\d+)/", cell["attributes"].get("NEXTPNR_BEL", ""))
        if found:
            where[name] = int(found[1]), int(found[2])
            for pins in cell["connections"].values():
                for net in pins:
                    if isinstance(net, int):
                        nets[net].append(name)
    wanted = []
    for name in (name for name in where if cells[name]["type"] == KIND):
        ends = [net for pins in cells[name]["connections"].values() for net in pins if isinstance(net, int)]
        others = [
            where[other]
            for net in ends
            if len(nets[net]) <= WIDEST
            for other in nets[net]
            if cells[other]["type"] != KIND
        ] or [where[name]]
        wanted.append((sum(y for _, y in others) / len(others), sum(x for x, _ in others) / len(others), name))
    return sorted(wanted)


def spread(netlist: dict, placed: dict, device: str) -> int:
    """Give the block RAMs of a netlist their places: as many to each row of the device, evenly along it.

    netlist: the top of Yosys' JSON, changed in place; placed: the same as nextpnr writes it after placement. Returns
    how many there are; more than the device has get no place, which nextpnr then tells.
    """
    wanted, sites = _wanted(placed), _sites(device)
    each = -(-len(wanted) // len(sites))
    for number, row in enumerate(sorted(sites)):
        room = len(sites[row])
        here = sorted(wanted[number * each : (number + 1) * each], key=lambda ram: ram[1:])[:room]
        for i, (_, _, name) in enumerate(here):
            place = round(i * (room - 1) / max(1, len(here) - 1))
            netlist["cells"][name]["attributes"]["BEL"] = sites[row][place]
    return len(wanted)
