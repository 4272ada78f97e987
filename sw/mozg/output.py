"""Files that commands write: whole or not at all, and refused before a long run where they cannot be written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console

from .errors import MozgError


class Output(Console):
    """Standard output by rich. A reader that closes the pipe is a BrokenPipeError, as for print."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    A link is followed. A device or a pipe is written as it is, and so is the file behind standard output or error.
    """
    try:
        stream = _own_stream(path)
        if stream is not None:
            stream.flush()
            stream.buffer.write(data)
            stream.flush()
        elif path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
        else:
            with whole_file(path) as file:
                file.write(data)
    except OSError as error:
        raise unwritable(path, error.strerror) from None


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` when all went well and is gone otherwise. May raise OSError.

    An existing file in a folder where no other can be made is written in place.
    """
    path = path.resolve()
    if path.is_file() and not os.access(path.parent, os.W_OK):
        with path.open("wb") as file:
            yield file
        return
    handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    temporary = Path(handle.name)
    try:
        with handle:
            yield handle
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(name: str | None) -> None:
    """MozgError now, rather than after a long run, where a file cannot be written; None is no file."""
    if name is None:
        return
    path = Path(name)
    if name == "-":
        raise MozgError("- names no file to write: give a path, or /dev/stdout for standard output")
    if not name or path.is_dir():
        raise unwritable(path, "it is a folder" if name else "its name is empty")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise unwritable(path, "it is write-protected")
    elif not path.resolve().parent.is_dir() or not os.access(path.resolve().parent, os.W_OK):
        raise unwritable(path, f"{path.parent} is not a folder that can be written to")


def check_outputs(outputs: Mapping[str, str | None]) -> None:
    """MozgError now where one of the files that a command writes, by option, cannot be written, or two are the same."""
    seen: dict[str, Path] = {}
    for option, name in outputs.items():
        check_writable(name)
        if name is None:
            continue
        path = Path(name).resolve()
        for other, known in seen.items():
            if path == known or path.exists() and known.exists() and path.samefile(known):
                raise MozgError(f"{other} and {option} are both {name}: give two files")
        seen[option] = path


def unwritable(path: Path, reason: str | None) -> MozgError:
    return MozgError(f"{path} cannot be written: {reason}; give a path in a folder of yours")


def _own_stream(path: Path) -> IO[str] | None:
    """Standard output or standard error, where `path` is the file behind it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())) and not os.path.samestat(
                path.stat(), os.stat(os.devnull)
            ):
                return stream
        except (AttributeError, OSError, ValueError):  # a stream without a file, or no such path
            continue
    return None


def interruptible(run: Callable[[], int]) -> int:
    """Run a command of its own: one line on standard error for a MozgError or OSError (1) and for Ctrl-C (130)."""
    try:
        return run()
    except (MozgError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
