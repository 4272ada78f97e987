"""The vector unit: issue logic and lanes."""

from __future__ import annotations

from myhdl import ResetSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.isa import FIELDS
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.control_word import control_bits
from rtl.vector.issue import issue
from rtl.vector.lanes import lanes
from rtl.vector.parameter_ring import ring_bits


@module
def vector(
    clk,
    rst,
    row_active,
    row_sample,
    row_greedy,
    row_logits,
    row_position,
    row_seed,
    row_temperature,
    any_sample,
    pass_count,
    pass_mask,
    pass_tokens,
    instruction,
    instruction_valid,
    instruction_ready,
    idle,
    parameter_data,
    parameter_tag,
    parameter_valid,
    parameter_ready,
    value_scale_write,
    value_scale_buffer,
    value_scale_group,
    value_scale_data,
    operand_full,
    operand_write,
    operand_block,
    operand_row,
    operand_word,
    operand_data,
    operand_scale,
    operand_fill,
    bank_full,
    bank_release,
    drain_valid,
    drain_bank,
    drain_row,
    drain_column,
    drain_word,
    drain_data,
    kv_start,
    kv_instruction,
    kv_valid,
    kv_value,
    kv_row,
    kv_head,
    kv_block,
    kv_word,
    kv_data,
    kv_scale,
    kv_last,
    kv_end,
    kv_release,
    kv_idle,
    logits_valid,
    logits_row,
    logits_block,
    logits_word,
    logits_data,
    logits_release,
    sample_token,
    sample_done,
    row_fault,
    vector_beat,
    vector_phase,
    *,
    config: ChipConfig,
):
    """Everything between accumulators and operand blocks, KV writer, logits and sampled tokens:
    rtl/vector/README.md.

    Ports: as rtl/README.md, 'Interfaces between engines', names them; vector_beat: a beat has entered the
    lanes (counter); vector_phase: what it is at (CAUSE_CODE).
    """
    level_bits = ring_bits(config) + 1
    free_bits = level_bits - (config.words - 1).bit_length()
    constant_a_l, constant_b_l, count_l, first_l = (
        FIELDS[name].bit for name in ("constant_a", "constant_b", "count", "first_exponent")
    )
    constant_a_h, constant_b_h, count_h, first_h = (
        constant_a_l + 32,
        constant_b_l + 32,
        count_l + 32,
        first_l + 8,
    )

    sampling_bit = FIELDS["sampling_only"].bit
    active = Signal(intbv(0)[512:])
    constant_a, constant_b, count = [Signal(intbv(0)[32:]) for _ in range(3)]
    first_exponent = Signal(intbv(0)[8:])
    control_valid = Signal(bool(0))
    control = Signal(intbv(0)[control_bits(config) :])
    ring_a_level, ring_b_level = [Signal(intbv(0)[level_bits:]) for _ in range(2)]
    ring_a_free, ring_b_free, pipeline_busy, busy_d, busy_s = [Signal(bool(0)) for _ in range(5)]
    ring_free_blocks = Signal(intbv(0)[16:])
    free_blocks = Signal(intbv(0)[free_bits:])
    found_fault = Signal(intbv(0)[config.rows :])
    sink = unused(ring_free_blocks, 16)

    # Of the rings one is far from the gearbox, whichever it is.
    parameter_bits = 2 + 32 * config.lanes
    parameters_in = Stream.of(Signal(intbv(0)[parameter_bits:]), parameter_valid, parameter_ready)
    parameters = Stream(parameter_bits)
    hold_parameters = stream_register(clk, rst, parameters_in, parameters, width=parameter_bits)
    held_tag, held_data = (
        parameters.payload(parameter_bits, 32 * config.lanes),
        parameters.payload(32 * config.lanes, 0),
    )

    @always_comb
    def join_parameters():
        parameters_in.payload.next = concat(parameter_tag, parameter_data)

    # The lanes lie far apart: they see a reset a clock after the threads, which give no beat then.
    lanes_rst = ResetSignal(1, active=1, isasync=False)

    @always(clk.posedge)
    def pass_reset():
        lanes_rst.next = rst

    threads = issue(
        clk,
        rst,
        row_active,
        row_sample,
        row_greedy,
        row_logits,
        any_sample,
        pass_count,
        pass_mask,
        pass_tokens,
        instruction,
        instruction_valid,
        instruction_ready,
        idle,
        bank_full,
        bank_release,
        operand_full,
        ring_a_level,
        ring_b_level,
        ring_a_free,
        ring_b_free,
        ring_free_blocks,
        kv_start,
        kv_end,
        kv_release,
        kv_idle,
        logits_release,
        sample_done,
        pipeline_busy,
        busy_d,
        busy_s,
        active,
        vector_phase,
        control_valid,
        control,
        config=config,
    )
    datapath = lanes(
        clk=clk,
        rst=lanes_rst,
        control_valid=control_valid,
        control=control,
        constant_a=constant_a,
        constant_b=constant_b,
        count=count,
        first_exponent=first_exponent,
        row_greedy=row_greedy,
        row_position=row_position,
        row_seed=row_seed,
        row_temperature=row_temperature,
        ring_a_free=ring_a_free,
        ring_a_free_blocks=free_blocks,
        ring_b_free=ring_b_free,
        ring_b_free_blocks=free_blocks,
        drain_data=drain_data,
        value_scale_write=value_scale_write,
        value_scale_buffer=value_scale_buffer,
        value_scale_group=value_scale_group,
        value_scale_data=value_scale_data,
        parameter_valid=parameters.valid,
        parameter_tag=held_tag,
        parameter_data=held_data,
        parameter_ready=parameters.ready,
        pipeline_busy=pipeline_busy,
        busy_d=busy_d,
        busy_s=busy_s,
        ring_a_available=ring_a_level,
        ring_b_available=ring_b_level,
        drain_valid=drain_valid,
        drain_bank=drain_bank,
        drain_row=drain_row,
        drain_column=drain_column,
        drain_word=drain_word,
        operand_write=operand_write,
        operand_block=operand_block,
        operand_row=operand_row,
        operand_word=operand_word,
        operand_data=operand_data,
        operand_scale=operand_scale,
        operand_fill=operand_fill,
        kv_valid=kv_valid,
        kv_value=kv_value,
        kv_row=kv_row,
        kv_head=kv_head,
        kv_block=kv_block,
        kv_word=kv_word,
        kv_data=kv_data,
        kv_scale=kv_scale,
        kv_last=kv_last,
        logits_valid=logits_valid,
        logits_row=logits_row,
        logits_block=logits_block,
        logits_word=logits_word,
        logits_data=logits_data,
        sample_token=sample_token,
        row_fault=found_fault,
        vector_beat=vector_beat,
        config=config,
    )

    # What only sampled tokens need is no fault of other rows: a step without a row that samples leaves it out.
    @always_comb
    def choose_faults():
        row_fault.next = found_fault
        if active[sampling_bit]:
            row_fault.next = found_fault & row_sample

    @always_comb
    def unpack():
        kv_instruction.next = active
        free_blocks.next = ring_free_blocks[free_bits:]
        constant_a.next = active[constant_a_h:constant_a_l]
        constant_b.next = active[constant_b_h:constant_b_l]
        count.next = active[count_h:count_l]
        first_exponent.next = active[first_h:first_l]

    return instances()
