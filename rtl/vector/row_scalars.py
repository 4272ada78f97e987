"""Registers of FP32 scalars, one of each kind a row."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module


@module
def row_scalars(
    clk,
    write,
    write_scalar,
    write_row,
    write_data,
    sum_write,
    sum_write_address,
    sum_write_data,
    sum_read_address,
    sum_read_data,
    maximum_address,
    maximum_data,
    source_read,
    source_scalar,
    operand_scalar,
    source_row,
    source_data,
    operand_data,
    factor_read,
    factor_scalar,
    factor_row,
    factor_data,
    config: ChipConfig,
):
    """Three banks, each with one writer: results (MEAN, SPREAD, RSTD, INVERSE: destination SCALAR), sums, and the
    maxima, which live in the sampler and are read here.

    Bank addresses come from bits of the Scalar number: sums {bit 2, bit 0}, maxima bit 0, results {bits 3, 1, 0}.
    Reads give their word one cycle later: source_data and operand_data (ADD1; the only reader of maxima) of
    source_row, factor_data (MUL1). sum_read_data: same cycle. write_scalar and factor_scalar come as {bits
    3, 1, 0}, 3 bits. There is no forwarding: the issue logic waits for busy_d or busy_s.
    """
    rows_bits = bits_for(config.rows)
    sums = [Signal(intbv(0)[32:]) for _ in range(4 << rows_bits)]
    results = [Signal(intbv(0)[32:]) for _ in range(8 << rows_bits)]
    write_address = Signal(intbv(0)[rows_bits + 3 :])
    source_sum = Signal(intbv(0)[rows_bits + 2 :])
    source_result, operand_result, factor_result = [Signal(intbv(0)[rows_bits + 3 :]) for _ in range(3)]

    @always_comb
    def place():
        write_address.next = concat(write_scalar, write_row)
        source_sum.next = concat(source_scalar[2], source_scalar[0], source_row)
        source_result.next = concat(source_scalar[3], source_scalar[2:], source_row)
        operand_result.next = concat(operand_scalar[3], operand_scalar[2:], source_row)
        factor_result.next = concat(factor_scalar, factor_row)
        maximum_address.next = concat(operand_scalar[0], source_row)

    @always(clk.posedge)
    def keep_result():
        if write:
            results[write_address].next = write_data

    @always(clk.posedge)
    def keep_sum():
        if sum_write:
            sums[sum_write_address].next = sum_write_data

    @always_comb
    def read_sum():
        sum_read_data.next = sums[sum_read_address]

    @always(clk.posedge)
    def read_source():
        if source_read:
            # SUM, SUM_S0, SUM_S1: numbers 0, 4, 5; all others of the results.
            if (source_scalar == 0) | (source_scalar[4:1] == 2):
                source_data.next = sums[source_sum]
            else:
                source_data.next = results[source_result]

    @always(clk.posedge)
    def read_operand():
        if source_read:
            if operand_scalar[4:1] == 3:
                operand_data.next = maximum_data
            else:
                operand_data.next = results[operand_result]

    @always(clk.posedge)
    def read_factor():
        if factor_read:
            factor_data.next = results[factor_result]

    return instances()
