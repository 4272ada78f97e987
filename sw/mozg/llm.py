"""`mozg.load(...)`: a GPT on a chip, from Python.

>>> llm = mozg.load("shakespeare", chip="edge", device="verilator")
>>> print(llm.generate("ROMEO:", max_new_tokens=50).text)
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import PRESETS, ChipConfig

from . import device as devices
from . import fp32, functions, tables
from .checkpoint import Checkpoint, load_checkpoint
from .compiler import Image, compile_model
from .driver import Driver, Row
from .errors import MozgError
from .layout import FORMATS
from .reference import KVCache, ReferenceModel

DEVICES = (*devices.DEVICES, "float")
SMALLEST_TEMPERATURE = 1e-6  # logits divided by less than this may leave the range of FP32


class RequestError(MozgError):
    """A prompt or an option that cannot be served: one line with what was given and what is possible."""


@dataclass(frozen=True)
class Step:
    """One step: what it did, and what it cost. cycles 0 and counters empty on a device without a clock.

    samples: it computed logits and chose a token, which the steps of a prompt before the last do not.
    """

    kind: str  # "prefill" or "decode"
    rows: int
    position: int  # of its first row
    cycles: int
    counters: dict[str, int] = field(default_factory=dict)
    samples: bool = True


@dataclass
class Generation:
    """What `generate` gives. `ids` are the new ids only; `text` is their text ("" without a tokenizer).

    `stopped` says why it ended: "length", "stop" (a stop id) or "context" (no position left).
    """

    prompt_ids: list[int]
    ids: list[int]
    text: str
    steps: list[Step]
    stopped: str
    logits: NDArray[np.float32] | None = None  # [new tokens, vocabulary] when asked for

    @property
    def cycles(self) -> int:
        return sum(step.cycles for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the logits."""
        return {
            "prompt_ids": self.prompt_ids,
            "ids": self.ids,
            "text": self.text,
            "stopped": self.stopped,
            "cycles": self.cycles,
            "steps": [asdict(step) for step in self.steps],
        }


def chip_config(chip: str | ChipConfig) -> ChipConfig:
    """A preset by name, or the configuration itself."""
    if isinstance(chip, ChipConfig):
        return chip
    if not isinstance(chip, str) or chip not in PRESETS:
        raise RequestError(f"chip {chip!r} is unknown: expected one of {', '.join(PRESETS)}")
    return PRESETS[chip]


class LLM:
    """A checkpoint on a device. Closes with `close()` or as a context manager.

    The device is built and opened by the first request that passes its checks, so a wrong one costs nothing.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        chip: ChipConfig,
        device: str = "verilator",
        weights: str = "mxint8",
        fill: int = 0,
        **options: Any,
    ):
        if device not in DEVICES:
            raise RequestError(f"device {device!r} is unknown: expected one of {', '.join(DEVICES)}")
        if weights not in FORMATS:
            raise RequestError(f"weights {weights!r} is unknown: expected one of {', '.join(FORMATS)}")
        self.checkpoint, self.chip, self.device_name, self.weights = checkpoint, chip, device, weights
        self.config, self.fill = checkpoint.config, fill
        self.image: Image | None = None
        self._options = options
        self._driver: Driver | None = None
        if device == "float":
            self.context = self.config.context
            self._float = ReferenceModel(checkpoint, np.float32)
            self._table = tables.build_tables(self.config.activation)
            return
        self.image = compile_model(checkpoint, chip, weights, output_rows=options.get("rows"))
        self.context = self.image.context

    @property
    def driver(self) -> Driver:
        """The device with the image in its memory; opened when first asked for. `float` has none."""
        if self.image is None:
            raise RequestError("the float device has no chip, and so no driver: use model, verilator or icarus")
        if self._driver is not None and self._driver.interrupted:
            self.close()
        if self._driver is None:
            opened = devices.open_device(self.device_name, self.chip, self.image.memory.size, **self._options)
            try:
                self._driver = Driver(opened, self.image, self.fill)
            except BaseException:
                opened.close()
                raise
        return self._driver

    def open(self) -> None:
        """Build and open the device now, which the first request does otherwise."""
        if self.image is not None:
            _ = self.driver

    def close(self) -> None:
        """Close the device; a later request opens another."""
        if self._driver:
            self._driver.device.close()
            self._driver = None

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Requests

    def ids_of(self, prompt: str | Sequence[int]) -> list[int]:
        """Ids of a text or of a sequence of ids, checked against vocabulary and context."""
        if isinstance(prompt, str):
            try:
                prompt.encode()
            except UnicodeEncodeError:
                raise RequestError("the prompt is not UTF-8 text: give it in UTF-8, or as ids") from None
            ids = self.checkpoint.tokenizer.encode(prompt)
        else:
            if not isinstance(prompt, Iterable):
                raise RequestError(f"prompt is {prompt!r}: expected text or a sequence of token ids")
            ids = []
            for token in prompt:
                if not isinstance(token, numbers.Integral) or isinstance(token, bool):
                    raise RequestError(f"prompt id {token!r} is not an integer")
                ids.append(int(token))
        if not ids:
            raise RequestError("the prompt is empty: give at least one token")
        beyond = next((token for token in ids if not 0 <= token < self.config.vocabulary), None)
        if beyond is not None:
            raise RequestError(
                f"prompt id {beyond} is outside the vocabulary: expected 0 to {self.config.vocabulary - 1}"
            )
        if len(ids) > self.context:
            raise RequestError(
                f"the prompt has {len(ids)} tokens, the context is {self.context}{self._why()}: shorten it"
            )
        return ids

    def generate(
        self,
        prompt: str | Sequence[int],
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[int] | None = None,
        want_logits: bool = False,
        chunk: int | None = None,
        on_token: Callable[[int, Step], None] | None = None,
    ) -> Generation:
        """Continue a prompt (text or ids).

        temperature 0 is greedy, else logits / temperature plus Gumbel noise from (seed, position, id): the same on
        every device. stop: at most two ids that end the text (default: the checkpoint's end-of-text id). chunk: prompt
        tokens a step (default: the chip's rows). on_token is called with each new id and its step.
        RequestError before anything runs when prompt and new tokens exceed the context.
        """
        ids = self.ids_of(prompt)
        if stop is None:
            stop = () if self.config.end_of_text is None else (self.config.end_of_text,)
        self.check(ids, max_new_tokens, temperature, seed, stop, chunk)
        text = self.checkpoint.tokenizer.stream() if self.checkpoint.tokenizer.available else None
        result = Generation(ids, [], "", [], "length")
        rows_of_logits = []
        run = self._float_steps if self.device_name == "float" else self._chip_steps
        options = {"temperature": temperature, "seed": seed, "stop": tuple(stop)}
        for token, step, logits in run(ids, max_new_tokens, want_logits, chunk, options):
            result.steps.append(step)
            if token is None:
                continue
            result.ids.append(token)
            rows_of_logits.append(logits)
            if text and token not in stop:
                result.text += text.push(token)
            if on_token:
                on_token(token, step)
            if token in stop:
                result.stopped = "stop"
                break
        if text:
            result.text += text.flush()
        if want_logits:
            result.logits = np.array(rows_of_logits, dtype=np.float32)
        return result

    def _why(self) -> str:
        """Which of the two ends the context, where the model's own is longer."""
        return f" (of chip {self.chip.name!r})" if self.context < self.config.context else ""

    def check(
        self,
        ids: list[int],
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[int] = (),
        chunk: int | None = None,
    ) -> None:
        """RequestError unless a generation of `max_new_tokens` from these ids can run; see `generate`."""
        if isinstance(stop, (str, bytes)) or not isinstance(stop, Sequence):
            raise RequestError(f"stop is {stop!r}: expected a sequence of at most two token ids")
        whole = {"max_new_tokens": max_new_tokens, "seed": seed, "chunk": 1 if chunk is None else chunk}
        whole |= {f"stop id {index}": token for index, token in enumerate(stop)}
        for name, value in whole.items():
            if not isinstance(value, numbers.Integral) or isinstance(value, bool):
                raise RequestError(f"{name} is {value!r}: expected an integer")
        if not isinstance(temperature, numbers.Real):
            raise RequestError(f"temperature is {temperature!r}: expected a number")
        if max_new_tokens < 1:
            raise RequestError(f"max_new_tokens is {max_new_tokens}: expected at least 1")
        if temperature != 0 and not SMALLEST_TEMPERATURE <= temperature < float("inf"):
            raise RequestError(
                f"temperature is {temperature}: expected 0 (greedy) or a number from {SMALLEST_TEMPERATURE} up"
            )
        if not 0 <= seed < 1 << 32:
            raise RequestError(f"seed is {seed}: expected 0 to {(1 << 32) - 1}")
        if len(stop) > 2:
            raise RequestError(f"{len(stop)} stop ids: the chip compares at most 2")
        for token in stop:
            if not 0 <= token < self.config.vocabulary:
                raise RequestError(
                    f"stop id {token} is outside the vocabulary: expected 0 to {self.config.vocabulary - 1}"
                )
        if chunk is not None and not 1 <= chunk <= self.chip.rows:
            raise RequestError(f"chunk is {chunk}: chip {self.chip.name!r} takes 1 to {self.chip.rows} tokens a step")
        # The last new token is not fed back, so it needs no position.
        if len(ids) + max_new_tokens - 1 > self.context:
            positions = len(ids) + max_new_tokens - 1
            raise RequestError(
                f"{len(ids)} prompt tokens and {max_new_tokens} new ones need {positions} positions, "
                f"the context is {self.context}{self._why()}: ask for at most {self.context - len(ids) + 1} new tokens"
            )

    # Steps

    def _chip_steps(
        self, ids: list[int], count: int, want_logits: bool, chunk: int | None, options: dict[str, Any]
    ) -> Iterator[tuple[int | None, Step, NDArray | None]]:
        """Each step of a generation in slot 0, with the token that it sampled, if any."""
        driver, chunk = self.driver, chunk or self.chip.rows
        position = 0
        pending = list(ids)
        for _ in range(count):
            while True:
                part, pending = pending[:chunk], pending[chunk:]
                rows = [Row(0, position + i, token) for i, token in enumerate(part)]
                if not pending:
                    last = Row(0, position + len(part) - 1, part[-1], sample=True, logits=want_logits, **options)
                    rows[-1] = last
                result = driver.step(rows)
                kind = "prefill" if position < len(ids) else "decode"
                step = Step(kind, len(rows), position, result.cycles, result.counters, samples=not pending)
                position += len(part)
                if not pending:
                    break
                yield None, step, None
            token = result.tokens[0][-1]
            yield token, step, driver.logits(len(rows) - 1) if want_logits else None
            pending = [token]

    def _float_steps(
        self, ids: list[int], count: int, want_logits: bool, chunk: int | None, options: dict[str, Any]
    ) -> Iterator[tuple[int | None, Step, NDArray | None]]:
        cache = self._float.new_cache()
        pending, position = list(ids), 0
        for index in range(count):
            logits = self._float_logits(pending, cache)[-1]
            step = Step("decode" if index else "prefill", len(pending), position, 0)
            position += len(pending)
            token = self.choose(logits, position - 1, **options)
            yield token, step, logits
            pending = [token]

    def _float_logits(self, ids: list[int], cache: KVCache) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            logits = self._float.forward(np.array(ids), cache).astype(np.float32)
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            position = cache.length - len(ids) + int(np.argmax(bad))
            raise RequestError(f"infinity or NaN at position {position}: the model exceeds the range of float32")
        return logits

    def choose(
        self, logits: NDArray[np.float32], position: int, temperature: float, seed: int, stop: object = ()
    ) -> int:
        """The chip's choice from logits, on the host: argmax, with the chip's noise when temperature > 0."""
        if temperature:
            inverse = np.float32(np.log2(np.e) / temperature)
            noise = functions.noise(self._table, seed, position, np.arange(logits.size))
            logits = fp32.add(fp32.mul(logits, inverse), noise)
        return int(np.argmax(logits))

    def logits(self, prompt: str | Sequence[int]) -> NDArray[np.float32]:
        """Logits after each token of the prompt: float32 [len, vocabulary]."""
        ids = self.ids_of(prompt)
        if self.device_name == "float":
            return self._float_logits(ids, self._float.new_cache())
        rows = self.driver.device.rows
        result = np.empty((len(ids), self.config.vocabulary), dtype=np.float32)
        for start in range(0, len(ids), rows):
            part = ids[start : start + rows]
            self.driver.step([Row(0, start + i, t, sample=True, logits=True) for i, t in enumerate(part)])
            for i in range(len(part)):
                result[start + i] = self.driver.logits(i)
        return result


def load(
    path: str | Path,
    chip: str | ChipConfig = "edge",
    device: str = "verilator",
    weights: str = "mxint8",
    **options: Any,
) -> LLM:
    """A model by directory or shipped name, compiled for a chip and loaded into a device.

    device: "verilator" (the RTL), "icarus" (the RTL, slow), "model" (the bit-exact NumPy model) or "float" (float32).
    weights: "mxint8" or "mxfp4". options: those of the device. Raises a MozgError subclass that says what to do.
    """
    return LLM(load_checkpoint(path), chip_config(chip), device, weights, **options)
