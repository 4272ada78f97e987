"""Types of command-line options that several flows share."""

from __future__ import annotations

import argparse
import math

MOST_ROUNDS = 100


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


def rounds(text: str) -> int:
    """A number from 0 to MOST_ROUNDS; argparse tells anything else."""
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_ROUNDS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: expected 0 to {MOST_ROUNDS}")
    return int(text)
