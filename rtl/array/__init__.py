"""The dot-product array: see README.md. Stage numbers (`_1`, `_8`) count cycles after a beat was taken.

A beat is taken in stage 0. The timeline that every block of this folder keeps to:

0   the beat sequencer takes the beat
1   beat and decoded weights registered; element of the scale registers selected; operands switch at the end (first beat
    of a block)
2   weights at the rows; multiply
3   products, in the ASIC leaf sums of four; they are added
4   sums; they are joined; exponents are added
5   block sums and exponents enter fp32_from_int
6   accumulators are read, in two cycles
8   fp32_add begins
13  the sum is written; the bank becomes full if it was the group's last
"""

from rtl.arith import FP32_ADD_LATENCY, FP32_FROM_INT_LATENCY

SUM_BITS = 21  # 32 products of two bytes: 32 * 128 * 128 = 2^19, with its sign
EXPONENT_BITS = 11  # fp32_from_int; 0 + 0 - 266 to 255 + 255 - 261 would fit in 10
STAGE_SUM = 5  # block sums are registered
STAGE_ADD = STAGE_SUM + FP32_FROM_INT_LATENCY
STAGE_WRITE = STAGE_ADD + FP32_ADD_LATENCY
AFTER_WEIGHTS = STAGE_WRITE  # cycles after the last weights or drain in which something may still change in a row
PACKED_SHIFT = 13  # packed weights: odd * 2^13 + even


def weight_bits(packed: bool) -> int:
    """Bits of a decoded weight: one 18-bit factor, or two of 5 bits."""
    return 18 if packed else 10
