"""GPT-2 shapes by name, for measurements that need no trained weights: `gpt2-124m`, `gpt2-124m,layers=2`.

Cycles of the chip do not depend on what the numbers are, only on how many there are.
"""

from __future__ import annotations

import math
from pathlib import Path

from . import models
from .checkpoint import LARGEST_DIMENSION, GPTConfig, read_config
from .errors import MozgError


def gpt2(
    layers: int, heads: int, width: int, context: int = 1024, vocabulary: int = 50257, hidden: int | None = None
) -> GPTConfig:
    """The configuration of a GPT-2 of this shape; hidden: width of the MLP, four times the width unless given."""
    return GPTConfig(
        layers=layers,
        heads=heads,
        width=width,
        hidden=hidden or 4 * width,
        context=context,
        vocabulary=vocabulary,
        activation="gelu_new",
        epsilon=1e-5,
        attention_factor=1 / math.sqrt(width // heads),
        tied=True,
    )


# The four published sizes.
SHAPES = {
    "gpt2-124m": {"layers": 12, "heads": 12, "width": 768},
    "gpt2-355m": {"layers": 24, "heads": 16, "width": 1024},
    "gpt2-774m": {"layers": 36, "heads": 20, "width": 1280},
    "gpt2-1558m": {"layers": 48, "heads": 25, "width": 1600},
}
KEYS = ("layers", "heads", "width", "hidden", "context", "vocabulary")


def is_shape(model: str | Path) -> bool:
    """Whether this names a shape; a directory of that name comes first."""
    return isinstance(model, str) and model.split(",")[0] in SHAPES and not Path(model).is_dir()


def parse_shape(text: str) -> GPTConfig:
    """A name of SHAPES, and what differs from it: `gpt2-124m,layers=2`. MozgError for anything else."""
    name, *changes = text.split(",")
    if name not in SHAPES:
        raise MozgError(f"shape {name!r} is unknown: expected one of {', '.join(SHAPES)}")
    shape = dict(SHAPES[name])
    for change in changes:
        key, _, value = change.partition("=")
        number = int(value) if value.isdecimal() and len(value) < 10 else 0
        if key not in KEYS or not 1 <= number <= LARGEST_DIMENSION:
            raise MozgError(
                f"shape {text!r}: {change!r} is not KEY=NUMBER with a KEY of {', '.join(KEYS)}, "
                f"NUMBER 1 to {LARGEST_DIMENSION}"
            )
        shape[key] = number
    if shape["width"] % shape["heads"]:
        raise MozgError(f"shape {text!r}: width {shape['width']} is not a multiple of {shape['heads']} heads")
    return gpt2(**shape)


def config_of(model: str | Path) -> GPTConfig:
    """The configuration alone, of a shape, of a shipped model or of a checkpoint directory."""
    if is_shape(model):
        return parse_shape(str(model))
    directory = models.resolve(model)
    if not directory.is_dir():
        known = ", ".join((*models.names(), *SHAPES))
        raise MozgError(f"{directory} is not a directory: give one with a config.json, or a name ({known})")
    return read_config(directory)
