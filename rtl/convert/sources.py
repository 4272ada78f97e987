"""Which source files shape a module: its own, and every file of its package that it imports, however far."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import myhdl

CONVERTER = Path(__file__).resolve().parent


def package_root(file: Path) -> Path:
    """The folder from which the top package of `file` is imported."""
    root = file.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root


@functools.lru_cache(maxsize=4096)
def imported(file: Path, modified: int) -> frozenset[Path]:
    """Files that `file` imports from its own top package or folder; `modified` only keys the cache."""
    root = package_root(file)
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.relative_to(root).parent.parts
                parts = package[: len(package) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = root.joinpath(*parts[:end])
            found.update(p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file())
    return frozenset(found)


def closure(files: Iterable[Path]) -> list[Path]:
    """The files and all that they import, sorted."""
    waiting, reached = [file.resolve() for file in files], set()
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += imported(file, file.stat().st_mtime_ns)
    return sorted(reached)


def source_hash(files: Iterable[Path]) -> str:
    """One hash of `files`, what they import, the converter, and MyHDL's version."""
    digest = hashlib.sha256(myhdl.__version__.encode())
    for file in closure([*files, *CONVERTER.glob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()
