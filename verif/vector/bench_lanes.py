"""Bench of the datapath: random passes of control words against the reference, on every output bit."""

from __future__ import annotations

import random
from pathlib import Path
from random import Random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from myhdl import Signal, intbv

from rtl.common.config import PRESETS, ChipConfig, bits_for
from rtl.convert import Converted, convert
from rtl.vector.control_word import (
    Add1,
    Add2,
    Add3,
    Destination,
    Function,
    Mask,
    Mul1,
    Mul2,
    Reduce,
    Scalar,
    Source,
    control_bits,
    control_fields,
)
from rtl.vector.lanes import lanes
from rtl.vector.parameter_ring import ring_bits
from verif.runner import settings
from verif.vector.lanes_model import LanesModel

SPECIAL_BITS = (0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x00800000, 0x80800000, 0x7F7FFFFF, 0x3F800000)


def lanes_widths(c: ChipConfig) -> dict[str, int]:
    """Port name -> bits; 0 is a single bit (bool)."""
    row, word, wide, ring = bits_for(c.rows), bits_for(c.words), 32 * c.lanes, ring_bits(c)
    free = ring - (c.words - 1).bit_length() + 1
    widths = {
        "control": control_bits(c),
        "constant_a": 32,
        "constant_b": 32,
        "count": 32,
        "first_exponent": 8,
        "row_greedy": c.rows,
        "row_position": c.rows * bits_for(c.context),
        "row_seed": 32 * c.rows,
        "row_temperature": 32 * c.rows,
        "ring_a_free_blocks": free,
        "ring_b_free_blocks": free,
        "ring_a_available": ring + 1,
        "ring_b_available": ring + 1,
        "drain_data": wide,
        "drain_row": row,
        "drain_column": bits_for(c.columns),
        "drain_word": word,
        "value_scale_group": bits_for(c.context // c.group_tokens),
        "value_scale_data": c.bus_bits,
        "parameter_tag": 2,
        "parameter_data": wide,
        "operand_block": bits_for(c.operand_blocks),
        "operand_row": row,
        "operand_word": word,
        "operand_data": 8 * c.lanes,
        "operand_scale": 8,
        "kv_row": row,
        "kv_head": 8,
        "kv_block": 8,
        "kv_word": word,
        "kv_data": 8 * c.lanes,
        "kv_scale": 8,
        "logits_row": row,
        "logits_block": 16,
        "logits_word": word,
        "logits_data": wide,
        "sample_token": 32 * c.rows,
        "row_fault": c.rows,
    }
    names = lanes.func.__code__.co_varnames[: lanes.func.__code__.co_argcount]
    return {name: widths.get(name, 0) for name in names if name != "config"}


def build(out_dir: Path, config: ChipConfig) -> Converted:
    ports = {name: Signal(intbv(0)[bits:]) if bits else Signal(False) for name, bits in lanes_widths(config).items()}
    return convert(lanes, **ports, config=config, out_dir=out_dir)


def pack(values: np.ndarray, width: int = 32) -> int:
    return sum(int(v) << (width * i) for i, v in enumerate(values))


class Bench:
    """Drives at the falling edge; answers drains; collects operand, KV, logits words and faults."""

    def __init__(self, dut, config: ChipConfig, seed: int) -> None:
        self.dut, self.config, self.random = dut, config, Random(seed)
        self.rng = np.random.default_rng(seed)
        self.fields = control_fields(config)
        self.words: dict[str, list[dict]] = {"operands": [], "kv": [], "logits": []}
        self.faults: list[int] = []
        self.drains: list[np.ndarray] = []  # in order of beats
        self.model = LanesModel(config, np.zeros((3, 1024), np.float32))

    def floats(self, shape: int | tuple, low: int = 120, high: int = 134, special: float = 0.0) -> np.ndarray:
        """Random FP32 with biased exponents in a range, and a share of corner values."""
        size = int(np.prod(shape))
        bits = self.rng.integers(0, 1 << 23, size, dtype=np.uint32)
        bits |= self.rng.integers(low, high, size, dtype=np.uint32) << np.uint32(23)
        bits |= self.rng.integers(0, 2, size, dtype=np.uint32) << np.uint32(31)
        chosen = self.rng.random(size) < special
        bits[chosen] = self.rng.choice(np.array(SPECIAL_BITS, np.uint32), int(chosen.sum()))
        return bits.view(np.float32).reshape(shape)

    async def start(self) -> None:
        dut = self.dut
        for name in (
            "control_valid control constant_a constant_b count first_exponent row_greedy row_position "
            "row_seed row_temperature ring_a_free ring_a_free_blocks ring_b_free ring_b_free_blocks "
            "drain_data value_scale_write value_scale_buffer value_scale_group value_scale_data "
            "parameter_valid parameter_tag parameter_data"
        ).split():
            getattr(dut, name).value = 0
        cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
        dut.rst.value = 1
        for _ in range(40):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self.answer_drains())
        cocotb.start_soon(self.watch())

    async def answer_drains(self) -> None:
        """drain_valid sampled at edge t, data after edge t + 2; otherwise rubbish."""
        dut, pipe = self.dut, [None, None]
        while True:
            await FallingEdge(dut.clk)
            pipe.append(self.drains.pop(0) if int(dut.drain_valid.value) else None)
            due = pipe.pop(0)
            # `due` was asked two falling edges ago: its edge t has passed then, t + 1 now; drive after t + 2.
            word = self.rng.integers(0, 1 << 32, self.config.lanes, dtype=np.uint32)
            if self.late is not None:
                word = self.late.view(np.uint32)
            dut.drain_data.value = pack(word)
            self.late = due

    late: np.ndarray | None = None

    async def watch(self) -> None:
        dut, lanes_count = self.dut, self.config.lanes

        def split(value: int, width: int) -> list[int]:
            return [value >> (width * i) & ((1 << width) - 1) for i in range(lanes_count)]

        def signed(values: list[int]) -> list[int]:
            return [v - 256 if v > 127 else v for v in values]

        def read(prefix: str, *names: str) -> dict[str, int]:
            return {name: int(getattr(dut, f"{prefix}_{name}").value) for name in names}

        while True:
            await FallingEdge(dut.clk)
            if int(dut.operand_write.value):
                word = read("operand", "block", "row", "word", "scale", "fill")
                word["data"] = signed(split(int(dut.operand_data.value), 8))
                self.words["operands"].append(word)
            if int(dut.kv_valid.value):
                word = read("kv", "block", "row", "word", "scale", "head", "value", "last")
                word["data"] = signed(split(int(dut.kv_data.value), 8))
                self.words["kv"].append(word)
            if int(dut.logits_valid.value):
                word = read("logits", "block", "row", "word")
                word["data"] = split(int(dut.logits_data.value), 32)
                self.words["logits"].append(word)
            fault = int(dut.row_fault.value)
            self.faults += [row for row in range(self.config.rows) if fault >> row & 1]

    async def send_parameters(self, tag: int, words: np.ndarray) -> None:
        """words: [n][V] float32."""
        for word in words:
            self.dut.parameter_data.value = pack(word.view(np.uint32))
            self.dut.parameter_tag.value = tag
            self.dut.parameter_valid.value = 1
            while True:
                await Timer(1, "ns")
                ready = int(self.dut.parameter_ready.value)
                await FallingEdge(self.dut.clk)
                if ready:
                    break
            self.dut.parameter_valid.value = 0
        if tag != 3:
            self.model.ring["a" if tag == 1 else "b"] += list(words)

    async def load_tables(self) -> None:
        self.model.tables = self.floats((3, 1024), 122, 130)
        await self.send_parameters(3, self.model.tables.reshape(-1, self.config.lanes))

    def set_rows(self) -> None:
        c, dut, model = self.config, self.dut, self.model
        model.greedy = self.random.getrandbits(c.rows) if c.rows > 1 else 0
        model.greedy &= ~1
        model.position = [self.random.randrange(c.context) for _ in range(c.rows)]
        model.seed = [self.random.getrandbits(32) for _ in range(c.rows)]
        model.temperature = list(self.floats(c.rows))
        dut.row_greedy.value = model.greedy
        dut.row_position.value = pack(model.position, bits_for(c.context))
        dut.row_seed.value = pack(model.seed)
        dut.row_temperature.value = pack(np.array(model.temperature).view(np.uint32))

    def set_constants(self) -> None:
        model, dut = self.model, self.dut
        model.constant_a, model.constant_b = self.floats(2)
        model.count = self.random.randrange(1, 32 * 8)
        model.first_exponent = self.random.randrange(118, 130)
        dut.constant_a.value = int(np.float32(model.constant_a).view(np.uint32))
        dut.constant_b.value = int(np.float32(model.constant_b).view(np.uint32))
        dut.count.value = model.count
        dut.first_exponent.value = model.first_exponent

    async def set_value_scales(self) -> None:
        c, dut = self.config, self.dut
        for buffer in range(2):
            for group in range(c.context // c.group_tokens):
                scales = self.rng.integers(120, 135, c.group_tokens, dtype=np.uint8)
                scales[self.rng.random(c.group_tokens) < 0.005] = 255
                self.model.value_scale[buffer, group * c.group_tokens :][: c.group_tokens] = scales
                dut.value_scale_write.value = 1
                dut.value_scale_buffer.value = buffer
                dut.value_scale_group.value = group
                dut.value_scale_data.value = pack(scales, 8)
                await FallingEdge(dut.clk)
        dut.value_scale_write.value = 0

    async def settle(self) -> None:
        dut = self.dut
        dut.control_valid.value = 0
        await FallingEdge(dut.clk)
        waited = 0
        while int(dut.pipeline_busy.value):
            await FallingEdge(dut.clk)
            waited += 1
            assert waited < 1000, "pipeline_busy does not fall"
        await FallingEdge(dut.clk)  # a fault of the last beat

    async def beats(self, words: list[dict[str, int]], idle: float = 0.1, special: float = 0.0) -> None:
        """Issues the words with random idle cycles, feeding accumulator data where asked."""
        for word in words:
            full = {name: 0 for name in self.fields} | word
            drained = None
            if full["source"] == Source.ACCUMULATOR:
                drained = self.floats(self.config.lanes, special=special)
                self.drains.append(drained)
            self.model.beat(full, drained)
            control = 0
            for name, value in full.items():
                low, width = self.fields[name]
                assert 0 <= int(value) < 1 << width, (name, value)
                control |= int(value) << low
            while self.random.random() < idle:
                self.dut.control_valid.value = 0
                await FallingEdge(self.dut.clk)
            self.dut.control.value = control
            self.dut.control_valid.value = 1
            await FallingEdge(self.dut.clk)
        self.dut.control_valid.value = 0

    def rounds(self, blocks: range, rows: list[int], common: dict[str, int], **per_block) -> list[dict[str, int]]:
        """Words of whole blocks, row by row; per_block: field -> function of the block's number."""
        result = []
        for block in blocks:
            turn = []
            for row in rows:
                for word in range(self.config.words):
                    fields = {name: function(block) for name, function in per_block.items()}
                    last = int(word == self.config.words - 1)
                    turn.append({"quantise_last": last, **common, **fields, "row": row, "word": word})
            result.append(turn)
        return result

    async def run_rounds(self, rounds: list[list[dict[str, int]]], idle: float = 0.1, special: float = 0.0) -> None:
        for turn in rounds:
            await self.beats(turn, idle, special)
            for _ in range(8 - len(turn)):
                await FallingEdge(self.dut.clk)

    def compare(self) -> None:
        for name, got in self.words.items():
            wanted = getattr(self.model, name)
            for k, (a, b) in enumerate(zip(got, wanted, strict=False)):
                assert a == b, f"{name} word {k}:\n got {a}\n expected {b}"
            assert len(got) == len(wanted), f"{name}: {len(got)} words, expected {len(wanted)}"
        wanted_faults = sorted(self.model.faults)
        assert sorted(self.faults) == wanted_faults, f"faults of rows {self.faults}, expected {wanted_faults}"

    async def show_scalars(self) -> None:
        """Every row scalar leaves as a logit; MAX comes through ADD1 (0 - MAX)."""
        words = []
        for row in range(self.config.rows):
            for scalar in Scalar:
                maximum = scalar in (Scalar.MAX_0, Scalar.MAX_1)
                word = {"row": row, "destination": Destination.LOGITS, "block": int(scalar), "source": Source.SCALAR}
                if maximum:
                    word |= {"scalar_in": Scalar.MEAN, "add1": Add1.SCALAR, "scalar_operand": scalar}
                else:
                    word["scalar_in"] = scalar
                words.append(word)
        await self.beats(words)
        await self.settle()


async def prepared(dut) -> Bench:
    seed = random.getrandbits(32)  # cocotb seeds it, from the runner's --seed
    dut._log.info("bench seed %d", seed)
    bench = Bench(dut, PRESETS[str(settings()["chip"])], seed)
    await bench.start()
    bench.set_rows()
    bench.set_constants()
    await bench.load_tables()
    await bench.set_value_scales()
    c = bench.config
    for _ in range(16 * (c.rows + 1) + 1):
        await FallingEdge(dut.clk)
    # All scalars get a value: one beat each through the accumulators.
    words = []
    for row in range(c.rows):
        for scalar in (Scalar.MEAN, Scalar.SPREAD, Scalar.RSTD, Scalar.INVERSE_0, Scalar.INVERSE_1):
            words.append({"row": row, "destination": Destination.SCALAR, "scalar_out": scalar})
    await bench.beats(words)
    await bench.settle()
    for scalar in (Scalar.SUM, Scalar.SUM_S0, Scalar.SUM_S1):
        common = {"reduce": Reduce.SUM, "reduce_first": 1, "scalar_out": scalar}
        await bench.run_rounds(bench.rounds(range(1), list(range(c.rows)), common))
    for buffer in range(2):
        common = {"reduce": Reduce.MAX, "reduce_first": 1, "buffer": buffer, "mask": Mask.NONE}
        await bench.run_rounds(bench.rounds(range(1), list(range(c.rows)), common))
    await bench.settle()
    return bench


FUNCTION_STEPS = {
    Function.NONE: {},
    Function.LOG2: {"mul1": Mul1.TABLE, "add2": Add2.TABLE, "add3": Add3.EXPONENT},
}
TABLE_STEPS = {"mul1": Mul1.TABLE, "add2": Add2.TABLE, "mul2": Mul2.TABLE, "add3": Add3.TABLE}


@cocotb.test()
async def functions_agree_on_corners_and_random_numbers(dut) -> None:
    bench = await prepared(dut)
    rows = list(range(bench.config.rows))
    for special in (0.0, 0.5):
        for function in Function:
            common = {"destination": Destination.LOGITS, "function": function, "check": 1}
            common |= FUNCTION_STEPS.get(function, TABLE_STEPS)
            await bench.run_rounds(bench.rounds(range(12), rows, common, block=int), 0.05, special)
    await bench.settle()
    bench.compare()


@cocotb.test()
async def every_pass_of_the_specification_agrees(dut) -> None:
    bench = await prepared(dut)
    c, rows = bench.config, list(range(bench.config.rows))
    n = min(4, c.ring_words // 32 // 2)
    for _ in range(2):
        bench.set_constants()
        bench.model.count = 32 * n - 5
        dut.count.value = bench.model.count
        await bench.send_parameters(1, bench.floats((n * c.words, c.lanes)))
        await bench.send_parameters(2, bench.floats((n * c.words, c.lanes)))
        wide = {
            "index_block": int,
            "block": int,
            "source_block": int,
            "parameter_block": int,
            "reduce_first": lambda b: b == 0,
        }
        # embed, mean, variance, spread, deviation
        embed = {"source": Source.RING_A, "add1": Add1.RING_B, "destination": Destination.VECTOR, "reduce": Reduce.SUM}
        await bench.run_rounds(bench.rounds(range(n), rows, embed | {"mask": Mask.COUNT}, **wide))
        await bench.settle()
        mean = {"source": Source.SCALAR, "scalar_in": Scalar.SUM, "mul1": Mul1.CONSTANT_A}
        mean |= {"destination": Destination.SCALAR, "scalar_out": Scalar.MEAN}
        await bench.beats([mean | {"row": row} for row in rows])
        await bench.settle()
        variance = {"source": Source.VECTOR, "add1": Add1.SCALAR, "scalar_operand": Scalar.MEAN, "mul1": Mul1.SQUARE}
        variance |= {"reduce": Reduce.SUM, "mask": Mask.COUNT, "scalar_out": Scalar.SUM}
        await bench.run_rounds(bench.rounds(range(n), rows, variance, **wide))
        await bench.settle()
        spread = {"source": Source.SCALAR, "scalar_in": Scalar.SUM, "mul1": Mul1.CONSTANT_A, "add2": Add2.CONSTANT_B}
        spread |= {"destination": Destination.SCALAR, "scalar_out": Scalar.SPREAD}
        await bench.beats([spread | {"row": row} for row in rows])
        await bench.settle()
        deviation = {"source": Source.SCALAR, "scalar_in": Scalar.SPREAD, "function": Function.RSQRT, **TABLE_STEPS}
        deviation |= {"destination": Destination.SCALAR, "scalar_out": Scalar.RSTD}
        await bench.beats([deviation | {"row": row} for row in rows])
        await bench.settle()
        normalise = {"source": Source.VECTOR, "add1": Add1.SCALAR, "scalar_operand": Scalar.MEAN, "mul1": Mul1.SCALAR}
        normalise |= {"scalar_factor": Scalar.RSTD, "mul2": Mul2.RING_A, "add3": Add3.RING_B}
        normalise |= {"destination": Destination.OPERAND, "fill": 1, "check": 1}
        await bench.run_rounds(bench.rounds(range(n), rows, normalise, **wide))
        await bench.settle()  # both read ring A, at two ages
        # matmul epilogues
        quantize = {"add1": Add1.RING_A, "function": Function.ACTIVATION, **TABLE_STEPS}
        quantize |= {"destination": Destination.OPERAND, "check": 1}
        await bench.run_rounds(bench.rounds(range(n), rows, quantize, **wide), special=0.02)
        residual = {"add1": Add1.RING_A, "add3": Add3.VECTOR, "destination": Destination.VECTOR, "reduce": Reduce.SUM}
        await bench.settle()
        await bench.run_rounds(bench.rounds(range(n), rows, residual | {"mask": Mask.COUNT}, **wide))
        key = {"add1": Add1.RING_A, "destination": Destination.KEY, "head": 3}
        await bench.run_rounds(bench.rounds(range(n), rows, key, **wide))
        await bench.settle()
        # value quantise: a head of every row
        head = bench.rounds(range(min(n, c.head_blocks)), rows, {"source": Source.VECTOR}, block=int, source_block=int)
        for row in rows:
            words = [word for turn in head for word in turn if word["row"] == row]
            for k, word in enumerate(words):
                word |= {"destination": Destination.VALUE, "head": 2, "quantise_last": int(k == len(words) - 1)}
            await bench.beats(words)
        # attention: scores of both buffers, softmax, inverse, value
        tokens = c.context_blocks
        for buffer in range(2):
            score = {
                "mul1": Mul1.CONSTANT_A,
                "destination": Destination.SCORE,
                "reduce": Reduce.MAX,
                "mask": Mask.POSITION,
            }
            score |= {"buffer": buffer, "scalar_out": Scalar.MAX_0 + buffer}
            await bench.run_rounds(bench.rounds(range(tokens), rows, score, **wide))
        await bench.settle()
        for buffer in range(2):
            softmax = {
                "source": Source.SCORE,
                "add1": Add1.SCALAR,
                "scalar_operand": Scalar.MAX_0 + buffer,
                **TABLE_STEPS,
            }
            softmax |= {
                "function": Function.EXP2,
                "value_scale": 1,
                "mask": Mask.POSITION,
                "buffer": buffer,
                "thread": 1,
            }
            softmax |= {"reduce": Reduce.SUM, "scalar_out": Scalar.SUM_S0 + buffer, "destination": Destination.OPERAND}
            await bench.run_rounds(bench.rounds(range(tokens), rows, softmax | {"check": 1, "fill": 1}, **wide))
            await bench.settle()
            inverse = {"source": Source.SCALAR, "scalar_in": Scalar.SUM_S0 + buffer, "function": Function.RECIPROCAL}
            inverse |= {**TABLE_STEPS, "destination": Destination.SCALAR, "scalar_out": Scalar.INVERSE_0 + buffer}
            await bench.beats([inverse | {"row": row, "thread": 1} for row in rows])
            await bench.settle()
            value = {
                "mul1": Mul1.SCALAR,
                "scalar_factor": Scalar.INVERSE_0 + buffer,
                "destination": Destination.OPERAND,
            }
            await bench.run_rounds(bench.rounds(range(2), rows, value, **wide))
        # sampling
        noise = {
            "function": Function.LOG2,
            **FUNCTION_STEPS[Function.LOG2],
            "negate": 1,
            "destination": Destination.SCORE,
        }
        await bench.settle()
        await bench.run_rounds(bench.rounds(range(n), rows, noise | {"source": Source.HASH}, **wide))
        await bench.settle()
        await bench.run_rounds(bench.rounds(range(n), rows, noise | {"source": Source.SCORE}, **wide))
        await bench.settle()
        logit = {"mul1": Mul1.TEMPERATURE, "add3": Add3.NOISE, "destination": Destination.SAMPLER, "mask": Mask.COUNT}
        await bench.run_rounds(bench.rounds(range(n), rows, logit, **wide), special=0.1)
        logits = {"destination": Destination.LOGITS}
        await bench.run_rounds(bench.rounds(range(n), rows, logits, **wide))
        await bench.settle()
        tokens_found = [int(dut.sample_token.value) >> (32 * row) & 0xFFFFFFFF for row in rows]
        assert tokens_found == [index for _, index in bench.model.best], "sampled tokens"
        await bench.show_scalars()
        bench.compare()
        for name in ("a", "b"):
            assert int(getattr(dut, f"ring_{name}_available").value) == len(bench.model.ring[name])
            getattr(dut, f"ring_{name}_free").value = 1
            getattr(dut, f"ring_{name}_free_blocks").value = n - 1
            await FallingEdge(dut.clk)
            getattr(dut, f"ring_{name}_free").value = 0
            del bench.model.ring[name][: (n - 1) * c.words]


@cocotb.test()
async def the_sampler_takes_the_lowest_of_equal_logits_and_never_a_nan(dut) -> None:
    bench = await prepared(dut)
    rows = list(range(bench.config.rows))
    bench.model.count = 90
    dut.count.value = 90
    original = bench.floats
    choices = np.array([0, 0x80000000, 0x7FC00000, 0xFF800000, 0xBF800000, 0x3F800000], np.uint32)
    for trial in range(12):
        some = choices[: 2 + trial % 5]
        bench.floats = lambda shape, some=some, **_: bench.rng.choice(some, shape).astype(np.uint32).view(np.float32)
        logit = {"destination": Destination.SAMPLER, "mask": Mask.COUNT}
        await bench.run_rounds(bench.rounds(range(4), rows, logit, index_block=int, block=int))
        await bench.settle()
        found = [int(dut.sample_token.value) >> (32 * row) & 0xFFFFFFFF for row in rows]
        assert found == [index for _, index in bench.model.best], f"trial {trial}"
    bench.floats = original
    bench.compare()
