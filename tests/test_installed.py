"""What `make setup` installs stands alone: it imports nothing that only the folder of the repository has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORT_ALL = """
import importlib, pkgutil
for package in ("rtl", "verif", "mozg"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            print(module.name)
"""


def test_packages_import_nothing_outside_themselves(tmp_path: Path) -> None:
    for package in (ROOT / "rtl", ROOT / "verif", ROOT / "sw" / "mozg"):
        (tmp_path / package.name).symlink_to(package)
    process = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_ALL],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) > 200
