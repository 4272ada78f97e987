"""From a round (a block, all its rows) to beats: row by row, word by word."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import bits_for
from rtl.common.interfaces import MINIMUM_ROUND
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.passes import round_bits, round_fields

ROW_INDEX_0, ROW_INDEX_1, ROW_INDEX_2, ROW_INDEX_3 = (
    0xAAAA,
    0xCCCC,
    0xF0F0,
    0xFF00,
)  # rows whose number has bit k


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
    current = Signal(intbv(0)[round_bits(config) :])
    row = Signal(intbv(0)[index_bits:])
    rest = Signal(intbv(0)[32:])  # rows after the present one
    no_rows = Signal(bool(0))
    word = Signal(intbv(0)[bits_for(config.words) :])
    turn_block = Signal(intbv(0)[8:])
    starting = Signal(bool(0))  # no beat of the round has gone
    turn_open = Signal(bool(0))
    granted_before = Signal(bool(0))
    spacing = Signal(intbv(0)[4:])

    ahead = Signal(intbv(0)[32:])
    lowest = Signal(intbv(0)[32:])
    folded = Signal(intbv(0)[16:])
    lowest_row = Signal(intbv(0)[5:])
    valid = Signal(bool(0))
    turn_ends = Signal(bool(0))
    round_ends = Signal(bool(0))
    ready = Signal(bool(0))

    sink = unused(lowest_row, 5)

    @always_comb
    def offer():
        valid.next = held and not no_rows and not (starting and spacing != 0)
        turn_ends.next = current[one_beat_bit] or (word == last_word and turn_block == current[turn_high:turn_low])

    @always_comb
    def end_round():
        round_ends.next = held and (no_rows or (beat_grant and turn_ends and rest == 0))

    @always_comb
    def look_ahead():
        ready.next = round_ends or not held
        ahead.next = rest
        if round_ends or not held:
            ahead.next = concat(intbv(0)[32 - rows :], round_data[rows_high:rows_low])

    @always_comb
    def find_lowest():
        lowest.next = ahead & (~ahead + 1)

    @always_comb
    def fold():
        folded.next = lowest[16:] | lowest[32:16]

    @always_comb
    def number_lowest():
        lowest_row.next = concat(
            lowest[32:16] != 0,
            (folded & ROW_INDEX_3) != 0,
            (folded & ROW_INDEX_2) != 0,
            (folded & ROW_INDEX_1) != 0,
            (folded & ROW_INDEX_0) != 0,
        )

    @always_comb
    def drive():
        round_ready.next = ready
        beat_valid.next = valid
        beat_round.next = current
        beat_row.next = row
        beat_word.next = word
        beat_turn_block.next = turn_block
        beat_turn_last.next = turn_ends
        beat_row_last.next = rest == 0
        finish.next = round_ends
        idle.next = not held

    @always(clk.posedge)
    def walk():
        if beat_grant:
            turn_open.next = not turn_ends
            starting.next = 0
            if turn_ends:
                word.next = 0
                turn_block.next = 0
            elif word == last_word:
                word.next = 0
                turn_block.next = turn_block + 1
            else:
                word.next = word + 1
        if (beat_grant and turn_ends) or ready:
            row.next = lowest_row[index_bits:]
            rest.next = ahead & ~lowest
        if ready:
            held.next = round_valid
            starting.next = round_valid
        if ready and round_valid:
            current.next = round_data
            no_rows.next = round_data[rows_high:rows_low] == 0
        if rst:
            held.next = 0
            starting.next = 0
            turn_open.next = 0
            word.next = 0
            turn_block.next = 0

    @always(clk.posedge)
    def space():
        granted_before.next = beat_grant
        if beat_grant and (starting or not (turn_open or granted_before)):
            spacing.next = MINIMUM_ROUND - 1
        elif spacing != 0:
            spacing.next = spacing - 1
        if rst:
            granted_before.next = 0
            spacing.next = 0

    return instances()
