"""Makes a GPT-2 directory of any shape with random weights: for tests and for timing, not for text.

    python -m mozg.random_checkpoint OUT --layers 12 --heads 12 --width 768 --context 1024 --vocabulary 50257

Weights are normal, and smaller by sqrt(2 * layers) in the projections into the residual, as GPT-2's are
before training; but larger, scaled to the width, with a gain of its own for every output channel, gammas near
1 and small biases, and positions count for more than tokens. So attention is not uniform, the logits differ,
and greedy text does not repeat one token.
There are no tokenizer files: such a model is used by token ids.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import ACTIVATIONS, INDEX, PREFIX, WEIGHTS
from .errors import MozgError
from .output import interruptible
from .tensor_file import DTYPE_NAMES, STORED_AS, Float32, write_tensors

DTYPES = {DTYPE_NAMES[stored]: stored for stored in STORED_AS}
# Standard deviations at a width of 768; another width scales them so that sums over it stay as large.
WEIGHT_DEVIATION = 0.04
EMBEDDING_DEVIATION = 0.05
POSITION_DEVIATION = 0.3
STATED_AT_WIDTH = 768
BIAS_DEVIATION = 0.02
GAMMA_DEVIATION = 0.1
# Of the logarithm of a channel's gain: most lie between 0.4 and 2.7.
GAIN_DEVIATION = 0.5


def random_tensors(
    layers: int, width: int, hidden: int, context: int, vocabulary: int, tied: bool, seed: int
) -> dict[str, Float32]:
    """Every tensor of a GPT-2 by its name without prefix, float32. Equal arguments give equal weights."""
    to_width = math.sqrt(STATED_AT_WIDTH / width)
    random = np.random.default_rng(seed)

    def normal(deviation: float, *shape: int) -> Float32:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    def gain(outputs: int) -> Float32:
        return np.exp(normal(GAIN_DEVIATION, outputs))

    tensors = {
        "wte.weight": normal(EMBEDDING_DEVIATION * to_width, vocabulary, width),
        "wpe.weight": normal(POSITION_DEVIATION * to_width, context, width),
    }

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = 1 + normal(GAMMA_DEVIATION, width)
        tensors[f"{name}.bias"] = normal(BIAS_DEVIATION, width)

    def linear(name: str, size_in: int, size_out: int, deviation: float = WEIGHT_DEVIATION) -> None:
        tensors[f"{name}.weight"] = normal(deviation * to_width, size_in, size_out) * gain(size_out)
        tensors[f"{name}.bias"] = normal(BIAS_DEVIATION, size_out)

    residual = WEIGHT_DEVIATION / math.sqrt(2 * layers)
    for index in range(layers):
        norm(f"h.{index}.ln_1")
        linear(f"h.{index}.attn.c_attn", width, 3 * width)
        linear(f"h.{index}.attn.c_proj", width, width, residual)
        norm(f"h.{index}.ln_2")
        linear(f"h.{index}.mlp.c_fc", width, hidden)
        linear(f"h.{index}.mlp.c_proj", hidden, width, residual)
    norm("ln_f")
    if not tied:
        tensors["lm_head.weight"] = normal(EMBEDDING_DEVIATION * to_width, vocabulary, width)
    return tensors


def write_weights(
    directory: Path, tensors: dict[str, Float32], dtype: str = "float32", shards: int = 1, prefix: bool = True
) -> None:
    """Writes tensors as `model.safetensors`, or as `shards` files with an index.

    `dtype` is float32, float16 or bfloat16 (rounded to nearest even); `prefix` puts `transformer.` before
    every name but the LM head's.
    """
    for old in (directory / WEIGHTS, directory / INDEX, *directory.glob("model-*-of-*.safetensors")):
        old.unlink(missing_ok=True)
    named = {PREFIX + name if prefix and name != "lm_head.weight" else name: tensor for name, tensor in tensors.items()}
    if shards == 1:
        write_tensors(directory / WEIGHTS, named, DTYPES[dtype])
        return
    names = list(named)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        write_tensors(directory / file, {name: named[name] for name in part}, DTYPES[dtype])
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.size for tensor in tensors.values()) * STORED_AS[DTYPES[dtype]].itemsize
    _write_json(directory / INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})


def make_random_checkpoint(
    out: str | Path,
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 64,
    context: int = 64,
    vocabulary: int = 256,
    hidden: int | None = None,
    activation: str = "gelu_new",
    tied: bool = True,
    dtype: str = "float32",
    shards: int = 1,
    prefix: bool = True,
    seed: int = 0,
    **keys: Any,
) -> Path:
    """Writes a checkpoint directory of the given shape and returns its path; `keys` are added to config.json.

    `hidden` is 4 * width where it is None. Raises MozgError for a shape that no GPT-2 has.
    """
    sizes = {"layers": layers, "heads": heads, "width": width, "context": context, "vocabulary": vocabulary}
    for name, value in {**sizes, "shards": shards, **({} if hidden is None else {"hidden": hidden})}.items():
        if value < 1:
            raise MozgError(f"{name} is {value}, expected at least 1")
    if seed < 0:
        raise MozgError(f"seed is {seed}, expected at least 0")
    if width % heads:
        raise MozgError(f"width is {width}, not a multiple of heads, {heads}; choose one that is")
    for name, value, known in (("activation", activation, ACTIVATIONS), ("dtype", dtype, DTYPES)):
        if value not in known:
            raise MozgError(f"{name} is {value}, expected one of {', '.join(known)}")
    tensors = random_tensors(layers, width, hidden or 4 * width, context, vocabulary, tied, seed)
    if shards > len(tensors):
        raise MozgError(f"shards is {shards}, but there are only {len(tensors)} tensors; ask for fewer")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_config(
        out,
        n_layer=layers,
        n_head=heads,
        n_embd=width,
        n_inner=hidden,
        n_positions=context,
        vocab_size=vocabulary,
        activation_function=activation,
        tie_word_embeddings=tied,
        **keys,
    )
    write_weights(out, tensors, dtype, shards, prefix)
    return out


def write_config(directory: Path, **keys: Any) -> None:
    """Writes a config.json of a GPT-2 with `keys`."""
    fixed = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    _write_json(directory / "config.json", {**fixed, **keys})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mozg.random_checkpoint",
        description="Makes a GPT-2 directory of any shape with random weights.",
    )
    parser.add_argument("out", type=Path, help="directory to write")
    for name, default in (("layers", 2), ("heads", 2), ("width", 64), ("context", 64), ("vocabulary", 256)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    parser.add_argument("--hidden", type=int, help="width of the MLP; default: 4 times the width")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="gelu_new", help="default: %(default)s")
    parser.add_argument("--untied", dest="tied", action="store_false", help="an LM head of its own")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: %(default)s")
    parser.add_argument("--shards", type=int, default=1, help="number of files; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="write over a checkpoint that is there")
    options = vars(parser.parse_args(arguments))

    def run() -> int:
        out = options["out"]
        if not options.pop("force") and any((out / name).exists() for name in ("config.json", WEIGHTS, INDEX)):
            raise MozgError(f"{out} holds a checkpoint: give another directory, or --force to write over it")
        print(make_random_checkpoint(**options))
        return 0

    return interruptible(run)


if __name__ == "__main__":
    sys.exit(main())
