"""What the command lines of all flows share: types of options, and errors in one line."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

from rtl.convert import HierarchyError
from verif.benches import UnknownName
from verif.folders import FolderError
from verif.synth.liberty import LibertyError
from verif.synth.yosys import SynthesisError


def megahertz(text: str) -> float:
    """A clock of 1 MHz to 10 GHz; argparse tells anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no clock: expected 1 to 10000 MHz")
    return value


def seed(text: str) -> int:
    """A number from 0 to 2^31 - 1; argparse tells anything else."""
    if not (text.isascii() and text.isdecimal() and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: expected 0 to {2**31 - 1}")
    return int(text)


def exit_code(flow: Callable[[], None], *errors: type[Exception]) -> int:
    """Run a flow: 0; 1 after one of its errors, or of these further ones, told in a line; 130 after Ctrl-C."""
    try:
        flow()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (UnknownName, HierarchyError, FolderError, SynthesisError, LibertyError, *errors) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
