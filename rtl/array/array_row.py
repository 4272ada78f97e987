"""One row of the array: a token's operands, its dot products, its accumulators."""

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.array import AFTER_WEIGHTS, SUM_BITS, weight_bits
from rtl.array.array_column import array_column
from rtl.array.dot_packed import dot_packed
from rtl.array.dot_split import dot_split
from rtl.common.clock_gate import clock_gate
from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def array_row(
    clk,
    rst,
    load_enable,
    load_data,
    load_scale,
    switch_1,
    valid_2,
    mxfp4_2,
    weights_2,
    weight_scales_4,
    unknown_weights_4,
    element_6,
    fresh_7,
    element_13,
    drain_enable,
    drain_word,
    drain_data,
    config: ChipConfig,
):
    """Multiply one operand block with every weight beat, accumulate the sums of 2 P columns.

    The next block is loaded into a shadow register, lowest word first, and taken over by switch_1. Columns 2p and
    2p+1 belong to port p; without mxfp4 only the even ones work.

    Ports: clk, rst; load_enable, load_data (V bytes), load_scale: the next word of the next block; switch_1: operands
    of the next cycle are those loaded; valid_2: weights_2 (P x 32 from weight_lane) are for this row; mxfp4_2;
    weight_scales_4: a byte a column, unknown_weights_4: a bit, it is 255; element_6, fresh_7, element_13: see
    array_column; drain_enable (a bit a column), drain_word ({bank, word}), drain_data (2 P x V x 32): a cycle later,
    held.
    """
    ports, columns, word_bits = config.ports, config.columns, 8 * config.lanes
    lane_bits = 32 * weight_bits(config.packed_multiplier)

    row_clk, wake = Signal(bool(0)), Signal(bool(0))
    gate = clock_gate(clk, rst, wake, row_clk, tail=AFTER_WEIGHTS)

    @always_comb
    def wake_up():
        wake.next = load_enable | switch_1 | valid_2 | (drain_enable != 0)

    shadow, operand = [Signal(intbv(0)[256:]) for _ in range(2)]
    shadow_scale, scale_2, scale_3, scale_4 = [Signal(intbv(0)[8:]) for _ in range(4)]
    valid_3, valid_4, odd_valid_4, mxfp4_3, mxfp4_4, unknown_operand_4 = [Signal(bool(0)) for _ in range(6)]
    totals = [Signal(intbv(0, min=-(2 ** (SUM_BITS - 1)), max=2 ** (SUM_BITS - 1))) for _ in range(columns)]
    drained = [Signal(intbv(0)[32 * config.lanes :]) for _ in range(columns)]

    if config.lanes == 32:

        @always(row_clk.posedge)
        def load():
            if load_enable:
                shadow.next = load_data
                shadow_scale.next = load_scale

    else:

        @always(row_clk.posedge)
        def load():
            if load_enable:
                shadow.next = concat(load_data, shadow[256:word_bits])
                shadow_scale.next = load_scale

    @always(row_clk.posedge)
    def switch_operand():
        if switch_1:
            operand.next = shadow
            scale_2.next = shadow_scale

    @always(row_clk.posedge)
    def track():
        if rst:
            valid_3.next = 0
            valid_4.next = 0
            odd_valid_4.next = 0
        else:
            valid_3.next = valid_2
            valid_4.next = valid_3
            odd_valid_4.next = valid_3 & mxfp4_3

    @always(row_clk.posedge)
    def follow():
        # Two cycles behind the operand, which may switch meanwhile.
        scale_3.next = scale_2
        scale_4.next = scale_3
        unknown_operand_4.next = scale_3 == 255
        mxfp4_3.next = mxfp4_2 & valid_2  # of this row, so that rows do not share a register far away
        mxfp4_4.next = mxfp4_3

    weights = [weights_2(lane_bits * (port + 1), lane_bits * port) for port in range(ports)]
    if config.packed_multiplier:
        leaves = [
            dot_packed(
                row_clk,
                valid_2,
                valid_3,
                valid_4,
                mxfp4_3,
                mxfp4_4,
                operand,
                weights[port],
                totals[2 * port],
                totals[2 * port + 1],
            )
            for port in range(ports)
        ]
    else:
        leaves = [
            dot_split(
                row_clk,
                valid_2,
                valid_3,
                valid_4,
                mxfp4_4,
                operand,
                weights[port],
                totals[2 * port],
                totals[2 * port + 1],
            )
            for port in range(ports)
        ]

    sums = [
        array_column(
            row_clk,
            rst,
            odd_valid_4 if column % 2 else valid_4,
            mxfp4_4,
            scale_4,
            weight_scales_4(8 * column + 8, 8 * column),
            unknown_operand_4,
            unknown_weights_4(column),
            totals[column],
            element_6,
            fresh_7,
            element_13,
            drain_enable(column),
            drain_word,
            drained[column],
            config=config,
        )
        for column in range(columns)
    ]
    gathered = ConcatSignal(*reversed(drained))

    @always_comb
    def gather():
        drain_data.next = gathered

    return instances()
