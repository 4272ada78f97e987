"""Operands for the arithmetic benches: random patterns crowded at the corners, and TestFloat's vectors."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint32]

SPECIALS = np.array(
    [0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x00800001, 0x00FFFFFF, 0x01000000, 0x0B000000]
    + [0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x40000000, 0x4B000000, 0x4B7FFFFF, 0x4B800000]
    + [0x7E800000, 0x7EFFFFFF, 0x7F000000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF],
    dtype=np.uint32,
)
_SIGN = np.uint32(0x80000000)


def _compose(sign: NDArray, exponent: NDArray, fraction: NDArray) -> Bits:
    return ((sign << 31) | (np.clip(exponent, 0, 255) << 23) | fraction).astype(np.uint32)


def _fractions(rng: np.random.Generator, count: int) -> NDArray:
    """Random fractions, of which a half are sparse: a run of ones at the top, or near 0 or all ones."""
    dense = rng.integers(0, 1 << 23, count)
    runs = ((1 << 23) - 1) & ~((1 << rng.integers(0, 24, count)) - 1)
    ends = rng.integers(0, 4, count)
    kind = rng.integers(0, 6, count)
    sparse = np.select([kind == 0, kind == 1, kind == 2], [runs, ends, ((1 << 23) - 1) ^ ends], dense)
    return sparse.astype(np.int64)


def specials_pairs() -> tuple[Bits, Bits]:
    """Every pair of special patterns, in both signs."""
    values = np.concatenate([SPECIALS, SPECIALS | _SIGN])
    a, b = np.meshgrid(values, values)
    return a.ravel(), b.ravel()


def pairs(rng: np.random.Generator, count: int) -> tuple[Bits, Bits]:
    """Pairs for add and mul: a sixth each of raw bits, close exponents, near-cancellation, products near
    2^-126, products near overflow, a special with anything; then every pair of specials is appended."""
    sign_a, sign_b = rng.integers(0, 2, (2, count))
    exponent_a = rng.integers(0, 256, count)
    fraction_a, fraction_b = _fractions(rng, count), _fractions(rng, count)
    near = rng.integers(-2, 3, count)
    kind = rng.integers(0, 6, count)
    exponent_b = np.select(
        [kind == 1, kind == 2, kind == 3, kind == 4],
        [
            exponent_a + rng.integers(-27, 28, count),
            exponent_a + near // 2,
            127 - exponent_a + near,
            381 - exponent_a + near,
        ],
        rng.integers(0, 256, count),
    )
    fraction_b = np.where(kind == 2, np.clip(fraction_a + near, 0, (1 << 23) - 1), fraction_b)
    a = _compose(sign_a, exponent_a, fraction_a)
    b = _compose(sign_b, exponent_b, fraction_b)
    # Products that round up to 2^-126 or just miss it: 1.11...1 times a power of two.
    edge = (kind == 3) & (near == 0)
    b = np.where(edge, b & np.uint32(0xFF800000), b)
    special = rng.choice(np.concatenate([SPECIALS, SPECIALS | _SIGN]), count)
    b = np.where(kind == 5, special, b)
    swap = rng.integers(0, 2, count).astype(bool)
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    special_a, special_b = specials_pairs()
    return np.concatenate([a, special_a]).astype(np.uint32), np.concatenate([b, special_b]).astype(np.uint32)


def read_testfloat(path: Path) -> tuple[Bits, Bits, Bits]:
    """Operands and result of a two-operand TestFloat file."""
    with gzip.open(path, "rt") as lines:
        rows = np.array([[int(word, 16) for word in line.split()[:3]] for line in lines], dtype=np.uint32)
    return rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy()


def has_subnormal(bits: Bits) -> NDArray[np.bool_]:
    return ((bits & 0x7F800000) == 0) & ((bits & 0x007FFFFF) != 0)
