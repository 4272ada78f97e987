"""One column of a row: from block sums to accumulated FP32 sums."""

from myhdl import Signal, always, instances, intbv

from rtl.arith.fp32_add import fp32_add
from rtl.arith.fp32_from_int import fp32_from_int
from rtl.array import EXPONENT_BITS
from rtl.array.accumulator_ram import accumulator_ram
from rtl.common.config import ChipConfig
from rtl.convert import module

# value = sum * 2^(operand scale + weight scale - offset): 127 twice, and the fraction bits of both formats.
MXINT8_OFFSET = 254 + 12
MXFP4_OFFSET = 254 + 7


@module
def array_column(
    clk,
    rst,
    valid_4,
    mxfp4_4,
    operand_scale_4,
    weight_scale_4,
    unknown_operand_4,
    unknown_weight_4,
    total_5,
    element_6,
    fresh_7,
    element_13,
    drain_enable,
    drain_word,
    drain_data,
    config: ChipConfig,
):
    """Scale a block sum, turn it into FP32, add it to the accumulator of its output.

    Suffixes are stages (see rtl/array/__init__.py). A scale of 255 on either side gives NaN.

    Ports: clk, rst; valid_4: a sum comes in the next cycle; mxfp4_4; operand_scale_4, weight_scale_4: E8M0 bytes,
    unknown_*_4: they are 255; total_5: signed block sum; element_6: {bank, output} to read; fresh_7: add to +0 instead
    of what was read; element_13: the one to write; drain_enable, drain_word ({bank, word}), drain_data: see
    accumulator_ram.
    """
    valid_5, valid_6, valid_8, valid_13 = [Signal(bool(0)) for _ in range(4)]
    exponent_5 = Signal(intbv(0, min=-(2 ** (EXPONENT_BITS - 1)), max=2 ** (EXPONENT_BITS - 1)))
    nan_5 = Signal(bool(0))
    value_8, accumulated_8, sum_13 = [Signal(intbv(0)[32:]) for _ in range(3)]

    @always(clk.posedge)
    def track():
        if rst:
            valid_5.next = 0
            valid_6.next = 0
        else:
            valid_5.next = valid_4
            valid_6.next = valid_5

    @always(clk.posedge)
    def scale():
        exponent = intbv(0)[11:]
        weight_scale = intbv(0)[11:]
        # Without an enable: a row is wide.
        exponent[8:] = operand_scale_4
        weight_scale[8:] = weight_scale_4
        exponent[:] = exponent + weight_scale
        if mxfp4_4:
            exponent_5.next = exponent.signed() - MXFP4_OFFSET
        else:
            exponent_5.next = exponent.signed() - MXINT8_OFFSET
        nan_5.next = unknown_operand_4 | unknown_weight_4

    convert = fp32_from_int(clk, rst, valid_5, total_5, exponent_5, nan_5, valid_8, value_8)

    add = fp32_add(clk, rst, valid_8, accumulated_8, value_8, valid_13, sum_13)
    accumulators = accumulator_ram(
        clk,
        valid_13,
        element_13,
        sum_13,
        valid_6,
        element_6,
        fresh_7,
        accumulated_8,
        drain_enable,
        drain_word,
        drain_data,
        lanes=config.lanes,
        block_ram=config.packed_multiplier,
    )
    return instances()
