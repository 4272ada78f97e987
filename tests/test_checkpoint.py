"""Every form of a GPT-2 directory that is taken, and the message for every one that is not."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from mozg import models, random_checkpoint, tensor_file
from mozg.checkpoint import (
    INDEX,
    LARGEST_DIMENSION,
    PREFIX,
    WEIGHTS,
    CheckpointError,
    GPTConfig,
    load_checkpoint,
)
from mozg.errors import MozgError
from mozg.random_checkpoint import make_random_checkpoint, random_tensors
from mozg.reference import ReferenceModel

REMOVED = object()
SHAPE: dict[str, Any] = {"layers": 2, "heads": 3, "width": 24, "context": 16, "vocabulary": 40}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_random_checkpoint(tmp_path / "model", **SHAPE)


def expected_tensors(tied: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    sizes = {name: SHAPE[name] for name in ("layers", "width", "context", "vocabulary")}
    return random_tensors(**sizes, hidden=4 * SHAPE["width"], tied=tied, seed=seed)


def edit_config(directory: Path, **keys: Any) -> None:
    path = directory / "config.json"
    found = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not REMOVED}))


def edit_tensors(directory: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Rewrites model.safetensors by the library, not by what is tested here."""
    tensors = safetensors.numpy.load_file(directory / WEIGHTS)
    change(tensors)
    safetensors.numpy.save_file(tensors, directory / WEIGHTS)


def scales(config: GPTConfig) -> list[float]:
    return [config.attention_scale(layer) for layer in range(config.layers)]


def error_of(directory: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(directory)
    assert isinstance(caught.value, MozgError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is taken.


def test_every_tensor_arrives_where_it_belongs(model: Path) -> None:
    checkpoint, tensors = load_checkpoint(model), expected_tensors()
    layer = checkpoint.layers[1]
    qkv = np.concatenate([layer.q.weight, layer.k.weight, layer.v.weight], axis=1)
    biases = np.concatenate([layer.q.bias, layer.k.bias, layer.v.bias])
    for got, name in (
        (checkpoint.wte, "wte.weight"),
        (checkpoint.wpe, "wpe.weight"),
        (checkpoint.ln_f.gamma, "ln_f.weight"),
        (checkpoint.ln_f.beta, "ln_f.bias"),
        (layer.ln_1.gamma, "h.1.ln_1.weight"),
        (layer.ln_1.beta, "h.1.ln_1.bias"),
        (qkv, "h.1.attn.c_attn.weight"),
        (biases, "h.1.attn.c_attn.bias"),
        (layer.attention_out.weight, "h.1.attn.c_proj.weight"),
        (layer.attention_out.bias, "h.1.attn.c_proj.bias"),
        (layer.ln_2.gamma, "h.1.ln_2.weight"),
        (layer.ln_2.beta, "h.1.ln_2.bias"),
        (layer.mlp_in.weight, "h.1.mlp.c_fc.weight"),
        (layer.mlp_in.bias, "h.1.mlp.c_fc.bias"),
        (layer.mlp_out.weight, "h.1.mlp.c_proj.weight"),
        (layer.mlp_out.bias, "h.1.mlp.c_proj.bias"),
    ):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, tensors[name], err_msg=name)
    assert checkpoint.lm_head is checkpoint.wte
    assert checkpoint.parameters == sum(tensor.size for tensor in tensors.values())
    assert (checkpoint.name, checkpoint.path) == ("model", model)


def test_configuration_is_that_of_the_file(model: Path) -> None:
    config = load_checkpoint(model).config
    assert (config.layers, config.heads, config.width, config.head_dim) == (2, 3, 24, 8)
    assert (config.hidden, config.context, config.vocabulary) == (96, 16, 40)
    assert (config.activation, config.epsilon, config.tied, config.end_of_text) == ("gelu_new", 1e-5, True, None)
    assert scales(config) == [1 / math.sqrt(8), 1 / math.sqrt(8)]


def test_arrays_cannot_be_written(model: Path) -> None:
    checkpoint = load_checkpoint(model)
    for array in (checkpoint.wte, checkpoint.layers[0].q.weight, checkpoint.layers[0].k.bias, checkpoint.ln_f.beta):
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", [True, False])
def test_prefix_and_shards_do_not_matter(tmp_path: Path, shards: int, prefix: bool) -> None:
    path = make_random_checkpoint(tmp_path, **SHAPE, tied=False, shards=shards, prefix=prefix)
    assert (path / INDEX).exists() == (shards > 1)
    checkpoint, tensors = load_checkpoint(path), expected_tensors(tied=False)
    np.testing.assert_array_equal(checkpoint.lm_head, tensors["lm_head.weight"])
    np.testing.assert_array_equal(checkpoint.layers[1].mlp_out.weight, tensors["h.1.mlp.c_proj.weight"])
    assert checkpoint.parameters == sum(tensor.size for tensor in tensors.values())


def test_float16_is_widened(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_random_checkpoint(tmp_path, **SHAPE, dtype="float16"))
    expected = expected_tensors()["wte.weight"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(checkpoint.wte, expected)


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_random_checkpoint(tmp_path, **SHAPE, dtype="bfloat16"))
    exact = expected_tensors()["wte.weight"]
    assert not np.any(checkpoint.wte.view(np.uint32) & 0xFFFF)
    assert np.all(np.abs(checkpoint.wte - exact) <= np.abs(exact) * 2**-8)


def test_bfloat16_rounds_ties_to_even(tmp_path: Path) -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x80000000], dtype=np.uint32)
    tensor_file.write_tensors(tmp_path / "one", {"x": bits.view(np.float32)}, "BF16")
    got = tensor_file.read_header(tmp_path / "one")["x"].read().view(np.uint32)
    assert [hex(value) for value in got] == ["0x3f800000", "0x3f820000", "0x3f810000", "0x80000000"]


def test_writer_agrees_with_the_safetensors_library(tmp_path: Path) -> None:
    tensors = expected_tensors()
    tensor_file.write_tensors(tmp_path / "file", tensors, "F16")
    found = safetensors.numpy.load_file(tmp_path / "file")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.astype(np.float16), err_msg=name)


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_causal_mask_buffers_are_ignored(model: Path, prefix: str) -> None:
    def add(tensors: dict[str, np.ndarray]) -> None:
        for index in range(SHAPE["layers"]):
            tensors[f"{prefix}h.{index}.attn.bias"] = np.tri(16, dtype=np.uint8)[None, None]
            tensors[f"{prefix}h.{index}.attn.masked_bias"] = np.float32([-1e4])

    edit_tensors(model, add)
    np.testing.assert_array_equal(load_checkpoint(model).wte, expected_tensors()["wte.weight"])


def test_equal_head_of_a_tied_model_is_one_with_the_embedding(model: Path) -> None:
    edit_tensors(model, lambda tensors: tensors.update({"lm_head.weight": tensors["transformer.wte.weight"].copy()}))
    checkpoint = load_checkpoint(model)
    assert checkpoint.lm_head is checkpoint.wte


@pytest.mark.parametrize(
    ("given", "meant"), [("gelu_new", "gelu_new"), ("gelu_pytorch_tanh", "gelu_new"), ("gelu", "gelu")]
)
def test_activations(model: Path, given: str, meant: str) -> None:
    edit_config(model, activation_function=given)
    assert load_checkpoint(model).config.activation == meant


def test_mlp_width_of_its_own(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_random_checkpoint(tmp_path, **SHAPE, hidden=40))
    assert checkpoint.config.hidden == 40
    assert checkpoint.layers[0].mlp_in.weight.shape == (24, 40)
    assert checkpoint.layers[0].mlp_out.weight.shape == (40, 24)


def test_attention_scale_follows_its_keys(model: Path) -> None:
    edit_config(model, scale_attn_by_inverse_layer_idx=True)
    assert scales(load_checkpoint(model).config) == [1 / math.sqrt(8), 1 / math.sqrt(8) / 2]
    edit_config(model, scale_attn_weights=False)
    assert scales(load_checkpoint(model).config) == [1.0, 0.5]
    edit_config(model, scale_attn_by_inverse_layer_idx=False)
    assert scales(load_checkpoint(model).config) == [1.0, 1.0]


def test_keys_without_effect_on_results_are_taken(model: Path) -> None:
    before = load_checkpoint(model).config
    edit_config(
        model,
        reorder_and_upcast_attn=True,
        attn_pdrop=0.1,
        resid_pdrop=0.1,
        initializer_range=0.02,
        summary_type="cls_index",
        task_specific_params={"text-generation": {"do_sample": True}},
        n_ctx=16,
        torch_dtype="float32",
        transformers_version="4.0.0",
        use_cache=True,
        pruned_heads={},
        quantization_config=None,
        architectures=["GPT2Model"],
    )
    assert load_checkpoint(model).config == before


def test_general_names_of_dimensions_are_taken(model: Path) -> None:
    before = load_checkpoint(model).config
    edit_config(model, n_layer=REMOVED, n_embd=REMOVED, num_hidden_layers=2, hidden_size=24, num_attention_heads=3)
    assert load_checkpoint(model).config == before


def test_absent_keys_have_the_defaults_of_transformers(model: Path) -> None:
    before = load_checkpoint(model).config
    absent = ("activation_function", "layer_norm_epsilon", "tie_word_embeddings", "n_inner", "architectures")
    edit_config(model, **dict.fromkeys((*absent, "eos_token_id", "bos_token_id"), REMOVED))
    assert load_checkpoint(model).config == before


@pytest.mark.parametrize(("given", "meant"), [(None, None), (39, 39), (0, 0), (40, None), (50256, None)])
def test_end_of_text_is_an_id_of_the_vocabulary(model: Path, given: int | None, meant: int | None) -> None:
    edit_config(model, eos_token_id=given)
    assert load_checkpoint(model).config.end_of_text == meant


@pytest.mark.parametrize(("given", "meant"), [(1e-6, 1e-6), (2.0**-126, 2.0**-126), (0.125, 0.125)])
def test_epsilon(model: Path, given: float, meant: float) -> None:
    edit_config(model, layer_norm_epsilon=given)
    assert load_checkpoint(model).config.epsilon == meant


def test_random_shapes_load_and_compute(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for index in range(12):
        heads = int(random.integers(1, 5))
        shape = {
            "layers": int(random.integers(1, 4)),
            "heads": heads,
            "width": heads * int(random.integers(1, 20)),
            "context": int(random.integers(1, 12)),
            "vocabulary": int(random.integers(1, 70)),
            "hidden": int(random.integers(1, 90)),
            "activation": str(random.choice(["gelu", "gelu_new"])),
            "tied": bool(random.integers(2)),
            "dtype": str(random.choice(["float32", "float16", "bfloat16"])),
            "shards": int(random.integers(1, 4)),
            "prefix": bool(random.integers(2)),
        }
        checkpoint = load_checkpoint(make_random_checkpoint(tmp_path / str(index), **shape, seed=index))
        logits = ReferenceModel(checkpoint).forward([0] * checkpoint.config.context)
        assert logits.shape == (shape["context"], shape["vocabulary"]), shape
        assert np.isfinite(logits).all(), shape


# The shipped model and the names of models.


def test_bare_name_is_the_shipped_model() -> None:
    checkpoint = load_checkpoint("shakespeare")
    assert models.names() == ["shakespeare"]
    assert (checkpoint.name, checkpoint.path) == ("shakespeare", models.SHIPPED / "shakespeare")
    config = checkpoint.config
    assert (config.layers, config.heads, config.width, config.context, config.vocabulary) == (4, 3, 192, 256, 65)
    assert checkpoint.parameters == 1_841_472
    assert (checkpoint.path / "README.md").exists()


def test_path_is_never_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_random_checkpoint(tmp_path / "shakespeare", **SHAPE)
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("./shakespeare").config.vocabulary == 40
    assert load_checkpoint(Path("shakespeare")).config.vocabulary == 40
    assert load_checkpoint("shakespeare").config.vocabulary == 65


# What is refused: directory and configuration.


def test_refuses_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    assert error_of(path) == (
        f"{path}: does not exist; give a directory with config.json and model.safetensors, "
        "or a model that comes with mozg (shakespeare)"
    )


def test_refuses_a_file_in_place_of_a_directory(model: Path) -> None:
    assert error_of(model / WEIGHTS) == (
        f"{model / WEIGHTS}: is a file, not a directory; give a directory with config.json and model.safetensors, "
        "or a model that comes with mozg (shakespeare)"
    )


def test_refuses_a_directory_without_configuration(model: Path) -> None:
    (model / "config.json").unlink()
    assert error_of(model) == (
        f"{model / 'config.json'}: does not exist; download the checkpoint again with its config.json"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("", "is not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("[1, 2]", "holds [1, 2], not a JSON object"),
    ],
)
def test_refuses_a_configuration_that_is_not_json(model: Path, text: str, reason: str) -> None:
    (model / "config.json").write_text(text)
    assert error_of(model) == (f"{model / 'config.json'}: {reason}; download the checkpoint again with its config.json")


EPSILONS = (
    "expected a number from 2^-126 (1.175e-38), the smallest that the chip tells from 0, to less than 1; "
    "correct config.json"
)
ARCHITECTURE_LIST = "expected a list of GPT2LMHeadModel and GPT2Model; correct config.json"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"layer_norm_epsilon": 1e-38}, f"layer_norm_epsilon is 1e-38, {EPSILONS}"),
        ({"architectures": 5}, f"architectures is 5, {ARCHITECTURE_LIST}"),
        ({"architectures": True}, f"architectures is true, {ARCHITECTURE_LIST}"),
        ({"architectures": "GPT2Model"}, f'architectures is "GPT2Model", {ARCHITECTURE_LIST}'),
        ({"n_embd": 10**400}, f"n_embd is 1{'0' * 56}..., expected at most 16777216; correct config.json"),
        ({"n_layer": 1_000_000_000}, "n_layer is 1000000000, expected at most 16777216; correct config.json"),
        (
            {"model_type": "llama"},
            'model_type is "llama", only "gpt2" is supported; give a checkpoint of the GPT-2 family',
        ),
        (
            {"model_type": REMOVED},
            'model_type is null, only "gpt2" is supported; give a checkpoint of the GPT-2 family',
        ),
        (
            {"architectures": ["GPT2ForSequenceClassification"]},
            'architectures has "GPT2ForSequenceClassification", supported are GPT2LMHeadModel and GPT2Model; '
            "export the language model without its other heads",
        ),
        (
            {"add_cross_attention": True},
            "add_cross_attention is true, only false is supported; give a decoder-only GPT-2",
        ),
        (
            {"is_encoder_decoder": True},
            "is_encoder_decoder is true, only false is supported; give a decoder-only GPT-2",
        ),
        (
            {"quantization_config": {"bits": 4}},
            'quantization_config is {"bits": 4}, which is not supported; '
            "give a plain GPT-2 in float32, float16 or bfloat16",
        ),
        (
            {"pruned_heads": {"0": [1]}},
            'pruned_heads is {"0": [1]}, which is not supported; give a plain GPT-2 in float32, float16 or bfloat16',
        ),
        (
            {"auto_map": {"AutoModelForCausalLM": "modeling_strange.StrangeGPT2LMHeadModelWithALongName"}},
            'auto_map is {"AutoModelForCausalLM": "modeling_strange.StrangeGPT2LMH..., which is not supported; '
            "give a plain GPT-2 in float32, float16 or bfloat16",
        ),
        (
            {"activation_function": "relu"},
            'activation_function is "relu", supported are gelu_new, gelu_pytorch_tanh, gelu; '
            "give a checkpoint trained with one of these",
        ),
        (
            {"activation_function": ["gelu"]},
            'activation_function is ["gelu"], supported are gelu_new, gelu_pytorch_tanh, gelu; '
            "give a checkpoint trained with one of these",
        ),
        (
            {"n_embd": 25},
            "n_embd is 25, not a multiple of n_head, 3; every head needs the same whole number of channels",
        ),
        ({"n_layer": 0}, "n_layer is 0, expected a positive integer; correct config.json"),
        ({"n_head": 2.0}, "n_head is 2.0, expected a positive integer; correct config.json"),
        ({"vocab_size": "40"}, 'vocab_size is "40", expected a positive integer; correct config.json'),
        ({"n_positions": True}, "n_positions is true, expected a positive integer; correct config.json"),
        ({"n_inner": -1}, "n_inner is -1, expected a positive integer; correct config.json"),
        ({"n_head": REMOVED}, "n_head is missing; give the config.json that belongs to these weights"),
        (
            {"num_hidden_layers": 3},
            "n_layer is 2, but num_hidden_layers is 3; keep the one that is right",
        ),
        (
            {"layer_norm_epsilon": 0},
            f"layer_norm_epsilon is 0, {EPSILONS}",
        ),
        (
            {"layer_norm_epsilon": float("nan")},
            f"layer_norm_epsilon is NaN, {EPSILONS}",
        ),
        ({"scale_attn_weights": 1}, "scale_attn_weights is 1, expected true or false; correct config.json"),
        (
            {"scale_attn_by_inverse_layer_idx": None},
            "scale_attn_by_inverse_layer_idx is null, expected true or false; correct config.json",
        ),
        (
            {"reorder_and_upcast_attn": "no"},
            'reorder_and_upcast_attn is "no", expected true or false; correct config.json',
        ),
        ({"tie_word_embeddings": 0}, "tie_word_embeddings is 0, expected true or false; correct config.json"),
        ({"eos_token_id": [1, 2]}, "eos_token_id is [1, 2], expected one token id or null; correct config.json"),
    ],
)
def test_refuses_a_configuration(model: Path, keys: dict[str, Any], reason: str) -> None:
    edit_config(model, **keys)
    assert error_of(model) == f"{model / 'config.json'}: {reason}"


# What is refused: tensors.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda tensors: tensors.pop("transformer.h.1.ln_2.bias"),
            "tensor h.1.ln_2.bias [24] is missing; download the checkpoint again",
        ),
        (
            lambda tensors: tensors.update({"wte.weight": np.zeros((40, 24), np.float32)}),
            "holds wte.weight with and without the prefix transformer.; keep one of the two",
        ),
        (
            lambda tensors: tensors.update({"lm_head.weight": np.ones((40, 24), np.float32)}),
            "tie_word_embeddings is true, but lm_head.weight differs from wte.weight; "
            "set it to false, or remove lm_head.weight",
        ),
    ],
)
def test_refuses_a_set_of_tensors(model: Path, change: Callable, reason: str) -> None:
    edit_tensors(model, change)
    assert error_of(model) == f"{model}: {reason}"


def with_value(name: str, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors[name][3, 5:7] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda tensors: tensors.update({"transformer.wpe.weight": np.zeros((15, 24), np.float32)}),
            "tensor wpe.weight has shape [15, 24], config.json asks for [16, 24]; "
            "give the config.json that belongs to these weights",
        ),
        (
            # As nn.Linear stores it, not as Conv1D does.
            lambda tensors: tensors.update(
                {"transformer.h.0.mlp.c_fc.weight": tensors["transformer.h.0.mlp.c_fc.weight"].T.copy()}
            ),
            "tensor h.0.mlp.c_fc.weight has shape [96, 24], config.json asks for [24, 96]; "
            "give the config.json that belongs to these weights",
        ),
        (
            lambda tensors: tensors.update({"transformer.h.2.ln_1.bias": np.zeros(24, np.float32)}),
            "tensor h.2.ln_1.bias [24] has no place in a GPT-2 of 2 layers; "
            "give the config.json that belongs to these weights",
        ),
        (
            lambda tensors: tensors.update({"score.weight": np.zeros((2, 24), np.float32), "x": np.zeros(1)}),
            "tensor score.weight [2, 24] and 1 more has no place in a GPT-2 of 2 layers; "
            "give the config.json that belongs to these weights",
        ),
        (
            lambda tensors: tensors.update({"transformer.ln_f.bias": np.zeros(24, np.float64)}),
            "tensor ln_f.bias is float64, supported are float32, float16 and bfloat16; "
            "save the model again in one of these",
        ),
        (
            lambda tensors: tensors.update({"transformer.ln_f.bias": np.zeros(24, np.int8)}),
            "tensor ln_f.bias is int8, supported are float32, float16 and bfloat16; "
            "save the model again in one of these",
        ),
        (
            with_value("transformer.h.1.attn.c_proj.weight", np.nan),
            "tensor h.1.attn.c_proj.weight has 2 values that are not finite, the first at [3, 5]; "
            "give weights without NaN and infinity",
        ),
        (
            with_value("transformer.wte.weight", -np.inf),
            "tensor wte.weight has 2 values that are not finite, the first at [3, 5]; "
            "give weights without NaN and infinity",
        ),
    ],
)
def test_refuses_a_tensor(model: Path, change: Callable, reason: str) -> None:
    edit_tensors(model, change)
    assert error_of(model) == f"{model / WEIGHTS}: {reason}"


def test_refuses_an_untied_model_without_head(model: Path) -> None:
    edit_config(model, tie_word_embeddings=False)
    assert error_of(model) == (
        f"{model}: tensor lm_head.weight [40, 24] is missing; "
        "set tie_word_embeddings to true if the model's head is wte.weight"
    )


# What is refused: files.


def test_refuses_a_directory_without_weights(model: Path) -> None:
    (model / WEIGHTS).unlink()
    assert error_of(model) == (
        f"{model}: has no model.safetensors and no model.safetensors.index.json; "
        "download the checkpoint again with its weights"
    )


def test_refuses_pickled_weights(model: Path) -> None:
    (model / WEIGHTS).rename(model / "pytorch_model.bin")
    assert error_of(model) == (
        f"{model}: has pytorch_model.bin, but pickled weights are not read; "
        "save the model with save_pretrained(safe_serialization=True)"
    )


@pytest.mark.parametrize("kept", [0, 3, 8, 100])
def test_refuses_weights_truncated_in_their_header(model: Path, kept: int) -> None:
    content = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(content[:kept])
    end = 8 + int.from_bytes(content[: min(8, kept)], "little")
    assert error_of(model) == (
        f"{model / WEIGHTS}: is truncated: {kept} bytes, and its header ends at {end}; download it again"
    )


@pytest.mark.parametrize("lost", [1, 5000])
def test_refuses_weights_truncated_in_their_tensors(model: Path, lost: int) -> None:
    content = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(content[:-lost])
    assert error_of(model) == (
        f"{model / WEIGHTS}: is truncated: {len(content) - lost} bytes, and its tensors end at {len(content)}; "
        "download it again"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer, the weights themselves were not downloaded",
        ),
        (
            b"PK\x03\x04 and the rest of an archive",
            "is not a safetensors file: its first 8 bytes give a header of 7236828441365138256 bytes",
        ),
        (
            b"\x08" + bytes(7) + b"notJSON!",
            "is not a safetensors file: its header is damaged (Expecting value: line 1 column 1 (char 0))",
        ),
        (
            b"\x02" + bytes(7) + b"[]",
            "is not a safetensors file: its header is damaged (it is no JSON object)",
        ),
        (b"\x02" + bytes(7) + b"{}more", "is damaged: 14 bytes, and its tensors end at 10"),
    ],
)
def test_refuses_damaged_weights(model: Path, content: bytes, reason: str) -> None:
    (model / WEIGHTS).write_bytes(content)
    assert error_of(model) == f"{model / WEIGHTS}: {reason}; download it again"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "4 bytes for shape [2] of F32"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "shape [-1], offsets 0 to 4"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, "shape [1], offsets -4 to 0"),
        ({"dtype": "F32", "shape": [1]}, "'data_offsets'"),
    ],
)
def test_refuses_a_header_that_contradicts_itself(model: Path, entry: dict[str, Any], reason: str) -> None:
    header = json.dumps({"wte.weight": entry}).encode()
    (model / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert error_of(model) == (
        f"{model / WEIGHTS}: is not a safetensors file: its header is damaged ({reason}); download it again"
    )


def test_refuses_weights_that_cannot_be_read(model: Path) -> None:
    (model / WEIGHTS).unlink()
    (model / WEIGHTS).mkdir()
    assert error_of(model) == (
        f"{model / WEIGHTS}: cannot be read (Is a directory); check the file and its permissions"
    )


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return make_random_checkpoint(tmp_path / "sharded", **SHAPE, shards=2)


def edit_index(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    index = json.loads((directory / INDEX).read_text())
    change(index)
    (directory / INDEX).write_text(json.dumps(index))


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def test_refuses_a_missing_shard(sharded: Path) -> None:
    (sharded / SECOND).unlink()
    assert error_of(sharded) == (
        f"{sharded / INDEX}: names the shard {SECOND}, which is not in the directory; download it again"
    )


def test_refuses_a_shard_outside_the_directory(sharded: Path) -> None:
    shutil.move(sharded / SECOND, sharded.parent / "away")
    edit_index(sharded, lambda index: index["weight_map"].update({"transformer.ln_f.bias": "../away"}))
    assert error_of(sharded) == (
        f"{sharded / INDEX}: names the shard ../away, which is not in the directory; download it again"
    )


def test_refuses_an_index_without_map(sharded: Path) -> None:
    edit_index(sharded, lambda index: index.pop("weight_map"))
    assert error_of(sharded) == (
        f"{sharded / INDEX}: weight_map is missing or does not map tensor names to file names; download it again"
    )


def test_refuses_an_index_that_is_not_json(sharded: Path) -> None:
    (sharded / INDEX).write_text("no")
    assert error_of(sharded) == (
        f"{sharded / INDEX}: is not JSON (Expecting value: line 1 column 1 (char 0)); download it again"
    )


def test_refuses_a_shard_without_its_tensor(sharded: Path) -> None:
    edit_index(sharded, lambda index: index["weight_map"].update({"transformer.more": FIRST}))
    assert error_of(sharded) == (
        f"{sharded / FIRST}: lacks tensor transformer.more, which {INDEX} places there; download it again"
    )


def test_refuses_a_shard_with_a_tensor_too_many(sharded: Path) -> None:
    edit_index(sharded, lambda index: index["weight_map"].update({"transformer.wte.weight": SECOND}))
    assert error_of(sharded) == (
        f"{sharded / FIRST}: holds tensor transformer.wte.weight, which {INDEX} does not place there; "
        "download both again"
    )


# Random checkpoints.


def test_random_checkpoint_depends_on_its_seed_alone(tmp_path: Path) -> None:
    one, same, other = (make_random_checkpoint(tmp_path / str(n), **SHAPE, seed=n % 2) for n in (0, 2, 1))
    assert (one / WEIGHTS).read_bytes() == (same / WEIGHTS).read_bytes()
    assert (one / WEIGHTS).read_bytes() != (other / WEIGHTS).read_bytes()


def test_random_checkpoint_does_not_repeat_one_token(tmp_path: Path) -> None:
    model = ReferenceModel(load_checkpoint(make_random_checkpoint(tmp_path, layers=3, heads=3, width=96)))
    cache, token, seen = model.new_cache(), 1, set()
    for _ in range(24):
        token = int(model.step(token, cache).argmax())
        seen.add(token)
    assert len(seen) >= 5


def test_random_checkpoint_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made"
    options = ["--layers=1", "--heads=2", "--width=8", "--context=4", "--vocabulary=9", "--hidden=12", "--untied"]
    assert random_checkpoint.main([str(out), *options, "--activation=gelu", "--dtype=bfloat16", "--shards=2"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    checkpoint = load_checkpoint(out)
    assert (checkpoint.config.hidden, checkpoint.config.activation, checkpoint.config.tied) == (12, "gelu", False)
    assert checkpoint.lm_head.shape == (9, 8)
    assert not checkpoint.tokenizer.available


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--width=65", "width is 65, not a multiple of heads, 2; choose one that is"),
        ("--layers=0", "layers is 0, expected at least 1"),
        ("--shards=99", "shards is 99, but there are only 28 tensors; ask for fewer"),
    ],
)
def test_random_checkpoint_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, reason: str
) -> None:
    assert random_checkpoint.main([str(tmp_path / "made"), option]) == 1
    assert capsys.readouterr().err == f"error: {reason}\n"
    assert not (tmp_path / "made").exists()


def test_too_many_layers_are_refused_at_once(model: Path) -> None:
    edit_config(model, n_layer=LARGEST_DIMENSION)
    assert "tensor h.2.attn.c_attn.weight [24, 72] is missing" in error_of(model)


def write_weights(directory: Path, header: str, data: int) -> None:
    (directory / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(data))


def test_refuses_tensors_that_share_bytes_or_a_name(model: Path) -> None:
    entry = '{"dtype": "F32", "shape": [2], "data_offsets": [%d, %d]}'
    write_weights(model, f'{{"a": {entry % (0, 8)}, "b": {entry % (4, 12)}}}', 12)
    assert error_of(model) == f"{model / WEIGHTS}: is damaged: tensors a and b overlap; download it again"
    write_weights(model, f'{{"a": {entry % (0, 8)}, "a": {entry % (8, 16)}}}', 16)
    assert "its header is damaged (it names a twice); download it again" in error_of(model)
