"""Instructions: fields there and back, and no two on the same bits where one instruction uses both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtl.common import isa, registers
from rtl.common.isa import FIELDS, Opcode

# Fields that lie on the same bits, because no instruction has both.
SHARED = {("constant_b", "weight_block"), ("layer_offset", "row_stride")}


@given(st.sampled_from(list(Opcode)), st.data())
def test_fields_come_back(opcode: Opcode, data: st.DataObject) -> None:
    names = [name for name in FIELDS if name not in ("opcode", "weight_block", "row_stride")]
    fields = {name: data.draw(st.integers(0, (1 << FIELDS[name].width) - 1), name) for name in names}
    found = isa.decode(isa.encode(opcode, **fields))
    assert found["opcode"] == opcode
    assert {name: found[name] for name in names} == fields


def test_fields_do_not_overlap() -> None:
    names = list(FIELDS)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            first, second = FIELDS[a], FIELDS[b]
            apart = first.bit + first.width <= second.bit or second.bit + second.width <= first.bit
            assert apart or (a, b) in SHARED, (a, b)


def test_fields_lie_within_the_instruction() -> None:
    assert isa.INSTRUCTION_BITS == 8 * isa.INSTRUCTION_BYTES == 32 * isa.INSTRUCTION_WORDS
    assert all(field.bit + field.width <= isa.INSTRUCTION_BITS for field in FIELDS.values())


def test_encoding_is_little_endian() -> None:
    data = isa.encode(Opcode.MATMUL, address=0x1234567890, k_blocks=0xABCD)
    assert data[:9] == bytes([5, 0, 0, 0, 0x90, 0x78, 0x56, 0x34, 0x12])
    assert data[20:22] == bytes([0xCD, 0xAB])


def test_refuses_a_field_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="instruction field 'adress' is unknown: expected one of opcode, mxfp4"):
        isa.encode(Opcode.NORM, adress=1)


@pytest.mark.parametrize("value", [-1, 1 << 16])
def test_refuses_a_value_that_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match=f"instruction field k_blocks is {value}: expected 0 to 65535"):
        isa.encode(Opcode.NORM, k_blocks=value)


@pytest.mark.parametrize("opcode", [0, 7, 255])
def test_refuses_an_unknown_opcode(opcode: int) -> None:
    with pytest.raises(ValueError, match=f"opcode {opcode} is unknown: expected 1 to 6"):
        isa.decode(bytes([opcode]) + bytes(63))


def test_function_tables_do_not_overlap() -> None:
    parts = [
        (isa.EXP2_BASE, 1 << isa.EXP2_BITS),
        (isa.RECIPROCAL_BASE, 1 << isa.RECIPROCAL_BITS),
        (isa.RSQRT_BASE, 2 << isa.RSQRT_BITS),
        (isa.LOG2_BASE, 1 << isa.LOG2_BITS),
        (isa.ACTIVATION_BASE, isa.ACTIVATION_CODES * 2 << isa.ACTIVATION_BITS),
    ]
    for (base, size), (after, _) in zip(parts, [*parts[1:], (isa.TABLE_ENTRIES, 0)], strict=True):
        assert base + size <= after


@pytest.mark.parametrize("rows", [1, 2, 4, 16])
def test_registers_have_addresses_of_their_own(rows: int) -> None:
    offsets = [register.offset for register in registers.all_registers(rows).values()]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 for offset in offsets)
