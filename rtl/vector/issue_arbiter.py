"""Two threads, one pipeline: whole turns of a row, thread D first."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances

from rtl.convert import module


@module
def issue_arbiter(
    clk,
    rst,
    drain_valid,
    drain_round,
    drain_row,
    drain_word,
    drain_turn_block,
    drain_turn_last,
    drain_row_last,
    softmax_valid,
    softmax_round,
    softmax_row,
    softmax_word,
    softmax_turn_block,
    softmax_turn_last,
    softmax_row_last,
    drain_grant,
    softmax_grant,
    beat_valid,
    beat_thread,
    beat_round,
    beat_row,
    beat_word,
    beat_turn_block,
    beat_turn_last,
    beat_row_last,
    *,
    config,
):
    """Grant the one that has a beat, D before S, but never between the beats of a turn.

    A walker offers the beats of a turn without a break, so only S needs protection. Ports: clk, rst; drain_*,
    softmax_*: beats offered (round_walker) and their grants in the same cycle; beat_*: the one granted,
    beat_thread 1 for S.
    """
    softmax_open = Signal(bool(0))
    for_drain, for_softmax = [Signal(bool(0)) for _ in range(2)]

    @always_comb
    def grant():
        for_drain.next = drain_valid and not softmax_open
        for_softmax.next = softmax_valid and (softmax_open or not drain_valid)

    @always_comb
    def choose():
        drain_grant.next = for_drain
        softmax_grant.next = for_softmax
        beat_valid.next = for_drain or for_softmax
        beat_thread.next = for_softmax
        if for_softmax:
            beat_round.next = softmax_round
            beat_row.next = softmax_row
            beat_word.next = softmax_word
            beat_turn_block.next = softmax_turn_block
            beat_turn_last.next = softmax_turn_last
            beat_row_last.next = softmax_row_last
        else:
            beat_round.next = drain_round
            beat_row.next = drain_row
            beat_word.next = drain_word
            beat_turn_block.next = drain_turn_block
            beat_turn_last.next = drain_turn_last
            beat_row_last.next = drain_row_last

    @always(clk.posedge)
    def hold_turn():
        if for_softmax:
            softmax_open.next = not softmax_turn_last
        if rst:
            softmax_open.next = 0

    return instances()
