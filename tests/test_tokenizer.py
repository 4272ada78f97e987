"""Text to ids and back, piece by piece too, and what is said where that cannot be."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import tokenizers

from mozg.checkpoint import load_checkpoint
from mozg.errors import MozgError
from mozg.random_checkpoint import make_random_checkpoint
from mozg.tokenizer import (
    REPLACEMENT,
    Tokenizer,
    TokenizerError,
    byte_level_bpe,
    character_level,
    load_tokenizer,
)
from verif import shared_data

GPT2_VOCABULARY = 50257
SAMPLES = [
    "To be, or not to be",
    "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438",
    "a\U0001f999b \U0001f468\u200d\U0001f469\u200d\U0001f467 \u00e9e\u0301",
    "\u4f60\u597d\n\n\t x",
    "ends in \ufffd",
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """GPT-2's own tokenizer, in the files that Hugging Face gives it."""
    directory = tmp_path_factory.mktemp("gpt2")
    shutil.copy(shared_data.require("tokenizer/encoder.json"), directory / "vocab.json")
    shutil.copy(shared_data.require("tokenizer/vocab.bpe"), directory / "merges.txt")
    return load_tokenizer(directory, GPT2_VOCABULARY)


@pytest.fixture(scope="module")
def bytes_only(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One id a byte: every character beyond ASCII is cut."""
    directory = tmp_path_factory.mktemp("bytes")
    byte_level_bpe([""], 256).save(str(directory / "tokenizer.json"))
    return load_tokenizer(directory, 256)


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = tokenizer.stream()
    return [*(stream.push(token) for token in ids), stream.flush()]


def test_gpt2_ids_are_those_of_the_reference(gpt2: Tokenizer) -> None:
    content = shared_data.require("tokenizer/ggml-vocab-gpt-2.gguf.inp").read_text(encoding="utf-8")
    lines = shared_data.require("tokenizer/ggml-vocab-gpt-2.gguf.out").read_text().split("\n")
    texts = content.split("\n__ggml_vocab_test__\n")
    assert len(texts) == len(lines) == 47
    for text, line in zip(texts, lines, strict=True):
        ids = [int(token) for token in line.split()]
        assert gpt2.encode(text) == ids, text
        assert gpt2.decode(ids) == text
        assert "".join(streamed(gpt2, ids)) == text


def test_gpt2_knows_its_end_of_text(gpt2: Tokenizer) -> None:
    assert gpt2.encode("a<|endoftext|>b") == [64, 50256, 65]
    assert gpt2.decode([64, 50256, 65]) == "a<|endoftext|>b"


def test_shipped_tokenizer_is_one_id_a_character() -> None:
    tokenizer = load_checkpoint("shakespeare").tokenizer
    assert tokenizer.encode("Hi!\n") == [20, 47, 2, 0]
    assert tokenizer.decode([20, 47, 2, 0]) == "Hi!\n"
    assert tokenizer.encode("a~b") == tokenizer.encode("a b")  # as the model card says
    assert streamed(tokenizer, [20, 47, 2]) == ["H", "i", "!", ""]
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("text", SAMPLES)
def test_stream_never_ends_in_half_a_character(bytes_only: Tokenizer, text: str) -> None:
    ids = bytes_only.encode(text)
    assert len(ids) == len(text.encode())
    pieces = streamed(bytes_only, ids)
    assert "".join(pieces) == text
    known = text.count(REPLACEMENT)
    assert sum(piece.count(REPLACEMENT) for piece in pieces) == known
    emitted = iter(pieces)
    for character in text.removesuffix(REPLACEMENT):
        size = len(character.encode())
        assert [next(emitted) for _ in range(size)] == [""] * (size - 1) + [character]


def test_stream_of_any_bytes_is_their_decoding(bytes_only: Tokenizer) -> None:
    generator = random.Random(11)
    whole = bytes_only.encode("\U0001f999\u00e9a")
    for _ in range(300):
        ids = [
            generator.choice(whole) if generator.random() < 0.7 else generator.randrange(256)
            for _ in range(generator.randrange(12))
        ]
        assert "".join(streamed(bytes_only, ids)) == bytes_only.decode(ids), ids


def test_stream_shows_half_a_character_only_when_flushed(bytes_only: Tokenizer) -> None:
    stream = bytes_only.stream()
    first, *_ = bytes_only.encode("\u00e9")
    assert stream.push(first) == ""
    assert stream.flush() == REPLACEMENT
    assert stream.flush() == ""
    assert "".join(stream.push(token) for token in bytes_only.encode("a\u00e9")) == "a\u00e9"


def test_ids_without_a_token_are_replaced(bytes_only: Tokenizer) -> None:
    padded = Tokenizer(bytes_only.backend, 300, bytes_only.path)
    (a,) = padded.encode("a")
    assert padded.decode([a, 299, a]) == f"a{REPLACEMENT}a"
    assert "".join(streamed(padded, [a, 299, a, 256])) == f"a{REPLACEMENT}a{REPLACEMENT}"


def test_settings_of_the_training_do_not_cut_or_pad_text(tmp_path: Path) -> None:
    backend = character_level("abc")
    backend.enable_truncation(2)
    backend.enable_padding(length=8, pad_id=0, pad_token="a")
    backend.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path, 3).encode("abcab") == [0, 1, 2, 0, 1]


def test_prefix_space_of_the_tokenizer_is_honoured(tmp_path: Path) -> None:
    byte_level_bpe(["word word a word"], 270).model.save(str(tmp_path))
    plain = load_tokenizer(tmp_path, 270).encode("word")
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    prefixed = load_tokenizer(tmp_path, 270)
    assert prefixed.encode("word") != plain
    assert prefixed.decode(prefixed.encode("word")) == " word"


# What cannot be.


def test_without_tokenizer_files_only_text_is_refused(tmp_path: Path) -> None:
    tokenizer = load_checkpoint(make_random_checkpoint(tmp_path)).tokenizer
    assert not tokenizer.available
    for verb, use in (
        ("encode", lambda: tokenizer.encode("a")),
        ("decode", lambda: tokenizer.decode([1])),
        ("decode", tokenizer.stream),
    ):
        with pytest.raises(TokenizerError) as caught:
            use()
        assert isinstance(caught.value, MozgError)
        assert str(caught.value) == (
            f"{tmp_path} has no tokenizer.json and no vocab.json with merges.txt, so it cannot {verb} text; "
            "add these files or use token ids"
        )


@pytest.mark.parametrize("token", [-1, 65])
def test_refuses_ids_outside_the_vocabulary(token: int) -> None:
    with pytest.raises(TokenizerError) as caught:
        load_checkpoint("shakespeare").tokenizer.decode([1, token])
    assert str(caught.value) == f"id {token} is outside the model's vocabulary, 0 to 64"


def test_refuses_text_with_a_token_that_the_model_lacks(tmp_path: Path) -> None:
    backend = character_level("abc")
    backend.add_special_tokens(["[PAD]"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path, 3)
    assert tokenizer.encode("cab") == [2, 0, 1]
    with pytest.raises(TokenizerError) as caught:
        tokenizer.encode("a[PAD]")
    assert str(caught.value) == (
        f"{tmp_path}: token '[PAD]' of the text has id 3, but the model's vocabulary ends at 2; "
        "leave it out of the text or resize the model's embedding"
    )


def refusal(directory: Path) -> str:
    """What the first use of text says; loading says nothing, since ids work."""
    tokenizer = load_tokenizer(directory, 300)
    assert not tokenizer.available
    for use in (tokenizer.stream, lambda: tokenizer.decode([1])):
        with pytest.raises(TokenizerError):
            use()
    with pytest.raises(TokenizerError) as caught:
        tokenizer.encode("a")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refuses_a_damaged_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{\n")
    assert refusal(tmp_path) == (
        f"{path}: not a tokenizer that the tokenizers library reads (Expecting property name enclosed in "
        "double quotes: line 2 column 1 (char 2)); "
        "save it again with its save_pretrained"
    )


@pytest.mark.parametrize(("present", "absent"), [("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")])
def test_refuses_half_a_vocabulary(tmp_path: Path, present: str, absent: str) -> None:
    (tmp_path / present).write_text("{}")
    assert refusal(tmp_path) == (
        f"{tmp_path}: {present} without {absent}; byte-level BPE needs both, or one tokenizer.json"
    )


def test_refuses_a_damaged_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    assert refusal(tmp_path) == (
        f"{tmp_path}: vocab.json and merges.txt are not a byte-level BPE vocabulary "
        "(the merge 'a' 'b' has 'b', which is not in the vocabulary); download them again"
    )


def test_refuses_tokens_added_beside_a_vocabulary(tmp_path: Path) -> None:
    byte_level_bpe([""], 256).model.save(str(tmp_path))
    (tmp_path / "added_tokens.json").write_text('{"<user>": 256}')
    assert refusal(tmp_path) == (
        f"{tmp_path}: added_tokens.json beside vocab.json is not read; "
        "save the tokenizer as tokenizer.json (a fast tokenizer's save_pretrained writes it)"
    )


def test_ids_work_beside_a_tokenizer_that_does_not(tmp_path: Path) -> None:
    make_random_checkpoint(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    tokenizer = load_checkpoint(tmp_path).tokenizer
    assert not tokenizer.available
    assert "vocab.json without merges.txt" in tokenizer.error


@pytest.mark.parametrize("merge", ["a b", ["a", "b"]])
def test_refuses_a_merge_whose_token_is_missing(tmp_path: Path, merge: str | list[str]) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    reason = "(the merge 'a' 'b' has 'ab', which is not in the vocabulary)"
    assert reason in refusal(tmp_path)
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [merge]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    assert reason in refusal(tmp_path)


def test_text_that_the_tokenizer_cannot_encode_is_one_line(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="[UNK]"))
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="the tokenizer cannot encode the text .* use token ids"):
        load_tokenizer(tmp_path, 3).encode("b")


def test_lost_characters_are_counted(gpt2: Tokenizer, tmp_path: Path) -> None:
    assert [gpt2.lost(text) for text in SAMPLES] == [0] * len(SAMPLES)
    assert load_checkpoint("shakespeare").tokenizer.lost("A b\u00e9 {\n}  c") == 3
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    plain.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path, 1).lost("a b\tcaa") == 2  # b and c are dropped
