"""The scheduler's policy, by hand-made cases and by random ones."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mozg.scheduler import Part, Scheduler


def simulate(rows: int, slots: int, prompts: list[int], new: list[int], chunk: int | None = None) -> list[list[Part]]:
    """The steps of sequences of `prompts` tokens that end after `new` ones."""
    scheduler, steps, made = Scheduler(rows, slots, prompts, chunk), [], Counter()
    while parts := scheduler.plan():
        assert scheduler.plan() == parts  # a plan that did not run is the plan again
        for part in parts:
            made[part.sequence] += part.samples
        steps.append(parts)
        scheduler.advance(parts, [one.sequence for one in parts if made[one.sequence] == new[one.sequence]])
    assert not scheduler.waiting and not scheduler.running
    return steps


def shape(steps: list[list[Part]]) -> list[list[tuple[int, int, int, int]]]:
    return [[(part.sequence, part.slot, part.position, part.rows) for part in parts] for parts in steps]


def test_one_prompt_takes_all_rows_and_then_one() -> None:
    steps = simulate(4, 4, [6], [3])
    assert shape(steps) == [[(0, 0, 0, 4)], [(0, 0, 4, 2)], [(0, 0, 6, 1)], [(0, 0, 7, 1)]]
    assert [(part.samples, part.prompt) for (part,) in steps] == [
        (False, True),
        (True, True),
        (True, False),
        (True, False),
    ]


def test_a_prompt_is_taken_in_chunks_beside_a_running_decode() -> None:
    assert shape(simulate(4, 4, [2, 7], [3, 1])) == [
        [(0, 0, 0, 2), (1, 1, 0, 2)],
        [(0, 0, 2, 1), (1, 1, 2, 3)],
        [(0, 0, 3, 1), (1, 1, 5, 2)],
    ]


def test_a_waiting_prompt_joins_in_the_slot_of_one_that_ended() -> None:
    assert shape(simulate(2, 2, [1, 1, 3], [1, 3, 1])) == [
        [(0, 0, 0, 1), (1, 1, 0, 1)],
        [(1, 1, 1, 1), (2, 0, 0, 1)],
        [(1, 1, 2, 1), (2, 0, 1, 1)],
        [(2, 0, 2, 1)],
    ]


def test_prompts_wait_for_slots_where_there_are_fewer_than_rows() -> None:
    assert shape(simulate(4, 1, [3, 2], [2, 1])) == [[(0, 0, 0, 3)], [(0, 0, 3, 1)], [(1, 0, 0, 2)]]


def test_chunk_leaves_rows_to_the_next_prompt() -> None:
    assert shape(simulate(4, 4, [4, 4, 4], [1, 1, 1], chunk=2)) == [
        [(0, 0, 0, 2), (1, 1, 0, 2)],
        [(0, 0, 2, 2), (1, 1, 2, 2)],
        [(2, 0, 0, 2)],
        [(2, 0, 2, 2)],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, [1]), r"0 rows, 1 slots, chunk None, prompts \[1\]: expected 1 or more"),
        ((1, 0, [1]), "0 slots"),
        ((1, 1, [0]), r"prompts \[0\]"),
        ((1, 1, [1], 0), "chunk 0"),
    ],
)
def test_refuses_what_could_never_end(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scheduler(*arguments)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.sampled_from((1, 2, 3, 4, 16)),
    slots=st.integers(1, 16),
    sequences=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), max_size=40),
    chunk=st.none() | st.integers(1, 16),
)
def test_policy_holds_for_any_sequences(
    rows: int, slots: int, sequences: list[tuple[int, int]], chunk: int | None
) -> None:
    prompts, new = [length for length, _ in sequences], [count for _, count in sequences]
    steps = simulate(rows, slots, prompts, new, chunk)
    taken: dict[int, int] = dict.fromkeys(range(len(sequences)), 0)  # tokens that ran
    joined: list[int] = []
    at: dict[int, int] = {}  # slot of each that runs
    for parts in steps:
        assert 1 <= sum(part.rows for part in parts) <= rows
        assert all(part.rows >= 1 for part in parts)
        assert len({part.sequence for part in parts}) == len(parts)
        before = [one for one in joined if one in at]
        for part in parts:
            sequence = part.sequence
            assert part.position == taken[sequence]  # every token once, in order
            if sequence not in at:
                assert part.slot not in at.values() and part.slot < slots
                at[sequence] = part.slot
                joined.append(sequence)
            assert part.slot == at[sequence]  # from its first token to its last
            taken[sequence] += part.rows
            assert part.samples == (taken[sequence] >= prompts[sequence])
            assert part.prompt == (part.position < prompts[sequence])
            assert part.rows == 1 if not part.prompt else part.rows <= min(chunk or rows, prompts[sequence])
        # Every sequence that generates has a row, and so has the oldest prompt that has begun.
        present = {part.sequence for part in parts}
        prompting = [one for one in before if not _generates(one, taken, prompts, parts)]
        assert set(before) - set(prompting) <= present
        assert not prompting or prompting[0] in present
        # No row stays free while a prompt could use it.
        if sum(part.rows for part in parts) < rows:
            assert len(joined) == len(sequences) or len(at) == min(rows, slots)
            assert all(_full(part, chunk or rows, prompts) for part in parts if part.prompt)
            assert set(prompting) <= present
        for part in parts:
            if taken[part.sequence] == prompts[part.sequence] + new[part.sequence] - 1:
                del at[part.sequence]
    assert joined == sorted(joined) == list(range(len(sequences)))  # in the order of the prompts, and all
    assert all(taken[one] == prompts[one] + new[one] - 1 for one in taken)  # the last new token is not fed back


def _generates(sequence: int, taken: dict[int, int], prompts: list[int], parts: list[Part]) -> bool:
    """Whether it had all its prompt before this step."""
    now = sum(part.rows for part in parts if part.sequence == sequence)
    return taken[sequence] - now >= prompts[sequence]


def _full(part: Part, chunk: int, prompts: list[int]) -> bool:
    return part.rows == min(chunk, prompts[part.sequence] - part.position)
