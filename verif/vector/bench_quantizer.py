"""mx_quantizer against the NumPy model: units of any length, with random idle clocks."""

from __future__ import annotations

from pathlib import Path
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from mozg import fp32, mx
from rtl.common.config import BLOCK, ChipConfig
from rtl.convert import Converted, convert
from rtl.vector.mx_quantizer import mx_quantizer
from verif.arith import stimulus
from verif.arith.ports import bit, word
from verif.benches import configuration
from verif.runner import settings

TAG_BITS = 9
UNITS = 400


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    inputs = [bit(), bit(), bit(), bit(), word(TAG_BITS), word(32 * chip.lanes)]
    outputs = [bit(), word(TAG_BITS), word(8), word(8 * chip.lanes), bit()]
    return convert(mx_quantizer, *inputs, *outputs, config=chip, tag_bits=TAG_BITS, out_dir=out_dir)


def units(rng: np.random.Generator, lanes: int, longest: int) -> list[np.ndarray]:
    """FP32 patterns [words, lanes] of each unit: of one exponent and those just below it, of zeros, of corners."""
    result = []
    for _ in range(UNITS):
        words = rng.choice([BLOCK // lanes, longest, rng.integers(1, longest + 1)])
        shape = (int(words), lanes)
        top = int(rng.integers(0, 255))
        exponent = np.clip(top - rng.integers(0, 9, shape), 0, 254)
        x = rng.integers(0, 2, shape) << 31 | exponent << 23 | rng.integers(0, 1 << 23, shape)
        kind = rng.integers(0, 8)
        if kind == 0:
            x = rng.choice(stimulus.SPECIALS, shape).astype(np.int64)
        elif kind == 1:
            x = rng.integers(0, 2, shape) << 31 | rng.integers(0, 2, shape)  # zeros and a subnormal
        result.append(x.astype(np.uint32))
    return result


def packed(values: np.ndarray, bits: int) -> int:
    mask = (1 << bits) - 1
    return sum((int(v) & mask) << (bits * k) for k, v in enumerate(values))


async def check(dut, idle: float) -> None:
    chip, random = configuration(settings()["chip"]), Random(cocotb.RANDOM_SEED)
    rng = np.random.default_rng(cocotb.RANDOM_SEED + round(100 * idle))
    given, expected = [], []
    for x in units(rng, chip.lanes, chip.head_blocks * chip.words):
        elements, scale = mx.quantize_mxint8(fp32.from_bits(x).reshape(1, -1), block=x.size)
        rows = elements.reshape(x.shape)
        for place, row in enumerate(x):
            last = place == len(x) - 1
            tag = random.getrandbits(TAG_BITS - 1) << 1 | last
            given.append((packed(row, 32), last, tag))
            expected.append((tag, int(scale[0, 0]), packed(rows[place], 8)))

    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    dut.valid_in.value = 0
    for _ in range(20):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    seen, at, waited = 0, 0, 0
    while seen < len(expected):
        going = at < len(given) and random.random() >= idle
        dut.valid_in.value = going
        if going:
            dut.x.value, dut.unit_end.value, dut.tag.value = given[at]
            at += 1
        await FallingEdge(dut.clk)
        waited += 1
        if dut.valid_out.value:
            got = (int(dut.tag_out.value), int(dut.scale_out.value), int(dut.data_out.value))
            assert got == expected[seen], f"word {seen}: got {got}, expected {expected[seen]}"
            assert dut.busy.value, f"word {seen} left while busy was low"
            seen, waited = seen + 1, 0
        assert waited < 1000, f"word {seen} of {len(expected)} never came"
    for _ in range(20):
        dut.valid_in.value = 0
        await FallingEdge(dut.clk)
        assert not dut.valid_out.value, "a word too many"
    assert not dut.busy.value


@cocotb.test()
async def takes_a_word_every_clock(dut) -> None:
    await check(dut, 0.0)


@cocotb.test()
async def idle_clocks_change_nothing(dut) -> None:
    await check(dut, 0.5)
