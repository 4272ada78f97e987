"""Several sequences at once: each as it is alone, bit for bit, whatever shares its steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import bits, checkpoint, prompt

import mozg
from mozg.bandwidth import ideal_cycles, share_reached
from mozg.device.memory import DDR4
from mozg.driver import RowError
from mozg.llm import LLM, RequestError
from rtl.common.config import PRESETS

SHAPE = {"layers": 1, "heads": 2, "width": 40, "context": 40, "vocabulary": 37, "seed": 5}
BAD = 3  # the token whose embedding a test makes infinite


@pytest.fixture(scope="module")
def alone() -> LLM:
    """What every sequence is compared with: the NumPy model of a chip of another size, one sequence at a time."""
    return LLM(checkpoint(**SHAPE), PRESETS["edge"], "model")


@pytest.fixture(scope="module", params=["tiny", "edge", "server"])
def model(request: pytest.FixtureRequest) -> LLM:
    return LLM(checkpoint(**SHAPE), PRESETS[request.param], "model", fill=0xFF)


@pytest.fixture(params=["tiny", pytest.param("edge", marks=pytest.mark.slow)])
def rtl(request: pytest.FixtureRequest) -> Iterator[LLM]:
    with LLM(checkpoint(**SHAPE), PRESETS[request.param], "verilator", fill=0xFF) as llm:
        yield llm


def requests(count: int, seed: int) -> dict[str, list]:
    """Random prompts and options for each: greedy and sampled, short and long, some with stop ids."""
    random = np.random.default_rng(seed)
    prompts = [prompt(37, int(random.integers(1, 20)), int(random.integers(1 << 30))) for _ in range(count)]
    return {
        "prompt": prompts,
        "max_new_tokens": [int(random.integers(1, 22)) for _ in prompts],
        "temperature": [float(random.choice([0.0, 0.7, 1.5])) for _ in prompts],
        "seed": [int(random.integers(1 << 32)) for _ in prompts],
        "stop": [None if random.random() < 0.5 else [int(i) for i in random.integers(0, 37, 2)] for _ in prompts],
    }


def one_of(options: dict[str, list], index: int) -> dict:
    return {name: values[index] for name, values in options.items()}


def each_alone(llm: LLM, options: dict[str, list]) -> list[mozg.Generation]:
    return [llm.generate(**one_of(options, index), want_logits=True) for index in range(len(options["prompt"]))]


def check_equal(batch: mozg.Batch, alone: list[mozg.Generation]) -> None:
    """Ids, logits, end of every sequence of the batch equal those alone."""
    assert len(batch) == len(alone)
    for found, expected in zip(batch, alone, strict=True):
        assert (found.prompt_ids, found.ids, found.stopped) == (expected.prompt_ids, expected.ids, expected.stopped)
        assert found.error is None
        assert bits(found.logits).tobytes() == bits(expected.logits).tobytes()
        assert sum(step.rows for step in found.steps) == len(found.prompt_ids) + len(found.ids) - 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 9), seed=st.integers(0, 1 << 30), chunk=st.none() | st.integers(1, 2))
def test_sequences_equal_each_alone_on_the_model(
    model: LLM, alone: LLM, count: int, seed: int, chunk: int | None
) -> None:
    options = requests(count, seed)
    check_equal(model.generate(**options, want_logits=True, chunk=chunk), each_alone(alone, options))


@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_more_prompts_than_rows_and_slots(weights: str) -> None:
    """On the smallest and the largest chip; the slots of those that ended are used again."""
    options = requests(21, 4)
    options |= {"prompt": [ids[:4] for ids in options["prompt"]], "max_new_tokens": [9] * 21, "stop": [[]] * 21}
    expected = each_alone(LLM(checkpoint(**SHAPE), PRESETS["tiny"], "model", weights), options)
    for chip, slots in (("tiny", None), ("edge", 2), ("server", None)):
        with LLM(checkpoint(**SHAPE), PRESETS[chip], "model", weights, fill=0xFF, slots=slots) as llm:
            batch = llm.generate(**options, want_logits=True)
            check_equal(batch, expected)
            used = [part.slot for step in batch.steps for part in step.parts]
            assert set(used) == set(range(slots or PRESETS[chip].rows))
            assert max(len(step.parts) for step in batch.steps) == len(set(used))


@pytest.mark.parametrize("seed", range(4))
def test_sequences_on_the_rtl_equal_each_alone_on_the_model(rtl: LLM, alone: LLM, seed: int) -> None:
    options = requests(3 + 2 * seed, seed)
    batch = rtl.generate(**options, want_logits=True)
    check_equal(batch, each_alone(alone, options))
    assert all(step.cycles > 0 for step in batch.steps)
    assert batch.tokens_per_kilocycle == pytest.approx(1000 * batch.new_tokens / batch.cycles)
    assert 0 < share_reached(rtl.image, DDR4, batch.steps) < 1


def test_statistics_of_a_batch(model: LLM) -> None:
    batch = model.generate([prompt(37, 5), prompt(37, 2)], 3)
    assert batch.new_tokens == 6 and batch.cycles == 0 and batch.tokens_per_kilocycle is None
    assert sum(step.rows for step in batch.steps) == 5 + 2 + 2 * 2
    assert batch.rows_per_step == pytest.approx(11 / len(batch.steps))
    assert [one.ids for one in batch] == [batch[0].ids, batch[1].ids] == [one.ids for one in batch[:2]]
    found = batch.as_dict()
    assert [one["ids"] for one in found["results"]] == [one.ids for one in batch]
    assert found["steps"][0]["rows"] == batch.steps[0].rows and "counters" not in found["results"][0]["steps"][0]
    # Only a step in which a row samples reads the LM head.
    samples = [any(part.samples for part in step.parts) for step in batch.steps]
    assert [step.samples for step in batch.steps] == samples


def test_the_memory_limit_of_a_batch_counts_the_weights_once() -> None:
    with LLM(checkpoint(**SHAPE), PRESETS["edge"], "model") as llm:
        one, two, none = (ideal_cycles(llm.image, DDR4, lengths) for lengths in ([30], [30, 30], []))
    assert two - one == pytest.approx(one - none) and none > one - none


def test_one_value_serves_all_and_a_seed_stays_as_it_is(model: LLM) -> None:
    prompts = [prompt(37, 4), prompt(37, 4), prompt(37, 9)]
    same = model.generate(prompts, 8, 1.0, seed=3)
    assert same[0].ids == same[1].ids == model.generate(prompts[0], 8, 1.0, seed=3).ids
    other = model.generate(prompts, 8, 1.0, seed=[3, 4, 3])
    assert other[0].ids == same[0].ids != other[1].ids and other[2].ids == same[2].ids
    stop = same[0].ids[2]
    cut = model.generate(prompts, 8, 1.0, seed=3, stop=[stop])  # one list of ids: of all
    assert cut[0].ids == cut[1].ids == same[0].ids[: same[0].ids.index(stop) + 1]


def test_a_list_of_one_prompt_is_a_batch_and_ids_in_an_array_are_a_prompt(model: LLM) -> None:
    ids = prompt(37, 6)
    assert isinstance(model.generate([ids], 2), mozg.Batch)
    assert model.generate(np.array([ids, ids]), 2)[1].ids == model.generate(np.array(ids), 2).ids
    assert [one.ids for one in model.generate(iter([ids, ids]), np.array([1, 2]))] == [
        model.generate(ids, count).ids for count in (1, 2)
    ]


def test_tokens_and_ends_are_told_as_they_come(model: LLM) -> None:
    told: list[list[int]] = [[], [], []]
    ends = []
    batch = model.generate(
        [prompt(37, 3), prompt(37, 9), prompt(37, 1)],
        [9, 4, 1],
        on_token=lambda index, token, step: told[index].append(token),
        on_end=lambda index, result: ends.append((index, list(result.ids))),
    )
    assert told == [one.ids for one in batch]
    assert dict(ends) == {index: one.ids for index, one in enumerate(batch)}


def test_text_of_several_prompts() -> None:
    with mozg.load("shakespeare", chip="edge", device="model") as llm:
        prompts = ["ROMEO:", "JULIET:", "O"]
        batch = llm.generate(prompts, 12)
        assert [one.text for one in batch] == [llm.generate(one, 12).text for one in prompts]


def test_float_device_takes_several_prompts() -> None:
    with LLM(checkpoint(**SHAPE), PRESETS["edge"], "float") as llm:
        options = requests(4, 2)
        batch = llm.generate(**options)
        for index, found in enumerate(batch):
            assert found.ids == llm.generate(**one_of(options, index)).ids


# Faults.


def spoil(llm: LLM) -> np.ndarray:
    """Make the embedding of BAD infinite; what was there."""
    address = next(address for address, name in llm.image.names.items() if name == "token_embedding")
    row = address + BAD * llm.image.program[0].fields["row_stride"]
    saved = llm.driver.device.read_memory(row, 4)
    llm.driver.device.write_memory(row, np.array([np.inf], dtype="<f4").view(np.uint8))
    return saved


@pytest.mark.parametrize("device", ["model", "verilator"])
def test_a_fault_ends_its_sequence_and_leaves_the_others(device: str, alone: LLM) -> None:
    """In a prompt's chunk, in its last row, and in the middle of a text; then the slots are used by others."""
    options = {name: values[:9] for name, values in requests(40, 8).items()}
    prompts = [[token for token in ids if token != BAD] or [1] for ids in options["prompt"]]
    prompts[1][0:0] = [5, BAD]
    prompts[4] += [BAD]
    options |= {"prompt": prompts, "max_new_tokens": [8] * 9, "temperature": [1.5] * 9, "stop": [[]] * 9}
    expected = each_alone(alone, options)
    text = next(index for index in range(9) if BAD not in prompts[index] and BAD in expected[index].ids[:-1])
    with LLM(checkpoint(**SHAPE), PRESETS["tiny"], device, fill=0xFF) as llm:
        spoil(llm)
        batch = llm.generate(**options, want_logits=True)
        where = "the weights or the activations exceed the range of the chip's arithmetic"
        for index, (found, right) in enumerate(zip(batch, expected, strict=True)):
            known = prompts[index] + right.ids[:-1]
            if BAD not in known:
                assert (found.ids, found.stopped, found.error) == (right.ids, "length", None)
                continue
            at = known.index(BAD)
            assert (found.stopped, found.error) == ("fault", f"infinity or NaN at position {at}: {where}")
            assert found.ids == right.ids[: max(0, at + 1 - len(prompts[index]))]
            assert found.logits.shape == (len(found.ids), 37)
            with pytest.raises(RowError, match=f"^infinity or NaN at position {at}: "):
                llm.generate(**one_of(options, index))
        assert {batch[1].stopped, batch[4].stopped, batch[text].stopped} == {"fault"}
        assert batch[text].ids and any(one.error is None for one in batch)
        assert batch[1].as_dict()["error"] == batch[1].error


def test_every_row_at_fault_is_no_error_of_the_chip() -> None:
    with LLM(checkpoint(**SHAPE), PRESETS["tiny"], "model") as llm:
        spoil(llm)
        batch = llm.generate([[BAD], [1, BAD], [BAD], [4, 5]], 3)
        assert [one.stopped for one in batch] == ["fault", "fault", "fault", "length"]
        assert llm.generate([4, 5], 3).ids == batch[3].ids


# Refusals: one line, with the number of the prompt.


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": [[1], []]}, "prompt 2: the prompt is empty: give at least one token"),
        ({"prompt": [[1], [2], [37]]}, "prompt 3: prompt id 37 is outside the vocabulary: expected 0 to 36"),
        ({"prompt": [[1] * 41, [1]]}, "prompt 1: the prompt has 41 tokens, the context is 40: shorten it"),
        ({"prompt": [[1], 2]}, "prompt 2: prompt is 2: expected text or a sequence of token ids"),
        (
            {"prompt": [[1], [2] * 39], "max_new_tokens": 3},
            "prompt 2: 39 prompt tokens and 3 new ones need 41 positions, the context is 40: "
            "ask for at most 2 new tokens",
        ),
        ({"max_new_tokens": [1, 0]}, "prompt 2: max_new_tokens is 0: expected at least 1"),
        ({"seed": [1, 2, 3]}, "seed has 3 values for 2 prompts: give one for all, or one for each"),
        ({"temperature": [0.5]}, "temperature has 1 values for 2 prompts: give one for all, or one for each"),
        ({"seed": [1, -1]}, "prompt 2: seed is -1: expected 0 to 4294967295"),
        ({"stop": [[1, 2, 3], None]}, "prompt 1: 3 stop ids: the chip compares at most 2"),
        ({"stop": [None, 5]}, "prompt 2: stop is 5: expected a sequence of at most two token ids"),
        ({"stop": [1, 2, 3]}, "prompt 1: 3 stop ids: the chip compares at most 2"),
        ({"chunk": 99}, "prompt 1: chunk is 99: chip 'edge' takes 1 to 4 tokens a step"),
        ({"prompt": [], "seed": [1]}, "seed has 1 values for 0 prompts: give one for all, or one for each"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_a_request_before_anything_runs(alone: LLM, monkeypatch, request_: dict, message: str) -> None:
    monkeypatch.setattr("mozg.llm.serve", lambda *_: pytest.fail("ran"))
    with pytest.raises(RequestError) as caught:
        alone.generate(**{"prompt": [[1], [2]], "max_new_tokens": 2} | request_)
    assert str(caught.value) == message


@pytest.mark.parametrize("prompts", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_prompts_are_an_empty_batch_without_a_device(prompts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mozg.device.open_device", lambda *_, **__: pytest.fail("opened"))
    batch = LLM(checkpoint(**SHAPE), PRESETS["tiny"], "model").generate(prompts, max_new_tokens=[])
    assert (list(batch), len(batch), batch.steps, batch.cycles, batch.new_tokens) == ([], 0, [], 0, 0)
    assert batch.as_dict()["results"] == []


def test_an_interrupted_batch_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = LLM(checkpoint(**SHAPE), PRESETS["tiny"], "model")
    expected = [one.ids for one in llm.generate([[1, 2], [3], [4]], 4)]

    def stop(index: int, token: int, step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        llm.generate([[1, 2], [3], [4]], 4, on_token=stop)
    assert [one.ids for one in llm.generate([[1, 2], [3], [4]], 4)] == expected
