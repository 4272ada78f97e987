"""Where things are made, and one process at a time in each."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"


class FolderError(Exception):
    """A folder in which nothing can be built; the message says why and what to do."""


@contextlib.contextmanager
def alone(directory: Path, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes out of a build folder meanwhile. `wait` is called once if one is there.

    FolderError where the folder is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise FolderError(f"{directory} must be writable to build in it ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_for_make(path: Path) -> None:
    """FolderError where GNU make cannot build."""
    if len(str(path).split()) != 1:
        raise FolderError(
            f"GNU make cannot build in a path with a space: {path}; move the project to a path without one"
        )
