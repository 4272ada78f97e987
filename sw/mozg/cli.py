"""The `mozg` command: generate, verify, score, compile, info, demo."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rtl.common.config import PRESETS

from .errors import MozgError

MODEL_HELP = "directory of a Hugging Face GPT-2 checkpoint, or the name of a shipped model (shakespeare)"
DEVICES = {
    "verilator": "the RTL in Verilator, with a DRAM model",
    "icarus": "the RTL in Icarus (slow: use --chip tiny)",
    "model": "the bit-exact NumPy model of the chip",
    "float": "float32 GPT-2, the yardstick",
}
status = Console(stderr=True)


def say(text: str) -> None:
    """A line about what is being done, on standard error."""
    status.print(text, style="dim", highlight=False, markup=False)


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
            try:
                handle.write(data)
            except BaseException:
                temporary.unlink()
                raise
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise MozgError(f"{path} cannot be written: {error.strerror}; give a path in a folder that exists") from None


def progress_bar(title: str) -> tuple[Progress, Callable[[int, int], None]]:
    """A bar with an estimate, and the function that moves it: (done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=status,
        transient=not status.is_terminal,
    )
    task = bar.add_task(title, total=None)
    return bar, lambda done, total: bar.update(task, completed=done, total=total)


def parse_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise MozgError(f"--prompt-ids {text!r}: expected integers separated by commas, such as 1,2,3") from None


def load(options: argparse.Namespace, device: str | None = None, **more: object):
    """The LLM that the options name."""
    from .llm import load as load_llm

    device = device or options.device
    extra = dict(more)
    if device == "verilator":
        extra |= {"progress": say, "memory": memory_config(getattr(options, "memory", "ddr4"))}
        if getattr(options, "waves", None):
            extra["trace"] = Path(options.waves)
    return load_llm(options.model, options.chip, device, options.weights, **extra)


def memory_config(name: str):
    from .device.memory import MEMORIES

    return MEMORIES[name]


def ideal_cycles(llm) -> float:
    """Cycles that an ideal reader of the same memory needs for the weights of one step that samples."""
    from .device.memory import DDR4

    return llm.image.streamed_bytes / llm.chip.bus_bytes / DDR4.reader_share


# Commands


def generate(options: argparse.Namespace) -> int:
    prompt = parse_ids(options.prompt_ids) if options.prompt_ids is not None else options.prompt
    with load(options) as llm:
        stream = llm.checkpoint.tokenizer.stream() if llm.checkpoint.tokenizer.available else None
        started = time.monotonic()

        def show(token: int, step) -> None:
            piece = stream.push(token) if stream else f"{token} "
            print(piece, end="", flush=True)

        if isinstance(prompt, str):
            print(prompt, end="", flush=True)
        result = llm.generate(prompt, options.max_new_tokens, options.temperature, options.seed, on_token=show)
        print(stream.flush() if stream else "")
        seconds = time.monotonic() - started
        say(f"{len(result.ids)} tokens in {seconds:.1f} s, ended by {result.stopped}" + per_token(result))
        if options.json:
            record = result.as_dict() | {
                "chip": options.chip,
                "device": options.device,
                "weights": options.weights,
                "model": str(options.model),
                "temperature": options.temperature,
                "seed": options.seed,
            }
            write_file(Path(options.json), (json.dumps(record, indent=1) + "\n").encode())
    return 0


def per_token(result) -> str:
    """Cycles a token, where the device has a clock."""
    decode = [step.cycles for step in result.steps if step.kind == "decode" and step.cycles]
    prefill = [step for step in result.steps if step.kind == "prefill" and step.cycles]
    text = ""
    if prefill:
        text += f"; prefill {sum(s.cycles for s in prefill):,} cycles for {sum(s.rows for s in prefill)} tokens"
    if decode:
        text += f"; {sum(decode) / len(decode):,.0f} cycles a decoded token"
    return text


def verify(options: argparse.Namespace) -> int:
    from .verify import verify as run_verify

    if options.device not in ("verilator", "icarus"):
        raise MozgError(f"--device {options.device}: verify compares the RTL, so expected verilator or icarus")
    with load(options, fill=0xFF) as llm:
        prompt = parse_ids(options.prompt_ids) if options.prompt_ids is not None else options.prompt
        ids = llm.ids_of(prompt if prompt is not None else default_prompt(llm))
        llm._check(ids, options.tokens, options.temperature, options.seed, (), None)
        bar, move = progress_bar("verify")
        with bar:
            result = run_verify(llm, ids, options.tokens, options.temperature, options.seed, progress=move)
    print(f"{result.steps} steps, {result.tokens} new tokens, {result.logits:,} logits, {result.cycles:,} cycles")
    if not result.passed:
        print(f"RTL and model DIFFER: {result.difference}")
        return 1
    print("RTL and model agree on every token, every logit bit and every byte of the KV cache")
    count = len(result.ids) - 1
    print(
        f"model and float32: largest logit error {result.float_error:.4g} (logits span {result.float_range:.4g}), "
        f"same greedy token at {result.float_same} of {count} positions"
    )
    return 0


def default_prompt(llm) -> list[int]:
    """Twice the rows of the chip, so that prefill has several steps; ids spread over the vocabulary."""
    count = min(2 * llm.chip.rows + 1, max(1, llm.context // 2))
    return [(7 + 13 * i) % llm.config.vocabulary for i in range(count)]


def score(options: argparse.Namespace) -> int:
    from .score import MODEL_ROWS
    from .score import score as run_score

    try:
        text = Path(options.text).read_text(encoding="utf-8")
    except OSError as error:
        raise MozgError(f"{options.text}: {error.strerror}; give a text file") from None
    except UnicodeDecodeError:
        raise MozgError(f"{options.text} is not UTF-8 text") from None
    if options.last_percent is not None:
        text = text[int(len(text) * (1 - options.last_percent / 100)) :]
    more = {"rows": MODEL_ROWS} if options.device == "model" else {}
    with load(options, **more) as llm:
        bar, move = progress_bar("score")
        with bar:
            result = run_score(llm, llm.checkpoint.tokenizer.encode(text), move)
    print(f"{options.device}{'' if options.device == 'float' else ' ' + options.weights}: {result.describe()}")
    return 0


def compile_image(options: argparse.Namespace) -> int:
    from .checkpoint import load_checkpoint
    from .compiler import compile_model, listing
    from .llm import chip_config

    if not options.output and not options.listing:
        raise MozgError("compile: give -o IMAGE, --listing FILE, or both")
    image = compile_model(load_checkpoint(options.model), chip_config(options.chip), options.weights)
    kv = image.regions["kv"].base
    if options.output:
        write_file(Path(options.output), image.memory[:kv].tobytes())
        say(f"{options.output}: {kv:,} bytes from address 0 (KV cache and output follow, not initialised)")
    if options.listing:
        write_file(Path(options.listing), listing(image).encode())
        say(f"{options.listing}: {len(image.program)} instructions")
    return 0


def info(options: argparse.Namespace) -> int:
    from .info import chip_info, fit_info, model_info

    out = Console(highlight=False)
    if options.model is None:
        if options.chip is None:
            raise MozgError("info: give a MODEL, --chip CHIP, or both")
        out.print(chip_info(options.chip))
        return 0
    from .checkpoint import load_checkpoint

    checkpoint = load_checkpoint(options.model)
    out.print(model_info(checkpoint))
    out.print(fit_info(checkpoint, [options.chip] if options.chip else list(PRESETS), options.weights))
    return 0


def demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(options)


# Parser


def add_common(parser: argparse.ArgumentParser, device: str | None = "verilator") -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_chip(parser)
    if device:
        described = "; ".join(f"{name}: {text}" for name, text in DEVICES.items())
        parser.add_argument("--device", choices=DEVICES, default=device, help=f"{described} (default: {device})")
        parser.add_argument(
            "--memory",
            choices=("ddr4", "ideal"),
            default="ddr4",
            help="DRAM model of the verilator device: a DDR4-3200 channel, or one without refresh and row misses",
        )


def add_chip(parser: argparse.ArgumentParser, chip: str | None = "edge") -> None:
    default = f" (default: {chip})" if chip else ""
    parser.add_argument("--chip", choices=PRESETS, default=chip, help=f"chip configuration{default}")
    parser.add_argument(
        "--weights",
        choices=("mxint8", "mxfp4"),
        default="mxint8",
        help="number format of the weights in memory (default: mxint8)",
    )


def add_prompt(parser: argparse.ArgumentParser, required: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--prompt", metavar="TEXT", help="text to continue")
    group.add_argument("--prompt-ids", metavar="IDS", help="token ids to continue, such as 1,2,3")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0: greedy; else softmax temperature (default: 0)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="seed of the sampling noise: the same text on every device (default: 0)",
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mozg",
        description="Run GPT checkpoints on the Mozg inference chip: its RTL in simulation, or its bit-exact model.",
        epilog="Example: mozg generate shakespeare --prompt 'ROMEO:' --max-new-tokens 50",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    sub = command("generate", generate, "continue a prompt on the chip")
    add_common(sub)
    add_prompt(sub, required=True)
    sub.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="tokens to generate (default: 64)")
    add_sampling(sub)
    sub.add_argument("--json", metavar="FILE", help="write ids, text, cycles and counters of every step")
    sub.add_argument("--waves", metavar="FILE", help="write all signals to an FST file (verilator; slow)")

    sub = command("verify", verify, "compare the RTL with the bit-exact model, step by step, and the model with float32")
    add_common(sub)
    add_prompt(sub, required=False)
    sub.add_argument("--tokens", type=int, default=8, metavar="N", help="new tokens (default: 8)")
    add_sampling(sub)

    sub = command("score", score, "perplexity of a model on a text file")
    add_common(sub, device="model")
    sub.add_argument("text", metavar="TEXTFILE", help="UTF-8 text")
    sub.add_argument(
        "--last-percent", type=float, metavar="P", help="score only the last P percent of the characters"
    )

    sub = command("compile", compile_image, "write the memory image and a listing of program and memory map")
    add_common(sub, device=None)
    sub.add_argument("-o", "--output", metavar="IMAGE", help="memory image, from address 0")
    sub.add_argument("--listing", metavar="FILE", help="readable program and memory map")

    sub = command("info", info, "shapes and sizes of a model, whether it fits; parameters and peak rates of a chip")
    sub.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    add_chip(sub, chip=None)

    sub = command("demo", demo, "the shipped model writes text on the RTL, checked against the model bit for bit")
    add_chip(sub)
    sub.add_argument("--tokens", type=int, default=200, metavar="N", help="tokens to write (default: 200)")
    sub.add_argument("--prompt", default="ROMEO:\n", metavar="TEXT", help="text to continue")
    sub.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0: greedy (default: 0.7)")
    sub.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the sampling noise (default: 1)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point: 0 when all went well, 1 for an error (one line on standard error), 2 for usage, 130 for Ctrl-C."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except MozgError as error:
        status.print(f"mozg: {error}", style="bold red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        status.print("\nmozg: interrupted", style="bold red", highlight=False)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
