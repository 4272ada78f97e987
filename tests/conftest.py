"""What all tests share: the folders of the sources, also for the processes that tests start."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# cocotb benches and other processes find the packages as this one does.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "sw"), *filter(None, [os.environ.get("PYTHONPATH")])])
# Tools of this environment, such as the simulators, come first even when it was not activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
