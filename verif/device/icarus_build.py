"""Builds the whole chip in Icarus and runs its server: `python -m verif.device.icarus_build CHIP`, for IcarusDevice."""

from __future__ import annotations

import sys

from verif import benches
from verif.folders import BUILD, alone
from verif.runner import prepare_environment


def main() -> int:
    from cocotb_tools.runner import get_runner

    chip = sys.argv[1]
    prepare_environment()
    directory = BUILD / "device" / f"icarus_{chip}"
    with alone(directory):
        top = benches.chip_verilog(chip)
        runner = get_runner("icarus")
        runner.build(
            sources=top.files,
            hdl_toplevel=top.name,
            build_dir=directory / "build",
            timescale=("1ns", "1ps"),
            always=True,
            log_file=directory / "build.log",
        )
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
