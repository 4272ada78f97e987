"""Watches over a run: the first error, the watchdog, freezing, and the way back."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, enum, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.registers import ErrorCode
from rtl.convert import module

CODE_WATCHDOG = int(ErrorCode.WATCHDOG)
QUIET = 4
"""Clocks for which the bus must be quiet: a burst that was being decided shows within them."""


@module
def supervisor(
    clk,
    rst,
    start_request,
    reset_request,
    watchdog,
    start,
    finished,
    progress,
    instruction_index,
    run_error_valid,
    run_error_code,
    read_error_valid,
    read_error_code,
    read_error_address,
    write_error_valid,
    write_error_code,
    write_error_address,
    bus_quiet_read,
    bus_quiet_write,
    busy,
    done,
    failed,
    ended,
    error_code,
    error_address,
    error_instruction,
    freeze,
    halt,
    engine_reset,
    config: ChipConfig,
):
    """Status of the machine.

    A run is busy from start_request until finished or the first error. An error freezes everything until
    reset_request; of errors in one clock the sequencer's counts, then the write side's, then the read side's, then
    the watchdog. start_request is ignored unless the machine is idle without an error. reset_request acts at any
    time: it freezes, waits until the bus has been quiet for QUIET clocks, raises engine_reset for two and clears the
    status; meanwhile the machine is busy.

    Ports: clk; rst; start_request, reset_request (pulses), watchdog (clocks, 0: off); start (pulse to the
    sequencer); finished (pulse); progress (an instruction was dispatched, or a beat reached the array);
    instruction_index; errors of the sequencer (pulse), of the read and write side (held); bus_quiet_*. busy, done,
    failed: the status bits; ended: pulse when a run ends. error_*: of the first error. freeze: to the memory
    blocks; halt: to the sequencer, the same signal; engine_reset: reset of all engines, also high during rst and
    one clock after it.
    """
    state_t = enum("READY", "RUN", "STOPPED", "QUIETING", "RESETTING")
    state = Signal(state_t.READY)
    quiet_count = Signal(intbv(0)[3:])
    still = Signal(intbv(0)[32:])
    expired = Signal(bool(0))
    moved = Signal(bool(0))  # progress of the clock before, which comes late
    write_failed, read_failed, quiet = [Signal(bool(0)) for _ in range(3)]

    @always_comb
    def tell():
        busy.next = (state == state_t.RUN) or (state == state_t.QUIETING) or (state == state_t.RESETTING)
        failed.next = state == state_t.STOPPED
        halt.next = freeze

    @always(clk.posedge)
    def hear():
        # The memory blocks are far away; what they tell holds until they are reset.
        write_failed.next = write_error_valid and not engine_reset
        read_failed.next = read_error_valid and not engine_reset
        quiet.next = bus_quiet_read and bus_quiet_write

    @always(clk.posedge)
    def watch():
        expired.next = 0
        moved.next = progress
        if state != state_t.RUN or moved:
            still.next = 0
        elif watchdog != 0:
            still.next = still + 1
            expired.next = still >= watchdog

    @always(clk.posedge)
    def supervise():
        start.next = 0
        ended.next = 0
        engine_reset.next = 0
        if rst:
            state.next = state_t.READY
            engine_reset.next = 1
            freeze.next = 0
            done.next = 0
            error_code.next = 0
            error_address.next = 0
            error_instruction.next = 0
        elif reset_request:
            freeze.next = 1
            quiet_count.next = 0
            state.next = state_t.QUIETING
        elif state == state_t.READY:
            if start_request:
                start.next = 1
                done.next = 0
                state.next = state_t.RUN
        elif state == state_t.RUN:
            if run_error_valid or write_failed or read_failed or expired:
                freeze.next = 1
                ended.next = 1
                state.next = state_t.STOPPED
                error_instruction.next = instruction_index
                error_address.next = 0
                if run_error_valid:
                    error_code.next = run_error_code
                elif write_failed:
                    error_code.next = write_error_code
                    error_address.next = write_error_address
                elif read_failed:
                    error_code.next = read_error_code
                    error_address.next = read_error_address
                else:
                    error_code.next = CODE_WATCHDOG
            elif finished:
                ended.next = 1
                done.next = 1
                state.next = state_t.READY
        elif state == state_t.QUIETING:
            quiet_count.next = 0
            if quiet:
                quiet_count.next = quiet_count + 1
                if quiet_count == QUIET:
                    engine_reset.next = 1
                    state.next = state_t.RESETTING
        elif state == state_t.RESETTING:
            # Engines see their reset in two clocks, as some blocks in them do a clock later, so that nothing that one
            # of these gives meanwhile is taken. The error outputs of the memory blocks are gone after it.
            engine_reset.next = quiet_count == QUIET + 1
            quiet_count.next = quiet_count + 1
            done.next = 0
            error_code.next = 0
            error_address.next = 0
            error_instruction.next = 0
            if quiet_count == QUIET + 2:
                freeze.next = 0
                state.next = state_t.READY

    return instances()
