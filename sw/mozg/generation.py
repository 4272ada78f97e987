"""What `generate` is asked and what it gives: requests, steps, generations, batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scheduler import Part


@dataclass(frozen=True)
class Request:
    """A checked request for one sequence; see `LLM.generate`."""

    ids: list[int]
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of one sequence: what it did, and what it cost. cycles 0 and counters empty on a device without a clock.

    samples: it computed logits and chose a token, which the steps of a prompt before the last do not. In a batch,
    cycles and counters are those of the whole step, which other sequences share.
    """

    kind: str  # "prefill" or "decode"
    rows: int
    position: int  # of its first row
    cycles: int
    counters: dict[str, int] = field(default_factory=dict)
    samples: bool = True

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of each sequence in the step, its rows included: here, of the one."""
        return (self.position + self.rows,)


@dataclass(frozen=True)
class BatchStep:
    """One step of a batch: the rows that each sequence had in it, and what it cost (as in `Step`)."""

    parts: tuple[Part, ...]
    cycles: int
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that held a token."""
        return sum(part.rows for part in self.parts)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of each sequence in the step, its rows included."""
        return tuple(part.tokens for part in self.parts)

    @property
    def samples(self) -> bool:
        """Whether any row sampled, so that the LM head was read."""
        return any(part.samples for part in self.parts)

    def of(self, part: Part) -> Step:
        """The step as one of its sequences saw it."""
        kind = "prefill" if part.prompt else "decode"
        return Step(kind, part.rows, part.position, self.cycles, self.counters, part.samples)


@dataclass
class Generation:
    """What `generate` gives. `ids` are the new ids only; `text` is their text ("" without a tokenizer).

    `stopped` says why it ended: "length", "stop" (a stop id), or in a batch "fault", and then `error` says which.
    """

    prompt_ids: list[int]
    ids: list[int]
    text: str
    steps: list[Step]
    stopped: str
    logits: NDArray[np.float32] | None = None  # [new tokens, vocabulary] when asked for
    error: str | None = None

    @property
    def cycles(self) -> int:
        return sum(step.cycles for step in self.steps)

    def as_dict(self, counters: bool = True) -> dict[str, Any]:
        """For JSON: everything but the logits; without counters where steps are shared."""
        steps = [asdict(step) for step in self.steps]
        if not counters:
            for step in steps:
                del step["counters"]
        return {
            "prompt_ids": self.prompt_ids,
            "ids": self.ids,
            "text": self.text,
            "stopped": self.stopped,
            **({} if self.error is None else {"error": self.error}),
            "cycles": self.cycles,
            "steps": steps,
        }


@dataclass
class Batch(Sequence[Generation]):
    """A list of generations in the order of the prompts, and what the batch as a whole did.

    `cycles` of a generation count the steps that it took part in; those of the batch count each step once.
    """

    generations: list[Generation]
    steps: list[BatchStep]

    def __len__(self) -> int:
        return len(self.generations)

    def __getitem__(self, index: Any) -> Any:
        return self.generations[index]

    def __iter__(self) -> Iterator[Generation]:
        return iter(self.generations)

    @property
    def cycles(self) -> int:
        return sum(step.cycles for step in self.steps)

    @property
    def new_tokens(self) -> int:
        return sum(len(one.ids) for one in self.generations)

    @property
    def rows_per_step(self) -> float:
        """Rows that held a token, on average over the steps."""
        return sum(step.rows for step in self.steps) / max(1, len(self.steps))

    @property
    def cycles_per_step(self) -> float:
        return self.cycles / max(1, len(self.steps))

    @property
    def tokens_per_kilocycle(self) -> float | None:
        """New tokens in 1,000 cycles; None on a device without a clock."""
        return 1000 * self.new_tokens / self.cycles if self.cycles else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: statistics, each step once with its counters, and `results`, a list in the order of the prompts."""
        return {
            "new_tokens": self.new_tokens,
            "cycles": self.cycles,
            "cycles_per_step": self.cycles_per_step,
            "rows_per_step": self.rows_per_step,
            "tokens_per_kilocycle": self.tokens_per_kilocycle,
            "steps": [
                {
                    "rows": step.rows,
                    "samples": step.samples,
                    "cycles": step.cycles,
                    "counters": step.counters,
                    "sequences": [part.sequence for part in step.parts],
                }
                for step in self.steps
            ],
            "results": [one.as_dict(counters=False) for one in self.generations],
        }
