"""The NumPy model of the chip's FP32, against TestFloat and against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mozg import fp32
from verif import shared_data
from verif.arith import stimulus

OPERATIONS = {"add": fp32.add, "sub": fp32.sub, "mul": fp32.mul}
SEED = 20240611


@pytest.mark.parametrize("name", OPERATIONS)
def test_agrees_with_testfloat_where_operands_are_not_subnormal(name: str) -> None:
    a, b, expected = stimulus.read_testfloat(shared_data.require(f"testfloat/f32_{name}.rne.tv.gz"))
    normal = ~(stimulus.has_subnormal(a) | stimulus.has_subnormal(b))
    got = fp32.to_bits(OPERATIONS[name](fp32.from_bits(a), fp32.from_bits(b)))
    flushed = fp32.to_bits(fp32.flush(fp32.from_bits(expected)))
    assert normal.sum() > 30_000
    np.testing.assert_array_equal(got[normal], flushed[normal])


@pytest.mark.parametrize("name", OPERATIONS)
def test_subnormal_operands_count_as_zeros_of_their_sign(name: str) -> None:
    a, b = (fp32.from_bits(bits) for bits in stimulus.pairs(np.random.default_rng(SEED), 50_000))
    zero_a = np.where(stimulus.has_subnormal(fp32.to_bits(a)), np.copysign(np.float32(0), a), a)
    zero_b = np.where(stimulus.has_subnormal(fp32.to_bits(b)), np.copysign(np.float32(0), b), b)
    got, expected = OPERATIONS[name](a, b), OPERATIONS[name](zero_a, zero_b)
    np.testing.assert_array_equal(fp32.to_bits(got), fp32.to_bits(expected))


def test_product_that_rounds_up_to_the_smallest_normal_stays() -> None:
    almost_two, half_smallest = fp32.from_bits(np.uint32(0x3FFFFFFF)), np.float32(2.0**-64)
    assert fp32.mul(almost_two, half_smallest * np.float32(2.0**-62)) == 2 * fp32.SMALLEST_NORMAL - np.float32(
        2.0**-149
    )
    assert fp32.mul(fp32.mul(almost_two, np.float32(2.0**-63)), np.float32(2.0**-64)) == fp32.SMALLEST_NORMAL
    assert fp32.to_bits(fp32.mul(np.float32(-1.5), np.float32(2.0**-126) / 2 * 1)) == 0x80000000


def test_operations_leave_their_operands_alone() -> None:
    a = fp32.from_bits(np.array([1, 0x7F800001, 0x3F800000], dtype=np.uint32))
    before = fp32.to_bits(a).copy()
    for operation in OPERATIONS.values():
        operation(a, a)
    np.testing.assert_array_equal(fp32.to_bits(a), before)


def test_scale_exponent_is_exact_or_zero_or_infinity() -> None:
    rng = np.random.default_rng(SEED)
    x = fp32.from_bits(rng.integers(0, 1 << 32, 5_000, dtype=np.uint32))
    k = rng.integers(-300, 300, x.size)
    for value, shift, got in zip(x, k, fp32.scale_exponent(x, k), strict=True):
        clean = float(fp32.flush(value))
        if not np.isfinite(clean):
            expected = clean
        else:
            exact = Fraction(clean) * Fraction(2) ** int(shift)
            expected = float(exact) if abs(exact) < 2**128 else float("inf")
            expected = 0.0 if abs(exact) < Fraction(2) ** -126 else abs(expected)
            expected = float(np.copysign(expected, value))
        assert fp32.to_bits(np.float32(expected)) == fp32.to_bits(got) or np.isnan(expected), (value, shift)
    # Truncated, not rounded: just below 2^-126 is zero.
    assert fp32.scale_exponent(fp32.from_bits(np.uint32(0x3FFFFFFF)), -127) == 0


def test_from_int_covers_its_range() -> None:
    assert fp32.to_bits(fp32.from_int(0, -2000)) == 0
    assert fp32.to_bits(fp32.from_int(-1, -127)) == 0  # an underflow has no sign
    assert fp32.from_int(-3, -127) == np.float32(-3 * 2.0**-127)
    assert fp32.from_int(-1, 128) == -np.inf
    assert fp32.from_int((1 << 24) - 1, 104) == np.finfo(np.float32).max
    assert fp32.to_bits(fp32.from_int(1, 0, force_nan=True)) == fp32.NAN_BITS
    with pytest.raises(ValueError, match="up to 24 bits"):
        fp32.from_int(1 << 25, 0)


def test_tree_sum_adds_adjacent_pairs() -> None:
    x = np.random.default_rng(SEED).standard_normal((7, 32)).astype(np.float32)
    expected = [list(row) for row in x]
    for _ in range(5):
        expected = [[fp32.add(row[i], row[i + 1]) for i in range(0, len(row), 2)] for row in expected]
    np.testing.assert_array_equal(fp32.tree_sum32(x), np.array(expected)[:, 0])
    with pytest.raises(ValueError, match="last axis of 32"):
        fp32.tree_sum32(x[:, :31])


def test_greater_orders_zeros_equal_and_nan_lowest() -> None:
    a, b = (fp32.from_bits(bits) for bits in stimulus.pairs(np.random.default_rng(SEED), 50_000))
    clean_a, clean_b = fp32.flush(a), fp32.flush(b)
    expected = ~np.isnan(a) & (np.isnan(b) | (clean_a > clean_b))
    np.testing.assert_array_equal(fp32.greater(a, b), expected)
