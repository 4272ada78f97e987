"""OCP Microscaling (MX) quantisation as the chip does it: blocks along the last axis share a scale.

A value is element * 2^(scale - 127). With E the largest biased FP32 exponent of a block (subnormals flushed):
- MXINT8: the scale byte is E; elements x / 2^(E - 127) * 64, rounded to nearest even and saturated at +-127;
- MXFP4: the scale byte is E - 2, clamped at 0 (E = 1 takes byte 0 as E = 2 does); elements are rounded
  to nearest even on the E2M1 grid and saturated at +-6; a zero keeps its sign (code 8);
- a block of zeros has scale byte 127 and zero elements;
- a block with a NaN or an infinity has scale byte 255 and zero elements.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import fp32

Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]

BLOCK = 32
SCALE_BIAS = 127
SCALE_ZERO_BLOCK = 127
SCALE_NAN = 255
INT8_FRACTION_BITS = 6
INT8_LIMIT = 127
FP4_LARGEST_EXPONENT = 2

# The eight magnitudes of E2M1; a code is sign * 8 + index.
FP4_MAGNITUDES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], dtype=np.float32)
FP4_VALUES = np.concatenate([FP4_MAGNITUDES, -FP4_MAGNITUDES])
# What the array multiplies: twice the E2M1 value.
FP4_TWICE = (2 * FP4_VALUES).astype(np.int8)
# Midpoints between neighbours; a tie goes to the even code, so up at every second one.
_FP4_MIDPOINTS = (
    (0.25, False),
    (0.75, True),
    (1.25, False),
    (1.75, True),
    (2.5, False),
    (3.5, True),
    (5.0, False),
)


def _blocks(x: ArrayLike, block: int) -> fp32.Float32:
    array = fp32.flush(x)
    if array.ndim == 0 or array.shape[-1] % block:
        raise ValueError(f"the last axis must be a multiple of the block length {block}; got shape {array.shape}")
    return array.reshape(*array.shape[:-1], array.shape[-1] // block, block)


def max_exponent(x: ArrayLike, block: int = BLOCK) -> UInt8:
    """The largest biased exponent of each block: 0 for zeros only, 255 with a NaN or an infinity."""
    return _max_exponent(_blocks(x, block))


def _max_exponent(blocks: fp32.Float32) -> UInt8:
    magnitude = (fp32.to_bits(blocks) & fp32.MAGNITUDE_MASK).max(axis=-1)
    return (magnitude >> np.uint32(23)).astype(np.uint8)


def quantize_mxint8_element(x: ArrayLike, exponent: ArrayLike) -> Int8:
    """int8 elements of values in a block whose largest biased exponent is `exponent` (0 or 255: all zero).

    Defined for any exponent, also one below that of x: the element then saturates.
    """
    top = np.asarray(exponent, dtype=np.int32)
    # 2^(127 - E) is exact in float32 for every E in 0..254; products that are not exact round to 0 anyway.
    down = np.ldexp(np.float32(1.0), SCALE_BIAS - np.minimum(top, 254)).astype(np.float32)
    with np.errstate(all="ignore"):
        scaled = fp32.flush(x)
        scaled *= down
        scaled *= np.float32(1 << INT8_FRACTION_BITS)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -INT8_LIMIT, INT8_LIMIT, out=scaled)
        unusable = (top == 0) | (top == SCALE_NAN)
        if unusable.any():
            np.copyto(scaled, np.float32(0.0), where=unusable)
        return scaled.astype(np.int8)


def _scales(exponent: UInt8, less: int) -> UInt8:
    byte = np.maximum(exponent.astype(np.int32) - less, 0)
    byte = np.where(exponent == 0, SCALE_ZERO_BLOCK, byte)
    return np.where(exponent == fp32.EXPONENT_SPECIAL, SCALE_NAN, byte).astype(np.uint8)


def quantize_mxint8(x: ArrayLike, block: int = BLOCK) -> tuple[Int8, UInt8]:
    """Elements of the shape of x, and one scale byte for each `block` of them along the last axis."""
    blocks = _blocks(x, block)
    exponent = _max_exponent(blocks)
    elements = quantize_mxint8_element(blocks, exponent[..., None])
    return elements.reshape(np.shape(x)), _scales(exponent, 0)


def quantize_mxfp4(x: ArrayLike, block: int = BLOCK) -> tuple[UInt8, UInt8]:
    """E2M1 codes 0..15 of the shape of x, and one scale byte for each `block` of them along the last axis."""
    blocks = _blocks(x, block)
    exponent = _max_exponent(blocks)
    scales = _scales(exponent, FP4_LARGEST_EXPONENT)
    with np.errstate(all="ignore"):
        down = np.ldexp(np.float32(1.0), SCALE_BIAS - np.minimum(scales, 254).astype(np.int32))
        magnitude = np.abs(blocks * down[..., None])
    codes = np.where(np.signbit(blocks), np.uint8(8), np.uint8(0))
    for midpoint, tie_goes_up in _FP4_MIDPOINTS:
        codes += magnitude >= midpoint if tie_goes_up else magnitude > midpoint
    codes[np.broadcast_to(exponent[..., None] == fp32.EXPONENT_SPECIAL, codes.shape)] = 0
    return codes.reshape(np.shape(x)), scales


def _dequantize(elements: ArrayLike, scales: ArrayLike, fraction_bits: int) -> fp32.Float32:
    integers, byte = np.asarray(elements), np.asarray(scales, dtype=np.int32)
    if integers.shape[:-1] != byte.shape[:-1] or integers.shape[-1] % byte.shape[-1]:
        raise ValueError(f"scales of shape {byte.shape} do not divide elements of shape {integers.shape} into blocks")
    blocks = integers.reshape(*byte.shape, integers.shape[-1] // byte.shape[-1])
    values = fp32.from_int(
        blocks, (byte - SCALE_BIAS - fraction_bits)[..., None], force_nan=(byte == SCALE_NAN)[..., None]
    )
    return values.reshape(integers.shape)


def dequantize_mxint8(elements: ArrayLike, scales: ArrayLike) -> fp32.Float32:
    """element / 64 * 2^(scale - 127): exact, below 2^-126 a zero, NaN for scale byte 255."""
    return _dequantize(elements, scales, INT8_FRACTION_BITS)


def dequantize_mxfp4(codes: ArrayLike, scales: ArrayLike) -> fp32.Float32:
    """E2M1 value * 2^(scale - 127): exact, below 2^-126 a zero, NaN for scale byte 255."""
    return _dequantize(FP4_TWICE[np.asarray(codes)], scales, 1)
