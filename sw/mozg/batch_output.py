"""What `mozg generate` shows of several prompts: each text with its number when it ends, and a line of progress."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from .generation import Generation, Step

if TYPE_CHECKING:
    from .llm import LLM

REFRESH = 0.1  # seconds between two lines of progress on a terminal
REPORT = 30.0  # and where there is none


class BatchOutput:
    """Texts go to standard output as their sequences end, faults and progress to `status` (standard error).

    On a terminal the line of progress is overwritten, elsewhere there is one now and then. prompts: as given, so that
    a text stands before what follows it.
    """

    def __init__(self, llm: LLM, prompts: Sequence[str | Sequence[int]], status: Console):
        self.llm, self.prompts, self.status = llm, prompts, status
        self.ended = self.tokens = 0
        self.shown = time.monotonic()

    def __enter__(self) -> BatchOutput:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def token(self, index: int, token: int, step: Step) -> None:
        """To be called with each new token."""
        self.tokens += 1
        now = time.monotonic()
        if now - self.shown < (REFRESH if self.status.is_terminal else REPORT):
            return
        self.shown = now
        line = self.progress()
        if self.status.is_terminal:
            self._write(f"\r\x1b[2K{line[: self.status.width - 1]}")
        else:
            self.status.print(line, style="dim", highlight=False, markup=False)

    def progress(self) -> str:
        """One line: sequences ended, tokens so far."""
        return f"{self.ended} of {len(self.prompts)} prompts done, {self.tokens} tokens"

    def end(self, index: int, result: Generation) -> None:
        """To be called with each sequence that has ended."""
        self.ended += 1
        self._clear()
        text, prompt = result.text, self.prompts[index]
        if not self.llm.checkpoint.tokenizer.available:
            text = " ".join(str(token) for token in result.ids)
        elif isinstance(prompt, str):
            text = prompt + text
        print(f"[{index + 1}]\n{text}\n", flush=True)
        if result.error:
            line = f"mozg: prompt {index + 1}: {result.error}"
            self.status.print(line, style="bold red", highlight=False, markup=False, soft_wrap=True)

    def _clear(self) -> None:
        if self.status.is_terminal:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self.status.file.write(text)
        self.status.file.flush()
