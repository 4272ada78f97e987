"""The chip's functions in NumPy, bit for bit: rtl/README.md, "Functions".

Every function takes and gives float32 arrays and a table of float32 [TABLE_ENTRIES, 3] from `mozg.tables`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtl.common import isa

from . import fp32

Float32 = NDArray[np.float32]
Table = NDArray[np.float32]

_ONE = np.uint32(127 << 23)


def _parts(x: Float32) -> tuple[NDArray, NDArray, NDArray]:
    """Sign, biased exponent and mantissa of flushed FP32 values, as int32."""
    bits = fp32.to_bits(fp32.flush(x))
    return (bits >> 31).astype(np.int32), (bits >> 23 & 0xFF).astype(np.int32), (bits & 0x7FFFFF).astype(np.int32)


def _quadratic(table: Table, entry: NDArray, z: Float32) -> Float32:
    c2, c1, c0 = table[entry].T if entry.ndim == 1 else np.moveaxis(table[entry], -1, 0)
    return fp32.add(fp32.mul(fp32.add(fp32.mul(c2, z), c1), z), c0)


def _only_positive(x: Float32, y: Float32) -> Float32:
    sign, exponent, _ = _parts(x)
    return np.where((sign == 1) | (exponent == 0) | (exponent == 255), fp32.NAN, y)


def exp2(table: Table, x: Float32) -> Float32:
    """2^x; meant for x <= 0."""
    sign, exponent, mantissa = _parts(x)
    shift = exponent - 127
    significand = (mantissa | 1 << 23).astype(np.int64)
    magnitude = np.where(shift >= 0, significand << np.clip(shift, 0, 8), significand >> np.clip(-shift, 0, 40))
    magnitude = np.where(exponent == 0, 0, magnitude)
    fixed = np.where(sign == 1, -magnitude, magnitude)
    fraction = (fixed & 0x7FFFFF).astype(np.uint32)
    entry = (isa.EXP2_BASE + (fraction >> 23 - isa.EXP2_BITS)).astype(np.int64)
    y = fp32.scale_exponent(_quadratic(table, entry, fp32.from_bits(fraction | _ONE)), fixed >> 23)
    y = np.where(shift >= 8, np.where(sign == 1, np.float32(0), np.float32(np.inf)), y)
    return np.where(np.isnan(x), fp32.NAN, y).astype(np.float32)


def reciprocal(table: Table, x: Float32) -> Float32:
    """1 / x for x > 0, else NaN."""
    _, exponent, mantissa = _parts(x)
    entry = isa.RECIPROCAL_BASE + (mantissa >> 23 - isa.RECIPROCAL_BITS)
    z = fp32.from_bits(mantissa.astype(np.uint32) | _ONE)
    return _only_positive(x, fp32.scale_exponent(_quadratic(table, entry, z), 127 - exponent))


def rsqrt(table: Table, x: Float32) -> Float32:
    """1 / sqrt(x) for x > 0, else NaN."""
    _, exponent, mantissa = _parts(x)
    odd = exponent - 127 & 1
    entry = isa.RSQRT_BASE + (odd << isa.RSQRT_BITS) + (mantissa >> 23 - isa.RSQRT_BITS)
    z = fp32.from_bits((mantissa | 127 + odd << 23).astype(np.uint32))
    return _only_positive(x, fp32.scale_exponent(_quadratic(table, entry, z), -((exponent - 127 - odd) >> 1)))


def log2(table: Table, x: Float32) -> Float32:
    """log2(x) for x > 0 by chords, else NaN."""
    _, exponent, mantissa = _parts(x)
    entry = isa.LOG2_BASE + (mantissa >> 23 - isa.LOG2_BITS)
    z = fp32.from_bits(mantissa.astype(np.uint32) | _ONE)
    slope, intercept = table[entry, 0], table[entry, 1]
    y = fp32.add(fp32.add(fp32.mul(slope, z), intercept), (exponent - 127).astype(np.float32))
    return _only_positive(x, y)


def activation(table: Table, first_exponent: int, x: Float32) -> Float32:
    """The loaded activation function of x."""
    x = fp32.flush(x)
    sign, exponent, mantissa = _parts(x)
    top = isa.ACTIVATION_CODES - 1
    code = np.where(exponent < first_exponent, 0, np.minimum(exponent - first_exponent + 1, top))
    segment = np.where((code == 0) | (code == top), 0, mantissa >> 23 - isa.ACTIVATION_BITS)
    entry = isa.ACTIVATION_BASE + (code << isa.ACTIVATION_BITS + 1) + (sign << isa.ACTIVATION_BITS) + segment
    return _quadratic(table, entry, x)


def mix(a: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """R. Jenkins' six-step avalanche of 32 bits, without multiplication."""
    a = np.asarray(a, dtype=np.uint32)
    with np.errstate(over="ignore"):
        a = (a + np.uint32(0x7ED55D16)) + (a << np.uint32(12))
        a = (a ^ np.uint32(0xC761C23C)) ^ (a >> np.uint32(19))
        a = (a + np.uint32(0x165667B1)) + (a << np.uint32(5))
        a = (a + np.uint32(0xD3A2646C)) ^ (a << np.uint32(9))
        a = (a + np.uint32(0xFD7046C5)) + (a << np.uint32(3))
        return (a ^ np.uint32(0xB55A4F09)) ^ (a >> np.uint32(16))


def uniform(seed: int, position: int, token_ids: NDArray) -> Float32:
    """The noise's uniform numbers, (2n + 1) / 2^24 in (0, 1), of token ids at one position."""
    key = mix(mix(np.uint32(seed)) ^ np.uint32(position))
    n = mix(key ^ np.asarray(token_ids, dtype=np.uint32)) >> np.uint32(9)
    return ((2 * n + 1).astype(np.float32) * np.float32(2.0**-24)).astype(np.float32)


def noise(table: Table, seed: int, position: int, token_ids: NDArray) -> Float32:
    """-log2(-log2(u)): Gumbel noise in units of log 2, up to a constant."""
    return -log2(table, -log2(table, uniform(seed, position, token_ids)))
