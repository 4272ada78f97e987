"""FP32 arithmetic with the chip's bits, vectorised over NumPy arrays.

The chip computes IEEE 754 binary32, round to nearest even, with three simplifications that every function
here shares: a subnormal operand counts as a zero of its sign, a subnormal result becomes a zero of its sign
AFTER it was rounded (what rounds up to 2^-126 stays), and every NaN is 0x7FC00000. NumPy's float32 operations
do the rounding, so this file adds only the flushing. Flags (overflow, invalid) are not modelled here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32 = NDArray[np.float32]

NAN_BITS = 0x7FC00000
SIGN_BIT = np.uint32(0x80000000)
MAGNITUDE_MASK = np.uint32(0x7FFFFFFF)
FRACTION_MASK = np.uint32(0x007FFFFF)
INFINITY_BITS = np.uint32(0x7F800000)
EXPONENT_SPECIAL = 255
SMALLEST_NORMAL = np.float32(2.0**-126)

# Elements handled at a time by the in-place passes: small enough to stay in a level-2 cache.
_CHUNK = 1 << 15


def to_bits(x: ArrayLike) -> NDArray[np.uint32]:
    """The 32-bit patterns of `x`, without a copy where `x` is a float32 array already."""
    return np.asarray(x, dtype=np.float32).view(np.uint32)


def from_bits(bits: ArrayLike) -> Float32:
    """The float32 values of 32-bit patterns, without a copy where `bits` is a uint32 array already."""
    return np.asarray(bits, dtype=np.uint32).view(np.float32)


NAN = from_bits(np.uint32(NAN_BITS))[()]


def _settle(y: Float32) -> Float32:
    """Flush subnormals and make NaNs canonical, in place; `y` is contiguous and owned by the caller."""
    flat = y.reshape(-1)
    bits = flat.view(np.uint32)
    for start in range(0, flat.size, _CHUNK):
        part = bits[start : start + _CHUNK]
        # Twice the magnitude, less one: zero wraps to the top, so subnormals are the range below 0x00FFFFFF.
        doubled = part << np.uint32(1)
        doubled -= np.uint32(1)
        if doubled.min() < 0x00FFFFFF:
            part[doubled < np.uint32(0x00FFFFFF)] &= SIGN_BIT
        values = flat[start : start + _CHUNK]
        unordered = values != values
        if unordered.any():
            part[unordered] = NAN_BITS
    return y


def _has_unflushed(x: Float32) -> bool:
    """Whether a contiguous array holds a subnormal (NaNs need no care before an operation)."""
    bits = x.reshape(-1).view(np.uint32)
    for start in range(0, bits.size, _CHUNK):
        doubled = bits[start : start + _CHUNK] << np.uint32(1)
        doubled -= np.uint32(1)
        if doubled.min() < 0x00FFFFFF:
            return True
    return False


def _operand(x: ArrayLike) -> Float32:
    """`x` as float32 without subnormals; may be the caller's own array, so it is never written to."""
    array = np.asarray(x, dtype=np.float32)
    if _has_unflushed(array):
        array = _settle(np.array(array, order="C"))
    return array


def flush(x: ArrayLike) -> Float32:
    """A copy of `x` with subnormals as zeros of their sign and every NaN as 0x7FC00000."""
    return _settle(np.array(x, dtype=np.float32, order="C"))


def _result(y: ArrayLike) -> Float32:
    return _settle(np.ascontiguousarray(y, dtype=np.float32).reshape(np.shape(y)))


def add(a: ArrayLike, b: ArrayLike) -> Float32:
    """a + b."""
    with np.errstate(all="ignore"):
        return _result(np.add(_operand(a), _operand(b)))


def sub(a: ArrayLike, b: ArrayLike) -> Float32:
    """a - b, which is a + b with the sign of b turned."""
    with np.errstate(all="ignore"):
        return _result(np.subtract(_operand(a), _operand(b)))


def mul(a: ArrayLike, b: ArrayLike) -> Float32:
    """a * b."""
    with np.errstate(all="ignore"):
        return _result(np.multiply(_operand(a), _operand(b)))


def scale_exponent(x: ArrayLike, k: ArrayLike) -> Float32:
    """x * 2^k for integers k, never rounded: below 2^-126 a zero of x's sign, too large an infinity."""
    operand, shift = np.broadcast_arrays(_operand(x), np.asarray(k))
    result = np.empty(operand.shape, dtype=np.float32)
    flat, operand, shift = result.reshape(-1), operand.reshape(-1), shift.reshape(-1)
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            # In double precision the product is exact and has the range to tell what is below 2^-126.
            biased = np.clip(shift[part], -600, 600).astype(np.int64) + 1023
            scaled = operand[part] * (biased << 52).view(np.float64)
            below = np.abs(scaled) < SMALLEST_NORMAL
            if below.any():
                scaled[below] *= 0.0
            flat[part] = scaled
    return _settle(result)


def from_int(i: ArrayLike, exponent: ArrayLike, force_nan: ArrayLike = False) -> Float32:
    """i * 2^exponent for signed integers of up to 24 bits, exactly: below 2^-126 (and for i = 0) +0, too
    large a signed infinity, NaN where `force_nan` is set."""
    value = np.asarray(i)
    if value.size and (value.max() > 1 << 24 or value.min() < -(1 << 24)):
        raise ValueError(f"from_int takes integers of up to 24 bits; got {value.min()} to {value.max()}")
    scaled = scale_exponent(value.astype(np.float32), exponent)
    scaled = scaled + np.float32(0.0)  # -0 + +0 = +0: an underflow loses its sign
    return np.where(force_nan, NAN, scaled)


def tree_sum32(x: ArrayLike) -> Float32:
    """The sum over a last axis of 32 as the fixed tree of adjacent pairs: ((0 + 1) + (2 + 3)) + ..."""
    partial = _operand(x)
    if partial.shape[-1] != 32:
        raise ValueError(f"tree_sum32 sums a last axis of 32 elements; got shape {partial.shape}")
    with np.errstate(all="ignore"):
        while partial.shape[-1] > 1:
            partial = _result(partial[..., 0::2] + partial[..., 1::2])
    return partial[..., 0]


def order_key(x: ArrayLike) -> NDArray[np.uint32]:
    """An unsigned key that orders as the chip's comparison does: NaN < -inf < ... < -0 = +0 < ... < +inf."""
    bits = to_bits(x)
    magnitude = bits & MAGNITUDE_MASK
    key = np.where(bits & SIGN_BIT, ~bits, bits | SIGN_BIT)
    key = np.where(magnitude < 0x00800000, SIGN_BIT, key)
    return np.where(magnitude > INFINITY_BITS, np.uint32(0), key).astype(np.uint32)


def greater(a: ArrayLike, b: ArrayLike) -> NDArray[np.bool_]:
    """Whether a wins over b: a > b among numbers, any number over a NaN, never a NaN over anything."""
    return order_key(a) > order_key(b)
