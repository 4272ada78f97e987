"""Reference data that is not part of the project: where it lies, and the skip when it is absent.

The environment variable MOZG_SHARED names the folder; its default is ../shared/data beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def root() -> Path:
    return Path(os.environ.get("MOZG_SHARED", REPOSITORY.parent / "shared" / "data"))


def find(name: str) -> Path | None:
    """The path of one file of reference data, None where it is absent."""
    path = root() / name
    return path if path.exists() else None


def require(name: str) -> Path:
    """The path of one file of reference data; skips the calling test where it is absent."""
    path = find(name)
    if path is None:
        pytest.skip(f"reference data {name} not found in {root()} (set MOZG_SHARED to its folder)")
    return path
