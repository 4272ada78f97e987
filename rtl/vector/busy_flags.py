"""Whether beats are under way, by thread."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.convert import module
from rtl.vector.timing import ISSUE_DELAY, REDUCE, SUM_BUSY


@module
def busy_flags(
    clk,
    rst,
    valid,
    thread,
    reducing_29,
    summing_33,
    maximum_33,
    quantising,
    pipeline_busy,
    busy_d,
    busy_s,
    config: ChipConfig,
):
    """busy_d, busy_s: a beat that entered in timing.ISSUE_DELAY cycles would not yet see the result of a beat of thread
    D, S (thread at age 0), from its age 1 on; pipeline_busy: any beat is under way, or the quantiser is busy. valid:
    age 0; reducing_29: the beat of age 29 has a running sum or maximum; summing_33, maximum_33: that of age 33 goes on
    to it.

    Each flag is found a cycle ahead, from what the shift registers are about to hold, and kept in a register: the
    issue logic has little time for it.
    """
    maximum_ages = (config.lanes - 1).bit_length() + 4
    sum_early, maximum_early = SUM_BUSY - ISSUE_DELAY, max(1, maximum_ages - ISSUE_DELAY)
    early = REDUCE - ISSUE_DELAY
    flow_d, flow_s, next_flow_d, next_flow_s = [Signal(intbv(0)[REDUCE:]) for _ in range(4)]
    sum_d, sum_s = [Signal(intbv(0)[SUM_BUSY - 1 :]) for _ in range(2)]
    next_sum_d, next_sum_s = [Signal(intbv(0)[SUM_BUSY - 1 :]) for _ in range(2)]
    maximum_d, maximum_s = [Signal(intbv(0)[maximum_ages - 1 :]) for _ in range(2)]
    next_maximum_d, next_maximum_s = [Signal(intbv(0)[maximum_ages - 1 :]) for _ in range(2)]
    # Reducing beats, ages 30 to 33.
    tail_d, tail_s = [Signal(intbv(0)[ISSUE_DELAY - 1 :]) for _ in range(2)]
    next_tail_d, next_tail_s = [Signal(intbv(0)[ISSUE_DELAY:]) for _ in range(2)]
    of_d, of_s, some, some_d, some_s = [Signal(False) for _ in range(5)]

    @always_comb
    def sort_threads():
        of_d.next = valid & (not thread)
        of_s.next = valid & thread

    @always_comb
    def move():
        next_flow_d.next = concat(flow_d[REDUCE - 1 :], of_d)
        next_flow_s.next = concat(flow_s[REDUCE - 1 :], of_s)
        next_tail_d.next = concat(tail_d, reducing_29 & flow_d[early - 1])
        next_tail_s.next = concat(tail_s, reducing_29 & flow_s[early - 1])
        next_sum_d.next = concat(sum_d[SUM_BUSY - 2 :], summing_33 & flow_d[REDUCE - 1])
        next_sum_s.next = concat(sum_s[SUM_BUSY - 2 :], summing_33 & flow_s[REDUCE - 1])
        next_maximum_d.next = concat(maximum_d[maximum_ages - 2 :], maximum_33 & flow_d[REDUCE - 1])
        next_maximum_s.next = concat(maximum_s[maximum_ages - 2 :], maximum_33 & flow_s[REDUCE - 1])

    @always(clk.posedge)
    def age():
        if rst:
            flow_d.next = 0
            flow_s.next = 0
            tail_d.next = 0
            tail_s.next = 0
            sum_d.next = 0
            sum_s.next = 0
            maximum_d.next = 0
            maximum_s.next = 0
        else:
            flow_d.next = next_flow_d
            flow_s.next = next_flow_s
            tail_d.next = next_tail_d[ISSUE_DELAY - 1 :]
            tail_s.next = next_tail_s[ISSUE_DELAY - 1 :]
            sum_d.next = next_sum_d
            sum_s.next = next_sum_s
            maximum_d.next = next_maximum_d
            maximum_s.next = next_maximum_s

    @always(clk.posedge)
    def look_ahead():
        some_d.next = (next_flow_d[early:] != 0) | (next_tail_d != 0)
        if (next_sum_d[sum_early:] != 0) | (next_maximum_d[maximum_early:] != 0):
            some_d.next = True
        some_s.next = (next_flow_s[early:] != 0) | (next_tail_s != 0)
        if (next_sum_s[sum_early:] != 0) | (next_maximum_s[maximum_early:] != 0):
            some_s.next = True
        # A beat counts until a cycle after it has left the shift register, by then it is in those behind.
        some.next = valid | (flow_d != 0) | (flow_s != 0) | (sum_d != 0) | (maximum_d != 0)
        if (sum_s != 0) | (maximum_s != 0):
            some.next = True
        if rst:
            some.next = False
            some_d.next = False
            some_s.next = False

    @always_comb
    def tell():
        busy_d.next = some_d
        busy_s.next = some_s
        pipeline_busy.next = valid | some | quantising

    return instances()
