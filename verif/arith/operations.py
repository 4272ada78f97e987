"""For every arithmetic block: operations to put to it, as port columns, and the model's results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mozg import fp32, functions, mx
from rtl.common import isa
from rtl.vector.exponent_shift import SPECIAL_INFINITY, SPECIAL_NAN, SPECIAL_NONE, SPECIAL_ZERO
from verif import shared_data
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


def _packed(elements: NDArray, bits: int) -> NDArray:
    """Each row of integers as one Python integer, element 0 lowest."""
    mask = (1 << bits) - 1
    packed = np.zeros(elements.shape[0], dtype=object)
    for place in range(elements.shape[1]):
        packed |= (elements[:, place].astype(object) & mask) << (bits * place)
    return packed


def dot_product(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Random bytes, a quarter of the rows with bytes of -128, -1 and 127 only; results {odd, even} of 21 bits."""
    mxfp4 = rng.integers(0, 2, count)
    activations, weights = rng.integers(-128, 128, (2, count, mx.BLOCK))
    extreme = rng.integers(0, 4, count) == 0
    corners = rng.choice([-128, -1, 127], (2, count, mx.BLOCK))
    activations = np.where(extreme[:, None], corners[0], activations)
    weights = np.where(extreme[:, None], corners[1], weights)
    codes = weights & 0xFF
    low, high = (mx.FP4_TWICE.astype(np.int64)[code] for code in (codes & 15, codes >> 4))
    even = (activations * np.where(mxfp4[:, None] == 1, low, weights)).sum(axis=1)
    odd = (activations * high).sum(axis=1) * mxfp4
    expected = (odd & 0x1FFFFF) << 21 | even & 0x1FFFFF
    return {"mxfp4": mxfp4, "activations": _packed(activations, 8), "weights": _packed(weights, 8)}, expected


def _floats(rng: np.random.Generator, count: int, lanes: int) -> NDArray[np.uint32]:
    """[at least count, lanes] patterns: corners, close exponents, opposites."""
    words = np.concatenate(stimulus.pairs(rng, count * lanes // 2))
    words = rng.permutation(words)[: words.size // lanes * lanes]
    return words.reshape(-1, lanes)


def sum_tree(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Four numbers by the tree of adjacent pairs."""
    x = _floats(rng, count, 4)
    level = fp32.from_bits(x)
    while level.shape[1] > 1:
        level = fp32.add(level[:, 0::2], level[:, 1::2])
    return {"x": _packed(x, 32)}, fp32.to_bits(level[:, 0])


def best_key(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Four numbers, of which some are equal and some do not count; results {place, key}."""
    x = _floats(rng, count, 4)
    x = np.where(rng.integers(0, 3, x.shape) == 0, x[:, :1], x)
    counted = rng.integers(0, 4, x.shape) != 0
    with np.errstate(invalid="ignore"):
        value = fp32.from_bits(x).astype(np.float64)
    value[(np.abs(value) < 2.0**-126)] = 0.0
    present = counted & ~np.isnan(value)
    place = np.where(present, value, -np.inf).argmax(axis=1)
    place = np.where(present.any(axis=1), place, 0)
    # Of -inf and nothing, what is there wins.
    only_low = present.any(axis=1) & np.isneginf(np.where(present, value, -np.inf).max(axis=1))
    place = np.where(only_low, present.argmax(axis=1), place)
    best = value[np.arange(len(x)), place].astype(np.float32)
    bits = fp32.to_bits(np.where(best == 0, np.float32(0), best)).astype(np.int64)
    key = np.where(bits >> 31, ~bits & 0xFFFFFFFF, bits | 1 << 31)
    key = np.where(present.any(axis=1), key, 0)
    columns = {"x": _packed(x, 32), "counted": (counted << np.arange(4)).sum(axis=1)}
    return columns, place.astype(np.int64) << 32 | key


def function_lookup(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """The table "Functions" of rtl/README.md, row by row, in integers; results {index, z, shift, special, exponent}."""
    x = _floats(rng, count, 1)[:, 0].astype(np.int64)
    near = rng.integers(0, 2, x.size) == 0  # half of them within 2^-12 .. 2^9, where functions are used
    x = np.where(near, x & 0x807FFFFF | rng.integers(115, 137, x.size) << 23, x)
    selector = rng.integers(1, 6, x.size)
    first = rng.integers(100, 130, x.size)
    sign, e, m = x >> 31, x >> 23 & 255, x & 0x7FFFFF
    one = 127 << 23
    nan, improper = (e == 255) & (m != 0), (sign == 1) | (e == 0) | (e == 255)

    # EXP2: abs(x) in fixed point with 23 fraction bits, cut off, then negated.
    significand = m | 1 << 23
    magnitude = np.where(e >= 127, significand << np.clip(e - 127, 0, 7), significand >> np.clip(127 - e, 0, 31)) * (
        e >= 96
    )
    fixed = np.where(sign == 1, -magnitude, magnitude)
    fraction, whole = fixed & 0x7FFFFF, fixed >> 23
    octave = np.where(e < first, 0, np.minimum(e - first + 1, 9))
    segment = np.where((octave == 0) | (octave == 9), 0, m >> 18)
    odd = e - 127 & 1
    choice = [selector == k for k in (2, 3, 4, 5)]
    index = np.select(
        choice,
        [
            isa.EXP2_BASE + (fraction >> 17),
            isa.RECIPROCAL_BASE + (m >> 17),
            isa.RSQRT_BASE + 64 * odd + (m >> 17),
            isa.LOG2_BASE + (m >> 16),
        ],
        isa.ACTIVATION_BASE + 64 * octave + 32 * sign + segment,
    )
    z = np.select(choice, [one | fraction, one | m, (127 + odd << 23) | m, one | m], x)
    shift = 256 + np.select(choice[:3], [whole, 127 - e, -((e - 127 - odd) >> 1)], 0)
    special = np.where(improper & (selector >= 3), SPECIAL_NAN, SPECIAL_NONE)
    beyond = np.where(sign == 1, SPECIAL_ZERO, SPECIAL_INFINITY)
    special = np.where(selector == 2, np.where(nan, SPECIAL_NAN, np.where(e >= 135, beyond, SPECIAL_NONE)), special)
    # What a special result overrides is compared all the same where it is defined; EXP2 beyond 256 is not.
    keep = (selector != 2) | (e < 135)
    x, selector, first = x[keep], selector[keep], first[keep]
    found = index << 51 | z << 19 | shift << 10 | special << 8 | e
    return {"selector": selector, "x": x, "first_exponent": first}, found[keep].astype(np.int64)


def exponent_shift(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """x * 2^(shift - 256) by float64, which holds it exactly before the flush; a third at the ends of the range."""
    x = _floats(rng, count, 1)[:, 0]
    shift = rng.integers(0, 512, x.size)
    e = (x >> 23 & 255).astype(np.int64)
    near = rng.choice([-127, 128], x.size) + 127 - e + rng.integers(-1, 3, x.size) + 256
    shift = np.clip(np.where(rng.integers(0, 3, x.size) == 0, near, shift), 0, 511)
    special = rng.integers(0, 4, x.size) * (rng.integers(0, 4, x.size) == 0)
    negate = rng.integers(0, 2, x.size)
    with np.errstate(all="ignore"):
        exact = np.ldexp(fp32.flush(fp32.from_bits(x)).astype(np.float64), shift - 256) * np.where(negate, -1.0, 1.0)
        y = np.where(np.abs(exact) >= 2.0**-126, exact, np.copysign(0.0, exact)).astype(np.float32)
    y = np.where(np.isnan(exact), fp32.NAN, y)
    y = np.select(
        [special == SPECIAL_NAN, special == SPECIAL_ZERO, special == SPECIAL_INFINITY],
        [fp32.NAN, np.float32(0), np.float32(np.inf)],
        y,
    )
    return {"x": x, "shift": shift, "special": special, "negate": negate}, fp32.to_bits(y.astype(np.float32))


def exponent_to_float(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """Every byte, several times."""
    exponent = rng.permutation(np.arange(1024) % 256)
    return {"exponent": exponent}, fp32.to_bits((exponent - 127).astype(np.float32))


def noise_hash(rng: np.random.Generator, count: int, reference: bool = False) -> Operations:
    """The model's uniform numbers of keys that seeds and positions give, token ids of all lengths."""
    seed, position = rng.integers(0, 1 << 32, 64), rng.integers(0, 1024, 64)
    with np.errstate(over="ignore"):
        keys = functions.mix(functions.mix(seed.astype(np.uint32)) ^ position.astype(np.uint32))
    which = rng.integers(0, 64, count)
    token = rng.integers(0, 1 << 32, count) >> rng.integers(0, 32, count)
    expected = np.empty(count, dtype=np.float32)
    for k in range(64):
        expected[which == k] = functions.uniform(int(seed[k]), int(position[k]), token[which == k].astype(np.uint32))
    return {"key": keys[which], "token": token}, fp32.to_bits(expected)
