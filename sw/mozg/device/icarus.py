"""The chip in Icarus as a device: cocotb runs it in another process, over a memory file that both map.

verif/device/icarus_server.py is the other side. About a thousand cycles a second: for one token on `tiny`, as a
second opinion beside Verilator.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import PRESETS, ChipConfig

from .base import Device, DeviceError

ROOT = Path(__file__).resolve().parents[3]
BUILD_SECONDS = 600
RUN_CYCLES = 1000  # in one command, about a second: Ctrl-C and the end of this process are noticed between them
CLOSE_SECONDS = 10
SOCKET_PATH = 107  # bytes, of sun_path without its final zero


class IcarusDevice(Device):
    """The presets only, since the other process finds the chip by name. `progress` is told of the build."""

    name = "icarus"

    def __init__(self, chip: ChipConfig, size: int, progress: Callable[[str], None] = lambda _: None):
        super().__init__(chip, size)
        if PRESETS.get(chip.name) != chip:
            raise DeviceError(f"chip {chip.name!r} is not a preset: the icarus device takes {', '.join(PRESETS)}")
        if shutil.which("iverilog") is None:
            raise DeviceError("iverilog is not installed: run `make setup`")
        self._folder = Path(tempfile.mkdtemp(prefix="mozg-icarus-"))
        self._progress = progress
        self._process: subprocess.Popen | None = None
        self._stream: TextIO | None = None
        try:
            self._memory = np.memmap(self._folder / "memory", dtype=np.uint8, mode="w+", shape=(size,))
            self._start()
            self.write_register("irq_enable", 1)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        from verif.device.icarus_build import PROGRESS

        path = str(self._folder / "socket")
        if len(os.fsencode(path)) > SOCKET_PATH:
            raise DeviceError(
                f"{path} is too long for a socket, which takes {SOCKET_PATH} bytes: set TMPDIR to a shorter path"
            )
        environment = os.environ | {
            "MOZG_ICARUS_SOCKET": path,
            "MOZG_ICARUS_MEMORY": str(self._folder / "memory"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sw"), os.environ.get("PYTHONPATH", "")]),
        }
        self._log = self._folder / "log"
        with socket.socket(socket.AF_UNIX) as server, self._log.open("w") as log:
            server.bind(path)
            server.listen(1)
            server.settimeout(1)
            command = [sys.executable, "-m", "verif.device.icarus_build", self.chip.name]
            # A process group of its own: Ctrl-C comes to this process, which ends the other ones.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            told = 0
            for _ in range(BUILD_SECONDS):
                lines = [line for line in self._log.read_text().splitlines() if line.startswith(PROGRESS)]
                for line in lines[told:]:
                    self._progress(line.removeprefix(PROGRESS))
                told = len(lines)
                try:
                    connection, _ = server.accept()
                    break
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise DeviceError(f"the chip does not start in Icarus: {self._last_words()}") from None
            else:
                raise DeviceError(f"the chip did not start in Icarus within {BUILD_SECONDS} s")
        connection.settimeout(None)
        self._stream = connection.makefile("rw")
        connection.close()

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text().splitlines() if line.strip()]
        return lines[-1][:200] if lines else "no output"

    def close(self) -> None:
        ended = False
        if self._stream:
            with contextlib.suppress(OSError):
                self._stream.write('{"close": true}\n')
                self._stream.close()
                ended = True
            self._stream = None
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if ended:
                    self._process.wait(timeout=CLOSE_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, **command: object) -> int:
        self._stream.write(json.dumps(command) + "\n")
        self._stream.flush()
        line = self._stream.readline()
        if not line:
            raise DeviceError(f"the simulation in Icarus ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            reason = "no answer" if answer["error"] < 0 else f"AXI response {answer['error']}"
            raise DeviceError(f"register access {command}: {reason}")
        return answer["value"]

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._memory[address : address + data.size] = data

    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        return np.array(self._memory[address : address + count])

    def write_register(self, name: str, value: int) -> None:
        self._command(write=[self._register(name).offset, value & 0xFFFFFFFF])

    def read_register(self, name: str) -> int:
        return self._command(read=self._register(name).offset)

    def run(self, limit: int) -> int:
        self.write_register("irq_status", 1)
        self.write_register("control", 1)
        done = 0
        while done < limit:
            chunk = min(RUN_CYCLES, limit - done)
            count = self._command(run=chunk)
            done += count
            if count < chunk:
                break
        return done
