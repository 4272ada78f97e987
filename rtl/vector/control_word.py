"""What a beat of V elements carries through the lane pipeline: the one declaration of its fields.

The issue logic (threads D and S) makes one control word a beat; the lanes need nothing else. Values of the
selector fields are the enums below; 0 always means: pass unchanged.
"""

from __future__ import annotations

from enum import IntEnum

from rtl.common.config import ChipConfig, bits_for


class Source(IntEnum):
    ACCUMULATOR = 0  # accumulators: bank, column, row, word
    VECTOR = 1  # vector RAM: source_block, row, word
    SCORE = 2  # score RAM: buffer, source_block, row, word
    RING_A = 3  # ring A: source_block, word (relative to the instruction's base)
    SCALAR = 4  # row scalar `scalar_in` in lane 0, zeros elsewhere
    HASH = 5  # uniform noise of (row, token index); enters after ADD1, which must be NONE


class Add1(IntEnum):
    NONE = 0
    RING_A = 1  # + ring A, block `parameter_block` (bias)
    RING_B = 2  # + ring B, block `parameter_block` (position embedding)
    SCALAR = 3  # - row scalar `scalar_operand` (mean, maximum)


class Function(IntEnum):
    NONE = 0
    ACTIVATION = 1
    EXP2 = 2
    RECIPROCAL = 3
    RSQRT = 4
    LOG2 = 5


class Mul1(IntEnum):
    NONE = 0
    CONSTANT_A = 1
    SCALAR = 2  # row scalar `scalar_factor`
    SQUARE = 3
    TABLE = 4  # c2 * z
    TEMPERATURE = 5  # the row's inverse temperature; unchanged for a greedy row


class Add2(IntEnum):
    NONE = 0
    CONSTANT_B = 1
    TABLE = 2  # + c1


class Mul2(IntEnum):
    NONE = 0
    RING_A = 1  # * ring A, block `parameter_block` (gamma)
    TABLE = 2  # * z


class Add3(IntEnum):
    NONE = 0
    RING_B = 1  # + ring B, block `parameter_block` (beta)
    VECTOR = 2  # + vector RAM, block `block`, row, word (residual)
    TABLE = 3  # + c0
    EXPONENT = 4  # + float(E - 127) (LOG2)
    NOISE = 5  # + score RAM, buffer, block `source_block`, row, word; unchanged for a greedy row


class Mask(IntEnum):
    NONE = 0
    POSITION = 1  # element counts if index <= position of the row
    COUNT = 2  # element counts if index < count of the instruction


class Destination(IntEnum):
    NONE = 0
    VECTOR = 1  # vector RAM: block, row, word
    SCORE = 2  # score RAM: buffer, block, row, word
    OPERAND = 3  # quantise 32 -> operand block `block`
    KEY = 4  # quantise 32 -> KV writer: head, block (within the head)
    VALUE = 5  # quantise a head -> KV writer: head, block (within the head)
    SAMPLER = 6
    LOGITS = 7  # logits stream to memory: block
    SCALAR = 8  # row scalar `scalar_out`, from lane 0


class Reduce(IntEnum):
    NONE = 0
    SUM = 1  # row scalar SUM (thread D) or SUM_S (thread S), block by block
    MAX = 2  # row scalar MAX of `buffer`


class Scalar(IntEnum):
    """Row scalars: R registers of FP32 each."""

    SUM = 0  # running sum of thread D
    MEAN = 1
    SPREAD = 2
    RSTD = 3
    SUM_S0 = 4  # running sums of thread S, by buffer
    SUM_S1 = 5
    MAX_0 = 6
    MAX_1 = 7
    INVERSE_0 = 8
    INVERSE_1 = 9


SCALARS = 10


def control_fields(config: ChipConfig) -> dict[str, tuple[int, int]]:
    """Field name -> (lowest bit, width) for a chip."""
    widths = {
        "row": bits_for(config.rows),
        "word": bits_for(config.words),
        "bank": 1,
        "column": bits_for(config.columns),  # physical column of the array
        "buffer": 1,  # score buffer, V-scale buffer, softmax scalars
        "source": 3,
        "source_block": 16,
        "parameter_block": 16,
        "add1": 2,
        "function": 3,
        "mul1": 3,
        "add2": 2,
        "mul2": 2,
        "add3": 3,
        "value_scale": 1,  # x 2^(V scale of token index - 127), buffer `buffer`
        "negate": 1,
        "mask": 2,
        "index_block": 16,  # index of lane l = (index_block * words + word) * V + l
        "reduce": 2,
        "reduce_first": 1,  # this block is the first of its row: the running value starts here
        "scalar_in": 4,
        "scalar_operand": 4,  # of ADD1
        "scalar_factor": 4,  # of MUL1 (normalise subtracts MEAN and multiplies by RSTD in one pass)
        "scalar_out": 4,
        "destination": 4,
        "block": 16,
        "head": 8,
        "quantise_last": 1,  # last word of the quantised unit (block of 32, or head for VALUE)
        "fill": 1,  # OPERAND: with the last word, the block becomes full
        "thread": 1,  # 0: D, 1: S; only for busy_d and busy_s
        "check": 1,  # infinity or NaN in a counted element of the result is the row's numeric fault
    }
    fields, low = {}, 0
    for name, width in widths.items():
        fields[name] = (low, width)
        low += width
    return fields


def control_bits(config: ChipConfig) -> int:
    """Width of a control word."""
    return sum(width for _, width in control_fields(config).values())
