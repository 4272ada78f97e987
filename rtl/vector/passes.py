"""The passes of the vector unit: the 'Lane' table of rtl/README.md as control words, one declaration."""

from __future__ import annotations

from enum import IntEnum

from rtl.common.config import ChipConfig, bits_for
from rtl.common.registers import CAUSE_CODE
from rtl.vector.control_word import (
    Add1,
    Add2,
    Add3,
    Destination,
    Function,
    Mask,
    Mul1,
    Mul2,
    Reduce,
    Scalar,
    Source,
    control_fields,
)


class Kind(IntEnum):
    """A pass. The order within NORM, and within SAMPLE, is the order of execution."""

    EMBED = 0
    MEAN = 1
    VARIANCE = 2
    SPREAD = 3
    DEVIATION = 4
    NORMALISE = 5
    QUANTIZE = 6
    ACTIVATE = 7  # QUANTIZE with the activation table
    RESIDUAL = 8
    KEY = 9
    VALUE = 10
    VALUE_QUANTISE = 11
    SCORE = 12
    WEIGHTED = 13  # 'value' in the table: drain of a V job
    NOISE_1 = 14
    NOISE_2 = 15
    LOGIT = 16
    LOGITS_OUT = 17
    SOFTMAX = 18
    INVERSE = 19


KIND_BITS = 5
POLYNOMIAL = dict(mul1=Mul1.TABLE, add2=Add2.TABLE, mul2=Mul2.TABLE, add3=Add3.TABLE)
LOGARITHM = dict(function=Function.LOG2, mul1=Mul1.TABLE, add2=Add2.TABLE, add3=Add3.EXPONENT)
BUFFERED = (Scalar.SUM_S0, Scalar.MAX_0, Scalar.INVERSE_0)  # the odd scalar after it serves buffer 1

# Selectors of each pass. A reducing pass names its result in scalar_out. Passes that end in a scalar are not checked:
# their other lanes hold functions of zero, and a bad scalar shows in the pass that uses it.
PASSES: dict[Kind, dict[str, int]] = {
    Kind.EMBED: dict(
        source=Source.RING_A, add1=Add1.RING_B, destination=Destination.VECTOR, reduce=Reduce.SUM, check=1
    ),
    Kind.MEAN: dict(
        source=Source.SCALAR,
        scalar_in=Scalar.SUM,
        mul1=Mul1.CONSTANT_A,
        destination=Destination.SCALAR,
        scalar_out=Scalar.MEAN,
    ),
    Kind.VARIANCE: dict(
        source=Source.VECTOR,
        add1=Add1.SCALAR,
        scalar_operand=Scalar.MEAN,
        mul1=Mul1.SQUARE,
        reduce=Reduce.SUM,
        mask=Mask.COUNT,
    ),
    Kind.SPREAD: dict(
        source=Source.SCALAR,
        scalar_in=Scalar.SUM,
        mul1=Mul1.CONSTANT_A,
        add2=Add2.CONSTANT_B,
        destination=Destination.SCALAR,
        scalar_out=Scalar.SPREAD,
    ),
    Kind.DEVIATION: dict(
        source=Source.SCALAR,
        scalar_in=Scalar.SPREAD,
        function=Function.RSQRT,
        **POLYNOMIAL,
        destination=Destination.SCALAR,
        scalar_out=Scalar.RSTD,
    ),
    Kind.NORMALISE: dict(
        source=Source.VECTOR,
        add1=Add1.SCALAR,
        scalar_operand=Scalar.MEAN,
        mul1=Mul1.SCALAR,
        scalar_factor=Scalar.RSTD,
        mul2=Mul2.RING_A,
        add3=Add3.RING_B,
        destination=Destination.OPERAND,
        check=1,
    ),
    Kind.QUANTIZE: dict(source=Source.ACCUMULATOR, destination=Destination.OPERAND, check=1),
    Kind.ACTIVATE: dict(
        source=Source.ACCUMULATOR,
        function=Function.ACTIVATION,
        **POLYNOMIAL,
        destination=Destination.OPERAND,
        check=1,
    ),
    Kind.RESIDUAL: dict(
        source=Source.ACCUMULATOR,
        add3=Add3.VECTOR,
        destination=Destination.VECTOR,
        reduce=Reduce.SUM,
        check=1,
    ),
    Kind.KEY: dict(source=Source.ACCUMULATOR, destination=Destination.KEY, check=1),
    Kind.VALUE: dict(source=Source.ACCUMULATOR, destination=Destination.VECTOR, check=1),
    Kind.VALUE_QUANTISE: dict(source=Source.VECTOR, destination=Destination.VALUE, check=1),
    Kind.SCORE: dict(
        source=Source.ACCUMULATOR,
        mul1=Mul1.CONSTANT_A,
        destination=Destination.SCORE,
        mask=Mask.POSITION,
        reduce=Reduce.MAX,
        scalar_out=Scalar.MAX_0,
        check=1,
    ),
    Kind.WEIGHTED: dict(
        source=Source.ACCUMULATOR,
        mul1=Mul1.SCALAR,
        scalar_factor=Scalar.INVERSE_0,
        destination=Destination.OPERAND,
        check=1,
    ),
    Kind.NOISE_1: dict(source=Source.HASH, **LOGARITHM, negate=1, destination=Destination.SCORE),
    Kind.NOISE_2: dict(source=Source.SCORE, **LOGARITHM, negate=1, destination=Destination.SCORE),
    Kind.LOGIT: dict(
        source=Source.ACCUMULATOR,
        mul1=Mul1.TEMPERATURE,
        add3=Add3.NOISE,
        mask=Mask.COUNT,
        destination=Destination.SAMPLER,
        check=1,
    ),
    Kind.LOGITS_OUT: dict(source=Source.ACCUMULATOR, destination=Destination.LOGITS),
    Kind.SOFTMAX: dict(
        source=Source.SCORE,
        add1=Add1.SCALAR,
        scalar_operand=Scalar.MAX_0,
        function=Function.EXP2,
        **POLYNOMIAL,
        value_scale=1,
        mask=Mask.POSITION,
        reduce=Reduce.SUM,
        scalar_out=Scalar.SUM_S0,
        destination=Destination.OPERAND,
        check=1,
    ),
    Kind.INVERSE: dict(
        source=Source.SCALAR,
        scalar_in=Scalar.SUM_S0,
        function=Function.RECIPROCAL,
        **POLYNOMIAL,
        destination=Destination.SCALAR,
        scalar_out=Scalar.INVERSE_0,
    ),
}


FRONT = ("source", "add1", "function", "mul1", "add2", "mul2", "add3", "value_scale", "negate", "mask")
BACK = ("reduce", "scalar_in", "scalar_operand", "scalar_factor", "scalar_out", "destination", "check")


def selector_rom(config: ChipConfig, names: tuple[str, ...]) -> tuple[int, ...]:
    """The named selectors, the first lowest, by buffer * 32 + kind; unused kinds are zero."""
    fields = control_fields(config)
    words = []
    for entry in range(2 << KIND_BITS):
        buffer, kind = entry >> KIND_BITS, entry % (1 << KIND_BITS)
        word, low = 0, 0
        for name in names:
            value = int(PASSES.get(kind, {}).get(name, 0))
            if name.startswith("scalar_") and value in BUFFERED:
                value += buffer
            word |= value << low
            low += fields[name][1]
        words.append(word)
    return tuple(words)


ONE_BEAT = (Kind.MEAN, Kind.SPREAD, Kind.DEVIATION, Kind.INVERSE)  # a beat a row, not a block
READS_BANK = (
    Kind.QUANTIZE,
    Kind.ACTIVATE,
    Kind.RESIDUAL,
    Kind.KEY,
    Kind.VALUE,
    Kind.SCORE,
    Kind.WEIGHTED,
    Kind.LOGIT,
    Kind.LOGITS_OUT,
)
WRITES_OPERAND = (Kind.NORMALISE, Kind.QUANTIZE, Kind.ACTIVATE, Kind.WEIGHTED, Kind.SOFTMAX)
READS_RINGS = (Kind.EMBED, Kind.NORMALISE)  # both; bias apart
WRITES_KV = (Kind.KEY, Kind.VALUE_QUANTISE)
TAKES_BIAS = (
    Kind.QUANTIZE,
    Kind.ACTIVATE,
    Kind.RESIDUAL,
    Kind.KEY,
    Kind.VALUE,
    Kind.LOGIT,
    Kind.LOGITS_OUT,
)
AFTER_LANDING = (  # its first round waits until every earlier beat of the thread has landed
    Kind.MEAN,
    Kind.VARIANCE,
    Kind.SPREAD,
    Kind.DEVIATION,
    Kind.NORMALISE,
    Kind.VALUE_QUANTISE,
    Kind.NOISE_2,
    Kind.LOGIT,
)
PHASES = {
    "wait_embedding": (Kind.EMBED,),
    "wait_normalisation": (Kind.MEAN, Kind.VARIANCE, Kind.SPREAD, Kind.DEVIATION, Kind.NORMALISE),
    "wait_quantisation": (Kind.QUANTIZE, Kind.WEIGHTED),
    "wait_activation": (Kind.ACTIVATE,),
    "wait_residual": (Kind.RESIDUAL,),
    "wait_softmax": (Kind.SCORE, Kind.SOFTMAX, Kind.INVERSE),
    "wait_kv_write": (Kind.KEY, Kind.VALUE, Kind.VALUE_QUANTISE),
    "wait_sampling": (Kind.NOISE_1, Kind.NOISE_2, Kind.LOGIT, Kind.LOGITS_OUT),
}
"""The counter of the cycles in which the array waits for a pass."""
PHASE_CODES = tuple(
    next((CAUSE_CODE[cause] for cause, kinds in PHASES.items() if kind in kinds), 0) for kind in range(1 << KIND_BITS)
)
PROPERTIES = tuple(
    sum(
        (kind in kinds) << bit
        for bit, kinds in enumerate(
            (ONE_BEAT, READS_BANK, WRITES_OPERAND, READS_RINGS, WRITES_KV, TAKES_BIAS, AFTER_LANDING)
        )
    )
    for kind in range(1 << KIND_BITS)
)
"""What a kind does, bit by bit, in the order of the sets above."""


def round_fields(config: ChipConfig) -> dict[str, tuple[int, int]]:
    """Field name -> (lowest bit, width) of a round, which a thread hands to its walker."""
    widths = {
        "kind": KIND_BITS,
        "bias": 1,
        "rows": config.rows,
        "bank": 1,
        "column": bits_for(config.columns),
        "buffer": 1,
        "source_block": 16,
        "index": 16,  # block within the pass: parameters, element index, first of a sum
        "block": 16,
        "head": 8,
        "turn_blocks": 8,  # blocks of a row's turn, less one; not zero for VALUE_QUANTISE only
        "one_beat": 1,
        "fill": 1,  # the last row fills the operand block
        "release": 1,  # the last beat is the last read of the bank
        "mark": 1,  # the last beat ends the scores of a job
    }
    fields, low = {}, 0
    for name, width in widths.items():
        fields[name] = (low, width)
        low += width
    return fields


def round_bits(config: ChipConfig) -> int:
    """Width of a round."""
    return sum(width for _, width in round_fields(config).values())
