"""slang as a linter of whole designs: `python -m verif.slang --top NAME FILE...` writes what slang has to say."""

import shlex
import sys

from pyslang.driver import Driver

# slang reads the 2005 text of the standard, whose synthesisable part is that of 2001. It warns of a shift by the whole
# width, which the standard defines as zero: what gathers R rows in steps of a power of two does so for small R.
OPTIONS = ("--std", "1364-2005", "-Wno-shift-count-overflow")


def main() -> int:
    driver = Driver()
    driver.addStandardArgs()
    command = shlex.join(["slang", *OPTIONS, *sys.argv[1:]])
    if not (driver.parseCommandLine(command) and driver.processOptions() and driver.parseAllSources()):
        return 1
    compilation = driver.createCompilation()
    driver.reportCompilation(compilation, True)
    driver.runAnalysis(compilation)
    driver.reportDiagnostics(True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
