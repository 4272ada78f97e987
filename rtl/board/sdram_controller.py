"""SDR SDRAM controller: groups of words in, commands at the pins out."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.board.sdram_timing import BANK_BITS, COLUMN_BITS, INITIAL_REFRESHES, ROW_BITS, SdramConfig
from rtl.common.config import bits_for
from rtl.common.ram import lutram
from rtl.convert import module

GROUP_BITS = 4
GROUP_WORDS = 1 << GROUP_BITS
"""Words of a group: a beat of 256 bits."""
COMMAND_BITS = 3  # RAS#, CAS#, WE#
NOP, ACTIVE, READ, WRITE, PRECHARGE, REFRESH, MODE = 0b111, 0b011, 0b101, 0b100, 0b010, 0b001, 0b000


@module
def sdram_controller(
    clk,
    rst,
    ready,
    request_valid,
    request_ready,
    request_write,
    request_single,
    request_address,
    write_index,
    write_taken,
    write_single,
    write_data,
    write_strobe,
    read_data,
    read_single,
    read_valid,
    command,
    bank,
    address,
    mask,
    data_out,
    data_drive,
    data_in,
    config: SdramConfig,
):
    """Reads and writes 16 aligned words (or a single one) at a request, a word a cycle, in the order of the requests.

    Rows stay open, one a bank, until another row of that bank is wanted or a refresh closes all. Reads that follow each
    other without a row miss leave no gap. Bursts are made of single-word commands (burst length 1), so a refresh
    or a byte mask needs no special case: any word may be the last one before it. Times come from `config`; the
    refresh timer never waits, so the average interval holds whatever the load. No self refresh, no power down.

    clk; rst (begins with the power-up wait again). ready: initialised. request_*: valid, ready; write or read; single:
    one word, else 16; address of the word, low 4 bits zero unless single. write_index: the word of the running request
    that write_data and write_strobe must give in the same cycle (low 4 bits of its address); write_taken with its
    last one; write_single: the running request is a single one. read_data, read_valid: one word a cycle, no ready;
    read_single: it is that of a single request. command (RAS#, CAS#, WE#), bank, address, mask, data_out,
    data_drive, data_in: the pins, two registers behind the decision, so that data are chosen by a register. CS# is
    low and CKE high all the time. The SDRAM samples half a cycle after clk.
    """
    RCD, RP, RAS = config.activate_to_column, config.precharge, config.activate_to_precharge
    RFC, WR, MRD = config.refresh, config.write_recovery, config.part.t_mrd
    TURN, INTERVAL = config.read_to_write, config.refresh_interval
    LATENCY = config.read_latency + 1  # with the register before the pins
    STARTS, REFRESHES = config.power_up_intervals, INITIAL_REFRESHES
    MODE_WORD = config.cas << 4
    LOW, HIGH = COLUMN_BITS, COLUMN_BITS + BANK_BITS
    LAST = GROUP_WORDS - 1
    ALL_BANKS = 1 << 10
    PAUSE_BITS = bits_for(max(RCD, RP, RFC, MRD))
    GUARD_BITS = bits_for(max(RAS, WR))
    LATEST = INTERVAL - 1
    AFTER_RCD, AFTER_RP, AFTER_RAS, AFTER_WR = RCD - 1, RP - 1, RAS - 1, WR - 1
    AFTER_RFC, AFTER_MRD, AFTER_READ, LAST_REFRESH = RFC - 1, MRD - 1, TURN - 1, REFRESHES - 1

    state_t = enum("POWER", "CLOSE", "REFRESH", "SET_MODE", "RUN")
    state = Signal(state_t.POWER)
    starting = Signal(bool(0))
    starts = Signal(modbv(0)[bits_for(max(STARTS, REFRESHES) + 1) :])
    timer = Signal(modbv(0)[bits_for(INTERVAL) :])
    tick = Signal(bool(0))
    due = Signal(bool(0))
    pause = Signal(modbv(0)[PAUSE_BITS:])
    guard = Signal(modbv(0)[GUARD_BITS:])
    turn = Signal(modbv(0)[bits_for(TURN) :])

    held = Signal(bool(0))
    held_write = Signal(bool(0))
    held_single = Signal(bool(0))
    held_row = Signal(intbv(0)[ROW_BITS:])
    held_bank = Signal(intbv(0)[BANK_BITS:])
    held_column = Signal(intbv(0)[COLUMN_BITS - GROUP_BITS :])
    word = Signal(modbv(0)[GROUP_BITS:])
    bank_open = Signal(intbv(0)[1 << BANK_BITS :])
    bank_bit = Signal(intbv(0)[1 << BANK_BITS :])
    open_row = Signal(intbv(0)[ROW_BITS:])
    next_bank = Signal(intbv(0)[BANK_BITS:])
    next_row = Signal(intbv(0)[ROW_BITS:])
    next_opened = Signal(bool(0))
    take = Signal(bool(0))
    # Of the request that is held: a row of its bank is open, and it is the right one.
    opened = Signal(bool(0))
    hit = Signal(bool(0))
    calm = Signal(bool(0))
    move = Signal(bool(0))
    finish = Signal(bool(0))
    activate = Signal(bool(0))
    close_one = Signal(bool(0))
    reading = Signal(modbv(0)[LATENCY + 1 :])
    singles = Signal(modbv(0)[LATENCY + 1 :])
    # A clock before the pins.
    command_1 = Signal(intbv(0)[COMMAND_BITS:])
    bank_1 = Signal(intbv(0)[BANK_BITS:])
    address_1 = Signal(intbv(0)[ROW_BITS:])
    mask_1 = Signal(intbv(0)[2:])
    drive_1, single_1, taken_1 = [Signal(bool(0)) for _ in range(3)]
    word_1 = Signal(intbv(0)[GROUP_BITS:])

    rows = lutram(clk, activate, held_bank, held_row, next_bank, open_row, depth=1 << BANK_BITS, width=ROW_BITS)

    @always_comb
    def look_up():
        bank_bit.next = 1
        if held_bank == 1:
            bank_bit.next = 2
        elif held_bank == 2:
            bank_bit.next = 4
        elif held_bank == 3:
            bank_bit.next = 8

    @always_comb
    def read_request():
        next_bank.next = request_address[HIGH:LOW]
        next_row.next = request_address[HIGH + ROW_BITS : HIGH]

    @always_comb
    def look_ahead():
        next_opened.next = bank_open[next_bank]

    @always(clk.posedge)
    def compare():
        # With the request, since the table of rows answers late; nothing opens or closes while one is taken.
        if rst or state == state_t.CLOSE:
            opened.next = 0
            hit.next = 0
        elif take:
            opened.next = next_opened
            hit.next = next_opened and open_row == next_row
        elif activate:
            opened.next = 1
            hit.next = 1
        elif close_one:
            opened.next = 0

    @always_comb
    def decide():
        calm.next = state == state_t.RUN and pause == 0 and not due
        activate.next = state == state_t.RUN and pause == 0 and not due and held and not opened
        close_one.next = state == state_t.RUN and pause == 0 and not due and held and opened and not hit and guard == 0

    @always_comb
    def advance():
        move.next = calm and held and hit and not (held_write and turn != 0)

    @always_comb
    def complete():
        finish.next = move and (held_single or word == LAST)
        tick.next = timer == LATEST

    @always_comb
    def answer():
        take.next = (finish or not held) and state == state_t.RUN
        request_ready.next = (finish or not held) and state == state_t.RUN
        write_index.next = word_1
        write_taken.next = taken_1
        write_single.next = single_1
        ready.next = not starting
        read_valid.next = reading[LATENCY]
        read_single.next = singles[LATENCY]

    @always(clk.posedge)
    def hold():
        if rst:
            held.next = 0
        elif take:
            held.next = request_valid
            held_write.next = request_write
            held_single.next = request_single
            held_row.next = next_row
            held_bank.next = next_bank
            held_column.next = request_address[LOW:GROUP_BITS]
            word.next = request_address[GROUP_BITS:]
        elif move:
            word.next = word + 1

    @always(clk.posedge)
    def keep_time():
        if rst:
            timer.next = 0
            due.next = 0
        else:
            if tick:
                timer.next = 0
            else:
                timer.next = timer + 1
            if tick and not starting:
                due.next = 1
            elif state == state_t.REFRESH:
                due.next = 0

    @always(clk.posedge)
    def run():
        command_1.next = NOP
        mask_1.next = 0
        drive_1.next = 0
        if pause != 0:
            pause.next = pause - 1
        if guard != 0:
            guard.next = guard - 1
        if turn != 0:
            turn.next = turn - 1
        if rst:
            state.next = state_t.POWER
            starting.next = 1
            starts.next = 0
            pause.next = 0
            guard.next = 0
            turn.next = 0
            bank_open.next = 0
            mask_1.next = 3
        elif state == state_t.POWER:
            mask_1.next = 3
            if tick:
                starts.next = starts + 1
                if starts == STARTS:
                    starts.next = 0
                    state.next = state_t.CLOSE
        elif state == state_t.CLOSE:
            command_1.next = PRECHARGE
            address_1.next = ALL_BANKS
            bank_open.next = 0
            pause.next = AFTER_RP
            state.next = state_t.REFRESH
        elif state == state_t.REFRESH:
            if pause == 0:
                command_1.next = REFRESH
                pause.next = AFTER_RFC
                starts.next = starts + 1
                state.next = state_t.RUN
                if starting:
                    state.next = state_t.REFRESH
                    if starts == LAST_REFRESH:
                        state.next = state_t.SET_MODE
        elif state == state_t.SET_MODE:
            if pause == 0:
                command_1.next = MODE
                bank_1.next = 0
                address_1.next = MODE_WORD
                pause.next = AFTER_MRD
                starting.next = 0
                state.next = state_t.RUN
        elif due:
            if pause == 0 and guard == 0:
                state.next = state_t.CLOSE
        elif close_one:
            command_1.next = PRECHARGE
            bank_1.next = held_bank
            address_1.next = 0
            bank_open.next = bank_open & ~bank_bit
            pause.next = AFTER_RP
        elif activate:
            command_1.next = ACTIVE
            bank_1.next = held_bank
            address_1.next = held_row
            bank_open.next = bank_open | bank_bit
            pause.next = AFTER_RCD
            guard.next = AFTER_RAS
        elif move:
            bank_1.next = held_bank
            address_1.next = concat(intbv(0)[ROW_BITS - COLUMN_BITS :], held_column, word)
            if held_write:
                command_1.next = WRITE
                drive_1.next = 1
                if guard < WR:
                    guard.next = AFTER_WR
            else:
                command_1.next = READ
                turn.next = AFTER_READ

    @always(clk.posedge)
    def follow():
        word_1.next = word
        single_1.next = held_single
        taken_1.next = finish and held_write and not rst

    @always(clk.posedge)
    def send():
        command.next = command_1
        bank.next = bank_1
        address.next = address_1
        mask.next = mask_1
        data_drive.next = drive_1
        data_out.next = write_data
        if drive_1:
            mask.next = ~write_strobe

    @always(clk.posedge)
    def capture():
        read_data.next = data_in
        singles.next = concat(singles[LATENCY:], held_single)
        if rst:
            reading.next = 0
        else:
            reading.next = concat(reading[LATENCY:], move and not held_write)

    return instances()
