"""Which tokens the rows of the next step take: continuous batching, as a policy without a device.

A sequence holds a KV slot from its first token to its end. At most as many sequences run as there are rows, and in
each step

1. every sequence that generates gets one row: its newest token, which samples the next one;
2. free rows take the prompts that have begun, the oldest first, each as many rows as it has tokens left;
3. free rows after that take waiting prompts in their order, while there is a free slot.

So a sequence that generates never waits, whatever joins; the oldest prompt that has begun gets a row in every step; a
prompt joins before all that came after it. Tokens of one prompt in a step share one pass over its KV cache. What a
step computes for a sequence does not depend on the others in it (rtl/README.md, "Numbers"), so neither do the tokens.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One sequence in one step: `rows` of its tokens from `position` on, in KV slot `slot`.

    samples: they end with its newest token, so the last of the rows samples the next one. prompt: they are of its
    prompt.
    """

    sequence: int
    slot: int
    position: int
    rows: int
    samples: bool
    prompt: bool

    @property
    def tokens(self) -> int:
        """Length of the sequence after these rows: what its pass over the KV cache reads."""
        return self.position + self.rows


@dataclass
class _Running:
    sequence: int
    slot: int
    prompt: int
    position: int = 0  # of the first token not yet taken

    @property
    def generates(self) -> bool:
        return self.position >= self.prompt


class Scheduler:
    """Plans the steps of sequences that are known by their number, 0 up, and the length of their prompt.

    rows, slots: of the chip. chunk: tokens of one prompt that a step takes at most (default: all rows).
    """

    def __init__(self, rows: int, slots: int, prompts: Sequence[int], chunk: int | None = None):
        short = next((length for length in prompts if length < 1), None)
        if rows < 1 or slots < 1 or (chunk is not None and chunk < 1) or short is not None:
            raise ValueError(f"{rows} rows, {slots} slots, chunk {chunk}, prompts {list(prompts)}: expected 1 or more")
        self.rows, self.chunk = rows, rows if chunk is None else chunk
        self._waiting = deque(enumerate(prompts))
        self._running: dict[int, _Running] = {}  # in the order in which they joined
        self._free = list(range(slots))

    @property
    def waiting(self) -> int:
        """Prompts that have not begun."""
        return len(self._waiting)

    @property
    def running(self) -> list[int]:
        """Sequences that hold a slot, in the order in which they joined."""
        return list(self._running)

    def plan(self) -> list[Part]:
        """The next step; empty when every sequence has ended. Waiting prompts that get a row join."""
        free = self.rows
        parts = [self._part(one, 1) for one in self._running.values() if one.generates]
        free -= len(parts)
        for one in [one for one in self._running.values() if not one.generates]:
            parts += self._prompt(one, free)
            free = self.rows - sum(part.rows for part in parts)
        while free and self._free and self._waiting and len(self._running) < self.rows:
            sequence, length = self._waiting.popleft()
            self._running[sequence] = _Running(sequence, heapq.heappop(self._free), length)
            parts += self._prompt(self._running[sequence], free)
            free = self.rows - sum(part.rows for part in parts)
        return parts

    def _prompt(self, one: _Running, free: int) -> list[Part]:
        rows = min(one.prompt - one.position, self.chunk, free)
        return [self._part(one, rows)] if rows else []

    @staticmethod
    def _part(one: _Running, rows: int) -> Part:
        samples = one.position + rows >= one.prompt
        return Part(one.sequence, one.slot, one.position, rows, samples, not one.generates)

    def advance(self, parts: Iterable[Part], ended: Collection[int] = ()) -> None:
        """The planned parts have run. Sequences in `ended` leave and free their slots; the others that sampled have
        one token more."""
        for part in parts:
            self._running[part.sequence].position += part.rows
        for sequence in ended:
            heapq.heappush(self._free, self._running.pop(sequence).slot)
