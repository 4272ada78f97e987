"""Loads a Hugging Face GPT-2 directory: configuration, weights as float32 and tokenizer.

A directory is taken as it comes: one `model.safetensors` or shards with an index, names with or without the
`transformer.` prefix, a tied or an untied LM head, float32, float16 or bfloat16. Whatever would change the
model's results is honoured or refused; a key of config.json that `transformers` does not read for GPT-2 is
not read here either. Weights are finite when they are loaded. Pickled weights (`pytorch_model.bin`) are not
read.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import models
from .errors import MozgError
from .tensor_file import Float32, TensorEntry, TensorFileError, read_header
from .tokenizer import Tokenizer, load_tokenizer

ACTIVATIONS = {"gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new", "gelu": "gelu"}
ARCHITECTURES = ("GPT2LMHeadModel", "GPT2Model")
# GPT-2's name of each dimension and the general one that `transformers` takes as well.
DIMENSIONS = {
    "layers": ("n_layer", "num_hidden_layers"),
    "heads": ("n_head", "num_attention_heads"),
    "width": ("n_embd", "hidden_size"),
    "context": ("n_positions", "max_position_embeddings"),
    "vocabulary": ("vocab_size",),
}
# Keys that change what is computed, with the only value taken.
FIXED = {"add_cross_attention": False, "is_encoder_decoder": False}
# Keys that change what is computed or stored wherever they hold anything.
EMPTY = ("quantization_config", "pruned_heads", "auto_map", "adapters")
# transformers' default, for a config.json that does not say.
GPT2_END_OF_TEXT = 50256
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PREFIX = "transformer."
CAUSAL_MASKS = ("attn.bias", "attn.masked_bias")
LARGEST_DIMENSION = 1 << 24  # far beyond any GPT-2: a larger number in config.json is a mistake
SMALLEST_EPSILON = 2.0**-126  # the smallest normal FP32; the chip takes anything less as 0


class CheckpointError(MozgError):
    """A checkpoint cannot be used: one line with what was found, what is expected and what to do."""


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT-2 and the constants of its arithmetic.

    `activation` is `gelu_new` (tanh form) or `gelu` (erf form). `attention_factor` is the factor of query . key
    in the first layer, in float64; `inverse_layer_scale` divides it by the layer's number, see
    `attention_scale`. `end_of_text` is the id after which generation stops, None where there is none.
    """

    layers: int
    heads: int
    width: int
    hidden: int
    context: int
    vocabulary: int
    activation: str
    epsilon: float
    attention_factor: float
    tied: bool
    inverse_layer_scale: bool = False
    end_of_text: int | None = None

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    def attention_scale(self, layer: int) -> float:
        """The factor of query . key in a layer, counted from 0."""
        return self.attention_factor / (layer + 1) if self.inverse_layer_scale else self.attention_factor


@dataclass(frozen=True)
class LayerNorm:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""

    gamma: Float32  # [width]
    beta: Float32  # [width]


@dataclass(frozen=True)
class Linear:
    """y = x @ weight + bias, the orientation in which GPT-2 is published."""

    weight: Float32  # [in, out]
    bias: Float32  # [out]


@dataclass(frozen=True)
class Layer:
    """One transformer block. Heads lie side by side in the outputs of q, k and v: head h is columns h *
    head_dim on."""

    ln_1: LayerNorm
    q: Linear  # [width, width]
    k: Linear  # [width, width]
    v: Linear  # [width, width]
    attention_out: Linear  # [width, width]
    ln_2: LayerNorm
    mlp_in: Linear  # [width, hidden]
    mlp_out: Linear  # [hidden, width]


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model. Every array is float32, finite, C-contiguous and read-only; `lm_head` is `wte` itself
    where the two are tied."""

    name: str
    path: Path
    config: GPTConfig
    wte: Float32  # [vocabulary, width]
    wpe: Float32  # [context, width]
    layers: tuple[Layer, ...]
    ln_f: LayerNorm
    lm_head: Float32  # [vocabulary, width]
    tokenizer: Tokenizer

    @property
    def parameters(self) -> int:
        """Number of trained values; a tied LM head counts once."""
        arrays = [self.wte, self.wpe, self.ln_f.gamma, self.ln_f.beta]
        arrays += [] if self.config.tied else [self.lm_head]
        for layer in self.layers:
            for part in (getattr(layer, field.name) for field in fields(layer)):
                arrays += [getattr(part, field.name) for field in fields(part)]
        return sum(array.size for array in arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Loads a Hugging Face GPT-2 directory, or a shipped model by its bare name (`shakespeare`).

    Raises CheckpointError for a directory that is incomplete, damaged or of another kind. A directory whose
    tokenizer files are missing or cannot be used loads: its ids work, text raises TokenizerError.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise CheckpointError(f"model {path!r}: expected a directory, or a model that comes with mozg")
    directory = models.resolve(path)
    if not directory.is_dir():
        what = "is a file, not a directory" if directory.exists() else "does not exist"
        shipped = ", ".join(models.names()) or "none"
        _refuse(
            directory,
            f"{what}; give a directory with config.json and {WEIGHTS}, or a model that comes with mozg ({shipped})",
        )
    config = read_config(directory)
    weights = _Weights(directory, config)
    width, hidden = config.width, config.hidden

    def norm(name: str) -> LayerNorm:
        return LayerNorm(weights.take(f"{name}.weight", width), weights.take(f"{name}.bias", width))

    def linear(name: str, size_in: int, size_out: int) -> Linear:
        return Linear(weights.take(f"{name}.weight", size_in, size_out), weights.take(f"{name}.bias", size_out))

    def split(both: Linear, part: int) -> Linear:
        columns = slice(part * width, (part + 1) * width)
        return Linear(_frozen(both.weight[:, columns]), _frozen(both.bias[columns]))

    wte = weights.take("wte.weight", config.vocabulary, width)
    wpe = weights.take("wpe.weight", config.context, width)
    layers = []
    for index in range(config.layers):
        block = f"h.{index}"
        qkv = linear(f"{block}.attn.c_attn", width, 3 * width)
        layers.append(
            Layer(
                ln_1=norm(f"{block}.ln_1"),
                q=split(qkv, 0),
                k=split(qkv, 1),
                v=split(qkv, 2),
                attention_out=linear(f"{block}.attn.c_proj", width, width),
                ln_2=norm(f"{block}.ln_2"),
                mlp_in=linear(f"{block}.mlp.c_fc", width, hidden),
                mlp_out=linear(f"{block}.mlp.c_proj", hidden, width),
            )
        )
    ln_f = norm("ln_f")
    lm_head = _lm_head(directory, config, weights, wte)
    weights.nothing_left()
    return Checkpoint(
        name=directory.resolve().name,
        path=directory,
        config=config,
        wte=wte,
        wpe=wpe,
        layers=tuple(layers),
        ln_f=ln_f,
        lm_head=lm_head,
        tokenizer=load_tokenizer(directory, config.vocabulary),
    )


def read_config(directory: Path) -> GPTConfig:
    """The configuration of a checkpoint directory alone. Raises CheckpointError."""
    path = directory / "config.json"
    found = _read_json(path, "download the checkpoint again with its config.json")
    if found.get("model_type") != "gpt2":
        _refuse(
            path,
            f'model_type is {_shown(found.get("model_type"))}, only "gpt2" is supported; '
            "give a checkpoint of the GPT-2 family",
        )
    architectures = [] if found.get("architectures") is None else found["architectures"]
    if not isinstance(architectures, list):
        _refuse(
            path,
            f"architectures is {_shown(architectures)}, expected a list of {' and '.join(ARCHITECTURES)}; "
            "correct config.json",
        )
    for architecture in architectures:
        if architecture not in ARCHITECTURES:
            _refuse(
                path,
                f"architectures has {_shown(architecture)}, supported are {' and '.join(ARCHITECTURES)}; "
                "export the language model without its other heads",
            )
    for key, only in FIXED.items():
        if found.get(key, only) != only:
            _refuse(
                path,
                f"{key} is {_shown(found[key])}, only {_shown(only)} is supported; give a decoder-only GPT-2",
            )
    for key in EMPTY:
        if found.get(key):
            _refuse(
                path,
                f"{key} is {_shown(found[key])}, which is not supported; "
                "give a plain GPT-2 in float32, float16 or bfloat16",
            )

    size = {name: _dimension(path, found, keys) for name, keys in DIMENSIONS.items()}
    if size["width"] % size["heads"]:
        _refuse(
            path,
            f"n_embd is {size['width']}, not a multiple of n_head, {size['heads']}; "
            "every head needs the same whole number of channels",
        )
    hidden = 4 * size["width"] if found.get("n_inner") is None else _positive_integer(path, found, "n_inner")
    activation = found.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        _refuse(
            path,
            f"activation_function is {_shown(activation)}, supported are {', '.join(ACTIVATIONS)}; "
            "give a checkpoint trained with one of these",
        )
    scale = 1 / math.sqrt(size["width"] // size["heads"]) if _flag(path, found, "scale_attn_weights", True) else 1.0
    # Changes the order of the arithmetic in half precision, not what is computed: without effect here.
    _flag(path, found, "reorder_and_upcast_attn", False)
    return GPTConfig(
        **size,
        hidden=hidden,
        activation=ACTIVATIONS[activation],
        epsilon=_epsilon(path, found),
        attention_factor=scale,
        inverse_layer_scale=_flag(path, found, "scale_attn_by_inverse_layer_idx", False),
        tied=_flag(path, found, "tie_word_embeddings", True),
        end_of_text=_end_of_text(path, found, size["vocabulary"]),
    )


class _Weights:
    """The tensors of a directory by GPT-2's own names, each taken once, with its shape checked against
    config.json."""

    def __init__(self, directory: Path, config: GPTConfig) -> None:
        self.directory = directory
        self.config = config
        self.entries: dict[str, TensorEntry] = {}
        for name, entry in _find_tensors(directory).items():
            short = name.removeprefix(PREFIX)
            if short.split(".", 2)[-1] in CAUSAL_MASKS and short.startswith("h."):
                continue
            if short in self.entries:
                _refuse(directory, f"holds {short} with and without the prefix {PREFIX}; keep one of the two")
            self.entries[short] = entry

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def take(self, name: str, *shape: int) -> Float32:
        """The tensor `name` as float32 [shape], removed from what is left."""
        entry = self.entries.pop(name, None)
        if entry is None:
            advice = "download the checkpoint again"
            if name == "lm_head.weight":
                advice = "set tie_word_embeddings to true if the model's head is wte.weight"
            _refuse(self.directory, f"tensor {name} {list(shape)} is missing; {advice}")
        if entry.shape != shape:
            _refuse(
                entry.file,
                f"tensor {name} has shape {list(entry.shape)}, config.json asks for {list(shape)}; "
                "give the config.json that belongs to these weights",
            )
        if not entry.readable:
            _refuse(
                entry.file,
                f"tensor {name} is {entry.dtype_name}, supported are float32, float16 and bfloat16; "
                "save the model again in one of these",
            )
        try:
            values = entry.read()
        except TensorFileError as error:
            _refuse(entry.file, f"{error}; download it again")
        wrong = values.size - np.count_nonzero(np.isfinite(values))
        if wrong:
            where = [int(index) for index in np.argwhere(~np.isfinite(values))[0]]
            _refuse(
                entry.file,
                f"tensor {name} has {wrong} values that are not finite, the first at {where}; "
                "give weights without NaN and infinity",
            )
        return _frozen(values)

    def nothing_left(self) -> None:
        if self.entries:
            name, entry = next(iter(sorted(self.entries.items())))
            more = f" and {len(self.entries) - 1} more" if len(self.entries) > 1 else ""
            _refuse(
                entry.file,
                f"tensor {name} {list(entry.shape)}{more} has no place in a GPT-2 "
                f"of {self.config.layers} layers; "
                "give the config.json that belongs to these weights",
            )


def _lm_head(directory: Path, config: GPTConfig, weights: _Weights, wte: Float32) -> Float32:
    if config.tied and "lm_head.weight" not in weights:
        return wte
    head = weights.take("lm_head.weight", config.vocabulary, config.width)
    if not config.tied:
        return head
    if not np.array_equal(head, wte):
        _refuse(
            directory,
            "tie_word_embeddings is true, but lm_head.weight differs from wte.weight; "
            "set it to false, or remove lm_head.weight",
        )
    return wte


def _find_tensors(directory: Path) -> dict[str, TensorEntry]:
    single, index = directory / WEIGHTS, directory / INDEX
    if single.exists():
        return _header(single)
    if not index.exists():
        pickled = next(iter(sorted(directory.glob("*.bin"))), None)
        if pickled is not None:
            _refuse(
                directory,
                f"has {pickled.name}, but pickled weights are not read; "
                "save the model with save_pretrained(safe_serialization=True)",
            )
        _refuse(directory, f"has no {WEIGHTS} and no {INDEX}; download the checkpoint again with its weights")
    weight_map = _read_json(index, "download it again").get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        _refuse(index, "weight_map is missing or does not map tensor names to file names; download it again")
    tensors: dict[str, TensorEntry] = {}
    for shard in sorted(set(weight_map.values())):
        path = directory / shard
        if path.parent != directory or not path.exists():
            _refuse(index, f"names the shard {shard}, which is not in the directory; download it again")
        entries = _header(path)
        for name in entries:
            if weight_map.get(name) != shard:
                _refuse(path, f"holds tensor {name}, which {INDEX} does not place there; download both again")
        tensors |= entries
    lost = sorted(set(weight_map) - set(tensors))
    if lost:
        _refuse(
            directory / weight_map[lost[0]],
            f"lacks tensor {lost[0]}, which {INDEX} places there; download it again",
        )
    return tensors


def _header(path: Path) -> dict[str, TensorEntry]:
    try:
        return read_header(path)
    except TensorFileError as error:
        _refuse(path, f"{error}; download it again")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror}); check the file and its permissions")


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _refuse(path, f"does not exist; {advice}")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror}); check the file and its permissions")
    except (ValueError, RecursionError) as error:
        _refuse(path, f"is not JSON ({error}); {advice}")
    if not isinstance(found, dict):
        _refuse(path, f"holds {_shown(found)}, not a JSON object; {advice}")
    return found


def _dimension(path: Path, found: dict[str, Any], keys: tuple[str, ...]) -> int:
    given = [key for key in keys if key in found]
    if not given:
        _refuse(path, f"{keys[0]} is missing; give the config.json that belongs to these weights")
    values = [_positive_integer(path, found, key) for key in given]
    if len(set(values)) > 1:
        _refuse(path, f"{given[0]} is {values[0]}, but {given[1]} is {values[1]}; keep the one that is right")
    return values[0]


def _positive_integer(path: Path, found: dict[str, Any], key: str) -> int:
    value = found[key]
    if type(value) is not int or value < 1:
        _refuse(path, f"{key} is {_shown(value)}, expected a positive integer; correct config.json")
    if value > LARGEST_DIMENSION:
        _refuse(path, f"{key} is {_shown(value)}, expected at most {LARGEST_DIMENSION}; correct config.json")
    return value


def _flag(path: Path, found: dict[str, Any], key: str, default: bool) -> bool:
    value = found.get(key, default)
    if not isinstance(value, bool):
        _refuse(path, f"{key} is {_shown(value)}, expected true or false; correct config.json")
    return value


def _epsilon(path: Path, found: dict[str, Any]) -> float:
    value = found.get("layer_norm_epsilon", 1e-5)
    if type(value) not in (int, float) or not SMALLEST_EPSILON <= value < 1:
        _refuse(
            path,
            f"layer_norm_epsilon is {_shown(value)}, expected a number from 2^-126 ({SMALLEST_EPSILON:.4g}), the "
            "smallest that the chip tells from 0, to less than 1; correct config.json",
        )
    return float(value)


def _end_of_text(path: Path, found: dict[str, Any], vocabulary: int) -> int | None:
    value = found.get("eos_token_id", GPT2_END_OF_TEXT)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        _refuse(path, f"eos_token_id is {_shown(value)}, expected one token id or null; correct config.json")
    # A small vocabulary often keeps GPT-2's 50256: an id that never comes.
    return value if value < vocabulary else None


def _frozen(array: Float32) -> Float32:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _shown(value: object) -> str:
    """A value as JSON, cut where it is long."""
    return _shorten(json.dumps(value))


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CheckpointError(f"{path}: {reason}")
