"""The whole chip on small random GPTs against the NumPy model: logits, tokens and KV cache of every step, bit for bit.

Small, since Icarus runs it too: tests/test_random_shapes.py goes on to larger shapes in Verilator.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import cocotb
import numpy as np
from cocotb.task import bridge, resume
from numpy.typing import NDArray

from mozg.checkpoint import load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device import Device, DeviceError
from mozg.device.model import ModelDevice
from mozg.driver import Driver, Row
from mozg.random_checkpoint import make_random_checkpoint
from mozg.verify import Lockstep
from rtl.common.config import ChipConfig
from rtl.common.registers import CAUSES, ErrorCode
from rtl.convert import Converted
from verif.benches import configuration
from verif.device import chip_agent
from verif.runner import settings

FILL = 0xFF


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    from rtl.top.mozg import convert_chip

    return convert_chip(chip, out_dir)


class CocotbDevice(Device):
    """The dut as a device for the driver, which runs in a thread of its own (cocotb's bridge)."""

    name = "cocotb"

    def __init__(self, dut, chip: ChipConfig, size: int):
        super().__init__(chip, size)
        self.dut, self.memory = dut, np.zeros(size, dtype=np.uint8)

    def open(self) -> None:
        resume(chip_agent.start)(self.dut, self.memory)
        self.write_register("irq_enable", 1)

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self.memory[address : address + data.size] = data

    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        return self.memory[address : address + count].copy()

    def write_register(self, name: str, value: int) -> None:
        response = resume(chip_agent.write_register)(self.dut, self._register(name).offset, value & 0xFFFFFFFF)
        assert response == 0, f"register {name}: response {response}"

    def read_register(self, name: str) -> int:
        response, value = resume(chip_agent.read_register)(self.dut, self._register(name).offset)
        assert response == 0, f"register {name}: response {response}"
        return value

    def run(self, limit: int) -> int:
        self.write_register("irq_status", 1)
        self.write_register("control", 1)
        return resume(chip_agent.run_until_interrupt)(self.dut, limit)


def random_image(chip: ChipConfig, weights: str) -> Image:
    """A GPT of a random small shape, compiled."""
    heads = random.choice((1, 2, 3))
    width = heads * random.choice((8, 11, 16, 20))
    layers = random.choice((1, 2))
    shape = {
        "layers": 1 if cocotb.SIM_NAME.startswith("Icarus") else layers,  # which takes 14 times as long
        "heads": heads,
        "width": width,
        "context": random.choice((11, 64, 100)),
        "vocabulary": random.choice((3, 33, 70)),
        "seed": random.randrange(1 << 16),
    }
    cocotb.log.info(f"shape {shape}, {weights}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        make_random_checkpoint(path, **shape)
        return compile_model(load_checkpoint(path), chip, weights)


def open_pair(dut, image: Image) -> Lockstep:
    device = CocotbDevice(dut, image.chip, image.memory.size)
    device.open()
    model = ModelDevice(image.chip, image.memory.size)
    return Lockstep(Driver(device, image, FILL), Driver(model, image, FILL))


def check(lockstep: Lockstep, rows: list[Row]) -> list[int | None]:
    """One step on both; the tokens of the rows. Every cycle of the chip has one cause."""
    result, _, difference = lockstep.step(rows)
    assert difference is None, difference
    assert sum(result.counters[cause] for cause in CAUSES) == result.counters["cycles"] > 0
    return result.tokens[0]


def generate(dut, weights: str) -> None:
    """A prompt in chunks, then decode, greedy and sampled, beside a second sequence that starts later."""
    chip = configuration(settings()["chip"])
    image = random_image(chip, weights)
    lockstep = open_pair(dut, image)
    vocabulary = image.config.vocabulary
    prompt = [random.randrange(vocabulary) for _ in range(min(chip.rows + 1, image.context - 4))]
    token, position = None, 0
    while position < len(prompt):
        part = prompt[position : position + chip.rows]
        rows = [Row(0, position + i, t, sample=True, logits=True) for i, t in enumerate(part)]
        token = check(lockstep, rows)[-1]
        position += len(part)
    other = random.randrange(vocabulary)
    for step in range(2):
        rows = [
            Row(0, position + step, token, sample=True, logits=True, temperature=0.8, seed=step),
            Row(1, step, other, sample=True, logits=step == 0),
        ]
        token, other = check(lockstep, rows)


@cocotb.test()
async def mxint8_tokens_equal_the_model(dut) -> None:
    await bridge(generate)(dut, "mxint8")


@cocotb.test()
async def mxfp4_tokens_equal_the_model(dut) -> None:
    await bridge(generate)(dut, "mxfp4")


def fault(dut) -> None:
    """An unknown opcode stops the chip with a code; a reset by register brings it back."""
    image = random_image(configuration(settings()["chip"]), "mxint8")
    lockstep = open_pair(dut, image)
    device = lockstep.rtl.device
    base = image.regions["program"].base
    good = device.read_memory(base, 1)
    device.write_memory(base, np.array([0x7E], dtype=np.uint8))
    try:
        lockstep.rtl.step([Row(0, 0, 1)])
    except DeviceError as error:
        assert "OPCODE" in str(error), error
    else:
        raise AssertionError("an unknown opcode was executed")
    assert device.read_register("error") == ErrorCode.NONE, "the driver's reset clears the error"
    device.write_memory(base, good)
    check(lockstep, [Row(0, 0, 1, sample=True, logits=True)])


@cocotb.test()
async def unknown_opcode_is_an_error_and_reset_recovers(dut) -> None:
    await bridge(fault)(dut)
