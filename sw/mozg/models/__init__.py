"""Models that come with the package: a bare name stands for the directory beside this file."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).resolve().parent


def names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def resolve(model: str | Path) -> Path:
    """The directory of a model: a bare shipped name (`shakespeare`), else `model` itself as a path.

    A directory of the user's that has the name of a shipped model is reached as `./shakespeare` or as a Path.
    """
    if isinstance(model, str) and model in names():
        return SHIPPED / model
    return Path(model).expanduser()
