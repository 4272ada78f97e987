"""Bit-exact reference of rtl/vector/lanes.py: what each control word does, in order, without time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mozg import fp32, mx
from rtl.common import isa
from rtl.common.config import ChipConfig
from rtl.vector.control_word import (
    SCALARS,
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
)

NAN_BITS = 0x7FC00000


def mix(a: int) -> int:
    """The avalanche of rtl/README.md, Sampling."""
    full = 0xFFFFFFFF
    a = (a + 0x7ED55D16 + (a << 12)) & full
    a = a ^ 0xC761C23C ^ (a >> 19)
    a = (a + 0x165667B1 + (a << 5)) & full
    a = ((a + 0xD3A2646C) & full) ^ (a << 9 & full)
    a = (a + 0xFD7046C5 + (a << 3)) & full
    return a ^ 0xB55A4F09 ^ (a >> 16)


def uniform(seed: int, position: int, token: int) -> np.float32:
    n = mix(mix(mix(seed) ^ position) ^ token) >> 9
    return np.float32((2 * n + 1) * 2.0**-24)


def lookup(function: int, bits: int, first_exponent: int) -> tuple[int, int, int, str]:
    """(entry, z bits, exponent correction, special: '' nan zero inf) of one x, by the table 'Functions'."""
    sign, e, m = bits >> 31, bits >> 23 & 255, bits & 0x7FFFFF
    nan = e == 255 and m != 0
    improper = "nan" if sign or e in (0, 255) else ""
    if function == Function.EXP2:
        if nan:
            return 0, 0, 0, "nan"
        if e >= 135:
            return 0, 0, 0, "zero" if sign else "inf"
        magnitude = 0 if e == 0 else (m | 1 << 23) << 7 >> (134 - e)
        fixed = -magnitude if sign else magnitude
        k, f = fixed >> 23, fixed & 0x7FFFFF
        return isa.EXP2_BASE + (f >> 17), 127 << 23 | f, k, ""
    if function == Function.RECIPROCAL:
        return isa.RECIPROCAL_BASE + (m >> 17), 127 << 23 | m, 127 - e, improper
    if function == Function.RSQRT:
        h = (e - 127) & 1
        return isa.RSQRT_BASE + 64 * h + (m >> 17), (127 + h) << 23 | m, -((e - 127 - h) // 2), improper
    if function == Function.LOG2:
        return isa.LOG2_BASE + (m >> 16), 127 << 23 | m, 0, improper
    code = 0 if e < first_exponent else min(e - first_exponent + 1, 9)
    segment = m >> 18 if 1 <= code <= 8 else 0
    return isa.ACTIVATION_BASE + 64 * code + 32 * sign + segment, bits, 0, ""


@dataclass
class LanesModel:
    """State and effects of the datapath. `operands`, `kv`, `logits` collect (name -> value) per word."""

    config: ChipConfig
    tables: np.ndarray  # [3][1024] float32: c2, c1, c0
    constant_a: np.float32 = np.float32(0)
    constant_b: np.float32 = np.float32(0)
    count: int = 0
    first_exponent: int = 0
    greedy: int = 0
    position: list[int] = field(default_factory=list)
    seed: list[int] = field(default_factory=list)
    temperature: list[np.float32] = field(default_factory=list)

    def __post_init__(self) -> None:
        c = self.config
        self.vector = np.zeros((c.vector_blocks, c.rows, c.words, c.lanes), np.float32)
        self.score = np.zeros((2, c.context_blocks, c.rows, c.words, c.lanes), np.float32)
        self.ring = {"a": [], "b": []}  # words from the base on
        self.scalars = np.zeros((SCALARS, c.rows), np.float32)
        self.value_scale = np.zeros((2, c.context), np.uint8)
        self.best = [(-1, 0)] * c.rows
        self.operands: list[dict] = []
        self.kv: list[dict] = []
        self.logits: list[dict] = []
        self.faults: list[int] = []
        self._unit: list[tuple[dict, np.ndarray]] = []
        self._block: dict[int, list[np.ndarray]] = {}

    def beat(self, w: dict[str, int], drained: np.ndarray | None) -> None:
        c = self.config
        row, word = w["row"], w["word"]
        first_index = (w["index_block"] * c.words + word) * c.lanes
        index = first_index + np.arange(c.lanes)
        x = self._source(w, drained, index)
        if w["add1"] in (Add1.RING_A, Add1.RING_B):
            ring = self.ring["a" if w["add1"] == Add1.RING_A else "b"]
            x = fp32.add(x, ring[w["parameter_block"] * c.words + word])
        elif w["add1"] == Add1.SCALAR:
            x = fp32.sub(x, self.scalars[w["scalar_operand"], row])
        z, entries, shift, special, exponent = x, None, None, None, None
        if w["function"]:
            found = [lookup(w["function"], int(b), self.first_exponent) for b in fp32.to_bits(x)]
            entries = np.array([f[0] for f in found])
            z = fp32.from_bits(np.array([f[1] for f in found], np.uint32))
            shift = np.array([f[2] for f in found])
            special = [f[3] for f in found]
            exponent = (fp32.to_bits(x) >> 23 & 255).astype(np.int64) - 127
        greedy = self.greedy >> row & 1
        factor = {
            Mul1.CONSTANT_A: self.constant_a,
            Mul1.SCALAR: self.scalars[w["scalar_factor"], row],
            Mul1.SQUARE: x,
            Mul1.TEMPERATURE: self.temperature[row],
        }
        if w["mul1"] == Mul1.TABLE:
            x = fp32.mul(z, self.tables[0][entries])
        elif w["mul1"] and not (w["mul1"] == Mul1.TEMPERATURE and greedy):
            x = fp32.mul(x, factor[w["mul1"]])
        if w["add2"]:
            x = fp32.add(x, self.constant_b if w["add2"] == Add2.CONSTANT_B else self.tables[1][entries])
        if w["mul2"]:
            other = self.ring["a"][w["parameter_block"] * c.words + word] if w["mul2"] == Mul2.RING_A else z
            x = fp32.mul(x, other)
        if w["add3"] == Add3.RING_B:
            x = fp32.add(x, self.ring["b"][w["parameter_block"] * c.words + word])
        elif w["add3"] == Add3.VECTOR:
            x = fp32.add(x, self.vector[w["block"], row, word])
        elif w["add3"] == Add3.TABLE:
            x = fp32.add(x, self.tables[2][entries])
        elif w["add3"] == Add3.EXPONENT:
            x = fp32.add(x, exponent.astype(np.float32))
        elif w["add3"] == Add3.NOISE and not greedy:
            x = fp32.add(x, self.score[w["buffer"], w["source_block"], row, word])
        x = fp32.flush(x)
        if w["function"]:
            x = fp32.scale_exponent(x, shift)
            bits = fp32.to_bits(x).copy()
            for lane, name in enumerate(special):
                if name:
                    bits[lane] = {"nan": NAN_BITS, "zero": 0, "inf": 0x7F800000}[name]
            x = fp32.from_bits(bits)
        limit = {Mask.NONE: 1 << 40, Mask.POSITION: self.position[row] + 1, Mask.COUNT: self.count}[w["mask"]]
        counted = index < limit
        self._reduce(w, x, counted, first_index)
        if w["value_scale"]:
            scales = self.value_scale[w["buffer"], index % c.context].astype(np.int64)
            x = np.where(scales == 255, fp32.NAN, fp32.scale_exponent(x, scales - 127))
        if w["negate"]:
            x = np.where(np.isnan(x), x, -x)
        x = np.where(counted, x, np.float32(0)).astype(np.float32)
        if w["check"] and not np.isfinite(x[counted]).all():
            self.faults.append(row)
        self._deliver(w, x)

    def _source(self, w: dict[str, int], drained: np.ndarray | None, index: np.ndarray) -> np.ndarray:
        c, row, word = self.config, w["row"], w["word"]
        if w["source"] == Source.ACCUMULATOR:
            return drained
        if w["source"] == Source.VECTOR:
            return self.vector[w["source_block"], row, word]
        if w["source"] == Source.SCORE:
            return self.score[w["buffer"], w["source_block"], row, word]
        if w["source"] == Source.RING_A:
            return self.ring["a"][w["source_block"] * c.words + word]
        if w["source"] == Source.SCALAR:
            x = np.zeros(c.lanes, np.float32)
            x[0] = self.scalars[w["scalar_in"], row]
            return x
        return np.array([uniform(self.seed[row], self.position[row], int(i)) for i in index], np.float32)

    def _reduce(self, w: dict[str, int], x: np.ndarray, counted: np.ndarray, first_index: int) -> None:
        row = w["row"]
        if w["reduce"] == Reduce.SUM:
            words = self._block.setdefault(row, [])
            words.append(np.where(counted, x, np.float32(0)))
            if len(words) == self.config.words:
                before = np.float32(0) if w["reduce_first"] else self.scalars[w["scalar_out"], row]
                total = fp32.tree_sum32(np.concatenate(words))
                self.scalars[w["scalar_out"], row] = fp32.add(before, total)
                words.clear()
        elif w["reduce"] == Reduce.MAX:
            if w["reduce_first"] and w["word"] == 0:
                self.scalars[Scalar.MAX_0 + w["buffer"], row] = -np.inf
            for value in x[counted]:
                best = self.scalars[Scalar.MAX_0 + w["buffer"], row]
                if fp32.greater(value, best):
                    self.scalars[Scalar.MAX_0 + w["buffer"], row] = value + np.float32(0)
        if w["destination"] == Destination.SAMPLER:
            if first_index == 0:
                self.best[row] = (0, 0)
            keys = np.where(counted, fp32.order_key(x), 0)
            lane = int(np.argmax(keys))
            if int(keys[lane]) > self.best[row][0]:
                self.best[row] = (int(keys[lane]), first_index + lane)

    def _deliver(self, w: dict[str, int], x: np.ndarray) -> None:
        c, row, word = self.config, w["row"], w["word"]
        place = {"row": row, "word": word}
        target = w["destination"]
        if target == Destination.VECTOR:
            self.vector[w["block"], row, word] = x
        elif target == Destination.SCORE:
            self.score[w["buffer"], w["block"], row, word] = x
        elif target == Destination.SCALAR:
            self.scalars[w["scalar_out"], row] = x[0]
        elif target == Destination.LOGITS:
            self.logits.append({**place, "block": w["block"], "data": fp32.to_bits(x).tolist()})
        elif target in (Destination.OPERAND, Destination.KEY, Destination.VALUE):
            self._unit.append((dict(w), x))
            if w["quantise_last"]:
                values = np.concatenate([x for _, x in self._unit])
                elements, scale = mx.quantize_mxint8(values, len(values))
                for k, (word_of, _) in enumerate(self._unit):
                    self._emit(word_of, elements[k * c.lanes : (k + 1) * c.lanes], int(scale[0]))
                self._unit = []

    def _emit(self, w: dict[str, int], elements: np.ndarray, scale: int) -> None:
        out = {
            "block": w["block"],
            "row": w["row"],
            "word": w["word"],
            "data": elements.tolist(),
            "scale": scale,
        }
        if w["destination"] == Destination.OPERAND:
            self.operands.append({**out, "fill": w["fill"] & w["quantise_last"]})
        else:
            value = int(w["destination"] == Destination.VALUE)
            self.kv.append(
                {**out, "block": w["block"] & 255, "head": w["head"], "value": value, "last": w["quantise_last"]}
            )
