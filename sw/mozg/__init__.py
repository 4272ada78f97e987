"""Mozg: an open GPT inference chip. This package loads GPT checkpoints and runs them on the chip."""

from __future__ import annotations

import importlib

__all__ = ["LLM", "Batch", "BatchStep", "Generation", "MozgError", "RequestError", "Step", "load"]


def __getattr__(name: str) -> object:
    """The public names, imported when first used: `mozg` answers Ctrl-C while it still starts."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".errors" if name == "MozgError" else ".llm", __name__), name)
