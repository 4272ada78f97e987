"""What the Verilated chip recorded of one step, as runs of equal states and as bursts; cycle 0 is the step's first.

verif/device/timeline.h records: it packs what FIELDS lists, lowest bits first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .errors import MozgError

FIELDS = {
    "cause": 4,  # of two cycles before: CAUSE_CODE
    "sequencer": 4,  # index in its STATES
    "dispatched": 1,  # an instruction was taken one cycle before
    "kv_barrier": 1,
    "phase": 4,  # of the vector unit: CAUSE_CODE
    "drain_state": 4,
    "drain_kind": 5,
    "drain_beat": 1,
    "softmax_state": 4,
    "softmax_kind": 5,
    "softmax_beat": 1,
    "kv_start": 1,
    "kv_done": 1,
}
CAUSE_DELAY = 2


@dataclass(frozen=True)
class Burst:
    """A burst on the memory bus: cycles of its address, of its first and after its last beat."""

    address: int
    beats: int
    asked: int
    first: int
    end: int


class Timeline:
    """One run of the chip. length: its cycles; reads, writes: bursts in order.

    states uint64 [n, 2]: cycle and packed fields, which hold until the next; reads, writes uint64 [n, 6].
    """

    def __init__(self, states: NDArray[np.uint64], reads: NDArray[np.uint64], writes: NDArray[np.uint64]):
        self._cycles, self._states = states[:, 0].astype(np.int64), states[:, 1]
        running = np.flatnonzero(self._field("cause"))
        if not running.size or running[-1] + 1 >= len(states):
            raise MozgError("the timeline holds no run that began and ended")
        self._base = int(self._cycles[running[0]]) - CAUSE_DELAY
        self.length = int(self._cycles[running[-1] + 1]) - CAUSE_DELAY - self._base
        self.reads, self.writes = self._bursts(reads), self._bursts(writes)

    def _field(self, name: str) -> NDArray[np.uint64]:
        names = list(FIELDS)
        low = sum(FIELDS[other] for other in names[: names.index(name)])
        return self._states >> np.uint64(low) & np.uint64((1 << FIELDS[name]) - 1)

    def _bursts(self, records: NDArray[np.uint64]) -> list[Burst]:
        found = []
        for address, beats, *times, _ in records.tolist():
            asked, first, last = (time - self._base for time in times)
            if 0 <= first < self.length:
                found.append(Burst(address, beats, asked, first, last + 1))
        return found

    def runs(self, *names: str, delay: int = 0) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """(values of the fields, first cycle, cycle after the last) of each stretch in which none of them changes.

        delay: cycles by which the fields tell of the past. The stretches cover the run.
        """
        fields = np.stack([self._field(name) for name in names], axis=1)
        changes = np.flatnonzero((fields[1:] != fields[:-1]).any(axis=1)) + 1
        starts = np.concatenate(([0], changes))
        edges = np.append(self._cycles[starts] - self._base - delay, self.length)
        edges = np.clip(edges, 0, self.length)
        for values, (start, end) in zip(fields[starts].tolist(), pairwise(edges.tolist()), strict=True):
            if end > start:
                yield tuple(values), start, end

    def pulses(self, name: str, delay: int = 0) -> list[int]:
        """The cycles in which a field of one bit is high."""
        return [cycle for (value,), start, end in self.runs(name, delay=delay) if value for cycle in range(start, end)]
