"""For every block of rtl/arith: operations to put to it, as port columns, and the model's results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mozg import fp32, mx
from tests import shared_data
from verif.arith import stimulus

Operations = tuple[dict[str, NDArray], NDArray]


def _binary(operation: Callable, name: str, rng: np.random.Generator, count: int, reference: bool) -> Operations:
    a, b = stimulus.pairs(rng, count)
    path = shared_data.find(f"testfloat/f32_{name}.rne.tv.gz") if reference else None
    if path is not None:
        more_a, more_b, _ = stimulus.read_testfloat(path)
        a, b = np.concatenate([a, more_a]), np.concatenate([b, more_b])
    return {"a": a, "b": b}, fp32.to_bits(operation(fp32.from_bits(a), fp32.from_bits(b)))


def fp32_add(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Random pairs; with `reference` also TestFloat's for add and, with the sign of b turned, for sub."""
    operands, expected = _binary(fp32.add, "add", rng, count, reference)
    if not reference:
        return operands, expected
    minus, difference = _binary(fp32.sub, "sub", rng, 1000, reference)
    operands = {
        "a": np.concatenate([operands["a"], minus["a"]]),
        "b": np.concatenate([operands["b"], minus["b"] ^ np.uint32(0x80000000)]),
    }
    return operands, np.concatenate([expected, difference])


def fp32_mul(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Random pairs; with `reference` also TestFloat's."""
    return _binary(fp32.mul, "mul", rng, count, reference)


def fp32_greater(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    a, b = stimulus.pairs(rng, count)
    same = rng.integers(0, 8, a.size) == 0
    b = np.where(same, a ^ (rng.integers(0, 2, a.size) << 31).astype(np.uint32), b)
    return {"a": a, "b": b}, fp32.greater(fp32.from_bits(a), fp32.from_bits(b)).astype(np.uint32)


def fp32_from_int(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Block sums of 21 bits, half of them shortened by some bits; exponents everywhere and at both ends."""
    value = rng.integers(-(1 << 20), 1 << 20, count) >> (rng.integers(0, 22, count) * rng.integers(0, 2, count))
    value[:6] = [0, 1, -1, -(1 << 20), (1 << 20) - 1, 1 << 19]
    length = np.ceil(np.log2(np.maximum(np.abs(value), 1) + 0.5)).astype(np.int64)
    kind = rng.integers(0, 4, count)
    near = rng.integers(-2, 3, count)
    exponent = np.select(
        [kind == 0, kind == 1, kind == 2],
        [rng.integers(-1024, 1024, count), -126 - length + near, 128 - length + near],
        rng.integers(-140, 120, count),
    )
    force_nan = rng.integers(0, 16, count) == 0
    expected = fp32.to_bits(fp32.from_int(value, exponent, force_nan))
    return {"value": value, "exponent": exponent, "force_nan": force_nan.astype(np.int64)}, expected


def mx_quantize_element(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Values from 10 exponents below the block's largest to 1 above it, many of them ties; tops of 0 and 255
    too."""
    top = rng.integers(0, 256, count)
    top = np.where(rng.integers(0, 4, count) == 0, rng.choice([0, 1, 2, 254, 255], count), top)
    exponent = np.clip(top + rng.integers(-10, 2, count), 0, 254)
    fraction = rng.integers(0, 1 << 23, count)
    fraction = np.where(rng.integers(0, 2, count) == 0, fraction & (0x7FFFFF << rng.integers(8, 23, count)), fraction)
    fraction = (fraction + rng.integers(-1, 2, count) * (rng.integers(0, 4, count) == 0)) & 0x7FFFFF
    sign = rng.integers(0, 2, count)
    x = ((sign << 31) | (exponent << 23) | fraction).astype(np.uint32)
    special = (top == 255) & (rng.integers(0, 2, count) == 0)
    x = np.where(special, x | np.uint32(0x7F800000), x)
    expected = mx.quantize_mxint8_element(fp32.from_bits(x), top)
    return {"x": x, "top": top}, expected.astype(np.int64)
