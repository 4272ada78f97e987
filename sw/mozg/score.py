"""Perplexity of a model on a text, on any device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .llm import LLM, RequestError
from .reference import negative_log_likelihood, windows

MODEL_ROWS = 64  # rows a step of the NumPy machine, which may take more than the chip has: same results, faster


@dataclass(frozen=True)
class Score:
    """nats: mean negative log likelihood of a counted token. Every id but the first of the text is a target once."""

    nats: float
    tokens: int
    windows: int
    window: int

    @property
    def perplexity(self) -> float:
        """e to the nats; infinity where that is beyond a float."""
        try:
            return math.exp(self.nats)
        except OverflowError:
            return math.inf

    def describe(self) -> str:
        return (
            f"perplexity {self.perplexity:.4f} ({self.nats:.5f} nats a token) over {self.tokens} tokens, "
            f"cut into {self.windows} windows of {self.window} that do not overlap; each token is predicted from those "
            "before it in its window"
        )


def score(llm: LLM, ids: Sequence[int], progress: Callable[[int, int], None] = lambda done, total: None) -> Score:
    """Score ids in windows of the context that do not overlap. `progress` is called with windows done and in all."""
    if len(ids) < 2:
        raise RequestError(f"the text has {len(ids)} tokens: at least 2 are needed to score one")
    parts = windows(ids, llm.context)
    total, count = 0.0, 0
    for index, (inputs, targets) in enumerate(parts):
        losses = negative_log_likelihood(llm.logits([int(i) for i in inputs]).astype(np.float64), targets)
        total += float(losses.sum())
        count += len(targets)
        progress(index + 1, len(parts))
    return Score(total / count, count, len(parts), llm.context)
