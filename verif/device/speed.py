"""Simulated cycles per second of the Verilated chip: `python -m verif.device.speed`.

A decode step of a GPT-2 124M shape, and one of the shipped model, run on the device as `mozg` uses it: registers
through ctypes, the DRAM model, the interrupt watched. The same step is then replayed by a bare C++ loop, which clocks
a second instance of the same Verilog through the recorded answers of the memory and does nothing else (mozg_replay in
device.cpp); the replay must raise the interrupt in the same cycle. Times are CPU seconds of the one thread, the best
of a few runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mozg import models
from mozg.checkpoint import load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device import DeviceError
from mozg.device.memory import DDR4
from mozg.device.verilator import VerilatorDevice
from mozg.driver import Driver, Row
from mozg.errors import MozgError
from mozg.measure import decode_rows, random_image
from mozg.shapes import parse_shape
from rtl.common.config import PRESETS, ChipConfig

PROGRAMS = {"gpt2-124m": 512, "shakespeare": 128}  # and the context of the step


@dataclass(frozen=True)
class Speed:
    """Of one step: its cycles, by the chip's counter, and how many a second on the device and in the bare loop."""

    cycles: int
    device: float
    bare: float


class ReplayDevice(VerilatorDevice):
    """A device whose run is a replay of what another one recorded; `seconds`: what the last one took."""

    source: VerilatorDevice | None = None
    seconds = 0.0

    def run(self, limit: int) -> int:
        if self.source is None:
            return super().run(limit)
        self.write_register("irq_status", 1)
        self.write_register("control", 1)
        start = time.thread_time()
        cycles = self.replay(self.source)
        self.seconds = time.thread_time() - start
        if not cycles:
            raise DeviceError("the replay does not end where the recorded run did")
        return cycles


def load_image(program: str, chip: ChipConfig) -> Image:
    """The image of a program: a directory with a checkpoint, or the name of a shape or of a shipped model."""
    if program.startswith("gpt2"):
        return random_image(parse_shape(program), chip, slots=1)
    return compile_model(load_checkpoint(models.resolve(program)), chip)


def measure(chip: ChipConfig, image: Image, rows: list[Row], repeats: int) -> Speed:
    """The speed of one step of these rows. DeviceError when the replay is not the same run."""
    device_rate = bare_rate = 0.0
    with VerilatorDevice(chip, image.memory.size, progress=lambda line: print(line, file=sys.stderr)) as device:
        driver = Driver(device, image)
        device.wait_for_phase(0, DDR4.refresh_interval)  # as `mozg.measure` does: the same refreshes, the same cycles
        device.record(True)
        step = driver.step(rows)
        cycles = step.cycles
        device.record(False)
        for _ in range(repeats):
            with ReplayDevice(chip, image.memory.size) as replay:
                second = Driver(replay, image)
                replay.source = device
                second.step(rows)
                bare_rate = max(bare_rate, cycles / replay.seconds)
        for _ in range(repeats):
            start = time.thread_time()
            done = driver.step(rows).cycles
            device_rate = max(device_rate, done / (time.thread_time() - start))
    return Speed(step.counters["cycles"], device_rate, bare_rate)


def names(option: str, text: str, known: Collection[str]) -> list[str]:
    """Names separated by commas. MozgError for one that is not known."""
    found = text.split(",")
    for name in found:
        if name not in known:
            raise MozgError(f"{option} {text}: {name!r} is unknown: expected names of {', '.join(known)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--chips", default="edge", help=f"of {', '.join(PRESETS)}, by commas (default: edge)")
    parser.add_argument(
        "--programs", default=",".join(PROGRAMS), help=f"of {', '.join(PROGRAMS)}, by commas (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts (default: 3)")
    options = parser.parse_args(arguments)
    try:
        chips = names("--chips", options.chips, PRESETS)
        programs = names("--programs", options.programs, PROGRAMS)
        if options.repeats < 1:
            raise MozgError(f"--repeats {options.repeats}: expected at least 1")
        head = f"{'chip':8} {'decode step of':16} {'cycles':>10} {'device':>12} {'bare loop':>12}"
        print(f"{head} {'ratio':>6} {'a step':>8}")
        for name in chips:
            chip = PRESETS[name]
            for program in programs:
                image = load_image(program, chip)
                speed = measure(
                    chip, image, decode_rows(PROGRAMS[program], 1, image.config.vocabulary), options.repeats
                )
                print(
                    f"{name:8} {program:16} {speed.cycles:10,} {speed.device / 1e3:8,.0f} k/s"
                    f" {speed.bare / 1e3:8,.0f} k/s {speed.device / speed.bare:6.0%}"
                    f" {speed.cycles / speed.device:6.2f} s",
                    flush=True,
                )
    except MozgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
