"""The float model in float32 and float64, against plain loops, and against what the shipped model is known by."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mozg.checkpoint import Checkpoint, load_checkpoint
from mozg.random_checkpoint import make_random_checkpoint
from mozg.reference import (
    ReferenceModel,
    gelu,
    gelu_new,
    negative_log_likelihood,
    score,
    softmax,
    windows,
)
from verif import shared_data

VARIATIONS = [
    {},
    {"activation": "gelu", "tied": False},
    {"scale_attn_by_inverse_layer_idx": True, "hidden": 50},
    {"scale_attn_weights": False, "layer_norm_epsilon": 0.01},
]
# Greedy continuation of "ROMEO:\n" by the shipped model; the closest decision is won by 0.031.
GREEDY = "I will be the consul of the people,\nThat I have should be th"
# Nats a character over the first 20 windows of the held-out text.
FIRST_WINDOWS = 1.33755
IDS = [5, 0, 9, 9, 1, 30, 7]


def random_model(path: Path, **keys: object) -> Checkpoint:
    sizes = {"layers": 2, "heads": 3, "width": 24, "context": 16, "vocabulary": 40}
    return load_checkpoint(make_random_checkpoint(path, **sizes, **keys))


def by_loops(checkpoint: Checkpoint, ids: list[int]) -> np.ndarray:
    """GPT-2 once more, one token and one head at a time in plain floats; logits [len(ids), vocabulary]."""
    config = checkpoint.config

    def norm(x: np.ndarray, ln) -> np.ndarray:
        mean = math.fsum(x) / len(x)
        variance = math.fsum((value - mean) ** 2 for value in x) / len(x)
        return np.array([(value - mean) / math.sqrt(variance + config.epsilon) for value in x]) * ln.gamma + ln.beta

    def apply(x: np.ndarray, linear) -> np.ndarray:
        columns = linear.weight.astype(np.float64).T
        return np.array([math.fsum(x * column) for column in columns]) + linear.bias

    def activate(x: float) -> float:
        if config.activation == "gelu":
            return x * (1 - math.erfc(x / math.sqrt(2)) / 2)
        return x / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    keys: list[list[np.ndarray]] = [[] for _ in checkpoint.layers]
    values: list[list[np.ndarray]] = [[] for _ in checkpoint.layers]
    logits = []
    for position, token in enumerate(ids):
        x = checkpoint.wte[token].astype(np.float64) + checkpoint.wpe[position]
        for index, layer in enumerate(checkpoint.layers):
            normed = norm(x, layer.ln_1)
            query = apply(normed, layer.q)
            keys[index].append(apply(normed, layer.k))
            values[index].append(apply(normed, layer.v))
            mixed = np.zeros(config.width)
            for head in range(config.heads):
                part = slice(head * config.head_dim, (head + 1) * config.head_dim)
                factor = config.attention_scale(index)
                weights = [math.exp(factor * math.fsum(query[part] * key[part])) for key in keys[index]]
                for weight, value in zip(weights, values[index], strict=True):
                    mixed[part] += weight / math.fsum(weights) * value[part]
            x = x + apply(mixed, layer.attention_out)
            hidden = [activate(value) for value in apply(norm(x, layer.ln_2), layer.mlp_in)]
            x = x + apply(np.array(hidden), layer.mlp_out)
        logits.append(checkpoint.lm_head.astype(np.float64) @ norm(x, checkpoint.ln_f))
    return np.array(logits)


@pytest.mark.parametrize("keys", VARIATIONS)
def test_float64_agrees_with_plain_loops(tmp_path: Path, keys: dict) -> None:
    checkpoint = random_model(tmp_path, **keys)
    got = ReferenceModel(checkpoint).forward(IDS)
    assert got.shape == (len(IDS), 40)
    np.testing.assert_allclose(got, by_loops(checkpoint, IDS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("keys", VARIATIONS)
def test_float32_agrees_with_float64(tmp_path: Path, keys: dict) -> None:
    checkpoint = random_model(tmp_path, **keys)
    narrow = ReferenceModel(checkpoint, np.float32).forward(IDS)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, ReferenceModel(checkpoint).forward(IDS), rtol=0, atol=1e-5)


def test_shipped_model_float32_agrees_with_float64() -> None:
    checkpoint = load_checkpoint("shakespeare")
    ids = checkpoint.tokenizer.encode("KING RICHARD:\nNow is the winter of our discontent\n" * 5)
    narrow, wide = (ReferenceModel(checkpoint, dtype).forward(ids) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=5e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cuts", [[1, 1, 1, 1, 1, 1, 1], [3, 1, 3], [6, 1]])
def test_cache_changes_nothing(tmp_path: Path, dtype: type, cuts: list[int]) -> None:
    model = ReferenceModel(random_model(tmp_path), dtype)
    cache, start, pieces = model.new_cache(), 0, []
    for size in cuts:
        pieces.append(model.forward(IDS[start : start + size], cache))
        start += size
        assert cache.length == start
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(np.concatenate(pieces), model.forward(IDS), rtol=0, atol=tolerance)


def test_step_is_forward_of_one_token(tmp_path: Path) -> None:
    model = ReferenceModel(random_model(tmp_path))
    cache = model.new_cache()
    steps = np.array([model.step(token, cache) for token in IDS])
    np.testing.assert_allclose(steps, model.forward(IDS), rtol=0, atol=1e-12)


def test_future_tokens_do_not_matter(tmp_path: Path) -> None:
    model = ReferenceModel(random_model(tmp_path))
    changed = [*IDS[:4], 2, 2, 2]
    np.testing.assert_array_equal(model.forward(IDS)[:4], model.forward(changed)[:4])
    assert np.abs(model.forward(IDS)[4:] - model.forward(changed)[4:]).max() > 0.1


def test_shipped_model_writes_shakespeare() -> None:
    checkpoint = load_checkpoint("shakespeare")
    model = ReferenceModel(checkpoint, np.float32)
    cache, ids = model.new_cache(), checkpoint.tokenizer.encode("ROMEO:\n")
    logits = model.forward(ids, cache)[-1]
    text = checkpoint.tokenizer.stream()
    written = ""
    for _ in range(len(GREEDY)):
        token = int(logits.argmax())
        written += text.push(token)
        logits = model.step(token, cache)
    assert written == GREEDY


def test_shipped_model_scores_held_out_text() -> None:
    """The first 20 of the 436 windows; the slow test below has all of them."""
    nats, count = held_out_score(np.float32, 20 * 256 + 1)
    assert count == 20 * 256
    assert nats == pytest.approx(FIRST_WINDOWS, abs=1e-4)


@pytest.mark.slow
def test_shipped_model_is_as_good_as_published() -> None:
    nats, count = held_out_score(np.float32)
    assert count == 111_539
    assert nats == pytest.approx(1.5116, abs=1e-4)
    assert math.exp(nats) == pytest.approx(4.534, abs=1e-3)


def held_out_score(dtype: type, tokens: int | None = None) -> tuple[float, int]:
    text = shared_data.require("text/tinyshakespeare.txt").read_text()
    checkpoint = load_checkpoint("shakespeare")
    held_out = text[int(len(text) * 0.9) :][:tokens]
    return score(ReferenceModel(checkpoint, dtype), checkpoint.tokenizer.encode(held_out))


def test_gelu_forms_are_what_they_say() -> None:
    x = np.linspace(-6, 6, 1001)
    exact = np.array([value * (1 - math.erfc(value / math.sqrt(2)) / 2) for value in x])
    np.testing.assert_allclose(gelu(x), exact, rtol=0, atol=1e-15)
    distance = np.abs(gelu_new(x) - exact).max()
    assert 1e-4 < distance < 1e-3
    assert gelu(x.astype(np.float32)).dtype == gelu_new(x.astype(np.float32)).dtype == np.float32


def test_softmax_of_masked_and_large_values() -> None:
    got = softmax(np.array([[1000.0, 1000.0, -np.inf], [0.0, math.log(3), -np.inf]]))
    np.testing.assert_allclose(got, [[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]], rtol=1e-15)


def test_negative_log_likelihood_is_minus_log_of_softmax() -> None:
    logits = np.random.default_rng(3).normal(size=(5, 9)) * 20
    targets = [0, 8, 3, 3, 1]
    expected = -np.log(softmax(logits)[np.arange(5), targets])
    np.testing.assert_allclose(negative_log_likelihood(logits, targets), expected, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 10, 25])
def test_windows_predict_every_token_but_the_first_once(count: int) -> None:
    ids = np.arange(count)
    cut = windows(ids, 8)
    np.testing.assert_array_equal(np.concatenate([targets for _, targets in cut]), ids[1:])
    for inputs, targets in cut:
        np.testing.assert_array_equal(inputs + 1, targets)
        assert 1 <= len(inputs) <= 8


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([], "ids have shape [0], expected one dimension with at least one id"),
        ([[1, 2]], "ids have shape [1, 2], expected one dimension with at least one id"),
        ([1, 40], "id 40 is outside the vocabulary, 0 to 39"),
        ([1, -1], "id -1 is outside the vocabulary, 0 to 39"),
        ([1] * 17, "17 tokens are more than the model's context of 16"),
    ],
)
def test_refuses_ids(tmp_path: Path, ids: list, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        ReferenceModel(random_model(tmp_path)).forward(ids)
    assert str(caught.value) == reason


def test_refuses_other_formats_and_nothing_to_score(tmp_path: Path) -> None:
    checkpoint = random_model(tmp_path)
    with pytest.raises(ValueError, match="^dtype is float16, expected float32 or float64$"):
        ReferenceModel(checkpoint, np.float16)
    with pytest.raises(ValueError, match="^fewer than two ids: nothing to predict$"):
        score(ReferenceModel(checkpoint), [1])
