"""Mozg: an open GPT inference chip. This package loads GPT checkpoints and runs them on the chip."""

from .errors import MozgError
from .llm import LLM, Generation, RequestError, Step, load

__all__ = ["LLM", "Generation", "MozgError", "RequestError", "Step", "load"]
