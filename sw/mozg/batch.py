"""Serves sequences on a driver: continuous batching over the chip's rows and KV slots.

`mozg.scheduler` decides which tokens a step takes; this makes rows of them, runs them and hands out what they gave.
Each step is a run of the chip of its own, so that sequences join and leave between any two. Several steps in one run
would save the chip about 0.1 % of its cycles (80,573 or 80,500 a step of 4 rows of `shakespeare` on `edge`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .driver import Driver, Row, StepResult
from .generation import BatchStep, Request
from .scheduler import Part, Scheduler


@dataclass(frozen=True)
class Outcome:
    """What a step gave one sequence. token: None before its prompt is done, or after a fault.

    ended: why the sequence ends here ("length", "stop", "fault"), or None. error: of a fault, one line.
    """

    part: Part
    token: int | None = None
    logits: NDArray[np.float32] | None = None
    ended: str | None = None
    error: str | None = None


class _Sequence:
    """One sequence: its request and the tokens known so far."""

    def __init__(self, request: Request, want_logits: bool):
        self.request, self.want_logits = request, want_logits
        self.tokens = list(request.ids)

    def rows(self, part: Part) -> list[Row]:
        """The rows of a part; the last samples where the part does."""
        rows = [Row(part.slot, at, self.tokens[at]) for at in range(part.position, part.tokens)]
        if part.samples:
            one, last = self.request, rows[-1]
            rows[-1] = Row(
                part.slot, last.position, last.token, True, one.temperature, one.seed, self.want_logits, one.stop
            )
        return rows

    def take(self, part: Part, driver: Driver, result: StepResult, first: int) -> Outcome:
        """What the part gave, whose rows are those from `first` on; a new token joins the sequence."""
        last = first + part.rows - 1
        fault = next((fault for fault in result.faults[first : last + 1] if fault), None)
        if fault:
            return Outcome(part, ended="fault", error=fault)
        if not part.samples:
            return Outcome(part)
        token = result.tokens[0][last]
        self.tokens.append(token)
        ended = None
        if token in self.request.stop:
            ended = "stop"
        elif len(self.tokens) - len(self.request.ids) == self.request.max_new_tokens:
            ended = "length"
        return Outcome(part, token, driver.logits(last) if self.want_logits else None, ended)


def serve(
    driver: Driver, requests: Sequence[Request], chunk: int | None = None, want_logits: bool = False
) -> Iterator[tuple[BatchStep, list[Outcome]]]:
    """Each step until every sequence has ended, with what it gave the sequences in it.

    chunk: tokens of one prompt that a step takes at most (default: the chip's rows). A sequence that ends in a fault of
    one of its rows leaves the others as they are. DeviceError as in `Driver.run`.
    """
    image = driver.image
    scheduler = Scheduler(image.chip.rows, image.slots, [len(one.ids) for one in requests], chunk)
    sequences = [_Sequence(one, want_logits) for one in requests]
    while parts := scheduler.plan():
        result = driver.run([row for part in parts for row in sequences[part.sequence].rows(part)])
        outcomes, first = [], 0
        for part in parts:
            outcomes.append(sequences[part.sequence].take(part, driver, result, first))
            first += part.rows
        scheduler.advance(parts, [one.part.sequence for one in outcomes if one.ended])
        yield BatchStep(tuple(parts), result.cycles, result.counters), outcomes
