"""The dot-product array: R rows that multiply every weight beat."""

from myhdl import ConcatSignal, Signal, always, always_comb, always_seq, concat, instances, intbv

from rtl.array import weight_bits
from rtl.array.array_jobs import array_jobs
from rtl.array.array_row import array_row
from rtl.array.beat_sequencer import beat_sequencer
from rtl.array.descriptors import block_bits, queued_bits, request_bits
from rtl.array.drain_mux import drain_mux
from rtl.array.instruction_queue import instruction_queue
from rtl.array.operand_store import operand_store
from rtl.array.weight_path import weight_path
from rtl.common.config import ChipConfig, bits_for
from rtl.common.fifo import fifo
from rtl.common.stream import Stream
from rtl.convert import module

BLOCK_QUEUE = 4  # k blocks known ahead, so that the loader can run ahead of the beats


@module
def array(
    clk,
    rst,
    row_active,
    any_sample,
    step_start,
    pass_count,
    pass_mask,
    pass_tokens,
    instruction,
    instruction_valid,
    instruction_ready,
    idle,
    consuming,
    stall_memory,
    stall_operand,
    stall_bank,
    operand_loading,
    value_job,
    beat_data,
    beat_valid,
    beat_ready,
    operand_write,
    operand_block,
    operand_row,
    operand_word,
    operand_data,
    operand_scale,
    operand_fill,
    operand_full,
    value_scale_write,
    value_scale_buffer,
    value_scale_group,
    value_scale_data,
    bank_full,
    bank_release,
    drain_valid,
    drain_bank,
    drain_row,
    drain_column,
    drain_word,
    drain_data,
    config: ChipConfig,
):
    """Work through MATMUL and ATTEND: beats times operand blocks, summed in FP32 in accumulator banks.

    Ports as in rtl/README.md, "Interfaces between engines": clk, rst; rows of the step (row_active, any_sample,
    pass_*); step_start (pulse, while idle): operand blocks are empty; instruction stream, idle; four events, at most
    one of them 1 in each cycle, and what stall_operand waits for; beats; operands;
    V scales; accumulators.

    Not here: what happens to sums (rtl/vector), what beats are fetched (rtl/memory).
    """
    rows, ports, columns = config.rows, config.ports, config.columns
    width = 32 * config.lanes
    drain_index_bits = bits_for(rows * columns)

    queued = Stream(queued_bits(config))
    requests, requests_out = Stream(request_bits(config)), Stream(request_bits(config))
    blocks, blocks_out = Stream(block_bits(config)), Stream(block_bits(config))
    request_count, block_count = [Signal(intbv(0)[3:]) for _ in range(2)]
    waiting, working, both_ready, offered = [Signal(bool(0)) for _ in range(4)]
    mxfp4, weight_1, mxfp4_1, unit_1, mxfp4_2, fresh_7, operand_ready, busy, switching, switching_1 = [
        Signal(bool(0)) for _ in range(10)
    ]
    row_valid_1, switch_1, row_valid_2, load_enable = [Signal(intbv(0)[rows:]) for _ in range(4)]
    scale_write_1 = Signal(intbv(0)[2:])
    index_1 = Signal(intbv(0)[5:])
    element_6, element_13 = [Signal(intbv(0)[6:]) for _ in range(2)]
    beat_1 = Signal(intbv(0)[config.bus_bits :])
    weights_2 = Signal(intbv(0)[32 * ports * weight_bits(config.packed_multiplier) :])
    weight_scales_4, unknown_weights_4 = Signal(intbv(0)[8 * columns :]), Signal(intbv(0)[columns:])
    load_data = Signal(intbv(0)[8 * config.lanes :])
    load_scale = Signal(intbv(0)[8:])
    drain_valid_2 = Signal(bool(0))
    drain_select_1 = Signal(intbv(0)[rows * columns :])
    drain_index_1, drain_index_2 = [Signal(intbv(0)[drain_index_bits:]) for _ in range(2)]
    drain_word_1 = Signal(intbv(0)[config.words.bit_length() :])
    drained = [Signal(intbv(0)[columns * width :]) for _ in range(rows)]

    queue = instruction_queue(
        clk, rst, any_sample, instruction, instruction_valid, instruction_ready, queued, waiting, config=config
    )
    jobs = array_jobs(
        clk,
        rst,
        row_active,
        pass_count,
        pass_mask,
        pass_tokens,
        queued,
        offered,
        both_ready,
        requests.payload,
        blocks.payload,
        working,
        config=config,
    )

    @always_comb
    def hand_over():
        both_ready.next = requests.ready & blocks.ready
        requests.valid.next = offered & blocks.ready
        blocks.valid.next = offered & requests.ready
        idle.next = not (waiting | working | (block_count != 0) | (request_count != 0) | busy)

    request_queue = fifo(
        clk,
        rst,
        requests,
        requests_out,
        request_count,
        depth=BLOCK_QUEUE,
        width=request_bits(config),
        distributed=True,
    )
    block_queue = fifo(
        clk, rst, blocks, blocks_out, block_count, depth=BLOCK_QUEUE, width=block_bits(config), distributed=True
    )
    sequencer = beat_sequencer(
        clk,
        rst,
        blocks_out,
        beat_valid,
        beat_ready,
        operand_ready,
        switching,
        mxfp4,
        weight_1,
        row_valid_1,
        switch_1,
        switching_1,
        mxfp4_1,
        scale_write_1,
        unit_1,
        index_1,
        element_6,
        fresh_7,
        element_13,
        value_scale_write,
        value_scale_buffer,
        value_scale_group,
        bank_full,
        bank_release,
        busy,
        consuming,
        stall_memory,
        stall_operand,
        stall_bank,
        value_job,
        config=config,
    )
    path = weight_path(
        clk,
        beat_data,
        mxfp4,
        weight_1,
        mxfp4_1,
        scale_write_1,
        unit_1,
        index_1,
        beat_1,
        mxfp4_2,
        weights_2,
        weight_scales_4,
        unknown_weights_4,
        config=config,
    )
    store = operand_store(
        clk,
        rst,
        step_start,
        requests_out,
        operand_write,
        operand_block,
        operand_row,
        operand_word,
        operand_data,
        operand_scale,
        operand_fill,
        operand_full,
        switching,
        switching_1,
        load_enable,
        load_data,
        load_scale,
        operand_ready,
        operand_loading,
        config=config,
    )

    @always_comb
    def connect():
        value_scale_data.next = beat_1

    @always_seq(clk.posedge, reset=rst)
    def follow():
        row_valid_2.next = row_valid_1

    array_rows = [
        array_row(
            clk,
            rst,
            load_enable(row),
            load_data,
            load_scale,
            switch_1(row),
            row_valid_2(row),
            mxfp4_2,
            weights_2,
            weight_scales_4,
            unknown_weights_4,
            element_6,
            fresh_7,
            element_13,
            drain_select_1(columns * row + columns, columns * row),
            drain_word_1,
            drained[row],
            config=config,
        )
        for row in range(rows)
    ]

    @always_seq(clk.posedge, reset=rst)
    def select_drain():
        drain_select_1.next = 0
        if drain_valid:
            drain_select_1.next[concat(drain_row, drain_column)] = True
        drain_valid_2.next = drain_select_1 != 0

    if config.words > 1:

        @always(clk.posedge)
        def address_drain():
            if drain_valid:
                drain_word_1.next = concat(drain_bank, drain_word)
                drain_index_1.next = concat(drain_row, drain_column)
            drain_index_2.next = drain_index_1

    else:

        @always(clk.posedge)
        def address_drain():
            if drain_valid & (not drain_word[0]):
                drain_word_1.next = drain_bank
                drain_index_1.next = concat(drain_row, drain_column)
            drain_index_2.next = drain_index_1

    # One multiplexer a lane, over that lane's part of every column of every row.
    lane_words = [
        ConcatSignal(
            *(
                drained[row](low + 32, low)
                for row in reversed(range(rows))
                for column in reversed(range(columns))
                for low in [width * column + 32 * lane]
            )
        )
        for lane in range(config.lanes)
    ]
    lane_data = [Signal(intbv(0)[32:]) for _ in range(config.lanes)]
    lanes = [
        drain_mux(clk, drain_valid_2, drain_index_2, lane_words[lane], lane_data[lane], count=rows * columns, width=32)
        for lane in range(config.lanes)
    ]
    gathered = ConcatSignal(*reversed(lane_data))

    @always_comb
    def gather():
        drain_data.next = gathered

    return instances()
