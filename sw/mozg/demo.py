"""`make demo`: the shipped model writes text on the RTL, and the NumPy model checks every bit of it on the way.

Text goes to standard output as it comes. On a terminal a line under it says how far the run is; otherwise a line on
standard error does, now and then.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .bandwidth import share_reached
from .checkpoint import load_checkpoint
from .device.memory import MEMORIES
from .driver import Row
from .llm import LLM, Step, chip_config
from .output import Output
from .tokenizer import lost_line
from .verify import Lockstep, model_driver

MODEL = "shakespeare"
REPORT_EVERY = 50  # tokens between two lines where there is no terminal


class Display:
    """Text as it comes, and how far the run is."""

    def __init__(self, prompt: str, total: int):
        self.text, self.prompt, self.total = "", prompt, total
        self.done, self.cycles = 0, 0.0
        self.started = time.monotonic()
        console = Output()
        self.live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self.on_terminal = console.is_terminal
        self.notes = Console(stderr=True, highlight=False)

    def __enter__(self) -> Display:
        if self.on_terminal:
            self.live.start()
            self._refresh()
        else:
            print(self.prompt, end="", flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.on_terminal:
            self.live.stop()
        else:
            print(flush=True)

    def progress(self) -> str:
        """One line: tokens done and left, time left, cycles a token."""
        left = self.total - self.done
        line = f"{self.done} of {self.total} tokens, {left} left"
        if self.done and left:
            seconds = (time.monotonic() - self.started) / self.done * left
            line += f" ({int(seconds) // 60}:{int(seconds) % 60:02d})"
        return line + (f", {self.cycles:,.0f} cycles a token" if self.cycles else "")

    def show(self, piece: str, done: int, cycles: float) -> None:
        """Add a piece of text; done: tokens so far, cycles: of a token, 0 without a clock."""
        self.text, self.done, self.cycles = self.text + piece, done, cycles
        if self.on_terminal:
            self._refresh()
            return
        print(piece, end="", flush=True)
        if done % REPORT_EVERY == 0:
            self.notes.print(f"\n[{self.progress()}]", style="dim", markup=False)

    def _refresh(self) -> None:
        written = Text.assemble((self.prompt, "bold"), self.text)
        self.live.update(Group(written, Text(), Text(self.progress(), style="dim")), refresh=True)


def mean_cycles(steps: Sequence[Step], kind: str) -> float:
    """Cycles a token of the steps of one kind; 0 without a clock."""
    chosen = [step for step in steps if step.kind == kind]
    return sum(step.cycles for step in chosen) / max(1, sum(step.rows for step in chosen))


def write_text(
    both: Lockstep, ids: list[int], options: argparse.Namespace, show: Callable[[int, Sequence[Step]], None]
) -> tuple[list[Step], int, str | None]:
    """Steps on the device and on the model: the steps, the number of logits compared, and the first difference."""
    steps: list[Step] = []
    compared = position = written = 0
    pending, chunk = list(ids), both.rtl.image.chip.rows
    while written < options.tokens:
        part, pending = pending[:chunk], pending[chunk:]
        rows = [Row(0, position + i, token) for i, token in enumerate(part)]
        if not pending:
            last = position + len(part) - 1
            rows[-1] = Row(
                0, last, part[-1], sample=True, logits=True, temperature=options.temperature, seed=options.seed
            )
        result, logits, difference = both.step(rows)
        kind = "prefill" if position < len(ids) else "decode"
        steps.append(Step(kind, len(rows), position, result.cycles, result.counters, samples=not pending))
        compared += sum(row.size for row in logits)
        if difference:
            return steps, compared, difference
        position += len(part)
        if not pending:
            token = result.tokens[0][len(rows) - 1]
            written += 1
            pending = [token]
            show(token, steps)
    return steps, compared, None


def run_demo(options: argparse.Namespace) -> int:
    """Write `options.tokens` tokens on the RTL; 0 when RTL and model agree on every token and every logit bit.

    Options: chip, weights, memory, tokens, prompt, temperature, seed. Without a clock (a test's device) there are
    no cycles to report.
    """
    notes = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        notes.print(text, style="dim", markup=False)

    device = getattr(options, "device", "verilator")
    extra = {"progress": say, "memory": MEMORIES[options.memory]} if device == "verilator" else {}
    checkpoint = load_checkpoint(MODEL)
    say(f"{MODEL}: {checkpoint.parameters:,} parameters as {options.weights}, on chip {options.chip}, device {device}")
    with LLM(checkpoint, chip_config(options.chip), device, options.weights, **extra) as llm:
        ids = llm.ids_of(options.prompt)
        llm.check(ids, options.tokens, options.temperature, options.seed)
        lost = checkpoint.tokenizer.lost(options.prompt)
        if lost:
            say(lost_line(lost, len(options.prompt), " of the prompt"))
        stream, done = checkpoint.tokenizer.stream(), 0
        both = Lockstep(llm.driver, model_driver(llm))  # builds the chip, with messages, before there is text
        started = time.monotonic()
        with Display(options.prompt, options.tokens) as display:

            def show(token: int, steps: Sequence[Step]) -> None:
                nonlocal done
                done += 1
                display.show(stream.push(token), done, mean_cycles(steps, "decode") or mean_cycles(steps, "prefill"))

            steps, compared, difference = write_text(both, ids, options, show)
        seconds = time.monotonic() - started
        report(llm, ids, steps, done, seconds, options)
    if difference:
        print(f"RTL and model DIFFER: {difference}", flush=True)
        return 1
    print(f"RTL and model agree on all {done} tokens and every bit of {compared:,} logits and of the KV cache")
    return 0


def report(
    llm: LLM, ids: list[int], steps: Sequence[Step], done: int, seconds: float, options: argparse.Namespace
) -> None:
    """Cycles a token and the share of the memory limit, for prefill and for decode."""
    print(f"{len(ids)} prompt tokens and {done} new ones in {len(steps)} steps and {seconds:.1f} s")
    cycles = sum(step.cycles for step in steps)
    if not cycles:
        print("this device has no clock: no cycles to report")
        return
    for kind in ("prefill", "decode"):
        chosen = [step for step in steps if step.kind == kind]
        if chosen:
            share = share_reached(llm.image, MEMORIES[options.memory], chosen)
            print(f"{kind:8} {mean_cycles(chosen, kind):>9,.0f} cycles a token, {share:.1%} of the memory limit")
    print(f"simulated {cycles:,} cycles, {cycles / seconds:,.0f} a second with the NumPy model beside it")
