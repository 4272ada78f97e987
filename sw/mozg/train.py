"""Trains a small GPT-2 on any text file and writes a directory that Mozg and `transformers` load.

    python -m mozg.train --text FILE --out DIR

Characters or byte pairs; the last 10 % of the text is held out; AdamW with a cosine schedule. The weights
with the best held-out loss are kept. This is the only part of the package that needs PyTorch.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoint import WEIGHTS
from .errors import MozgError
from .output import interruptible
from .random_checkpoint import write_config
from .tensor_file import write_tensors
from .tokenizer import byte_level_bpe, character_level

if TYPE_CHECKING:
    import torch

HELD_OUT = 0.1
WARM_UP_STEPS = 100
FINAL_RATE = 0.1  # of the learning rate, at the last step
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0
FIRST_REPORT = 10  # step after which the time can be estimated
INITIAL_DEVIATION = 0.02
# The shared matrices that GPT-2 stores as [in, out]; PyTorch has them as [out, in].
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


@dataclass(frozen=True)
class Settings:
    """What to train. `rate` is the largest learning rate; `batch` is in windows of `context` tokens."""

    layers: int = 4
    heads: int = 3
    width: int = 192
    context: int = 256
    steps: int = 3000
    batch: int = 24
    rate: float = 1e-3
    dropout: float = 0.1
    evaluate: int = 250  # steps between two evaluations
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "context", "steps", "batch", "evaluate"):
            if getattr(self, name) < 1:
                raise MozgError(f"--{name} is {getattr(self, name)}, expected at least 1")
        if self.width % self.heads:
            raise MozgError(f"--width is {self.width}, not a multiple of --heads, {self.heads}; choose one that is")


def import_torch() -> Any:
    """The torch module. Raises MozgError where it is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        raise MozgError("training needs PyTorch, which is not installed; run: pip install torch") from None
    return torch


def build(settings: Settings, vocabulary: int) -> torch.nn.Module:
    """A GPT-2 with the names that Hugging Face checkpoints have, so that its state is the checkpoint."""
    torch = import_torch()
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_attn = nn.Linear(settings.width, 3 * settings.width)
            self.c_proj = nn.Linear(settings.width, settings.width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            batch, n, width = x.shape
            q, k, v = (
                part.view(batch, n, settings.heads, -1).transpose(1, 2)  # [b, h, n, d]
                for part in self.c_attn(x).split(width, dim=2)
            )
            dropout = settings.dropout if self.training else 0.0
            y = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
            return self.c_proj(y.transpose(1, 2).reshape(batch, n, width))

    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_fc = nn.Linear(settings.width, 4 * settings.width)
            self.c_proj = nn.Linear(4 * settings.width, settings.width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn = nn.LayerNorm(settings.width), Attention()
            self.ln_2, self.mlp = nn.LayerNorm(settings.width), MLP()
            self.drop = nn.Dropout(settings.dropout)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.drop(self.attn(self.ln_1(x)))
            return x + self.drop(self.mlp(self.ln_2(x)))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte = nn.Embedding(vocabulary, settings.width)
            self.wpe = nn.Embedding(settings.context, settings.width)
            self.drop = nn.Dropout(settings.dropout)
            self.h = nn.ModuleList(Block() for _ in range(settings.layers))
            self.ln_f = nn.LayerNorm(settings.width)
            residual = INITIAL_DEVIATION / math.sqrt(2 * settings.layers)
            for name, parameter in self.named_parameters():
                if parameter.dim() == 2:
                    nn.init.normal_(parameter, std=residual if "c_proj" in name else INITIAL_DEVIATION)
                elif name.endswith("bias"):
                    nn.init.zeros_(parameter)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            """Logits [batch, n, vocabulary] of ids [batch, n]."""
            x = self.drop(self.wte(ids) + self.wpe.weight[: ids.shape[1]])  # [b, n, w]
            for block in self.h:
                x = block(x)
            return self.ln_f(x) @ self.wte.weight.T  # the LM head is tied

    return GPT().to(settings.device)


def train(settings: Settings, training: np.ndarray, held_out: np.ndarray, vocabulary: int) -> tuple[Any, float]:
    """The state of the best model (tensors by name) and its held-out loss in nats a token.

    `training` and `held_out` are token ids [n]; the training text must be longer than the context.
    """
    torch = import_torch()
    torch.manual_seed(settings.seed)
    model = build(settings, vocabulary)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=BETAS)
    data = torch.from_numpy(training)
    offsets = torch.arange(settings.context)
    best, best_state, begin = math.inf, None, time.monotonic()
    for step in range(1, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * schedule(step, settings.steps)
        starts = torch.randint(len(data) - settings.context, (settings.batch, 1))
        inputs, targets = data[starts + offsets], data[starts + offsets + 1]  # [b, n]
        loss = mean_loss(model, inputs.to(settings.device), targets.to(settings.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        if step % settings.evaluate == 0 or step == settings.steps:
            nats = evaluate(model, settings, held_out)
            if nats < best:
                best = nats
                best_state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            report(f"training {loss.item():.4f}, held out {nats:.4f} nats a token", step, settings.steps, begin)
        elif step == FIRST_REPORT:
            report(f"training {loss.item():.4f} nats a token", step, settings.steps, begin)
    if best_state is None:
        raise MozgError("the loss is not finite; choose a smaller --rate")
    return best_state, best


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate at a step from 1 to `steps`: linear warm-up, cosine to FINAL_RATE."""
    warm_up = min(WARM_UP_STEPS, max(1, steps // 10))
    if step <= warm_up:
        return step / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2


def mean_loss(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean nats a token of targets [b, n] after inputs [b, n]."""
    cross_entropy = import_torch().nn.functional.cross_entropy
    return cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def evaluate(model: torch.nn.Module, settings: Settings, ids: np.ndarray) -> float:
    """Mean nats a token over all of `ids` in windows of the context that do not overlap."""
    torch = import_torch()
    data, total = torch.from_numpy(ids), 0.0
    model.eval()
    with torch.no_grad():
        whole = (len(data) - 1) // settings.context * settings.context
        inputs = data[:whole].view(-1, settings.context)
        targets = data[1 : whole + 1].view(-1, settings.context)
        pieces = list(zip(inputs.split(settings.batch), targets.split(settings.batch), strict=True))
        if whole < len(data) - 1:
            pieces.append((data[None, whole:-1], data[None, whole + 1 :]))
        for piece, after in pieces:
            loss = mean_loss(model, piece.to(settings.device), after.to(settings.device))
            total += loss.item() * after.numel()
    model.train()
    return total / (len(data) - 1)


def write(out: Path, settings: Settings, vocabulary: int, state: Any, tokenizer: Any) -> None:
    """Writes config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    tensors = {}
    for name, value in state.items():
        array = value.numpy()
        array = np.ascontiguousarray(array.T) if name.endswith(TRANSPOSED) else array
        tensors[f"transformer.{name}"] = array
    write_config(
        out,
        n_layer=settings.layers,
        n_head=settings.heads,
        n_embd=settings.width,
        n_positions=settings.context,
        vocab_size=vocabulary,
        activation_function="gelu_new",
        tie_word_embeddings=True,
    )
    write_tensors(out / WEIGHTS, tensors)
    tokenizer.save(str(out / "tokenizer.json"))
    # Without it, transformers reads the vocabulary of any model of type gpt2 as byte-level BPE.
    (out / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n', encoding="utf-8")


def report(what: str, step: int, steps: int, begin: float) -> None:
    """Prints one line of progress with the time left; `begin` is time.monotonic() at the first step."""
    left = (time.monotonic() - begin) / step * (steps - step)
    print(f"step {step:6d} of {steps}: {what}, about {duration(left)} left", flush=True)


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def run(text: Path, out: Path, tokens: str, vocabulary: int, settings: Settings) -> float:
    """Trains on a text file and writes the directory `out`; the held-out loss in nats a token.

    `tokens` is `characters` or `bpe`, the latter with `vocabulary` ids. Raises MozgError for text that cannot
    be read or is too short.
    """
    import_torch()
    try:
        content = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MozgError(f"{text}: cannot be read as UTF-8 text ({error}); give a text file") from None
    cut = int(len(content) * (1 - HELD_OUT))
    if cut == 0:
        raise MozgError(f"{text}: has {len(content)} characters, too few to train on; give a longer text")
    if tokens == "characters":
        tokenizer = character_level(content)
    else:
        # Pairs are learned from the training text alone: the held-out text stays unseen.
        tokenizer = byte_level_bpe(content[:cut].splitlines(keepends=True), vocabulary)
    size = tokenizer.get_vocab_size()
    training, held_out = (
        np.array(tokenizer.encode(part).ids, dtype=np.int64) for part in (content[:cut], content[cut:])
    )
    if len(training) <= settings.context or len(held_out) < 2:
        raise MozgError(
            f"{text}: {len(training)} tokens to train on, expected more than the context "
            f"of {settings.context}; give a longer text or a smaller --context"
        )
    out.mkdir(parents=True, exist_ok=True)
    print(f"{len(training)} tokens to train on, {len(held_out)} held out, vocabulary {size}", flush=True)
    state, nats = train(settings, training, held_out, size)
    write(out, settings, size, state, tokenizer)
    print(f"{out}: {nats:.4f} nats a token on the held-out text (perplexity {math.exp(nats):.3f})")
    return nats


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mozg.train",
        description="Trains a small GPT-2 on a text file and writes a checkpoint.",
    )
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text; its last 10 %% is held out")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--tokens", choices=("characters", "bpe"), default="characters", help="default: %(default)s")
    parser.add_argument("--vocabulary", type=int, default=1024, help="ids of --tokens bpe; default: %(default)s")
    default = Settings()
    for name, kind, what in (
        ("layers", int, "transformer blocks"),
        ("heads", int, "attention heads"),
        ("width", int, "channels, a multiple of the heads"),
        ("context", int, "tokens of a window"),
        ("steps", int, "optimiser steps"),
        ("batch", int, "windows a step"),
        ("rate", float, "largest learning rate"),
        ("dropout", float, "probability"),
        ("evaluate", int, "steps between two evaluations"),
        ("seed", int, "of weights and batches"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=getattr(default, name), help=f"{what}; default: %(default)s"
        )
    parser.add_argument("--device", help="cpu or cuda; default: cuda where there is one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = vars(parse(arguments))
    text, out, tokens = options.pop("text"), options.pop("out"), options.pop("tokens")
    vocabulary, device = options.pop("vocabulary"), options.pop("device")

    def train() -> int:
        chosen = device or ("cuda" if import_torch().cuda.is_available() else "cpu")
        run(text, out, tokens, vocabulary, Settings(**options, device=chosen))
        return 0

    return interruptible(train)


if __name__ == "__main__":
    sys.exit(main())
