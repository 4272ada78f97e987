"""What the stream engine knows about a stretch of memory: the declaration of its fields."""

from __future__ import annotations

from myhdl import Signal, intbv

from rtl.common.config import ChipConfig
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import FIELDS

BEATS_BITS = 40  # groups * k_blocks * 34 needs 38
PARAMETER_BEATS = 128  # FIFO in front of the gearbox: bias of 1024 outputs on a bus of 256 bits
FETCH_DEPTH, FETCH_LOW = 16, 4  # instructions fetched ahead; how many are left when more are asked for
BURST_QUEUE = 16  # bursts that may be outstanding
LENGTH_BITS = 8  # beats of a burst - 1


def check_config(config: ChipConfig) -> None:
    """Raise ValueError where the read side cannot serve a configuration."""
    if config.ports > 2:
        # Regions start on 64-byte boundaries: a beat may not be longer.
        raise ValueError(f"memory read side: ports is {config.ports}, expected 1 or 2 (a beat of up to 64 bytes)")
    if not 2 <= config.burst_beats <= config.fifo_beats:
        raise ValueError(
            f"memory read side: burst_beats is {config.burst_beats}, expected 2 to fifo_beats ({config.fifo_beats})"
        )


def field(name: str) -> tuple[int, int]:
    """High (exclusive) and low bit of an instruction field."""
    place = FIELDS[name]
    return place.bit + place.width, place.bit


class Descriptor:
    """Contiguous beats of one destination and one window; a bundle of wires inside a block.

    tag: 0 array, or a PARAMETER_ constant. low, limit: the window. bad: the address does not fit 40 bits.
    """

    def __init__(self) -> None:
        self.address = Signal(intbv(0)[ADDRESS_BITS:])
        self.beats = Signal(intbv(0)[BEATS_BITS:])
        self.tag = Signal(intbv(0)[2:])
        self.low = Signal(intbv(0)[ADDRESS_BITS:])
        self.limit = Signal(intbv(0)[ADDRESS_BITS + 1 :])
        self.bad = Signal(False)
        self.valid = Signal(False)
        self.ready = Signal(False)
