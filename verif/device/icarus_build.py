"""Builds the whole chip in Icarus and runs its server: `python -m verif.device.icarus_build CHIP`, for IcarusDevice.

Lines of its output that begin with PROGRESS are for the user.
"""

from __future__ import annotations

import sys

from verif import benches
from verif.folders import BUILD, FolderError, alone
from verif.runner import prepare_environment

PROGRESS = "progress: "


def tell(text: str) -> None:
    """Say something to the user of the device."""
    print(PROGRESS + text, flush=True)


def main() -> int:
    from cocotb_tools.runner import get_runner

    chip = sys.argv[1]
    prepare_environment()
    directory = BUILD / "device" / f"icarus_{chip}"
    log = directory / "build.log"
    runner = get_runner("icarus")
    try:
        with alone(directory, lambda: tell(f"wait for another process that builds the chip {chip!r}")):
            tell(f"convert the RTL of {chip!r} where it changed, and compile it with Icarus (a minute)")
            top = benches.chip_verilog(chip)
            try:
                runner.build(
                    sources=top.files,
                    hdl_toplevel=top.name,
                    build_dir=directory / "build",
                    timescale=("1ns", "1ps"),
                    always=True,
                    log_file=log,
                )
            except RuntimeError as error:
                sys.exit(f"the chip does not compile: see {log} ({error})")
    except FolderError as error:
        sys.exit(str(error))
    runner.test(
        test_module="verif.device.icarus_server",
        hdl_toplevel=top.name,
        hdl_toplevel_lang="verilog",
        build_dir=directory / "build",
        test_dir=directory,
        timescale=("1ns", "1ps"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
