"""`mozg.load(...)`: a GPT on a chip, from Python.

>>> llm = mozg.load("shakespeare", chip="edge", device="verilator")
>>> print(llm.generate("ROMEO:", max_new_tokens=50).text)
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import PRESETS, ChipConfig

from . import device as devices
from . import fp32, functions, tables
from .batch import Outcome, serve
from .checkpoint import Checkpoint, load_checkpoint
from .compiler import Image, compile_model
from .driver import Driver, Row, RowError
from .errors import MozgError
from .generation import Batch, BatchStep, Generation, Request, Step
from .layout import FORMATS
from .reference import KVCache, ReferenceModel
from .scheduler import Part

DEVICES = (*devices.DEVICES, "float")
SMALLEST_TEMPERATURE = 1e-6  # logits divided by less than this may leave the range of FP32
Prompt = str | Sequence[int]


class RequestError(MozgError):
    """A prompt or an option that cannot be served: one line with what was given and what is possible."""


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
    slots: KV caches in memory, and so sequences that run at once (default: as many as the chip has rows, or slots
    where it has fewer). fill: the byte that KV cache and output start with. options: those of the device.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        chip: ChipConfig,
        device: str = "verilator",
        weights: str = "mxint8",
        fill: int = 0,
        slots: int | None = None,
        **options: Any,
    ):
        if device not in DEVICES:
            raise RequestError(f"device {device!r} is unknown: expected one of {', '.join(DEVICES)}")
        if not isinstance(weights, str) or weights not in FORMATS:
            raise RequestError(f"weights {weights!r} is unknown: expected one of {', '.join(FORMATS)}")
        if not isinstance(fill, numbers.Integral) or not 0 <= fill <= 255:
            raise RequestError(f"fill is {fill!r}: expected a byte, 0 to 255")
        if device == "float" and options:
            raise RequestError(f"option {next(iter(options))!r} is unknown: the float device takes no options")
        if device != "float":
            devices.check_options(device, options)
        rows = options.get("rows")
        if rows is not None and (not isinstance(rows, numbers.Integral) or rows < chip.rows):
            raise RequestError(f"rows is {rows!r}: expected an integer from {chip.rows} up, the rows of the chip")
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
        self.image = compile_model(checkpoint, chip, weights, slots, rows)
        self.context = self.image.context

    @property
    def driver(self) -> Driver:
        """The device with the image in its memory; opened when first asked for. `float` has none."""
        if self.image is None:
            raise RequestError("the float device has no chip, and so no driver: use model, verilator, icarus or serial")
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
            if not _is_iterable(prompt):
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

    @overload
    def generate(self, prompt: Prompt, max_new_tokens: int = 64, **options: Any) -> Generation: ...

    @overload
    def generate(self, prompt: Sequence[Prompt], max_new_tokens: int | Sequence[int] = 64, **options: Any) -> Batch: ...

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        max_new_tokens: int | Sequence[int] = 64,
        temperature: float | Sequence[float] = 0.0,
        seed: int | Sequence[int] = 0,
        stop: Sequence[int] | Sequence[Sequence[int] | None] | None = None,
        want_logits: bool = False,
        chunk: int | None = None,
        on_token: Callable[..., None] | None = None,
        on_end: Callable[[int, Generation], None] | None = None,
    ) -> Generation | Batch:
        """Continue a prompt (text or ids), or a list of prompts as a batch.

        temperature 0 is greedy, else logits / temperature plus Gumbel noise from (seed, position, id): the same on
        every device. stop: at most two ids that end the text (default: the checkpoint's end-of-text id). chunk: prompt
        tokens a step (default: the chip's rows). on_token is called with each new id and its step.
        RequestError before anything runs when prompt and new tokens exceed the context.

        A list of prompts gives a `Batch`: a list of generations in the order of the prompts, with statistics. Sequences
        join when a row and a slot are free and leave when they end, so there may be any number, none too (`[]`).
        max_new_tokens, temperature, seed and stop are one for all, or a list with one for each prompt; nothing is added
        to a seed.
        So `generate(prompts, n, t, seeds)[i]` has the ids and the logits of `generate(prompts[i], n, t, seeds[i])`,
        bit for bit. on_token is called with the index of the prompt, the id and the step; on_end with the index and
        the generation of each sequence that ends. An overflow ends its own sequence only (`stopped` is "fault",
        `error` says where); of one prompt alone it is a RowError.
        """
        array = isinstance(prompt, np.ndarray)
        if not isinstance(prompt, str) and _is_iterable(prompt):
            prompt = list(prompt)  # an array, or an iterator
        several = isinstance(prompt, list) and (any(_is_iterable(one) for one in prompt) or not (prompt or array))
        if several:
            prompts = prompt
        else:
            prompts = [prompt]
            on_one = on_token
            on_token = on_one and (lambda _, token, step: on_one(token, step))
        requests = self.requests(prompts, max_new_tokens, temperature, seed, stop, chunk, several)
        batch = self._generate(requests, want_logits, chunk, on_token, on_end)
        if several:
            return batch
        if batch[0].error:
            raise RowError(batch[0].error)
        return batch[0]

    def requests(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int | Sequence[int] = 64,
        temperature: float | Sequence[float] = 0.0,
        seed: int | Sequence[int] = 0,
        stop: Sequence[int] | Sequence[Sequence[int] | None] | None = None,
        chunk: int | None = None,
        several: bool = True,
    ) -> list[Request]:
        """A checked request for each prompt; see `generate`. RequestError names the prompt, counted from 1, unless it
        is not one of several."""
        values = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "stop": stop}
        lists = {name: value for name, value in values.items() if several and _is_list(name, value)}
        for name, value in lists.items():
            if len(value) != len(prompts):
                raise RequestError(
                    f"{name} has {len(value)} values for {len(prompts)} prompts: give one for all, or one for each"
                )
        requests = []
        for index, prompt in enumerate(prompts):
            own = {name: lists[name][index] if name in lists else value for name, value in values.items()}
            try:
                requests.append(self._request(prompt, chunk=chunk, **own))
            except RequestError as error:
                raise RequestError(f"prompt {index + 1}: {error}" if several else str(error)) from None
        return requests

    def _request(
        self,
        prompt: Prompt,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[int] | None,
        chunk: int | None,
    ) -> Request:
        ids = self.ids_of(prompt)
        if stop is None:
            stop = () if self.config.end_of_text is None else (self.config.end_of_text,)
        self.check(ids, max_new_tokens, temperature, seed, stop, chunk)
        return Request(ids, int(max_new_tokens), float(temperature), int(seed), tuple(int(token) for token in stop))

    def _generate(
        self,
        requests: Sequence[Request],
        want_logits: bool,
        chunk: int | None,
        on_token: Callable[[int, int, Step], None] | None,
        on_end: Callable[[int, Generation], None] | None,
    ) -> Batch:
        tokenizer = self.checkpoint.tokenizer
        texts = [tokenizer.stream() if tokenizer.available else None for _ in requests]
        batch = Batch([Generation(one.ids, [], "", [], "length") for one in requests], [])
        if not requests:
            return batch  # without a device
        logits: list[list[NDArray]] = [[] for _ in requests]
        if self.device_name == "float":
            steps = self._float_steps(requests)
        else:
            steps = serve(self.driver, requests, chunk, want_logits)
        for whole, outcomes in steps:
            batch.steps.append(whole)
            for outcome in outcomes:
                index = outcome.part.sequence
                result, text, step = batch[index], texts[index], whole.of(outcome.part)
                result.steps.append(step)
                if outcome.token is not None:
                    result.ids.append(outcome.token)
                    logits[index].append(outcome.logits)
                    if text and outcome.token not in requests[index].stop:
                        result.text += text.push(outcome.token)
                    if on_token:
                        on_token(index, outcome.token, step)
                if outcome.ended:
                    result.stopped, result.error = outcome.ended, outcome.error
                    result.text += text.flush() if text else ""
                    if want_logits:
                        shape = (len(result.ids), self.config.vocabulary)
                        result.logits = np.array(logits[index], dtype=np.float32).reshape(shape)
                    if on_end:
                        on_end(index, result)
        return batch

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
        try:
            temperature = float(temperature)
        except OverflowError:
            temperature = math.inf
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

    def _float_steps(self, requests: Sequence[Request]) -> Iterator[tuple[BatchStep, list[Outcome]]]:
        """As `serve`, one sequence after the other."""
        for index, request in enumerate(requests):
            cache = self._float.new_cache()
            pending, position, ended = list(request.ids), 0, None
            for count in range(1, request.max_new_tokens + 1):
                part = Part(index, 0, position, len(pending), True, count == 1)
                try:
                    logits = self._float_logits(pending, cache)[-1]
                except RowError as error:
                    yield BatchStep((part,), 0), [Outcome(part, ended="fault", error=str(error))]
                    break
                token = self.choose(logits, part.tokens - 1, request.temperature, request.seed)
                if token in request.stop:
                    ended = "stop"
                elif count == request.max_new_tokens:
                    ended = "length"
                yield BatchStep((part,), 0), [Outcome(part, token, logits, ended)]
                if ended:
                    break
                pending, position = [token], part.tokens

    def _float_logits(self, ids: list[int], cache: KVCache) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            logits = self._float.forward(np.array(ids), cache).astype(np.float32)
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            position = cache.length - len(ids) + int(np.argmax(bad))
            raise RowError(f"infinity or NaN at position {position}: the model exceeds the range of float32")
        return logits

    def choose(self, logits: NDArray[np.float32], position: int, temperature: float, seed: int) -> int:
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


def _is_iterable(value: object) -> bool:
    """Whether it can be iterated; an array of no dimensions says that it can, and cannot."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0


def _is_list(name: str, value: object) -> bool:
    """Whether an option of a batch has a value for each prompt; ids to stop at are a list themselves."""
    listed = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)
    if not listed or isinstance(value, (str, bytes)):
        return False
    return name != "stop" or any(one is None or isinstance(one, Iterable) for one in value)


def load(
    path: str | Path,
    chip: str | ChipConfig = "edge",
    device: str = "verilator",
    weights: str = "mxint8",
    **options: Any,
) -> LLM:
    """A model by directory or shipped name, compiled for a chip and loaded into a device.

    device: "verilator" (the RTL), "icarus" (the RTL, slow), "serial" (a board), "model" (the bit-exact NumPy model) or
    "float" (float32).
    weights: "mxint8" or "mxfp4". options: `slots` (see LLM) and those of the device. Raises a MozgError subclass that
    says what to do.
    """
    return LLM(load_checkpoint(path), chip_config(chip), device, weights, **options)
