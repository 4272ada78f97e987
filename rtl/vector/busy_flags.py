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
    D, S (thread at age 0); pipeline_busy: any beat is under way, or the quantiser is busy. valid: age 0; reducing_29:
    the beat of age 29 has a running sum or maximum; summing_33, maximum_33: that of age 33 goes on to it.
    """
    maximum_ages = (config.lanes - 1).bit_length() + 3
    sum_early, maximum_early = SUM_BUSY - ISSUE_DELAY, max(1, maximum_ages - ISSUE_DELAY)
    early = REDUCE - ISSUE_DELAY
    flow_d, flow_s = [Signal(intbv(0)[REDUCE:]) for _ in range(2)]
    sum_d, sum_s = [Signal(intbv(0)[SUM_BUSY:]) for _ in range(2)]
    maximum_d, maximum_s = [Signal(intbv(0)[maximum_ages:]) for _ in range(2)]
    tail_d, tail_s = [Signal(intbv(0)[ISSUE_DELAY:]) for _ in range(2)]  # reducing beats, ages 30 to 33
    leaving = Signal(False)
    of_d, of_s = Signal(False), Signal(False)

    @always_comb
    def sort_threads():
        of_d.next = valid & (not thread)
        of_s.next = valid & thread

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
            leaving.next = False
        else:
            flow_d.next = concat(flow_d[REDUCE - 1 :], of_d)
            flow_s.next = concat(flow_s[REDUCE - 1 :], of_s)
            tail_d.next = concat(tail_d[ISSUE_DELAY - 1 :], reducing_29 & flow_d[early - 1])
            tail_s.next = concat(tail_s[ISSUE_DELAY - 1 :], reducing_29 & flow_s[early - 1])
            sum_d.next = concat(sum_d[SUM_BUSY - 1 :], summing_33 & flow_d[REDUCE - 1])
            sum_s.next = concat(sum_s[SUM_BUSY - 1 :], summing_33 & flow_s[REDUCE - 1])
            maximum_d.next = concat(maximum_d[maximum_ages - 1 :], maximum_33 & flow_d[REDUCE - 1])
            maximum_s.next = concat(maximum_s[maximum_ages - 1 :], maximum_33 & flow_s[REDUCE - 1])
            leaving.next = flow_d[REDUCE - 1] | flow_s[REDUCE - 1]

    @always_comb
    def tell():
        busy_d.next = of_d | (flow_d[early:] != 0) | (tail_d != 0)
        if (sum_d[sum_early:] != 0) | (maximum_d[maximum_early:] != 0):
            busy_d.next = True
        busy_s.next = of_s | (flow_s[early:] != 0) | (tail_s != 0)
        if (sum_s[sum_early:] != 0) | (maximum_s[maximum_early:] != 0):
            busy_s.next = True

    @always_comb
    def tell_all():
        pipeline_busy.next = valid | leaving | quantising | (flow_d != 0) | (sum_d != 0) | (maximum_d != 0)
        if (flow_s != 0) | (sum_s != 0) | (maximum_s != 0):
            pipeline_busy.next = True

    return instances()
