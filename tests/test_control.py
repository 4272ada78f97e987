"""The register map as control() serves it, and the rules of rows and passes by hand-made cases.

The blocks themselves run under tests/test_benches.py.
"""

from rtl.common.config import PRESETS
from rtl.common.registers import (
    CAUSE_CODE,
    CAUSES,
    COUNTERS,
    COUNTERS_BASE,
    REGISTERS,
    ROW_FIELDS,
    ROW_STRIDE,
    all_registers,
)
from rtl.control import registers
from rtl.control.control import EVENTS
from rtl.vector.passes import PHASES, Kind
from verif.control.engines import RowModel, passes

TINY = PRESETS["tiny"]


def row(**fields):
    return RowModel(TINY, **{"active": 1, "sample": 1, "slot": 0, "position": 5, "token": 9, **fields})


def test_every_declared_register_is_served_with_its_access():
    for name, register in all_registers(TINY.rows).items():
        if register.offset >= 0x400:
            kind = registers.row_field_kind(register.offset % ROW_STRIDE // 4)
        else:
            kind = registers.word_kind(register.offset // 4)
        assert (kind == registers.READ_ONLY) == (register.access == "ro"), name
        assert kind != registers.UNKNOWN, name


def test_offsets_between_registers_are_unknown():
    declared = {register.offset for register in all_registers(1).values()}
    for word in range(256):
        assert (registers.word_kind(word) == registers.UNKNOWN) == (4 * word not in declared)
    assert registers.row_field_kind(len(ROW_FIELDS)) == registers.UNKNOWN


def test_capabilities_are_the_fields_of_the_configuration():
    words = registers.constant_words(PRESETS["server"])
    assert words[REGISTERS["cap_rows"].offset // 4] == 16
    assert words[REGISTERS["cap_fifo_beats"].offset // 4] == 1024


def test_counters_are_wired_in_their_declared_order():
    assert COUNTERS == ("cycles", *CAUSES, *EVENTS) and COUNTERS_BASE == 0x100
    assert {COUNTERS[code] for code in CAUSE_CODE.values()} == set(CAUSES)


def test_every_pass_has_a_cause():
    assert sorted(kind for kinds in PHASES.values() for kind in kinds) == list(Kind)
    assert set(PHASES) == {cause for cause in CAUSES if cause.startswith("wait_")} - {"wait_memory"}


def test_passes_are_in_order_of_their_first_row():
    rows = [row(slot=3), row(slot=1, position=7), row(slot=2, active=0), row(slot=3, position=9)]
    assert passes(TINY, rows) == [(3, 0b1001, 10), (1, 0b0010, 8)]


def test_a_row_at_fault_gives_no_token_and_stays_where_it_was():
    faulty = row(fault=1)
    assert faulty.end(4, 100) == 0xFFFFFFFF
    assert (faulty.active, faulty.token, faulty.position) == (0, 9, 5)


def test_a_stop_id_is_given_and_retires_the_row():
    stops = row(stops=(4, 0xFFFFFFFF))
    assert stops.end(4, 100) == 4
    assert (stops.active, stops.stopped, stops.full, stops.position) == (0, 1, 0, 6)


def test_a_row_that_reaches_the_limit_is_full():
    full = row()
    assert full.end(4, 6) == 4
    assert (full.active, full.stopped, full.full) == (0, 0, 1)
