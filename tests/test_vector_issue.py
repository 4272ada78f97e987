"""The issue logic of the vector unit: its tables, and its bench on the smaller chips."""

from __future__ import annotations

from dataclasses import replace

import pytest
from myhdl import Signal, Simulation, delay, instance, intbv

from rtl.common.config import PRESETS
from rtl.common.registers import CAUSE_CODE
from rtl.vector.beat_control import ORDER
from rtl.vector.control_word import Reduce, Scalar, control_fields
from rtl.vector.drain_phase import drain_phase
from rtl.vector.passes import PASSES, PHASES, Kind
from verif.runner import run_bench
from verif.vector import issue_ports


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


def test_as_many_rows_as_a_block_has_elements_convert(tmp_path):
    most = replace(PRESETS["server"], name="most", rows=32, lanes=32)
    assert issue_ports.build(tmp_path, most).name == "issue_most"


@pytest.mark.parametrize("kind", Kind)
def test_the_phase_is_the_pass_or_what_its_next_round_waits_for(kind):
    """All waits of a round (bank 1, parameters 2, inverse 4, KV writer 8), in MyHDL."""
    kind_of, waits, phase = Signal(intbv(int(kind))[5:]), Signal(intbv(0)[4:]), Signal(intbv(0)[4:])
    checking, rest = Signal(bool(0)), Signal(bool(0))
    of_kind = next(cause for cause, kinds in PHASES.items() if kind in kinds)
    found = []

    @instance
    def stimulus():
        for value in range(1 << 6):
            waits.next, checking.next, rest.next = value & 15, bool(value & 16), bool(value & 32)
            yield delay(1)
            found.append(int(phase))

    Simulation(drain_phase(kind_of, checking, waits, rest, phase), stimulus).run(quiet=True)
    for value, code in enumerate(found):
        wanted = of_kind
        if value & 16:
            waited = ((value & 33 == 33, "fill_drain"), (value & 2, "wait_memory"), (value & 4, "wait_softmax"))
            waited += ((value & 8, "wait_kv_write"),)
            wanted = next((cause for holds, cause in waited if holds), of_kind)
        assert code == CAUSE_CODE[wanted], f"{kind.name}, waits {value & 15:04b}"


@pytest.mark.parametrize("chip", ["tiny", pytest.param("server", marks=pytest.mark.slow)])
def test_random_programs_issue_the_beats_of_the_specification(chip):
    assert run_bench("vector_issue", "icarus", chip, seed=11) == 3
