"""The functions against a scalar model written from rtl/README.md alone, bit for bit, corners included."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from mozg import fp32, functions, tables
from rtl.common import isa

TABLE = tables.build_tables("gelu_new")
ROWS = [tuple(float(c) for c in row) for row in TABLE]
NAN = 0x7FC00000
CORNERS = [
    0x00000000,  # +0
    0x80000000,  # -0
    0x00000001,  # the smallest subnormal
    0x807FFFFF,  # the largest, negative
    0x00800000,  # the smallest normal
    0x80800000,
    0x7F7FFFFF,  # the largest
    0xFF7FFFFF,
    0x7F800000,  # infinities
    0xFF800000,
    0x7FC00000,  # NaNs
    0xFFC00001,
    0x7F800001,
    0x3F800000,  # 1 and its neighbours
    0x3F7FFFFF,
    0x3F800001,
    0xBF800000,
    0xC2FFFFFF,  # just inside and at -128, -256
    0xC3000000,
    0xC37FFFFF,
    0xC3800000,
    0x43800000,
    0x437FFFFF,
    0x3D000000,  # the first octave of the activation, 2^-5
    0x3CFFFFFF,
    0x40FFFFFF,  # the last, up to 8
    0x41000000,
    0xC1000000,
    0xC0FFFFFF,
]


def value(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def rounded(x: float) -> float:
    """float64 to FP32 as the chip rounds: to nearest even, then subnormals to zero."""
    if math.isnan(x) or math.isinf(x) or x == 0:
        return x
    try:
        y = struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)
    return y if abs(y) >= 2.0**-126 else math.copysign(0.0, x)


def flushed(x: float) -> float:
    return x if math.isnan(x) or abs(x) >= 2.0**-126 else math.copysign(0.0, x)


def add(a: float, b: float) -> float:
    return rounded(a + b)  # exact enough in float64: twice the bits and two


def mul(a: float, b: float) -> float:
    return rounded(a * b)


def to_bits(x: float) -> int:
    return NAN if math.isnan(x) else struct.unpack("<I", struct.pack("<f", x))[0]


def quadratic(entry: int, z: float) -> float:
    c2, c1, c0 = ROWS[entry]
    return add(mul(add(mul(c2, z), c1), z), c0)


def scale(x: float, k: int) -> float:
    """The exponent step: below 2^-126 a zero, too large an infinity, nothing rounded."""
    if x == 0 or math.isinf(x) or math.isnan(x):
        return x
    y = math.ldexp(x, max(-600, min(600, k)))
    if abs(y) < 2.0**-126:
        return math.copysign(0.0, y)
    return math.copysign(math.inf, y) if abs(y) >= 2.0**128 else y


def fields(bits: int) -> tuple[int, int, int]:
    return bits >> 31, bits >> 23 & 255, bits & 0x7FFFFF


def one_point(mantissa: int) -> float:
    return value(127 << 23 | mantissa)


def scalar_exp2(bits: int) -> int:
    sign, exponent, mantissa = fields(bits)
    x = flushed(value(bits))
    if math.isnan(x):
        return NAN
    if abs(x) >= 256:
        return 0 if sign else to_bits(math.inf)
    magnitude = int(abs(x) * 2**23)  # cut off; exact in float64
    fixed = -magnitude if sign else magnitude
    k, f = fixed >> 23, fixed % 2**23
    return to_bits(scale(quadratic(isa.EXP2_BASE + (f >> 17), one_point(f)), k))


def positive(bits: int) -> bool:
    sign, exponent, _ = fields(bits)
    return not sign and 0 < exponent < 255


def scalar_reciprocal(bits: int) -> int:
    _, exponent, mantissa = fields(bits)
    if not positive(bits):
        return NAN
    y = quadratic(isa.RECIPROCAL_BASE + (mantissa >> 17), one_point(mantissa))
    return to_bits(scale(y, 127 - exponent))


def scalar_rsqrt(bits: int) -> int:
    _, exponent, mantissa = fields(bits)
    if not positive(bits):
        return NAN
    half = (exponent - 127) & 1
    y = quadratic(isa.RSQRT_BASE + 64 * half + (mantissa >> 17), value(127 + half << 23 | mantissa))
    return to_bits(scale(y, -(exponent - 127 - half) // 2))


def scalar_log2(bits: int) -> int:
    _, exponent, mantissa = fields(bits)
    if not positive(bits):
        return NAN
    slope, intercept, _ = ROWS[isa.LOG2_BASE + (mantissa >> 16)]
    return to_bits(add(add(mul(slope, one_point(mantissa)), intercept), float(exponent - 127)))


def scalar_activation(bits: int) -> int:
    sign, exponent, mantissa = fields(bits)
    first = tables.ACTIVATIONS["gelu_new"].first_exponent
    code = 0 if exponent < first else min(exponent - first + 1, 9)
    segment = mantissa >> 18 if 1 <= code <= 8 else 0
    return to_bits(quadratic(isa.ACTIVATION_BASE + 64 * code + 32 * sign + segment, flushed(value(bits))))


def scalar_mix(a: int) -> int:
    word = 0xFFFFFFFF
    a = (a + 0x7ED55D16 + (a << 12)) & word
    a = (a ^ 0xC761C23C ^ (a >> 19)) & word
    a = (a + 0x165667B1 + (a << 5)) & word
    a = ((a + 0xD3A2646C) ^ (a << 9)) & word
    a = (a + 0xFD7046C5 + (a << 3)) & word
    return (a ^ 0xB55A4F09 ^ (a >> 16)) & word


FUNCTIONS = {
    "exp2": (scalar_exp2, lambda x: functions.exp2(TABLE, x)),
    "reciprocal": (scalar_reciprocal, lambda x: functions.reciprocal(TABLE, x)),
    "rsqrt": (scalar_rsqrt, lambda x: functions.rsqrt(TABLE, x)),
    "log2": (scalar_log2, lambda x: functions.log2(TABLE, x)),
    "activation": (
        scalar_activation,
        lambda x: functions.activation(TABLE, tables.ACTIVATIONS["gelu_new"].first_exponent, x),
    ),
}


def inputs() -> np.ndarray:
    random = np.random.default_rng(20)
    anything = random.integers(0, 1 << 32, 3000, dtype=np.uint32)
    usual = random.normal(0, 4, 3000).astype(np.float32).view(np.uint32)
    steps = (np.arange(-300, 300, 0.125, dtype=np.float32)).view(np.uint32)
    return np.concatenate([np.array(CORNERS, dtype=np.uint32), anything, usual, steps])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_are_those_of_the_scalar_model(name: str) -> None:
    scalar, vector = FUNCTIONS[name]
    given = inputs()
    found = fp32.to_bits(vector(fp32.from_bits(given)))
    expected = np.array([scalar(int(bits)) for bits in given], dtype=np.uint32)
    wrong = np.flatnonzero(found != expected)
    assert not wrong.size, [f"{given[i]:#010x}: {found[i]:#010x}, expected {expected[i]:#010x}" for i in wrong[:5]]


def test_hash_and_uniform_numbers_are_those_of_the_scalar_model() -> None:
    given = np.random.default_rng(3).integers(0, 1 << 32, 1000, dtype=np.uint32)
    assert [int(x) for x in functions.mix(given)] == [scalar_mix(int(x)) for x in given]
    for seed, position in ((0, 0), (0xFFFFFFFF, 1023), (77, 5)):
        key = scalar_mix(scalar_mix(seed) ^ position)
        expected = [(2 * (scalar_mix(key ^ token) >> 9) + 1) / 2**24 for token in range(200)]
        assert [float(u) for u in functions.uniform(seed, position, np.arange(200))] == expected


@pytest.mark.parametrize(
    ("x", "y"),
    [(0.0, 1.0), (-0.0, 1.0), (-1.0, 0.5), (-126.0, 2.0**-126), (-127.0, 0.0), (-256.0, 0.0), (-math.inf, 0.0)],
)
def test_powers_of_two_are_exact(x: float, y: float) -> None:
    assert float(functions.exp2(TABLE, np.array([x], dtype=np.float32))[0]) == pytest.approx(y, rel=1.3e-7)


def test_activation_passes_large_values_and_stops_large_negative_ones() -> None:
    x = np.array([8.0, 100.0, 3e38, -8.0, -100.0, -3e38], dtype=np.float32)
    y = functions.activation(TABLE, 122, x)
    assert list(y) == [8.0, 100.0, np.float32(3e38), 0.0, 0.0, 0.0]


def test_activation_keeps_zero() -> None:
    assert list(fp32.to_bits(functions.activation(TABLE, 122, np.float32([0.0])))) == [0]
