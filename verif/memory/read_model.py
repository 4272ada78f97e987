"""What memory_read must read: instructions expanded in Python, from rtl/README.md and not from the RTL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from rtl.common.config import ChipConfig, bits_for
from rtl.common.isa import Epilogue, Opcode, decode

ARRAY, RING_A, RING_B, TABLES = range(4)


@dataclass
class Row:
    active: bool = True
    sample: bool = True
    slot: int = 0
    position: int = 0
    token: int = 0


@dataclass
class Machine:
    """Configuration registers and the row table."""

    chip: ChipConfig
    program_base: int = 0x0_1000_0000
    program_size: int = 64 * 20
    weights_base: int = 0x1_0000_0000
    weights_size: int = 0x1000_0000
    kv_base: int = 0x80_0000_0000
    kv_stride: int = 0x20_0000
    rows: list[Row] = field(default_factory=list)

    def passes(self) -> list[tuple[int, int]]:
        """(slot, tokens) for each distinct slot of active rows, in the order of its first row."""
        found: dict[int, int] = {}
        for row in self.rows:
            if row.active:
                found[row.slot] = max(found.get(row.slot, 0), row.position + 1)
        return list(found.items())

    def ports(self) -> dict[str, int]:
        """Values of the configuration, row and pass inputs."""
        slot_bits, position_bits = bits_for(self.chip.slots), bits_for(self.chip.context)

        def pack(values: list[int], width: int) -> int:
            return sum(value << width * index for index, value in enumerate(values))

        passes = self.passes()
        plain = ("program_base", "program_size", "weights_base", "weights_size", "kv_base", "kv_stride")
        return {
            **{name: getattr(self, name) for name in plain},
            "row_active": pack([int(row.active) for row in self.rows], 1),
            "row_token": pack([row.token for row in self.rows], 32),
            "row_position": pack([row.position for row in self.rows], position_bits),
            "any_sample": int(any(row.active and row.sample for row in self.rows)),
            "pass_count": len(passes),
            "pass_slot": pack([slot for slot, _ in passes], slot_bits),
            "pass_tokens": pack([tokens for _, tokens in passes], position_bits + 1),
        }


def content(address: int, size: int) -> int:
    """The memory's bytes from `address` (size-aligned, size <= 64): a hash, so that no two beats agree."""
    data = hashlib.blake2b(address.to_bytes(8, "little"), digest_size=64).digest()
    return int.from_bytes(data[:size], "little")


def round_up(value: int, unit: int) -> int:
    return -(-value // unit)


def expand(data: bytes, machine: Machine) -> list[tuple[int, int, int]]:
    """(address, bytes, tag) of everything one instruction reads, in order."""
    i, chip = decode(data), machine.chip
    if i["sampling_only"] and not any(row.active and row.sample for row in machine.rows):
        return []
    bus, ports = chip.bus_bytes, chip.ports
    if i["opcode"] == Opcode.TABLE:
        return [(i["address"], 3 * 1024 * 4, TABLES)]
    if i["opcode"] == Opcode.EMBED:
        size = i["k_blocks"] * 128
        return [
            stretch
            for row in machine.rows
            if row.active
            for stretch in (
                (i["address"] + row.token * i["row_stride"], size, RING_A),
                (i["address_b"] + row.position * i["row_stride"], size, RING_B),
            )
        ]
    if i["opcode"] == Opcode.NORM:
        size = i["k_blocks"] * 128
        return [(i["address"], size, RING_A), (i["address_b"], size, RING_B)]
    if i["opcode"] == Opcode.MATMUL:
        bias = [(i["address_b"], i["output_blocks"] * 128, RING_A)] if i["has_bias"] else []
        beats = i["groups"] * i["k_blocks"] * (32 + (2 if i["mxfp4"] else 1))
        return [*bias, (i["address"], beats * bus, ARRAY)]
    if i["opcode"] != Opcode.ATTEND:
        return []
    keys, values = [], []
    for slot, tokens in machine.passes():
        for head in range(i["heads"]):
            base = machine.kv_base + slot * machine.kv_stride + i["layer_offset"]
            base += head // i["heads_per_kv"] * i["head_stride"]
            groups = round_up(tokens, 32 * ports)
            keys.append([(base, groups * (1 + 33 * i["head_blocks"]) * bus, ARRAY)])
            values.append(
                [
                    (
                        base + i["value_offset"] + group * i["value_stride"],
                        round_up(tokens, 32) * 32 * bus,
                        ARRAY,
                    )
                    for group in range(round_up(i["head_blocks"], ports))
                ]
            )
    order = [keys[0]]
    for job in range(1, len(keys)):
        order += [keys[job], values[job - 1]]
    return sum([*order, values[-1]], [])


def writes_cache(data: bytes, machine: Machine) -> bool:
    """Whether the instruction is a KEY or VALUE MATMUL that runs."""
    i = decode(data)
    skipped = i["sampling_only"] and not any(row.active and row.sample for row in machine.rows)
    return i["opcode"] == Opcode.MATMUL and i["epilogue"] in (Epilogue.KEY, Epilogue.VALUE) and not skipped


class Expected:
    """Everything that must come out for a list of instructions."""

    def __init__(self, instructions: list[bytes], machine: Machine) -> None:
        chip = machine.chip
        bus, word = chip.bus_bytes, 4 * chip.lanes
        self.addresses: list[int] = []
        self.beats: list[int] = []
        self.parameters: list[tuple[int, int]] = []
        for instruction in instructions:
            for address, size, tag in expand(instruction, machine):
                steps = range(address, address + size, bus)
                self.addresses += steps
                data = [content(step, bus) for step in steps]
                if tag == ARRAY:
                    self.beats += data
                else:
                    whole = sum(beat << 8 * bus * index for index, beat in enumerate(data))
                    mask = (1 << 8 * word) - 1
                    self.parameters += [(tag, whole >> 8 * at & mask) for at in range(0, size, word)]
