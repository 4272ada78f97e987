"""Write Verilog: the whole chip to build/verilog/<chip>, with a file list. `python -m verif.verilog tiny`."""

import argparse
import sys

from rtl.convert import HierarchyError
from verif import benches
from verif.folders import BUILD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chip", nargs="?", default="tiny")
    options = parser.parse_args()
    directory = BUILD / "verilog" / options.chip
    try:
        top = benches.chip_verilog(options.chip)
    except (benches.UnknownName, HierarchyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (directory / "files.f").write_text("".join(f"{file.name}\n" for file in top.files))
    print(f"{len(top.files)} modules in {directory}, top {top.name}, file list files.f")
    return 0


if __name__ == "__main__":
    sys.exit(main())
