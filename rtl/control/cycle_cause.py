"""The one cause of every cycle of a run."""

from __future__ import annotations

from myhdl import Signal, always, instances, intbv

from rtl.common.registers import CAUSE_BITS, CAUSE_CODE
from rtl.convert import module

BEAT, MEMORY, SOFTMAX, KV_WRITE, FILL_DRAIN, FETCH, IDLE = (
    CAUSE_CODE[name]
    for name in ("array_beats", "wait_memory", "wait_softmax", "wait_kv_write", "fill_drain", "fetch", "idle")
)


@module
def cycle_cause(
    clk,
    clear,
    busy,
    in_step,
    fetching,
    consuming,
    stall_memory,
    stall_operand,
    stall_bank,
    operand_loading,
    value_job,
    array_idle,
    vector_phase,
    vector_idle,
    parameter_wait,
    kv_barrier,
    stream_idle,
    write_idle,
    counting,
    cause,
):
    """From what the engines show to a code, two clocks later.

    A cycle is the array's when it takes a beat. When it does not, the cause is what it waits for, followed to its
    source: rtl/control/README.md has the table. The rest of the machine may well be at work meanwhile.

    Ports: clk; clear (pulse: forget what is on its way); busy: a run; in_step, fetching: see sequencer; consuming,
    stall_memory, stall_operand, stall_bank (one at most), operand_loading (the operand is full and on its way),
    value_job (softmax weights are waited for), array_idle (no instruction): of the array; vector_phase (see
    drain_phase), vector_idle: of the vector unit; parameter_wait, kv_barrier, stream_idle, write_idle: of the memory
    side. counting: busy, one clock later; cause: CAUSE_CODE, or 0 while not busy, two clocks later.
    """
    outside, wanted, takes, empty, operand, bank, loading, values, no_job = [Signal(bool(0)) for _ in range(9)]
    resting, parameters, barrier, streaming, writing = [Signal(bool(0)) for _ in range(5)]
    phase = Signal(intbv(0)[CAUSE_BITS:])

    @always(clk.posedge)
    def observe():
        counting.next = busy
        if busy:
            outside.next = not in_step
            wanted.next = fetching
            takes.next = consuming
            empty.next = stall_memory
            operand.next = stall_operand
            bank.next = stall_bank
            loading.next = operand_loading
            values.next = value_job
            no_job.next = array_idle
            phase.next = vector_phase
            resting.next = vector_idle
            parameters.next = parameter_wait
            barrier.next = kv_barrier
            streaming.next = not stream_idle
            writing.next = not write_idle

    @always(clk.posedge)
    def judge():
        if clear or not counting:
            cause.next = 0
        elif takes:
            cause.next = BEAT
        elif empty:
            cause.next = MEMORY
            if parameters:
                cause.next = phase
            elif barrier:
                cause.next = KV_WRITE
        elif operand:
            cause.next = phase
            if loading or resting:
                cause.next = FILL_DRAIN
            elif values and phase != FILL_DRAIN:
                cause.next = SOFTMAX
        elif bank:
            cause.next = phase
        elif outside:
            cause.next = IDLE
        elif wanted:
            cause.next = FETCH
        elif not no_job:
            cause.next = FILL_DRAIN
        elif not resting:
            cause.next = phase
        elif streaming:
            cause.next = MEMORY
            if barrier:
                cause.next = KV_WRITE
        elif writing:
            cause.next = phase
        else:
            cause.next = IDLE

    return instances()
