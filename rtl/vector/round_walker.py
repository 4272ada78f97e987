"""From a round (a block, all its rows) to beats: row by row, word by word."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.config import bits_for
from rtl.common.interfaces import MINIMUM_ROUND
from rtl.convert import module
from rtl.vector.lowest_row import lowest_row
from rtl.vector.passes import round_bits, round_fields


@module
def round_walker(
    clk,
    rst,
    round_valid,
    round_ready,
    round_data,
    beat_valid,
    beat_grant,
    beat_round,
    beat_row,
    beat_word,
    beat_turn_block,
    beat_turn_last,
    beat_row_last,
    finish,
    idle,
    *,
    config,
):
    """Walk the rows of a round in ascending order, a turn each: turn_blocks + 1 blocks of all words, or one
    beat.

    A round with no rows makes no beat, but finishes. The turns of a row in successive rounds begin at least
    MINIMUM_ROUND cycles apart: the spacing counts from the last turn that began after a pause, as the earlier
    rows then have waited longer. The next round is taken with the last beat of the present one, so full
    rounds leave no gap.

    What a beat is (valid, last of its turn, of the round) stands in registers, worked out with the step before: the
    grant comes late, since it depends on both threads, and only selects.

    Ports: clk, rst; round_valid, round_ready, round_data: stream of rounds; beat_valid, beat_grant: a beat,
    and that it goes now (while beat_valid only); beat_*: round, row, word, block within the turn;
    beat_turn_last: last beat of the turn; beat_row_last: the row is the round's last; finish: with the last
    grant, or alone when the round has no rows; idle: no round is held.
    """
    fields = round_fields(config)
    rows = config.rows
    rows_low, rows_high = fields["rows"][0], sum(fields["rows"])
    turn_low, turn_high = fields["turn_blocks"][0], sum(fields["turn_blocks"])
    one_beat_bit = fields["one_beat"][0]
    index_bits = bits_for(config.rows)
    last_word = config.words - 1

    held = Signal(bool(0))
    blank = Signal(bool(0))  # held, and it has no rows
    open_now = Signal(bool(1))  # the next round is taken, whatever is granted: not held, or blank
    valid = Signal(bool(0))
    turn_ends, last_row, round_ends = [Signal(bool(0)) for _ in range(3)]  # of the beat on offer
    single = Signal(bool(0))  # turns of this round are one beat
    current = Signal(intbv(0)[round_bits(config) :])
    row = Signal(intbv(0)[index_bits:])
    rest = Signal(intbv(0)[rows:])  # rows after the present one
    word = Signal(intbv(0)[bits_for(config.words) :])
    turn_block = Signal(intbv(0)[8:])
    starting = Signal(bool(0))  # no beat of the round has gone
    turn_open = Signal(bool(0))
    granted_before = Signal(bool(0))
    spacing = Signal(intbv(0)[4:])

    new_rows, new_rest, after_rest = [Signal(intbv(0)[rows:]) for _ in range(3)]
    new_row, after_row = [Signal(intbv(0)[index_bits:]) for _ in range(2)]
    new_single, new_valid, next_ends, pauses, spaced, ready = [Signal(bool(0)) for _ in range(6)]

    @always_comb
    def look_at_next():
        new_rows.next = round_data[rows_high:rows_low]
        new_single.next = round_data[one_beat_bit] or (last_word == 0 and round_data[turn_high:turn_low] == 0)
        new_valid.next = round_valid and round_data[rows_high:rows_low] != 0

    first = lowest_row(new_rows, new_row, new_rest, rows=rows)
    following = lowest_row(rest, after_row, after_rest, rows=rows)

    @always_comb
    def look_ahead():
        next_ends.next = False
        if word == last_word:
            next_ends.next = last_word == 0 and turn_block + 1 == current[turn_high:turn_low]
        elif word + 1 == last_word:
            next_ends.next = turn_block == current[turn_high:turn_low]
        pauses.next = starting or not (turn_open or granted_before)
        spaced.next = spacing <= 1

    @always_comb
    def end_round():
        ready.next = open_now or (beat_grant and round_ends)

    @always_comb
    def drive():
        round_ready.next = ready
        beat_valid.next = valid
        beat_round.next = current
        beat_row.next = row
        beat_word.next = word
        beat_turn_block.next = turn_block
        beat_turn_last.next = turn_ends
        beat_row_last.next = last_row
        finish.next = blank or (beat_grant and round_ends)
        idle.next = not held

    @always(clk.posedge)
    def walk():
        if beat_grant:
            turn_open.next = not turn_ends
        if ready:
            held.next = round_valid
            blank.next = round_valid and not new_valid
            open_now.next = not new_valid
            starting.next = round_valid
            valid.next = new_valid and spaced and not (beat_grant and pauses)
            row.next = new_row
            rest.next = new_rest
            last_row.next = new_rest == 0
            word.next = 0
            turn_block.next = 0
            turn_ends.next = new_single
            round_ends.next = new_single and new_rest == 0
        elif beat_grant:
            starting.next = 0
            valid.next = 1
            if turn_ends:
                row.next = after_row
                rest.next = after_rest
                last_row.next = after_rest == 0
                word.next = 0
                turn_block.next = 0
                turn_ends.next = single
                round_ends.next = single and after_rest == 0
            else:
                turn_ends.next = next_ends
                round_ends.next = next_ends and last_row
                if word == last_word:
                    word.next = 0
                    turn_block.next = turn_block + 1
                else:
                    word.next = word + 1
        else:
            valid.next = spaced or not starting
        if rst:
            held.next = 0
            blank.next = 0
            open_now.next = 1
            valid.next = 0
            starting.next = 0
            turn_open.next = 0

    @always(clk.posedge)
    def keep_round():
        if ready and round_valid:
            current.next = round_data
            single.next = new_single

    @always(clk.posedge)
    def space():
        granted_before.next = beat_grant
        if beat_grant and pauses:
            spacing.next = MINIMUM_ROUND - 1
        elif spacing != 0:
            spacing.next = spacing - 1
        if rst:
            granted_before.next = 0
            spacing.next = 0

    return instances()
