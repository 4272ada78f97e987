"""The function tables that the compiler loads into the chip: quadratic segments in FP32.

Each entry is (c2, c1, c0) of y = (c2*z + c1)*z + c0; rtl/README.md, "Functions", says how an entry and z follow from
the argument. A segment is fitted in float64 at Chebyshev points (J. C. Mason and D. C. Handscomb, "Chebyshev
Polynomials", 2003, chapter 6), which is near the best quadratic of its segment. A new activation function is one more
entry in ACTIVATIONS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.common import isa

Float64 = NDArray[np.float64]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu_tanh(x: Float64) -> Float64:
    """GELU by the tanh formula ("gelu_new"): D. Hendrycks and K. Gimpel, arXiv 1606.08415."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x: Float64) -> Float64:
    """GELU as defined by the normal distribution function ("gelu"): arXiv 1606.08415."""
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


@dataclass(frozen=True)
class Activation:
    """An activation function: float64 definition and the biased exponent of its first octave.

    Eight octaves follow from there; above them the function must be x (positive) or 0 (negative).
    """

    function: Callable[[Float64], Float64]
    first_exponent: int


# Octaves 2^-5 to 2^3: at 8 GELU is x or 0 to 15 digits.
ACTIVATIONS = {"gelu_new": Activation(gelu_tanh, 127 - 5), "gelu": Activation(gelu_erf, 127 - 5)}


def _fit(function: Callable[[Float64], Float64], low: float, high: float, degree: int) -> Float64:
    """Coefficients (c2, c1, c0) of the polynomial through the Chebyshev points of [low, high]."""
    angles = (2 * np.arange(degree + 1) + 1) * math.pi / (2 * (degree + 1))
    unit = np.cos(angles)
    centre, half = (low + high) / 2, (high - low) / 2
    in_unit = np.polynomial.polynomial.polyfit(unit, function(centre + half * unit), degree)
    shifted = np.polynomial.Polynomial(in_unit, domain=[low, high]).convert().coef
    return np.pad(shifted, (0, 3 - len(shifted)))[::-1]


def _segments(function: Callable[[Float64], Float64], low: float, high: float, count: int) -> Float64:
    edges = np.linspace(low, high, count + 1)
    return np.stack([_fit(function, a, b, 2) for a, b in zip(edges, edges[1:], strict=False)])


def _log2_chords() -> Float64:
    """Chords of log2 on [1, 2): exact at both ends, so that -log2(u) keeps its relative accuracy near u = 1.

    The last chord is lowered until log2 of the largest u below 1 is negative after rounding (the second logarithm of
    the noise needs a positive argument).
    """
    edges = 1 + np.arange((1 << isa.LOG2_BITS) + 1) / (1 << isa.LOG2_BITS)
    slope = (np.log2(edges[1:]) - np.log2(edges[:-1])) / (edges[1:] - edges[:-1])
    slope = slope.astype(np.float32)
    intercept = (np.log2(edges[:-1]) - slope.astype(np.float64) * edges[:-1]).astype(np.float32)
    z = np.float32(2) - np.arange(1, 257, dtype=np.float32) * np.float32(2.0**-23)
    while (slope[-1] * z + intercept[-1] >= 1).any():
        intercept[-1] = np.nextafter(intercept[-1], np.float32(-10))
    return np.stack([slope, intercept, np.zeros_like(slope)], axis=1).astype(np.float64)


def _activation(activation: Activation) -> Float64:
    segments = 1 << isa.ACTIVATION_BITS
    table = np.zeros((isa.ACTIVATION_CODES, 2, segments, 3))
    first = 2.0 ** (activation.first_exponent - 127)
    for sign, direction in enumerate((1.0, -1.0)):
        # Below the first octave: through zero exactly, fitted at two points.
        x = direction * first * np.array([0.5, 1.0])
        c2, c1 = np.linalg.solve(np.stack([x**2, x], axis=1), activation.function(x))
        table[0, sign] = (c2, c1, 0.0)
        for octave in range(isa.ACTIVATION_CODES - 2):
            low = first * 2.0**octave
            table[1 + octave, sign] = _segments(activation.function, direction * low, direction * 2 * low, segments)
    table[-1, 0] = (0.0, 1.0, 0.0)  # above: x
    return table.reshape(-1, 3)


def build_tables(activation: str) -> NDArray[np.float32]:
    """All entries of the chip's function memory: float32 [TABLE_ENTRIES, 3] as (c2, c1, c0)."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} has no table: expected one of {', '.join(ACTIVATIONS)}")
    table = np.zeros((isa.TABLE_ENTRIES, 3))

    def place(base: int, entries: Float64) -> None:
        table[base : base + len(entries)] = entries

    place(isa.EXP2_BASE, _segments(lambda z: np.exp2(z - 1), 1, 2, 1 << isa.EXP2_BITS))
    place(isa.RECIPROCAL_BASE, _segments(lambda z: 1 / z, 1, 2, 1 << isa.RECIPROCAL_BITS))
    place(isa.RSQRT_BASE, _segments(lambda z: 1 / np.sqrt(z), 1, 2, 1 << isa.RSQRT_BITS))
    place(isa.RSQRT_BASE + (1 << isa.RSQRT_BITS), _segments(lambda z: 1 / np.sqrt(z), 2, 4, 1 << isa.RSQRT_BITS))
    place(isa.LOG2_BASE, _log2_chords())
    place(isa.ACTIVATION_BASE, _activation(ACTIVATIONS[activation]))
    return table.astype(np.float32)
