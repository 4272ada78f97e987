"""A queue of two instructions that leaves out those that nobody needs in this step."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.isa import FIELDS, INSTRUCTION_BITS
from rtl.convert import module


@module
def issue_queue(
    clk,
    rst,
    any_sample,
    instruction,
    instruction_valid,
    instruction_ready,
    next_instruction,
    next_valid,
    next_ready,
    empty,
):
    """Hold up to two instructions; a sampling_only one is dropped when any_sample is 0.

    Ports: clk, rst; any_sample; instruction, next_instruction: streams in and out; empty: nothing held.
    """
    sampling_bit = FIELDS["sampling_only"].bit

    first_held, second_held, ready, accept, leave = [Signal(bool(0)) for _ in range(5)]
    first, second = [Signal(intbv(0)[INSTRUCTION_BITS:]) for _ in range(2)]

    @always_comb
    def drive():
        ready.next = not second_held
        instruction_ready.next = not second_held
        next_valid.next = first_held
        next_instruction.next = first
        empty.next = not first_held

    @always_comb
    def move():
        accept.next = instruction_valid and ready and (any_sample or not instruction[sampling_bit])
        leave.next = first_held and next_ready

    @always(clk.posedge)
    def hold():
        if leave or not first_held:
            if second_held:
                first.next = second
                first_held.next = 1
                second_held.next = 0
            else:
                first_held.next = accept
                if accept:
                    first.next = instruction
        elif accept:
            second.next = instruction
            second_held.next = 1
        if rst:
            first_held.next = 0
            second_held.next = 0

    return instances()
