"""The issue logic of the vector unit: its tables, and its bench on the smaller chips."""

from __future__ import annotations

import pytest

from rtl.common.config import PRESETS
from rtl.vector.beat_control import ORDER
from rtl.vector.control_word import Reduce, Scalar, control_fields
from rtl.vector.passes import PASSES, Kind
from verif.runner import run_bench


@pytest.mark.parametrize("chip", PRESETS)
def test_beat_control_places_every_field_of_the_control_word(chip):
    assert list(control_fields(PRESETS[chip])) == ORDER


def test_every_pass_has_selectors_that_exist():
    assert set(PASSES) == set(Kind)
    for selectors in PASSES.values():
        assert set(selectors) <= set(ORDER)


def test_sums_and_maxima_go_to_their_scalars():
    for kind, selectors in PASSES.items():
        if selectors.get("reduce") == Reduce.MAX:
            assert selectors["scalar_out"] == Scalar.MAX_0
        if selectors.get("reduce") == Reduce.SUM:
            wanted = Scalar.SUM_S0 if kind == Kind.SOFTMAX else Scalar.SUM
            assert selectors.get("scalar_out", Scalar.SUM) == wanted


@pytest.mark.parametrize("chip", ["tiny", "server"])
def test_random_programs_issue_the_beats_of_the_specification(chip):
    assert run_bench("vector_issue", "icarus", chip, seed=11) == 3
