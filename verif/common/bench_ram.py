"""RAM: parts written, a spoiled word read while it is written, read latency, data held without read enable."""

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from myhdl import Signal, intbv

from rtl.common.config import ChipConfig
from rtl.common.ram import address_bits, ram
from rtl.convert import Converted, convert
from verif.runner import settings

WIDTH = 32


def build(out_dir: Path, chip: ChipConfig, depth: int, parts: int, read_stages: int = 1) -> Converted:
    def word(width: int) -> Signal:
        return Signal(intbv(0)[width:])

    bits = address_bits(depth)
    return convert(
        ram,
        clk=Signal(False),
        write_enable=word(parts) if parts > 1 else Signal(False),
        write_address=word(bits),
        write_data=word(WIDTH),
        read_enable=Signal(False),
        read_address=word(bits),
        read_data=word(WIDTH),
        depth=depth,
        width=WIDTH,
        parts=parts,
        read_stages=read_stages,
        out_dir=out_dir,
    )


@cocotb.test()
async def reads_what_was_written(dut):
    depth, parts = settings()["depth"], settings()["parts"]
    stages = settings().get("read_stages", 1)
    size = WIDTH // parts
    words = [0] * depth
    Clock(dut.clk, 10, "ns").start()
    dut.read_enable.value = 0
    for address in range(depth):
        await FallingEdge(dut.clk)
        dut.write_enable.value = 2**parts - 1
        dut.write_address.value = address
        dut.write_data.value = words[address] = random.getrandbits(WIDTH)
    pipeline: list[int | None] = [None] * stages
    for _ in range(2000):
        await FallingEdge(dut.clk)
        if pipeline[-1] is not None:
            assert int(dut.read_data.value) == pipeline[-1]
        enable, address = random.getrandbits(parts), random.randrange(depth)
        data, read = random.getrandbits(WIDTH), random.random() < 0.7
        # Half of the reads hit the word that is being written.
        source = address if random.random() < 0.5 else random.randrange(depth)
        dut.write_enable.value, dut.write_address.value, dut.write_data.value = enable, address, data
        dut.read_enable.value, dut.read_address.value = read, source
        spoiled = 2**WIDTH - 1 if enable and source == address else 0  # the benches define MOZG_RAM_COLLISIONS
        pipeline = [words[source] ^ spoiled if read else pipeline[0], *pipeline[:-1]]
        for part in range(parts):
            if enable >> part & 1:
                mask = (2**size - 1) << (part * size)
                words[address] = (words[address] & ~mask) | (data & mask)
