"""RTL against the NumPy model, bit for bit and step by step; and the model against float32.

Two drivers with the same image make the same steps. After each, tokens, logits and the whole KV cache are compared.
Where a step differs, it is the first one, and what the RTL wrote into its operand RAM during that step (the device's
monitor) names the first instruction, row and element.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import fp32
from .device.model import ModelDevice
from .driver import Driver, Row, StepResult
from .errors import MozgError
from .llm import LLM
from .reference import ReferenceModel


@dataclass
class Verification:
    """steps, tokens: compared. difference: None, or one line about the first difference."""

    steps: int = 0
    tokens: int = 0
    logits: int = 0
    cycles: int = 0
    difference: str | None = None
    ids: list[int] = field(default_factory=list)
    float_error: float = 0.0
    float_range: float = 0.0
    float_same: int = 0

    @property
    def passed(self) -> bool:
        return self.difference is None and self.steps > 0


def _first_difference(a: NDArray, b: NDArray) -> int | None:
    """Index of the first differing element of two arrays of integers, flattened."""
    different = a.reshape(-1) != b.reshape(-1)
    return int(np.argmax(different)) if different.any() else None


def compare_logits(rtl: NDArray[np.float32], model: NDArray[np.float32]) -> str | None:
    """None, or what differs between two rows of logits."""
    where = _first_difference(fp32.to_bits(rtl), fp32.to_bits(model))
    if where is None:
        return None
    return f"logit {where}: RTL {rtl[where]!r}, model {model[where]!r}"


class Lockstep:
    """Makes each step on two drivers and compares what memory shows; `rtl` is the one under test."""

    def __init__(self, rtl: Driver, model: Driver):
        self.rtl, self.model = rtl, model
        self.step_count = 0
        if model.kv_bytes().size and _first_difference(rtl.kv_bytes(), model.kv_bytes()) is not None:
            raise ValueError("the two memories differ before the first step: open both with the same fill")

    def step(self, rows: list[Row]) -> tuple[StepResult, list[NDArray[np.float32]], str | None]:
        """The RTL's result, its logits of the rows that want them, and the difference, if any.

        RowError where a row ends in the same fault on both, after the rows beside it were compared.
        """
        monitor, failure = _Monitor(self.rtl, self.model), None
        ours = StepResult([[None] * len(rows)], 0)
        self.step_count += 1
        with monitor, ThreadPoolExecutor(1) as beside:  # the simulators leave Python free for the model
            model = beside.submit(self.model.run, rows)
            try:
                ours = self.rtl.run(rows)
            except MozgError as error:
                failure = error
            try:
                theirs = model.result()
            except MozgError as error:
                if failure:  # where both fail, the model's error is the answer
                    raise
                return ours, [], f"step {self.step_count}: the model stopped and the RTL did not: {error}"
        logits, difference = [], failure and f"RTL stopped: {failure}"
        if not failure and ours.faults != theirs.faults:
            faults = enumerate(zip(ours.faults, theirs.faults, strict=True))
            index, (mine, right) = next((i, both) for i, both in faults if both[0] != both[1])
            difference = f"row {index}: RTL {mine or 'no fault'}, model {right or 'no fault'}"
        for index, row in enumerate(rows):
            if failure or not row.logits or ours.faults[index] or theirs.faults[index]:
                continue
            logits.append(self.rtl.logits(index))
            found = compare_logits(logits[-1], self.model.logits(index))
            difference = difference or (found and f"row {index}, {found}")
        if difference is None and ours.tokens != theirs.tokens:
            difference = f"tokens: RTL {ours.tokens}, model {theirs.tokens}"
        if difference is None:
            theirs.refuse_faults()
            where = _first_difference(self.rtl.kv_bytes(), self.model.kv_bytes())
            difference = None if where is None else self._kv_difference(where)
        if difference is not None:
            cause = monitor.first_difference()
            difference = f"step {self.step_count}: {difference}" + (f"; first: {cause}" if cause else "")
        return ours, logits, difference

    def _kv_difference(self, where: int) -> str:
        image = self.rtl.image
        slot, offset = divmod(where, image.slot_bytes)
        layer, within = divmod(offset, image.slot_bytes // image.config.layers)
        address = image.regions["kv"].base + where
        ours, theirs = self.rtl.kv_bytes()[where], self.model.kv_bytes()[where]
        place = f"KV cache at {address:#x} (slot {slot}, layer {layer}, byte {within})"
        return f"{place}: RTL {ours:#04x}, model {theirs:#04x}"


class _Monitor:
    """Collects the operand blocks that both machines write in one step."""

    def __init__(self, rtl: Driver, model: Driver):
        self.rtl, self.model = rtl, model
        self.expected: list[tuple[int, int, int, NDArray[np.int8], int]] = []

    def __enter__(self) -> _Monitor:
        if isinstance(self.model.device, ModelDevice):
            self.model.device.machine.observer = self._observe
        start = getattr(self.rtl.device, "start_monitor", None)
        if start:
            start()
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self.model.device, ModelDevice):
            self.model.device.machine.observer = None

    def _observe(self, kind: str, instruction: int, block: int, rows: NDArray, values: tuple) -> None:
        if kind != "operand":
            return
        elements, scales = values
        for index in range(len(elements)):
            for i, row in enumerate(rows):
                self.expected.append((instruction, block + index, int(row), elements[index, i], int(scales[index, i])))

    def first_difference(self) -> str | None:
        """One line, or None when the device has no monitor or nothing differs in the operand RAM."""
        read = getattr(self.rtl.device, "read_monitor", None)
        if read is None:
            return None
        found: dict[tuple[int, int], list[tuple[NDArray[np.int8], int]]] = {}
        for block, row, elements, scale in read():
            found.setdefault((block, row), []).append((elements, scale))
        for instruction, block, row, elements, scale in self.expected:
            name = self.rtl.image.program[instruction].name
            place = f"instruction {instruction} ({name}), operand block {block}, row {row}"
            queue = found.get((block, row))
            if not queue:
                return f"{place}: not written by the RTL"
            ours, our_scale = queue.pop(0)
            if our_scale != scale:
                return f"{place}: scale {our_scale}, model {scale}"
            where = _first_difference(ours, elements)
            if where is not None:
                return f"{place}, element {where}: RTL {ours[where]}, model {elements[where]}"
        return None


def verify(
    llm: LLM,
    prompt: list[int],
    tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    chunk: int | None = None,
    slot: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Generate `tokens` tokens on `llm` (the RTL) and on the model, comparing after every step; then the float model.

    Every prompt position and every new token is compared with all its logits.
    """
    result = Verification(ids=list(prompt))
    chunk = chunk or llm.chip.rows
    steps, all_logits = Lockstep(llm.driver, model_driver(llm)), []
    position, pending = 0, list(prompt)
    total = -(-len(prompt) // chunk) + tokens - 1
    while result.tokens < tokens:
        part, pending = pending[:chunk], pending[chunk:]
        last = len(part) - 1
        rows = [
            Row(
                slot,
                position + i,
                token,
                sample=True,
                logits=True,
                temperature=temperature if i == last else 0.0,
                seed=seed,
            )
            for i, token in enumerate(part)
        ]
        ours, logits, result.difference = steps.step(rows)
        all_logits += logits
        result.steps += 1
        result.logits += sum(row.size for row in logits)
        result.cycles += ours.cycles
        progress(result.steps, total)
        if result.difference:
            return result
        position += len(part)
        if not pending:
            token = ours.tokens[0][last]
            result.ids.append(token)
            result.tokens += 1
            pending = [token]
    _compare_float(llm, result, np.array(all_logits))
    return result


def model_driver(llm: LLM) -> Driver:
    """The NumPy model with the image and the memory fill of `llm`."""
    return Driver(ModelDevice(llm.chip, llm.image.memory.size), llm.image, llm.fill)


def _compare_float(llm: LLM, result: Verification, logits: NDArray[np.float32]) -> None:
    expected = ReferenceModel(llm.checkpoint, np.float32).forward(np.array(result.ids[: len(logits)]))
    result.float_error = float(np.abs(expected - logits).max())
    result.float_range = float(expected.max() - expected.min())
    result.float_same = int((expected.argmax(axis=1) == logits.argmax(axis=1)).sum())
