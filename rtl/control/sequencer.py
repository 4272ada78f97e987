"""Runs the program: one step after another, one instruction after another."""

from __future__ import annotations

from myhdl import Constant, Signal, always, always_comb, concat, enum, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.isa import FIELDS, Opcode
from rtl.common.registers import ErrorCode
from rtl.convert import module

OPCODE_LOW = FIELDS["opcode"].bit
OPCODE_HIGH = OPCODE_LOW + FIELDS["opcode"].width
OP_END, OP_TABLE, OP_EMBED, OP_NORM = int(Opcode.END), int(Opcode.TABLE), int(Opcode.EMBED), int(Opcode.NORM)
OP_MATMUL, OP_ATTEND = int(Opcode.MATMUL), int(Opcode.ATTEND)
CODE_OPCODE, CODE_PROGRAM_END = int(ErrorCode.OPCODE), int(ErrorCode.PROGRAM_END)
CODE_NO_ROWS = int(ErrorCode.NO_ROWS)
QUIET = 4
"""Clocks for which all engines must report idle: an instruction takes one or two to show."""
NO_TOKEN = 0xFFFFFFFF
STATES = (
    "IDLE",
    "BEGIN",
    "CHECK",
    "DECIDE",
    "SCAN",
    "FETCH_WAIT",
    "FETCH",
    "DRAIN",
    "RESULT",
    "ADVANCE",
    "LAST_WRITES",
)


@module
def sequencer(
    clk,
    rst,
    start,
    halt,
    steps,
    run_start,
    steps_done,
    instruction_index,
    dispatched,
    in_step,
    fetching,
    finished,
    error_valid,
    error_code,
    row_active,
    row_sample,
    row_faulty,
    check,
    scan_start,
    scan_done,
    advance,
    advance_token,
    advance_sampled,
    retire,
    fetch_start,
    fetch_end,
    fetch_instruction,
    fetch_valid,
    fetch_ready,
    instruction,
    stream_valid,
    stream_ready,
    stream_idle,
    array_valid,
    array_ready,
    array_idle,
    vector_valid,
    vector_ready,
    vector_idle,
    write_idle,
    sample_token,
    sample_done,
    result_valid,
    result_ready,
    result_offset,
    result_data,
    config: ChipConfig,
):
    """A run: for every step check and group the rows, fetch the program, dispatch until END, write results, advance
    the rows.

    It stops where it is when halt is high, and begins again only at start: errors, watchdog and freezing are the
    supervisor's. It keeps one instruction; an engine takes it by its own valid and ready, and the next one is
    fetched when all that it concerns have it.

    Ports: clk; rst; start (pulse; only when idle); halt (level: drop everything, go idle); steps. run_start
    (pulse): clears faults and counters. steps_done; instruction_index: of the instruction last fetched in this
    step; dispatched (pulse); in_step: between the row table and the results; fetching: the next instruction is
    wanted; finished (pulse: the run ended by itself); error_valid (pulse), error_code: OPCODE,
    PROGRAM_END or NO_ROWS. row_active, row_sample, row_faulty, check, scan_start, scan_done, advance,
    advance_token, advance_sampled, retire: see row_table. fetch_end: level, the fetch has reached the end of the
    program and fetch_valid will not come again. sample_token is captured at sample_done. Results: one word for each
    row, in order, NO_TOKEN for a row that gave none.
    """
    R = config.rows
    LAST = 2 ** (R - 1) if R < 32 else Constant(intbv(2 ** (R - 1))[R:])  # as an int it is written with 33 bits
    state_t = enum(*STATES)
    state = Signal(state_t.IDLE)
    # Of the clock before, since they come from everywhere.
    all_idle, no_rows = [Signal(bool(0)) for _ in range(2)]
    idle_count = Signal(intbv(0)[3:])
    first = Signal(bool(0))
    opcode = Signal(intbv(0)[8:])
    pending = Signal(bool(0))
    take = Signal(bool(0))
    sampled = Signal(bool(0))
    tokens = Signal(intbv(0)[R * 32 :])
    row = Signal(intbv(0)[R:])
    gives = Signal(intbv(0)[R:])
    gives_token = Signal(bool(0))
    more = Signal(bool(0))

    @always(clk.posedge)
    def rest():
        all_idle.next = stream_idle and array_idle and vector_idle and write_idle
        no_rows.next = row_active == 0
        gives.next = row_active & row_sample & (~row_faulty)

    @always(clk.posedge)
    def prepare_result():
        # At rest in the clocks in which they count.
        result_data.next = intbv(NO_TOKEN)[32:]
        if gives_token:
            result_data.next = tokens[32:]
        advance_token.next = tokens[32:]
        advance_sampled.next = sampled

    @always_comb
    def watch():
        opcode.next = fetch_instruction[OPCODE_HIGH:OPCODE_LOW]
        pending.next = (
            (stream_valid and not stream_ready)
            or (array_valid and not array_ready)
            or (vector_valid and not vector_ready)
        )
        take.next = (state == state_t.FETCH) and fetch_valid and not pending and not halt
        gives_token.next = sampled and (row & gives) != 0
        more.next = steps_done < steps

    @always_comb
    def accept():
        fetch_ready.next = take

    @always_comb
    def tell():
        fetching.next = (state == state_t.FETCH_WAIT) or ((state == state_t.FETCH) and not pending)
        in_step.next = (state == state_t.FETCH_WAIT) or (state == state_t.FETCH) or (state == state_t.DRAIN)

    @always(clk.posedge)
    def keep_instruction():
        if take:
            instruction.next = fetch_instruction

    @always(clk.posedge)
    def dispatch():
        dispatched.next = 0
        if rst or halt:
            stream_valid.next = 0
            array_valid.next = 0
            vector_valid.next = 0
        else:
            if stream_ready:
                stream_valid.next = 0
            if array_ready:
                array_valid.next = 0
            if vector_ready:
                vector_valid.next = 0
            if take:
                dispatched.next = 1
                if opcode == OP_TABLE:
                    stream_valid.next = 1
                elif opcode == OP_EMBED or opcode == OP_NORM:
                    stream_valid.next = 1
                    vector_valid.next = 1
                elif opcode == OP_MATMUL or opcode == OP_ATTEND:
                    stream_valid.next = 1
                    array_valid.next = 1
                    vector_valid.next = 1

    @always(clk.posedge)
    def capture():
        if rst or fetch_start:
            sampled.next = 0
        elif sample_done:
            sampled.next = 1
            tokens.next = sample_token
        elif state == state_t.ADVANCE:
            tokens.next = tokens >> 32

    @always(clk.posedge)
    def name_error():
        # Whether there is one or not, which is known late.
        error_code.next = CODE_PROGRAM_END
        if fetch_valid:
            error_code.next = CODE_OPCODE
        if state == state_t.BEGIN:
            error_code.next = CODE_NO_ROWS

    @always(clk.posedge)
    def run_program():
        run_start.next = 0
        check.next = 0
        scan_start.next = 0
        retire.next = 0
        advance.next = 0
        fetch_start.next = 0
        finished.next = 0
        error_valid.next = 0
        if rst:
            state.next = state_t.IDLE
            result_valid.next = 0
            steps_done.next = 0
            instruction_index.next = 0
        elif halt:
            state.next = state_t.IDLE
            result_valid.next = 0
        elif state == state_t.IDLE:
            if start:
                run_start.next = 1
                steps_done.next = 0
                instruction_index.next = 0
                result_offset.next = 0
                state.next = state_t.BEGIN
        elif state == state_t.BEGIN:
            if no_rows:
                error_valid.next = 1
                state.next = state_t.IDLE
            else:
                idle_count.next = 0
                state.next = state_t.CHECK
        elif state == state_t.CHECK:
            # The pulses to the rows need two clocks each to show in row_active.
            check.next = idle_count == 1
            idle_count.next = idle_count + 1
            if idle_count == QUIET:
                state.next = state_t.DECIDE
        elif state == state_t.DECIDE:
            idle_count.next = 0
            if more and not no_rows:
                scan_start.next = 1
                state.next = state_t.SCAN
            else:
                state.next = state_t.LAST_WRITES
        elif state == state_t.SCAN:
            if scan_done:
                fetch_start.next = 1
                first.next = 1
                instruction_index.next = 0
                state.next = state_t.FETCH_WAIT
        elif state == state_t.FETCH_WAIT:
            # fetch_end and fetch_valid still speak of the step before.
            idle_count.next = idle_count + 1
            if idle_count == QUIET:
                idle_count.next = 0
                state.next = state_t.FETCH
        elif state == state_t.FETCH:
            if take:
                first.next = 0
                if not first:
                    instruction_index.next = instruction_index + 1
                if opcode == OP_END:
                    state.next = state_t.DRAIN
                elif opcode == 0 or opcode > OP_ATTEND:
                    error_valid.next = 1
                    state.next = state_t.IDLE
            elif fetch_end and not fetch_valid:
                error_valid.next = 1
                state.next = state_t.IDLE
        elif state == state_t.DRAIN:
            idle_count.next = 0
            if all_idle:
                idle_count.next = idle_count + 1
                if idle_count == QUIET:
                    row.next = 1
                    state.next = state_t.RESULT
        elif state == state_t.RESULT:
            result_valid.next = 1
            advance.next = 0
            if result_valid and result_ready:
                result_valid.next = 0
                advance.next = row
                state.next = state_t.ADVANCE
        elif state == state_t.ADVANCE:
            result_offset.next = result_offset + 4
            row.next = concat(row[R - 1 :], False)
            state.next = state_t.RESULT
            if row == LAST:
                steps_done.next = steps_done + 1
                idle_count.next = 0
                retire.next = steps_done + 1 < steps
                state.next = state_t.CHECK
        else:
            idle_count.next = 0
            if all_idle:
                idle_count.next = idle_count + 1
                if idle_count == QUIET:
                    finished.next = 1
                    state.next = state_t.IDLE

    return instances()
