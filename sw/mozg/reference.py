"""GPT-2 in NumPy floating point: the model that every other one is compared with.

Shapes: n new tokens, t tokens seen so far including them, w width, h heads, d channels of a head, f hidden, v
vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .checkpoint import Checkpoint, GPTConfig, Layer, LayerNorm, Linear

Float = NDArray[np.floating[Any]]
Ids = Sequence[int] | NDArray[np.integer[Any]]

_erf = np.frompyfunc(math.erf, 1, 1)


class KVCache:
    """Keys and values of the tokens of one sequence: `keys[layer]` and `values[layer]` are [heads, length,
    head_dim]."""

    def __init__(self, config: GPTConfig, dtype: DTypeLike) -> None:
        empty = np.zeros((config.heads, 0, config.head_dim), dtype=dtype)
        self.keys = [empty] * config.layers
        self.values = [empty] * config.layers

    @property
    def length(self) -> int:
        return self.keys[0].shape[1]

    def append(self, layer: int, keys: Float, values: Float) -> tuple[Float, Float]:
        """Adds [heads, n, head_dim] of one layer; all of that layer's keys and values so far."""
        self.keys[layer] = np.concatenate([self.keys[layer], keys], axis=1)
        self.values[layer] = np.concatenate([self.values[layer], values], axis=1)
        return self.keys[layer], self.values[layer]


class ReferenceModel:
    """A checkpoint computed in `dtype`, float64 or float32."""

    def __init__(self, checkpoint: Checkpoint, dtype: DTypeLike = np.float64) -> None:
        self.config = checkpoint.config
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype is {self.dtype}, expected float32 or float64")
        cast = self._cast
        self.wte = cast(checkpoint.wte)
        self.wpe = cast(checkpoint.wpe)
        self.ln_f = cast(checkpoint.ln_f)
        self.lm_head = self.wte if checkpoint.lm_head is checkpoint.wte else cast(checkpoint.lm_head)
        self.layers = [
            Layer(**{name: cast(getattr(layer, name)) for name in Layer.__dataclass_fields__})
            for layer in checkpoint.layers
        ]

    def new_cache(self) -> KVCache:
        return KVCache(self.config, self.dtype)

    def forward(self, ids: Ids, cache: KVCache | None = None) -> Float:
        """Logits [n, vocabulary] of n token ids; row i is for the token that follows ids[i].

        With a cache the ids continue its sequence, and it then holds them too. Raises ValueError for no ids,
        for an id outside the vocabulary and for more tokens than the context.
        """
        cache = self.new_cache() if cache is None else cache
        tokens = np.asarray(ids, dtype=np.int64)
        start, end = cache.length, cache.length + tokens.size
        self._check(tokens, end)
        x = self.wte[tokens] + self.wpe[start:end]  # [n, w]
        for index, layer in enumerate(self.layers):
            x = x + self._attention(self._norm(x, layer.ln_1), layer, index, cache)  # [n, w]
            x = x + self._mlp(self._norm(x, layer.ln_2), layer)  # [n, w]
        return self._norm(x, self.ln_f) @ self.lm_head.T  # [n, v]

    def step(self, token: int, cache: KVCache) -> Float:
        """Logits [vocabulary] after one more token of the cache's sequence."""
        return self.forward([token], cache)[0]

    def _attention(self, x: Float, layer: Layer, index: int, cache: KVCache) -> Float:
        q = self._heads(_linear(x, layer.q))  # [h, n, d]
        k = self._heads(_linear(x, layer.k))  # [h, n, d]
        v = self._heads(_linear(x, layer.v))  # [h, n, d]
        k, v = cache.append(index, k, v)  # [h, t, d]
        scores = q @ k.transpose(0, 2, 1) * self.config.attention_scale(index)  # [h, n, t]
        n, t = scores.shape[1:]
        future = np.arange(t) > np.arange(t - n, t)[:, None]  # [n, t]
        weights = softmax(np.where(future, self.dtype.type(-np.inf), scores))  # [h, n, t]
        y = (weights @ v).transpose(1, 0, 2).reshape(n, self.config.width)  # [n, w]
        return _linear(y, layer.attention_out)  # [n, w]

    def _mlp(self, x: Float, layer: Layer) -> Float:
        activation = gelu_new if self.config.activation == "gelu_new" else gelu
        return _linear(activation(_linear(x, layer.mlp_in)), layer.mlp_out)  # [n, f] within, [n, w]

    def _norm(self, x: Float, norm: LayerNorm) -> Float:
        centred = x - x.mean(axis=-1, keepdims=True)  # [n, w]
        variance = (centred * centred).mean(axis=-1, keepdims=True)  # [n, 1]
        return centred / np.sqrt(variance + self.config.epsilon) * norm.gamma + norm.beta  # [n, w]

    def _heads(self, x: Float) -> Float:
        return x.reshape(-1, self.config.heads, self.config.head_dim).transpose(1, 0, 2)  # [n, w] -> [h, n, d]

    def _cast(self, part: Any) -> Any:
        if isinstance(part, np.ndarray):
            return part.astype(self.dtype, copy=False)
        return type(part)(**{name: self._cast(getattr(part, name)) for name in part.__dataclass_fields__})

    def _check(self, tokens: NDArray[np.int64], end: int) -> None:
        if tokens.ndim != 1 or tokens.size == 0:
            raise ValueError(f"ids have shape {list(tokens.shape)}, expected one dimension with at least one id")
        if tokens.min() < 0 or tokens.max() >= self.config.vocabulary:
            wrong = tokens[(tokens < 0) | (tokens >= self.config.vocabulary)][0]
            raise ValueError(f"id {wrong} is outside the vocabulary, 0 to {self.config.vocabulary - 1}")
        if end > self.config.context:
            raise ValueError(f"{end} tokens are more than the model's context of {self.config.context}")


def _linear(x: Float, linear: Linear) -> Float:
    return x @ linear.weight + linear.bias  # [n, in] -> [n, out]


def softmax(x: Float) -> Float:
    """exp(x) / sum(exp(x)) along the last axis; -inf is masked and gives 0."""
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def gelu_new(x: Float) -> Float:
    """The tanh form: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def gelu(x: Float) -> Float:
    """The exact form: x / 2 * (1 + erf(x / sqrt(2))); erf is computed in float64."""
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)).astype(x.dtype))


def negative_log_likelihood(logits: Float, targets: Ids) -> NDArray[np.float64]:
    """-log p(target) in nats, [n] float64, from logits [n, vocabulary] and n target ids."""
    wide = np.asarray(logits, dtype=np.float64)
    wide = wide - wide.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(wide, np.asarray(targets, dtype=np.int64)[:, None], axis=-1)[:, 0]
    return np.log(np.exp(wide).sum(axis=-1)) - chosen


def windows(ids: Ids, context: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Cuts ids into (inputs, targets) of at most `context` tokens that do not overlap; every id but the first
    is a target once, and the last window may be shorter."""
    tokens = np.asarray(ids, dtype=np.int64)
    return [
        (tokens[start : start + context][: tokens.size - 1 - start], tokens[start + 1 : start + 1 + context])
        for start in range(0, tokens.size - 1, context)
    ]


def score(model: ReferenceModel, ids: Ids, context: int | None = None) -> tuple[float, int]:
    """Mean nats a token over `ids` in windows that do not overlap (default: the model's context), and how
    many tokens were predicted. Perplexity is exp of the first."""
    total, count = 0.0, 0
    for inputs, targets in windows(ids, context or model.config.context):
        total += float(negative_log_likelihood(model.forward(inputs), targets).sum())
        count += targets.size
    if count == 0:
        raise ValueError("fewer than two ids: nothing to predict")
    return total / count, count
