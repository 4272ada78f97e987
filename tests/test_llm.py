"""`mozg.load` and what it gives: text, ids, logits, steps; and the message for every request it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import ODD, bits, checkpoint, prompt

import mozg
from mozg.checkpoint import load_checkpoint
from mozg.driver import Row, RowError
from mozg.llm import LLM, RequestError
from mozg.random_checkpoint import make_random_checkpoint
from mozg.score import MODEL_ROWS, Score, score
from mozg.verify import Lockstep, model_driver, verify
from rtl.common.config import PRESETS

IDS = prompt(70, 9)


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM(checkpoint(), PRESETS["edge"], "model")


@pytest.fixture(scope="module")
def shakespeare() -> LLM:
    return mozg.load("shakespeare", chip="edge", device="model")


def test_ids_and_text_of_the_shipped_model(shakespeare: LLM) -> None:
    """A known text: whatever changes it changed the numbers."""
    result = shakespeare.generate("ROMEO:", max_new_tokens=36)
    assert result.text == "\nI will be the consul of the people,"
    assert result.ids == shakespeare.checkpoint.tokenizer.encode(result.text)
    assert result.prompt_ids == shakespeare.checkpoint.tokenizer.encode("ROMEO:")
    assert result.stopped == "length"


def test_greedy_text_of_the_chip_is_that_of_float32_at_first(shakespeare: LLM) -> None:
    reference = mozg.load("shakespeare", device="float").generate("ROMEO:", max_new_tokens=20)
    assert shakespeare.generate("ROMEO:", max_new_tokens=20).text == reference.text


def test_perplexity_of_a_piece_of_text_is_that_of_float32(shakespeare: LLM) -> None:
    text = "Now is the winter of our discontent\nMade glorious summer by this sun of York;\n" * 2
    ids = shakespeare.checkpoint.tokenizer.encode(text)
    chip = score(shakespeare, ids)
    exact = score(mozg.load("shakespeare", device="float"), ids)
    assert chip.tokens == exact.tokens == len(ids) - 1
    assert chip.perplexity == pytest.approx(exact.perplexity, rel=0.01)


def test_steps_say_what_was_done(llm: LLM) -> None:
    result = llm.generate(IDS, max_new_tokens=3)
    assert [(s.kind, s.rows, s.position, s.samples) for s in result.steps] == [
        ("prefill", 4, 0, False),
        ("prefill", 4, 4, False),
        ("prefill", 1, 8, True),
        ("decode", 1, 9, True),
        ("decode", 1, 10, True),
    ]
    assert result.cycles == 0 and len(result.ids) == 3
    assert result.as_dict()["steps"][0] == {
        "kind": "prefill",
        "rows": 4,
        "position": 0,
        "cycles": 0,
        "counters": {},
        "samples": False,
    }


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_tokens_do_not_depend_on_chip_chunk_or_earlier_requests(temperature: float, weights: str) -> None:
    found = set()
    for chip, chunks in (("tiny", (1, 2)), ("edge", (3, 4)), ("server", (None, 5))):
        with LLM(checkpoint(), PRESETS[chip], "model", weights, fill=0xFF) as llm:
            for chunk in chunks:
                result = llm.generate(IDS, 20, temperature, seed=42, chunk=chunk, want_logits=True)
                found.add((tuple(result.ids), bits(result.logits).tobytes()))
    assert len(found) == 1


def test_seed_decides_the_text(llm: LLM) -> None:
    texts = [llm.generate(IDS, 20, 1.0, seed=seed).ids for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_logits_are_those_of_generation(llm: LLM) -> None:
    result = llm.generate(IDS, 5, want_logits=True)
    logits = llm.logits([*IDS, *result.ids[:-1]])
    assert logits.shape == (13, 70) and logits.dtype == np.float32
    assert (bits(logits[8:]) == bits(result.logits)).all()
    assert result.ids == [int(row.argmax()) for row in result.logits]


def test_float_device_samples_as_the_chip_does(llm: LLM) -> None:
    with LLM(checkpoint(), PRESETS["edge"], "float") as reference:
        logits = llm.logits(IDS)[-1]
        chosen = reference.choose(logits, 8, 0.9, 7)
    assert chosen == llm.generate(IDS, 1, 0.9, seed=7).ids[0]


@pytest.mark.parametrize("device", ["model", "float"])
def test_stop_id_ends_the_text(device: str) -> None:
    with LLM(checkpoint(), PRESETS["edge"], device) as llm:
        free = llm.generate(IDS, 10, 1.0, seed=3)
        stop = free.ids[4]
        result = llm.generate(IDS, 10, 1.0, seed=3, stop=[stop])
    assert result.ids == free.ids[: free.ids.index(stop) + 1] and result.stopped == "stop"


def test_end_of_text_is_the_stop_id_and_no_part_of_the_text(tmp_path: Path) -> None:
    import shutil

    shipped = load_checkpoint("shakespeare")
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(shipped.path / name, tmp_path)
    comma = shipped.tokenizer.encode(",")[0]
    config = (shipped.path / "config.json").read_text().replace('"eos_token_id": null', f'"eos_token_id": {comma}')
    (tmp_path / "config.json").write_text(config)
    result = mozg.load(tmp_path, device="model").generate("ROMEO:", 60)
    assert result.text == "\nI will be the consul of the people"
    assert result.ids[-1] == comma and result.stopped == "stop"


def test_context_is_used_to_its_end(llm: LLM) -> None:
    assert len(llm.generate(IDS, ODD["context"] - len(IDS) + 1).ids) == 29
    assert len(llm.generate(prompt(70, 37), 1).ids) == 1
    assert llm.logits(prompt(70, 37)).shape == (37, 70)


def test_score_counts_every_token_once(llm: LLM) -> None:
    ids = prompt(70, 100)
    found = score(llm, ids)
    assert (found.tokens, found.windows, found.window) == (99, 3, 37)
    wide = LLM(checkpoint(), PRESETS["edge"], "model", rows=MODEL_ROWS)
    assert score(wide, ids).nats == found.nats
    assert "over 99 tokens, cut into 3 windows of 37 that do not overlap" in found.describe()


def test_verify_compares_a_device_with_the_model() -> None:
    llm = LLM(checkpoint(), PRESETS["edge"], "model", fill=0xFF)
    moves = []
    result = verify(llm, IDS, 5, 0.7, 3, progress=lambda done, total: moves.append((done, total)))
    assert result.passed and result.difference is None
    assert (result.steps, result.tokens, result.logits) == (7, 5, 13 * 70)
    assert moves[-1] == (7, 7) and result.float_error > 0 and result.float_same > 6
    assert result.ids[9:] == llm.generate(IDS, 5, 0.7, 3).ids


def test_verify_names_the_first_difference() -> None:
    llm = LLM(checkpoint(), PRESETS["edge"], "model")
    address = next(a for a, name in llm.image.names.items() if name == "layer1.k.bias")
    llm.driver.device._memory[address : address + 4] = np.float32([9.0]).view(np.uint8)
    llm.driver.device.machine.forget_weights()
    result = verify(llm, IDS, 5)
    assert not result.passed
    assert result.difference.startswith("step 1: row ") and ", logit 0: RTL " in result.difference


def test_verify_says_where_a_device_that_stops_went_wrong() -> None:
    llm = LLM(checkpoint(), PRESETS["edge"], "model")
    llm.driver.device._memory[next(a for a, name in llm.image.names.items() if name == "layer0.q.weight")] = 255
    llm.driver.device.machine.forget_weights()
    result = verify(llm, IDS, 5)
    assert result.difference.startswith("step 1: row 0: RTL infinity or NaN at position 0: ")
    assert ", model no fault" in result.difference


def test_verify_sees_that_another_row_is_at_fault() -> None:
    """Both stop for a row, not the same one; where it is the same, the row's fault is the answer."""
    llm = LLM(checkpoint(), PRESETS["edge"], "model", fill=0xFF)
    table = next(address for address, name in llm.image.names.items() if name == "token_embedding")
    stride = llm.image.program[0].fields["row_stride"]
    steps = Lockstep(llm.driver, model_driver(llm))
    rows = [Row(0, position, token) for position, token in enumerate((3, 4, 5))]
    infinite = np.float32([np.inf]).view(np.uint8)
    llm.driver.device.write_memory(table + 4 * stride, infinite)
    steps.model.device.write_memory(table + 5 * stride, infinite)
    _, _, difference = steps.step(rows)
    assert difference.startswith("step 1: row 1: RTL infinity or NaN at position 1: ")
    assert difference.partition("; first")[0].endswith("model no fault")
    llm.driver.device.write_memory(table + 5 * stride, infinite)
    steps.model.device.write_memory(table + 4 * stride, infinite)
    with pytest.raises(RowError, match="^row 1: infinity or NaN at position 1: "):
        steps.step(rows)


def test_verify_sees_a_difference_in_the_cache_alone() -> None:
    llm = LLM(checkpoint(), PRESETS["edge"], "model")
    read = llm.driver.kv_bytes
    calls = []

    def kv_bytes() -> np.ndarray:
        found = read()
        calls.append(0)
        found[llm.image.slot_bytes + 7] ^= len(calls) > 1
        return found

    llm.driver.kv_bytes = kv_bytes
    result = verify(llm, IDS, 5)
    place = llm.image.regions["kv"].base + llm.image.slot_bytes + 7
    assert result.difference == f"step 1: KV cache at {place:#x} (slot 1, layer 0, byte 7): RTL 0x01, model 0x00"


# Refusals.


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": np.array([], dtype=int)}, "the prompt is empty: give at least one token"),
        ({"prompt": [70]}, "prompt id 70 is outside the vocabulary: expected 0 to 69"),
        ({"prompt": [-1]}, "prompt id -1 is outside the vocabulary: expected 0 to 69"),
        ({"prompt": [1.5]}, "prompt id 1.5 is not an integer"),
        ({"prompt": [True]}, "prompt id True is not an integer"),
        ({"prompt": [1] * 38}, "the prompt has 38 tokens, the context is 37: shorten it"),
        (
            {"max_new_tokens": 30},
            "9 prompt tokens and 30 new ones need 38 positions, the context is 37: ask for at most 29 new tokens",
        ),
        ({"max_new_tokens": 0}, "max_new_tokens is 0: expected at least 1"),
        ({"temperature": -1.0}, "temperature is -1.0: expected 0 (greedy) or a number from 1e-06 up"),
        ({"temperature": float("nan")}, "temperature is nan: expected 0 (greedy) or a number from 1e-06 up"),
        ({"temperature": float("inf")}, "temperature is inf: expected 0 (greedy) or a number from 1e-06 up"),
        ({"temperature": 1e-9}, "temperature is 1e-09: expected 0 (greedy) or a number from 1e-06 up"),
        ({"seed": -1}, "seed is -1: expected 0 to 4294967295"),
        ({"seed": 1 << 32}, "seed is 4294967296: expected 0 to 4294967295"),
        ({"stop": [1, 2, 3]}, "3 stop ids: the chip compares at most 2"),
        ({"stop": [70]}, "stop id 70 is outside the vocabulary: expected 0 to 69"),
        ({"prompt": 3}, "prompt is 3: expected text or a sequence of token ids"),
        ({"prompt": np.array(5)}, "prompt is array(5): expected text or a sequence of token ids"),
        ({"temperature": 10**400}, "temperature is inf: expected 0 (greedy) or a number from 1e-06 up"),
        ({"max_new_tokens": 2.5}, "max_new_tokens is 2.5: expected an integer"),
        ({"seed": 1.5}, "seed is 1.5: expected an integer"),
        ({"stop": 5}, "stop is 5: expected a sequence of at most two token ids"),
        ({"stop": [1.5]}, "stop id 0 is 1.5: expected an integer"),
        ({"temperature": "warm"}, "temperature is 'warm': expected a number"),
        ({"chunk": 0}, "chunk is 0: chip 'edge' takes 1 to 4 tokens a step"),
        ({"chunk": 5}, "chunk is 5: chip 'edge' takes 1 to 4 tokens a step"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_a_request(llm: LLM, request_: dict, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        llm.generate(**{"prompt": IDS, "max_new_tokens": 3} | request_)
    assert str(caught.value) == message


def test_refuses_text_without_a_tokenizer(llm: LLM) -> None:
    with pytest.raises(mozg.MozgError, match="has no tokenizer.json and no vocab.json with merges.txt"):
        llm.generate("text")
    assert llm.generate(IDS, 2).text == ""


def test_refuses_text_that_is_not_unicode(shakespeare: LLM) -> None:
    with pytest.raises(RequestError, match="^the prompt is not UTF-8 text: give it in UTF-8, or as ids$"):
        shakespeare.generate("a\udcff")


def test_chips_own_context_is_named() -> None:
    llm = mozg.load("shakespeare", chip="tiny", device="model")
    with pytest.raises(RequestError, match=r"the context is 128 \(of chip 'tiny'\): ask for at most 128 new tokens"):
        llm.generate("a", 200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chip": "huge"}, "chip 'huge' is unknown: expected one of tiny, edge, server"),
        ({"device": "gpu"}, "device 'gpu' is unknown: expected one of model, verilator, icarus, serial, float"),
        ({"device": "model", "weights": ["mxint8"]}, "weights ['mxint8'] is unknown: expected one of mxint8, mxfp4"),
        ({"device": "model", "foo": 1}, "option 'foo' is unknown: the model device takes rows"),
        ({"device": "serial", "foo": 1}, "option 'foo' is unknown: the serial device takes port, baud"),
        ({"device": "float", "foo": 1}, "option 'foo' is unknown: the float device takes no options"),
        ({"device": "model", "rows": -1}, "rows is -1: expected an integer from 4 up, the rows of the chip"),
        ({"device": "model", "slots": "a"}, "'a' KV slots asked for: chip 'edge' has 1 to 16"),
        ({"device": "model", "fill": 300}, "fill is 300: expected a byte, 0 to 255"),
        ({"device": "float", "weights": "int4"}, "weights 'int4' is unknown: expected one of mxint8, mxfp4"),
    ],
    ids=str,
)
def test_refuses_unknown_names(options: dict, message: str) -> None:
    with pytest.raises(mozg.MozgError) as caught:
        mozg.load("shakespeare", **options)
    assert str(caught.value) == message


def test_refuses_what_is_no_path() -> None:
    with pytest.raises(mozg.MozgError, match="^model None: expected a directory, or a model that comes with mozg$"):
        mozg.load(None, device="model")


def test_a_chip_with_fewer_slots_than_rows_needs_no_option() -> None:
    chip = replace(PRESETS["tiny"], name="one_slot", slots=1)
    with LLM(checkpoint(), chip, "model") as llm, LLM(checkpoint(), PRESETS["tiny"], "model") as two:
        assert llm.image.slots == 1
        assert [one.ids for one in llm.generate([[1, 2], [3]], 3)] == [
            two.generate(ids, 3).ids for ids in ([1, 2], [3])
        ]


def test_perplexity_beyond_a_float_is_infinite() -> None:
    found = Score(1e6, 3, 1, 8)
    assert found.perplexity == float("inf")
    assert found.describe().startswith("perplexity inf (1000000.00000 nats a token)")


def test_refuses_a_text_too_short_to_score(llm: LLM) -> None:
    with pytest.raises(RequestError, match="the text has 1 tokens: at least 2 are needed to score one"):
        score(llm, [1])


def test_overflow_of_the_arithmetic_is_an_error_not_a_token(tmp_path: Path) -> None:
    """Weights that are finite, but whose products are not."""
    from mozg import tensor_file
    from mozg.random_checkpoint import random_tensors, write_weights

    make_random_checkpoint(tmp_path, layers=1, heads=1, width=32, context=8, vocabulary=10)
    tensors = random_tensors(1, 32, 128, 8, 10, True, 0)
    tensors["h.0.mlp.c_proj.bias"][:] = np.float32(3e38)
    write_weights(tmp_path, tensors)
    assert tensor_file.read_header(tmp_path / "model.safetensors")
    for device, reason in (("model", "^infinity or NaN at position 0"), ("float", "infinity or NaN at pos")):
        with mozg.load(tmp_path, device=device) as llm, pytest.raises(mozg.MozgError, match=reason):
            llm.generate([1], 2)


def test_a_step_that_was_interrupted_does_not_spoil_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook the LLM lives on after Ctrl-C, which may have left the chip in the middle of a run."""
    llm = LLM(checkpoint(), PRESETS["tiny"], "model")
    expected = llm.generate(IDS[:5], 3).ids
    left = llm.driver

    def interrupt(_: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(left.device, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        llm.generate(IDS[:5], 3)
    assert llm.generate(IDS[:5], 3).ids == expected
    assert llm.driver is not left


def test_ids_of_an_iterator() -> None:
    assert LLM(checkpoint(), PRESETS["tiny"], "model").ids_of(iter([1, 2, 3])) == [1, 2, 3]
