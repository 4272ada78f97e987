"""The instruction set: the one place where opcodes, fields and function tables are declared.

An instruction is 16 little-endian 32-bit words (64 bytes). A field is (word, low bit, width). rtl/README.md
says what each instruction does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

INSTRUCTION_WORDS = 16
INSTRUCTION_BYTES = 64
INSTRUCTION_BITS = 512


class Opcode(IntEnum):
    END = 1  # the step is over: sample results are final, rows advance, next step or stop
    TABLE = 2  # load the function tables
    EMBED = 3  # residual = token embedding + position embedding
    NORM = 4  # layer normalisation of the residual into operand blocks
    MATMUL = 5  # weights x operand blocks, with an epilogue
    ATTEND = 6  # scores, softmax and values of every head and sequence


class Epilogue(IntEnum):
    QUANTIZE = 0  # (+ bias, activation) -> operand blocks
    RESIDUAL = 1  # + bias + residual -> residual, and its sum for the next NORM
    KEY = 2  # + bias -> K cache
    VALUE = 3  # + bias -> scratch; when complete, one scale a head -> V cache
    SAMPLE = 4  # -> sampler (and logits to memory)


@dataclass(frozen=True)
class Field:
    word: int
    low: int
    width: int

    @property
    def bit(self) -> int:
        """Lowest bit within the 512-bit instruction."""
        return 32 * self.word + self.low


FIELDS = {
    "opcode": Field(0, 0, 8),
    "mxfp4": Field(0, 8, 1),  # format of the weights: 0 MXINT8, 1 MXFP4
    "has_bias": Field(0, 9, 1),
    "consume": Field(0, 10, 1),  # last reader of its source operand blocks: empties them
    "sampling_only": Field(0, 11, 1),  # skipped by every engine when no active row samples
    "activate": Field(0, 12, 1),  # QUANTIZE: apply the activation table
    "epilogue": Field(0, 13, 3),
    "first_exponent": Field(0, 16, 8),  # activation table: biased exponent of its first octave
    "address": Field(1, 0, 40),  # weights, gamma, token embedding, tables (bus aligned)
    "address_b": Field(3, 0, 40),  # bias, beta, position embedding (bus aligned)
    "k_blocks": Field(5, 0, 16),  # blocks along the contraction, or along the width
    "groups": Field(5, 16, 16),  # groups of outputs
    "source": Field(6, 0, 16),  # operand block (MATMUL, ATTEND: q), vector block (NORM)
    "destination": Field(6, 16, 16),  # operand block or vector block
    "output_blocks": Field(7, 0, 16),  # blocks of 32 outputs that exist
    "head_blocks": Field(7, 16, 8),  # blocks of 32 channels in a head
    "heads": Field(7, 24, 8),  # heads of this instruction (query heads for ATTEND)
    "count": Field(8, 0, 32),  # true width (NORM, EMBED), true outputs (SAMPLE: vocabulary)
    "constant_a": Field(9, 0, 32),  # FP32: 1/width (NORM); log2(e) * attention scale (ATTEND)
    "constant_b": Field(10, 0, 32),  # FP32: epsilon (NORM)
    "weight_block": Field(10, 0, 16),  # ATTEND: first of the two regions of softmax weights (operand blocks)
    "layer_offset": Field(11, 0, 32),  # bytes from the slot's base to this layer's KV cache
    "row_stride": Field(11, 0, 32),  # EMBED: bytes of one embedding row (bus multiple)
    "head_stride": Field(12, 0, 32),  # bytes from one KV head to the next
    "value_offset": Field(13, 0, 32),  # bytes from a head's K region to its V region
    "value_stride": Field(14, 0, 32),  # bytes from one group of V channels to the next
    "heads_per_kv": Field(15, 0, 8),  # query heads that share one KV head (ATTEND); 1 in GPT-2
}

# Function tables: entries of three FP32 coefficients (c2, c1, c0). See rtl/README.md, "Functions".
TABLE_ENTRIES = 1024
EXP2_BASE, EXP2_BITS = 0, 6
RECIPROCAL_BASE, RECIPROCAL_BITS = 64, 6
RSQRT_BASE, RSQRT_BITS = 128, 6  # 64 segments for each parity of the exponent
LOG2_BASE, LOG2_BITS = 256, 7  # linear: slope in c2, intercept in c1
ACTIVATION_BASE, ACTIVATION_BITS = 384, 5  # 10 codes x 2 signs x 32 segments
ACTIVATION_CODES = 10  # 0: below the first octave, 1..8: octaves, 9: above


def encode(opcode: Opcode, **fields: int) -> bytes:
    """One instruction as 64 bytes; a field that does not fit, or has no name, is an error."""
    word = int(opcode)
    for name, value in fields.items():
        field = FIELDS.get(name)
        if field is None:
            raise ValueError(f"instruction field {name!r} is unknown: expected one of {', '.join(FIELDS)}")
        if not 0 <= value < 1 << field.width:
            raise ValueError(f"instruction field {name} is {value}: expected 0 to {(1 << field.width) - 1}")
        word |= int(value) << field.bit
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(data: bytes) -> dict[str, int]:
    """All fields of one instruction; an unknown opcode is an error."""
    word = int.from_bytes(data, "little")
    fields = {name: word >> f.bit & (1 << f.width) - 1 for name, f in FIELDS.items()}
    if fields["opcode"] not in list(Opcode):
        raise ValueError(f"opcode {fields['opcode']} is unknown: expected {Opcode.END} to {Opcode.ATTEND}")
    return fields
