"""Ports for converting a block on its own."""

from __future__ import annotations

from myhdl import Signal, intbv


def bit() -> Signal:
    return Signal(bool(0))


def word(bits: int) -> Signal:
    return Signal(intbv(0)[bits:])


def signed(bits: int) -> Signal:
    return Signal(intbv(0, min=-(1 << (bits - 1)), max=1 << (bits - 1)))
