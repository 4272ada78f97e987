"""How far the chip's functions are from float64, pinned as measured; and what the noise is made of.

`python tests/test_tables.py` prints the table that stands in sw/README.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from mozg import fp32, functions, tables

TABLE = {name: tables.build_tables(name) for name in tables.ACTIVATIONS}
PLAIN = TABLE["gelu_new"]


def mantissas(low: int, high: int) -> np.ndarray:
    """Every float32 from 2^low to 2^high, as far apart as 8 units in the last place."""
    return fp32.from_bits(np.arange((low + 127) << 23, (high + 127) << 23, 8, dtype=np.uint32))


def activation(name: str, x: np.ndarray) -> np.ndarray:
    return functions.activation(TABLE[name], tables.ACTIVATIONS[name].first_exponent, x)


def exp2_error() -> float:
    # To -125: below, the result is near the smallest normal number and is flushed.
    x = -np.concatenate([mantissas(-24, 0)[::64], mantissas(0, 6), np.linspace(64, 125, 200_001, dtype=np.float32)])
    exact = np.exp2(x.astype(np.float64))
    return float((np.abs(functions.exp2(PLAIN, x) - exact) / exact).max())


def relative(function: Callable, exact: Callable, low: int, high: int) -> float:
    x = mantissas(low, high)
    wanted = exact(x.astype(np.float64))
    return float((np.abs(function(PLAIN, x).astype(np.float64) - wanted) / np.abs(wanted)).max())


@functools.cache
def every_log2() -> tuple[np.ndarray, np.ndarray]:
    """log2 of every u that the noise can draw: the chip's and float64's."""
    n = np.arange(1 << 23, dtype=np.uint32)
    u = ((2 * n + 1).astype(np.float32) * np.float32(2.0**-24)).astype(np.float32)
    return functions.log2(PLAIN, u), np.log2(u.astype(np.float64))


def log2_error() -> float:
    found, exact = every_log2()
    return float(np.abs(found - exact).max())


@functools.cache
def noise_errors() -> np.ndarray:
    found, exact = every_log2()
    return np.abs(-functions.log2(PLAIN, -found) + np.log2(-exact))


def rare_noise_error() -> float:
    """At the u nearest to 1, where log2(u) itself is a few units in the last place of 1."""
    return float(noise_errors().max())


def usual_noise_error() -> float:
    return float(np.quantile(noise_errors(), 0.9999))


def activation_error(name: str) -> float:
    x = np.linspace(-12, 12, 2_000_001).astype(np.float32)
    near = mantissas(-20, -4)[::64]
    x = np.concatenate([x, near, -near])
    exact = tables.ACTIVATIONS[name].function(x.astype(np.float64))
    return float(np.abs(activation(name, x).astype(np.float64) - exact).max())


@dataclass(frozen=True)
class Measure:
    """One row of the accuracy table; `limit` is what was measured, rounded up."""

    what: str
    range: str
    kind: str
    limit: float
    run: Callable[[], float]


MEASURES = {
    "exp2": Measure("2^x", "-125 to -2^-24", "relative", 1.6e-7, exp2_error),
    "reciprocal": Measure(
        "1 / x", "1 to 4", "relative", 5.5e-7, lambda: relative(functions.reciprocal, lambda x: 1 / x, 0, 2)
    ),
    "rsqrt": Measure(
        "1 / sqrt(x)", "1 to 4", "relative", 2.8e-7, lambda: relative(functions.rsqrt, lambda x: 1 / np.sqrt(x), 0, 2)
    ),
    "log2": Measure("log2(u)", "every u of the noise", "absolute", 1.2e-5, log2_error),
    "noise": Measure("-log2(-log2(u))", "all but 1 in 10,000 u", "absolute", 2.9e-3, usual_noise_error),
    "rare_noise": Measure("-log2(-log2(u))", "every u of the noise", "absolute", 0.48, rare_noise_error),
    "gelu_new": Measure("GELU, tanh form", "-12 to 12", "absolute", 9.5e-7, lambda: activation_error("gelu_new")),
    "gelu": Measure("GELU, erf form", "-12 to 12", "absolute", 9e-7, lambda: activation_error("gelu")),
}


@pytest.mark.parametrize("name", MEASURES)
def test_error_against_float64_is_as_measured(name: str) -> None:
    measure = MEASURES[name]
    found = measure.run()
    assert 0.8 * measure.limit < found <= measure.limit, f"{measure.what}: {found:.4g}"


def test_logarithm_of_every_uniform_number_is_negative() -> None:
    """So that the second logarithm of the noise has a positive argument."""
    assert (every_log2()[0] < 0).all()


def test_noise_of_every_uniform_number_is_finite() -> None:
    assert np.isfinite(functions.log2(PLAIN, -every_log2()[0])).all()


def test_noise_has_mean_and_deviation_of_a_gumbel_variable() -> None:
    noise = -functions.log2(PLAIN, -every_log2()[0]).astype(np.float64) * math.log(2)
    assert noise.mean() == pytest.approx(np.euler_gamma + math.log(math.log(2)), abs=2e-5)
    assert noise.std() == pytest.approx(math.pi / math.sqrt(6), abs=1e-4)


def test_noise_of_one_seed_is_gumbel_over_ids() -> None:
    for seed, position in ((0, 0), (1, 0), (0, 1), (0xFFFFFFFF, 1023)):
        noise = functions.noise(PLAIN, seed, position, np.arange(50257)).astype(np.float64) * math.log(2)
        assert noise.mean() == pytest.approx(np.euler_gamma + math.log(math.log(2)), abs=0.03)
        assert noise.std() == pytest.approx(math.pi / math.sqrt(6), abs=0.03)


@pytest.mark.parametrize("vary", ["seed", "position", "token"])
def test_uniform_numbers_of_neighbours_are_independent(vary: str) -> None:
    count = 20_000
    arguments = {"seed": 5, "position": 9, "token": 7} | {vary: np.arange(count)}
    u = functions.uniform(*arguments.values()).astype(np.float64)
    assert u.mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(np.histogram(u, 16, (0, 1))[0] / count * 16 - 1).max() < 0.1
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.02


def test_every_input_bit_of_the_hash_changes_half_of_the_output_bits() -> None:
    x = np.random.default_rng(0).integers(0, 1 << 32, 20_000, dtype=np.uint32)
    plain = functions.mix(x)
    for bit in range(32):
        changed = plain ^ functions.mix(x ^ np.uint32(1 << bit))
        share = np.array([(changed >> np.uint32(i) & 1).mean() for i in range(32)])
        assert 0.25 < share.min() and share.max() < 0.75, bit
        assert share.mean() == pytest.approx(0.5, abs=0.05)


def test_hash_has_no_collisions_among_a_million() -> None:
    assert len(np.unique(functions.mix(np.arange(1 << 20, dtype=np.uint32)))) == 1 << 20


@pytest.mark.parametrize("name", tables.ACTIVATIONS)
def test_activation_is_continuous_between_segments(name: str) -> None:
    edges = np.concatenate([np.ldexp(1 + np.arange(32) / 32, e) for e in range(-5, 4)]).astype(np.float32)
    for x in (edges, -edges):
        below = activation(name, np.nextafter(x, np.float32(0)))
        assert np.abs(below - activation(name, x)).max() < 2e-6


def test_tables_are_the_same_each_time_and_fit_their_memory() -> None:
    from rtl.common import isa

    for name, table in TABLE.items():
        assert table.shape == (isa.TABLE_ENTRIES, 3) and table.dtype == np.float32
        assert np.isfinite(table).all()
        assert (table == tables.build_tables(name)).all()


def test_unknown_activation_has_no_table() -> None:
    with pytest.raises(ValueError, match="activation 'relu' has no table: expected one of gelu_new, gelu"):
        tables.build_tables("relu")


if __name__ == "__main__":
    for m in MEASURES.values():
        print(f"| {m.what} | {m.range} | {m.kind} | {m.run():.3g} |")
