"""The AXI4-Lite register map: the one place where registers, bits and error codes are declared.

All registers are 32 bits. ro: read only; rw: read and write; w1: writing a one acts, reads give zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True)
class Register:
    offset: int
    access: str
    doc: str


ID_VALUE = 0x475A4F4D  # "MOZG"
VERSION_VALUE = 0x0001_0000

REGISTERS = {
    "id": Register(0x000, "ro", "reads 'MOZG'"),
    "version": Register(0x004, "ro", "major in the high half, minor in the low half"),
    "cap_rows": Register(0x008, "ro", "rows of the array"),
    "cap_ports": Register(0x00C, "ro", "bus width / 256 bits"),
    "cap_lanes": Register(0x010, "ro", "lanes of the vector unit"),
    "cap_context": Register(0x014, "ro", "longest sequence"),
    "cap_vector_blocks": Register(0x018, "ro", "vector RAM of a row, in blocks of 32 FP32"),
    "cap_operand_blocks": Register(0x01C, "ro", "operand RAM of a row, in MX blocks"),
    "cap_ring_words": Register(0x020, "ro", "FP32 words in each parameter ring"),
    "cap_head_blocks": Register(0x024, "ro", "longest head in blocks of 32 channels"),
    "cap_slots": Register(0x028, "ro", "KV cache slots"),
    "cap_fifo_beats": Register(0x02C, "ro", "beats of the prefetch FIFO"),
    "control": Register(0x040, "w1", "bit 0 start, bit 1 reset of the machine (waits for the bus)"),
    "status": Register(0x044, "ro", "bit 0 busy, bit 1 done, bit 2 error"),
    "irq_enable": Register(0x048, "rw", "bit 0: interrupt when a run ends (done or error)"),
    "irq_status": Register(0x04C, "rw", "bit 0: a run ended; writing a one clears it"),
    "error": Register(0x050, "ro", "ErrorCode of the run"),
    "error_address_low": Register(0x054, "ro", "address of the burst that failed"),
    "error_address_high": Register(0x058, "ro", ""),
    "error_instruction": Register(0x05C, "ro", "index of the instruction in dispatch when it failed"),
    "steps": Register(0x060, "rw", "steps to run from one start"),
    "steps_done": Register(0x064, "ro", "steps completed"),
    "watchdog": Register(0x068, "rw", "cycles without a retired instruction that stop the machine; 0: off"),
    "slots_used": Register(0x06C, "rw", "KV slots that exist in memory"),
    "program_low": Register(0x080, "rw", "program: base, 64-byte aligned"),
    "program_high": Register(0x084, "rw", ""),
    "program_size": Register(0x088, "rw", "bytes"),
    "weights_low": Register(0x08C, "rw", "weights, embeddings, tables: base"),
    "weights_high": Register(0x090, "rw", ""),
    "weights_size_low": Register(0x094, "rw", "bytes"),
    "weights_size_high": Register(0x098, "rw", ""),
    "kv_low": Register(0x09C, "rw", "KV cache: base of slot 0, 4096-byte aligned"),
    "kv_high": Register(0x0A0, "rw", ""),
    "kv_stride_low": Register(0x0A4, "rw", "bytes of a slot"),
    "kv_stride_high": Register(0x0A8, "rw", ""),
    "output_low": Register(0x0AC, "rw", "results: base, 4096-byte aligned; see rtl/README.md"),
    "output_high": Register(0x0B0, "rw", ""),
    "output_size": Register(0x0B4, "rw", "bytes"),
    "logits_offset": Register(0x0B8, "rw", "bytes from output base to the logits of row 0"),
    "logits_stride": Register(0x0BC, "rw", "bytes from the logits of one row to those of the next"),
    "context_limit": Register(0x0C0, "rw", "positions that a sequence may use (model and chip)"),
}

# Counters: 64 bits each, low word first; cleared by start.
COUNTERS_BASE = 0x100
CAUSES = (
    "array_beats",  # the array consumes a beat
    "wait_memory",  # a beat, or parameters of the vector unit, have not arrived
    "wait_embedding",  # the vector unit embeds
    "wait_normalisation",  # it normalises: mean to the quantised blocks
    "wait_quantisation",  # it quantises: projections without activation, attention's values
    "wait_activation",  # it applies the activation function and quantises
    "wait_residual",  # it adds to the residual
    "wait_softmax",  # scores, softmax weights or their sums are not there
    "wait_kv_write",  # it drains K or V, or their writes are not answered
    "wait_sampling",  # it samples, or logits are being written
    "fill_drain",  # beats are on their way to the bank, operands on theirs to the rows, jobs change
    "fetch",  # the next instruction is not there
    "idle",  # outside the program: row table, results, start and end of a step
)
"""What each cycle of a run was spent on: exclusive, and together `cycles`. rtl/control/README.md has the rules."""
COUNTERS = (
    "cycles",  # clock cycles while busy
    *CAUSES,
    "read_beats",  # beats read from memory
    "write_beats",  # beats written to memory
    "instructions",  # instructions dispatched
    "vector_beats",  # beats issued into the vector pipeline
)
CAUSE_CODE = {name: COUNTERS.index(name) for name in CAUSES}
CAUSE_BITS = 4
assert max(CAUSE_CODE.values()) < 1 << CAUSE_BITS

# Row table: one entry of 16 words a row.
ROWS_BASE = 0x400
ROW_STRIDE = 0x40
ROW_FIELDS = {
    "control": Register(0x00, "rw", "RowFlag bits; cleared of ACTIVE by the chip when the row retires"),
    "slot": Register(0x04, "rw", "KV slot"),
    "position": Register(0x08, "rw", "position of the token; advances after each sampled token"),
    "token": Register(0x0C, "rw", "token id; replaced by each sampled token"),
    "seed": Register(0x10, "rw", "seed of the sampling noise"),
    "inverse_temperature": Register(0x14, "rw", "FP32 log2(e) / temperature; used unless GREEDY"),
    "stop_a": Register(0x18, "rw", "stop id, or 0xFFFFFFFF"),
    "stop_b": Register(0x1C, "rw", "stop id, or 0xFFFFFFFF"),
    "fault": Register(0x20, "ro", "RowFault bits, cleared by start"),
}


class RowFlag(IntEnum):
    """Bit numbers in a row's control word."""

    ACTIVE = 0
    SAMPLE = 1  # sample a token from this row
    GREEDY = 2  # argmax of the logits; otherwise Gumbel noise and temperature
    LOGITS = 3  # write the logits of this row to memory
    STOPPED = 4  # set by the chip: a stop id was sampled
    FULL = 5  # set by the chip: the next position is past context_limit


class RowFault(IntEnum):
    """Bit numbers in a row's fault word."""

    NUMERIC = 0  # infinity or NaN in a result of this row
    SLOT = 1  # slot or position outside the configured memory


class Status(IntEnum):
    """Bit numbers in the status register."""

    BUSY = 0
    DONE = 1
    ERROR = 2


class ErrorCode(IntEnum):
    NONE = 0
    READ_RESPONSE = 1  # the bus answered a read with an error
    WRITE_RESPONSE = 2  # the bus answered a write with an error
    OPCODE = 3  # unknown instruction
    WINDOW = 4  # a burst outside its window
    WATCHDOG = 5  # no instruction retired in time
    PROGRAM_END = 6  # the program ran past its window without END
    NO_ROWS = 7  # start with no active row


def all_registers(rows: int) -> dict[str, Register]:
    """Name -> register for a chip with `rows` rows: plain registers, counters, row table."""
    table = dict(REGISTERS)
    for i, name in enumerate(COUNTERS):
        table[f"count_{name}_low"] = Register(COUNTERS_BASE + 8 * i, "ro", "")
        table[f"count_{name}_high"] = Register(COUNTERS_BASE + 8 * i + 4, "ro", "")
    for row in range(rows):
        for name, field in ROW_FIELDS.items():
            table[f"row{row}_{name}"] = Register(ROWS_BASE + ROW_STRIDE * row + field.offset, field.access, field.doc)
    return table
