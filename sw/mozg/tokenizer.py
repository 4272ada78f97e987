"""Text to token ids and back, as the checkpoint's own files say.

`tokenizer.json` is taken as it is; `vocab.json` with `merges.txt` is GPT-2's byte-level BPE. No special
tokens are added and nothing is truncated: the ids are those of the text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from .errors import MozgError

END_OF_TEXT = "<|endoftext|>"
# What a decoder shows for bytes that are not (yet) a character, and for an id that no token has.
REPLACEMENT = "\ufffd"


class TokenizerError(MozgError):
    """Text cannot be turned into ids, or ids into text; one line."""


@dataclass(frozen=True)
class Tokenizer:
    """Text <-> ids in [0, vocabulary). `backend` is None where the checkpoint has no tokenizer files, or has ones
    that cannot be used (`error` says why): then every use of text raises TokenizerError, and ids still work
    everywhere else."""

    backend: tokenizers.Tokenizer | None
    vocabulary: int
    path: Path
    error: str | None = None

    @property
    def available(self) -> bool:
        return self.backend is not None

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, each in [0, vocabulary). A character that the tokenizer does not know becomes
        whatever its files say (the shipped character model: a space). Raises TokenizerError."""
        backend = self._backend("encode")
        try:
            with _library_errors():
                ids = backend.encode(text, add_special_tokens=False).ids
        except ValueError as error:
            raise TokenizerError(
                f"{self.path}: the tokenizer cannot encode the text ({error}); use token ids"
            ) from None
        beyond = next((token for token in ids if token >= self.vocabulary), None)
        if beyond is not None:
            raise TokenizerError(
                f"{self.path}: token {self.backend.id_to_token(beyond)!r} of the text has id {beyond}, "
                f"but the model's vocabulary ends at {self.vocabulary - 1}; "
                "leave it out of the text or resize the model's embedding"
            )
        return ids

    def lost(self, text: str) -> int:
        """Characters of `text` that its ids do not tell: dropped, or replaced by the token for unknown ones. White
        space that a tokenizer drops to put it back itself does not count. Raises TokenizerError."""
        backend = self._backend("encode")
        found = backend.encode(text, add_special_tokens=False)
        unknown = getattr(backend.model, "unk_token", None)
        told = bytearray(len(text))
        for token, (start, end) in zip(found.tokens, found.offsets, strict=True):
            if token != unknown or text[start:end] == unknown:
                told[start:end] = b"\1" * (end - start)
        return sum(not kept and not character.isspace() for kept, character in zip(told, text, strict=True))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, special tokens included. Bytes that are no character, and ids within the vocabulary
        that have no token (padding of the embedding), become U+FFFD. Raises TokenizerError for an id outside
        [0, vocabulary)."""
        backend = self._backend("decode")
        text: list[str] = []
        run: list[int] = []
        for token in ids:
            if not 0 <= token < self.vocabulary:
                raise TokenizerError(f"id {token} is outside the model's vocabulary, 0 to {self.vocabulary - 1}")
            if backend.id_to_token(int(token)) is None:
                text += [backend.decode(run, skip_special_tokens=False), REPLACEMENT]
                run = []
            else:
                run.append(int(token))
        text.append(backend.decode(run, skip_special_tokens=False))
        return "".join(text)

    def stream(self) -> TextStream:
        """A decoder for ids that arrive one at a time. Raises TokenizerError where there is no tokenizer."""
        self._backend("decode")
        return TextStream(self)

    def _backend(self, verb: str) -> tokenizers.Tokenizer:
        if self.error is not None:
            raise TokenizerError(self.error)
        if self.backend is None:
            raise TokenizerError(
                f"{self.path} has no tokenizer.json and no vocab.json with merges.txt, so it cannot {verb} "
                "text; add these files or use token ids"
            )
        return self.backend


class TextStream:
    """Turns ids into text one id at a time; the pieces joined are `decode` of all ids.

    A piece never ends in half a UTF-8 character: its bytes wait for the rest, or for `flush`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._emitted = 0

    def push(self, token: int) -> str:
        """The text that `token` completes, often empty within a character. Raises TokenizerError as `decode`
        does."""
        text = self._tokenizer.decode([*self._ids, token])
        self._ids.append(token)
        # Only the last U+FFFD can be a character whose end is still to come: those before it are final.
        waiting = text.endswith(REPLACEMENT)
        settled = len(text) - waiting
        piece = text[self._emitted : settled]
        self._emitted = settled
        if not waiting:
            # The last id stays as context, for decoders that treat the start of a text differently.
            self._ids = self._ids[-1:]
            self._emitted = len(self._tokenizer.decode(self._ids))
        return piece

    def flush(self) -> str:
        """What still waits, as U+FFFD if it is no character; afterwards a new text begins."""
        piece = self._tokenizer.decode(self._ids)[self._emitted :]
        self._ids, self._emitted = [], 0
        return piece


def lost_line(lost: int, total: int, of: str = "") -> str:
    """What a user is told about characters that are lost; of: whose characters they are."""
    return f"{lost} of {total} characters{of} are not in the tokenizer's vocabulary: dropped or replaced"


def load_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """The tokenizer of a checkpoint directory for a model of `vocabulary` ids; one without a backend where
    there are no tokenizer files, or where they cannot be used: its first use of text says why."""
    backend, error = None, None
    try:
        if (path / "tokenizer.json").exists():
            backend = _from_tokenizer_json(path / "tokenizer.json")
        elif (path / "vocab.json").exists() or (path / "merges.txt").exists():
            backend = _from_vocabulary_and_merges(path)
    except TokenizerError as found:
        error = str(found)
    return Tokenizer(backend, vocabulary, path, error)


def _from_tokenizer_json(path: Path) -> tokenizers.Tokenizer:
    try:
        with _library_errors():
            model = json.loads(path.read_text(encoding="utf-8"))["model"]
            if model.get("type", "BPE") == "BPE":
                pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ())]
                _check_merges(model.get("vocab", {}), pairs, model.get("continuing_subword_prefix") or "")
            backend = tokenizers.Tokenizer.from_file(str(path))
    except ValueError as error:
        raise TokenizerError(
            f"{path}: not a tokenizer that the tokenizers library reads ({error}); "
            "save it again with its save_pretrained"
        ) from None
    # The file may hold the settings of its training; the text must come through whole.
    backend.no_truncation()
    backend.no_padding()
    return backend


def _from_vocabulary_and_merges(path: Path) -> tokenizers.Tokenizer:
    for name, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")):
        if not (path / name).exists():
            raise TokenizerError(f"{path}: {other} without {name}; byte-level BPE needs both, or one tokenizer.json")
    if (path / "added_tokens.json").exists():
        raise TokenizerError(
            f"{path}: added_tokens.json beside vocab.json is not read; "
            "save the tokenizer as tokenizer.json (a fast tokenizer's save_pretrained writes it)"
        )
    try:
        with _library_errors():
            files = str(path / "vocab.json"), str(path / "merges.txt")
            _check_merges(*models.BPE.read_file(*files))
            bpe = models.BPE.from_file(*files)
            settings = path / "tokenizer_config.json"
            options = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
            prefix_space = bool(options.get("add_prefix_space", False))
    except ValueError as error:
        raise TokenizerError(
            f"{path}: vocab.json and merges.txt are not a byte-level BPE vocabulary ({error}); download them again"
        ) from None
    backend = tokenizers.Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    if backend.token_to_id(END_OF_TEXT) is not None:
        backend.add_special_tokens([END_OF_TEXT])
    return backend


def _check_merges(vocabulary: Mapping[str, int], merges: Iterable[Sequence[str]], prefix: str = "") -> None:
    """ValueError for a merge whose tokens are not all in the vocabulary: the library panics at some of them."""
    for pair in merges:
        if len(pair) != 2:
            continue  # the library says what is wrong with it
        first, second = pair
        for token in (first, second, first + second.removeprefix(prefix)):
            if token not in vocabulary:
                raise ValueError(f"the merge {first!r} {second!r} has {token!r}, which is not in the vocabulary")


@contextlib.contextmanager
def _library_errors() -> Iterator[None]:
    """What the library raises, which is nothing more specific than Exception or a Rust panic, as ValueError."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        named = "" if type(error) is Exception or isinstance(error, ValueError) else type(error).__name__
        raise ValueError(" ".join(f"{named} {error}".split())) from None


def byte_level_bpe(text: Sequence[str], vocabulary: int) -> tokenizers.Tokenizer:
    """Trains a byte-level BPE of at most `vocabulary` ids (at least 256, one a byte) on pieces of text."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(text, trainer)
    return backend


def character_level(text: str) -> tokenizers.Tokenizer:
    """A tokenizer whose ids are the characters of `text` in code point order; others become a space, or the
    first character where `text` has no space."""
    characters = sorted(set(text))
    vocabulary = {character: index for index, character in enumerate(characters)}
    unknown = " " if " " in vocabulary else characters[0]
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return backend
