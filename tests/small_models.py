"""Random GPT-2s of any shape, small enough for tests, each made once in a test run."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from mozg.checkpoint import Checkpoint, load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device.model import ModelDevice
from mozg.driver import Driver
from mozg.random_checkpoint import make_random_checkpoint
from rtl.common.config import PRESETS

# What GPT-2s have in common with nothing of 32: heads of 16, width 48, an odd MLP.
ODD = {"layers": 2, "heads": 3, "width": 48, "hidden": 100, "context": 37, "vocabulary": 70}


@functools.lru_cache(maxsize=64)
def _made(keys: tuple[tuple[str, Any], ...]) -> Checkpoint:
    with tempfile.TemporaryDirectory() as folder:
        return load_checkpoint(make_random_checkpoint(folder, **dict(keys)))


def checkpoint(**shape: Any) -> Checkpoint:
    """A random checkpoint: ODD with some of its keys changed."""
    return _made(tuple(sorted((ODD | shape).items())))


@functools.lru_cache(maxsize=64)
def _compiled(keys: tuple[tuple[str, Any], ...], chip: str, weights: str) -> Image:
    return compile_model(_made(keys), PRESETS[chip], weights)


def image(chip: str = "tiny", weights: str = "mxint8", **shape: Any) -> Image:
    return _compiled(tuple(sorted((ODD | shape).items())), chip, weights)


def driver(image: Image, fill: int = 0) -> Driver:
    """The image on a model device of its own."""
    return Driver(ModelDevice(image.chip, image.memory.size), image, fill)


def prompt(vocabulary: int, length: int, seed: int = 1) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, vocabulary, length)]


def feed(driver: Driver, ids: Sequence[int], chunk: int, slot: int = 0) -> np.ndarray:
    """Logits after each id, as steps of `chunk` rows: float32 [len, vocabulary]."""
    from mozg.driver import Row

    found = []
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        driver.step([Row(slot, start + i, token, sample=True, logits=True) for i, token in enumerate(part)])
        found += [driver.logits(i) for i in range(len(part))]
    return np.array(found)


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint32)
