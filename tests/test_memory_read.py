"""The model of the read side by hand-made cases, the serial multiplier in MyHDL, and what is refused.

The blocks themselves run under tests/test_benches.py.
"""

import dataclasses
import random

import pytest
from myhdl import Signal, Simulation, StopSimulation, delay, instance, intbv

from rtl.common.config import PRESETS
from rtl.common.isa import Opcode, encode
from rtl.memory.descriptor import check_config
from rtl.memory.serial_multiply import serial_multiply
from verif.memory.read_model import Machine, Row, expand


def test_presets_can_be_read_for():
    for chip in PRESETS.values():
        check_config(chip)


def test_a_beat_longer_than_the_alignment_of_regions_is_refused():
    with pytest.raises(ValueError, match="ports is 4, expected 1 or 2"):
        dataclasses.replace(PRESETS["server"], ports=4)


def test_a_burst_longer_than_the_fifo_is_refused():
    with pytest.raises(ValueError, match="burst_beats is 64, expected 2 to fifo_beats .32."):
        dataclasses.replace(PRESETS["tiny"], fifo_beats=32)


def test_attend_reads_the_jobs_in_the_order_of_the_specification():
    rows = [Row(slot=2, position=40), Row(slot=2, position=3)]
    machine = Machine(PRESETS["tiny"], kv_base=0, kv_stride=0x10000, rows=rows)
    instruction = encode(
        Opcode.ATTEND,
        heads=3,
        heads_per_kv=1,
        head_blocks=2,
        layer_offset=0x100,
        head_stride=0x4000,
        value_offset=0x2000,
        value_stride=0x800,
    )
    base = 0x20100
    keys = [(base + head * 0x4000, 2 * (1 + 2 * 33) * 32, 0) for head in range(3)]  # two groups of 32 tokens
    values = [
        [(base + head * 0x4000 + 0x2000 + block * 0x800, 2 * 32 * 32, 0) for block in range(2)] for head in range(3)
    ]
    assert expand(instruction, machine) == [
        keys[0],
        keys[1],
        *values[0],
        keys[2],
        *values[1],
        *values[2],
    ]


def test_serial_multiply_is_exact_and_tells_overflow():
    rng = random.Random(5)
    clk, rst, start, overflow, busy = (Signal(False) for _ in range(5))
    base, factor, result = (Signal(intbv(0)[40:]) for _ in range(3))
    count = Signal(intbv(0)[32:])
    block = serial_multiply(clk, rst, start, base, factor, count, result, overflow, busy)
    done = []

    @instance
    def drive():
        def cycle():
            clk.next = not clk
            return delay(1)

        rst.next = True
        for _ in range(2):
            yield cycle()
        rst.next = False
        for _ in range(100):
            a, b, c = (rng.getrandbits(rng.choice((3, width))) for width in (40, 40, 32))
            base.next, factor.next, count.next, start.next = a, b, c, True
            for _ in range(2):
                yield cycle()
            start.next = False
            edges = 0
            while True:
                for _ in range(2):
                    yield cycle()
                edges += 1
                if not busy:
                    break
            exact = a + b * c
            assert edges <= max(1, c.bit_length()) + 1
            assert bool(overflow) == (exact >> 40 != 0), (a, b, c)
            if not overflow:
                assert int(result) == exact, (a, b, c)
            done.append(exact)
        raise StopSimulation

    Simulation(block, drive).run(quiet=1)
    assert len(done) == 100
