"""The `mozg` command: generate, verify, score, perf, trace, explore, compile, info, demo."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rtl.common.config import PRESETS

from . import perf_command, trace_command
from .bandwidth import share_reached
from .device.memory import MEMORIES, MEMORY_HELP
from .device.serial import BAUD
from .errors import MozgError
from .explore import add_arguments as explore_arguments
from .output import Output, check_outputs, write_file
from .shapes import SHAPES
from .tokenizer import lost_line

if TYPE_CHECKING:
    from .generation import Generation, Step
    from .llm import LLM

MODEL_HELP = "directory of a Hugging Face GPT-2 checkpoint, or the name of a shipped model (shakespeare)"
DEVICES = {
    "verilator": "the RTL in Verilator, with a DRAM model",
    "icarus": "the RTL in Icarus (slow: use --chip tiny)",
    "serial": "the chip on a board, over a serial port (--port)",
    "model": "the bit-exact NumPy model of the chip",
    "float": "float32 GPT-2, the yardstick",
}
RTL = ("verilator", "icarus", "serial")
NAMED = 5  # prompts that a line about them all names
status = Console(stderr=True)


def say(text: str) -> None:
    """A line about what is being done, on standard error."""
    status.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with an estimate; gives the function that moves it: (done, total). It shows from its first move."""
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

    def move(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        bar.start()

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def read_text(name: str) -> str:
    """A file of UTF-8 text."""
    try:
        return Path(name).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MozgError(f"{name} cannot be read: {error.strerror}; give a text file") from None
    except UnicodeDecodeError as error:
        raise MozgError(f"{name} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from None


def parse_ids(text: str) -> list[int]:
    try:
        return [int(part.replace("_", "?")) for part in text.split(",")]
    except ValueError:
        raise MozgError(f"--prompt-ids {text!r}: expected integers separated by commas, such as 1,2,3") from None


def load(options: argparse.Namespace, **more: object) -> LLM:
    """The LLM that the options name."""
    from .llm import load as load_llm

    device = options.device
    extra = dict(more)
    if device == "verilator":
        extra |= {"progress": say, "memory": MEMORIES[options.memory]}
        if getattr(options, "waves", None):
            extra["trace"] = Path(options.waves)
    if device == "icarus":
        extra["progress"] = say
    if device == "serial":
        extra |= {"port": options.port, "baud": options.baud}
    return load_llm(options.model, options.chip, device, options.weights, **extra)


# Commands


def generate(options: argparse.Namespace) -> int:
    prompts = read_prompts(options)
    several = options.prompts_file is not None or len(prompts) > 1
    check_outputs({"--json": options.json, "--waves": options.waves})
    if options.waves and options.device != "verilator":
        raise MozgError(f"--waves: the device {options.device} writes none; use --device verilator")
    with load(options) as llm:
        sampling = options.max_new_tokens, options.temperature, options.seed
        ids = [one.ids for one in llm.requests(prompts, *sampling, several=several)]
        llm.open()  # what the build has to say comes before the text
        lost = say_lost(llm, prompts, several)
        if several:
            return generate_batch(llm, prompts, ids, lost, options)
        tokenizer, prompt = llm.checkpoint.tokenizer, prompts[0]
        stream = tokenizer.stream() if tokenizer.available else None
        started = time.monotonic()

        def show(token: int, step: Step) -> None:
            if stream is None:
                print(f"{token} ", end="", flush=True)
            elif token != llm.config.end_of_text:
                print(stream.push(token), end="", flush=True)

        if isinstance(prompt, str):
            print(prompt, end="", flush=True)
        try:
            result = llm.generate(ids[0], *sampling, on_token=show)
        finally:
            print(stream.flush() if stream else "", flush=True)  # errors come on a line of their own
        seconds = time.monotonic() - started
        say(f"{len(result.ids)} tokens in {seconds:.1f} s, ended by {result.stopped}{per_token(llm, result, options)}")
        if options.json:
            found = {**settings(llm, options), **prompt_record(llm, prompt, lost[0]), **result.as_dict()}
            write_file(Path(options.json), (json.dumps(found, indent=1) + "\n").encode())
    return 0


def say_lost(llm: LLM, prompts: Sequence[str | list[int]], several: bool = False) -> list[int]:
    """Characters that each prompt's ids do not tell; a line about them where there are any."""
    texts = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
    lost = [llm.checkpoint.tokenizer.lost(text) if text else 0 for text in texts]
    numbers = [index for index, count in enumerate(lost) if count]
    if numbers:
        of = " of the prompt"
        if several:
            named = ", ".join(str(index + 1) for index in numbers[:NAMED]) + ", ..." * (len(numbers) > NAMED)
            of = f" of prompt{'s' * (len(numbers) > 1)} {named}"
        say(lost_line(sum(lost), sum(len(texts[index]) for index in numbers), of))
    return lost


def generate_batch(
    llm: LLM, prompts: list[str | list[int]], ids: list[list[int]], lost: list[int], options: argparse.Namespace
) -> int:
    """Several prompts: each text when it ends; 1 when one ended in a fault."""
    from .batch_output import BatchOutput

    started = time.monotonic()
    with BatchOutput(llm, prompts, status) as output:
        sampling = options.max_new_tokens, options.temperature, options.seed
        batch = llm.generate(ids, *sampling, on_token=output.token, on_end=output.end)
    line = f"{len(batch)} prompts, {batch.new_tokens} tokens in {time.monotonic() - started:.1f} s; "
    line += f"{len(batch.steps)} steps of {batch.rows_per_step:.1f} rows"
    if batch.cycles:
        line += f"; {batch.cycles_per_step:,.0f} cycles a step, {batch.tokens_per_kilocycle:.4g} tokens a kilocycle"
        if llm.device_name == "verilator":
            line += f", {share_reached(llm.image, MEMORIES[options.memory], batch.steps):.1%} of the memory limit"
    say(line)
    if options.json:
        found = {**settings(llm, options), **batch.as_dict()}
        for prompt, count, result in zip(prompts, lost, found["results"], strict=True):
            result |= prompt_record(llm, prompt, count)
        write_file(Path(options.json), (json.dumps(found, indent=1) + "\n").encode())
    return int(any(result.error for result in batch))


def read_prompts(options: argparse.Namespace) -> list[str | list[int]]:
    """The prompts that the options name, in their order."""
    if options.prompts_file is not None:
        text = read_text(options.prompts_file).replace("\r\n", "\n").rstrip("\n")
        if not text:
            raise MozgError(f"{options.prompts_file} has no prompt: give one a line")
        return text.split("\n")
    return options.prompt or [parse_ids(text) for text in options.prompt_ids]


def settings(llm: LLM, options: argparse.Namespace) -> dict[str, Any]:
    """What --json says about a run. The float32 yardstick has no chip, and its weights are those of the checkpoint."""
    on_chip = llm.image is not None
    return {
        "model": str(options.model),
        "chip": llm.chip.name if on_chip else None,
        "device": llm.device_name,
        "weights": llm.weights if on_chip else "float32",
        "memory": options.memory if llm.device_name == "verilator" else None,
        "temperature": options.temperature,
        "seed": options.seed,
    }


def prompt_record(llm: LLM, prompt: str | list[int], lost: int) -> dict[str, Any]:
    """What --json says about a prompt: its text, which is None of ids without a tokenizer, and the characters of it
    that its ids do not tell."""
    text = prompt if isinstance(prompt, str) else None
    if text is None and llm.checkpoint.tokenizer.available:
        text = llm.checkpoint.tokenizer.decode(prompt)
    return {"prompt": text, "prompt_characters_lost": lost}


def per_token(llm: LLM, result: Generation, options: argparse.Namespace) -> str:
    """Cycles a token and the share of the memory limit reached, where the device has a clock."""
    text = ""
    for kind in ("prefill", "decode"):
        steps = [step for step in result.steps if step.kind == kind and step.cycles]
        if not steps:
            continue
        cycles, rows = sum(step.cycles for step in steps), sum(step.rows for step in steps)
        text += f"; {kind}: {cycles / rows:,.0f} cycles a token"
        if llm.device_name == "verilator":
            text += f", {share_reached(llm.image, MEMORIES[options.memory], steps):.1%} of the memory limit"
    return text


def verify(options: argparse.Namespace) -> int:
    from .verify import verify as run_verify

    with load(options, fill=0xFF) as llm:
        prompt = parse_ids(options.prompt_ids) if options.prompt_ids is not None else options.prompt
        ids = llm.ids_of(prompt if prompt is not None else default_prompt(llm, options.tokens))
        llm.check(ids, options.tokens, options.temperature, options.seed)
        say_lost(llm, [prompt] if prompt is not None else [])
        with progress_bar("verify") as move:
            result = run_verify(llm, ids, options.tokens, options.temperature, options.seed, progress=move)
    print(f"{result.steps} steps, {result.tokens} new tokens, {result.logits:,} logits, {result.cycles:,} cycles")
    if not result.passed:
        print(f"RTL and model DIFFER: {result.difference}")
        return 1
    print("RTL and model agree on every token, every logit bit and every byte of the KV cache")
    count = len(result.ids) - 1
    same = f"same greedy token at {result.float_same} of {count} positions"
    if result.float_same == count:
        same = f"same greedy token at all {count} positions"
    error = f"largest logit error {result.float_error:.4g} (logits span {result.float_range:.4g})"
    print(f"model and float32: {error}, {same}")
    return 0


def default_prompt(llm: LLM, tokens: int) -> list[int]:
    """Twice the rows of the chip and one, so that prefill has several steps, or fewer in a short context; ids spread
    over the vocabulary."""
    count = max(1, min(2 * llm.chip.rows + 1, llm.context - tokens + 1))
    return [(7 + 13 * i) % llm.config.vocabulary for i in range(count)]


def score(options: argparse.Namespace) -> int:
    from .score import MODEL_ROWS
    from .score import score as run_score

    text = read_text(options.text)
    if options.last_percent is not None:
        if not 0 < options.last_percent <= 100:
            raise MozgError(f"--last-percent {options.last_percent}: expected more than 0 and at most 100")
        text = text[int(len(text) * (1 - options.last_percent / 100)) :]
    more = {"rows": MODEL_ROWS} if options.device == "model" else {}
    with load(options, **more) as llm:
        ids, lost = llm.checkpoint.tokenizer.encode(text), llm.checkpoint.tokenizer.lost(text)
        if lost:
            say(lost_line(lost, len(text)))
        with progress_bar("score") as move:
            result = run_score(llm, ids, move)
    print(f"{options.device}{'' if options.device == 'float' else ' ' + options.weights}: {result.describe()}")
    return 0


def perf(options: argparse.Namespace) -> int:
    from .figures import check_figure
    from .perf_command import run

    check_outputs({"--json": options.json, "--plot": options.plot})
    check_figure(options.plot)
    return run(options, say)


def trace(options: argparse.Namespace) -> int:
    from .trace_command import run

    check_outputs({"-o": options.output})
    return run(options, say)


def explore(options: argparse.Namespace) -> int:
    from .explore import run
    from .figures import check_figure

    check_outputs({"--json": options.json, "--plot": options.plot})
    check_figure(options.plot)
    with progress_bar("explore") as move:
        return run(options, move)


def compile_image(options: argparse.Namespace) -> int:
    from .checkpoint import load_checkpoint
    from .compiler import compile_model, listing
    from .llm import chip_config

    if not options.output and not options.listing:
        raise MozgError("compile: give -o IMAGE, --listing FILE, or both")
    check_outputs({"-o": options.output, "--listing": options.listing})
    image = compile_model(load_checkpoint(options.model), chip_config(options.chip), options.weights)
    kv = image.regions["kv"].base
    if options.output:
        write_file(Path(options.output), image.memory[:kv].data)
        say(f"{options.output}: {kv:,} bytes from address 0 (KV cache and output follow, not initialised)")
    if options.listing:
        write_file(Path(options.listing), listing(image).encode())
        say(f"{options.listing}: {len(image.program)} instructions")
    return 0


def info(options: argparse.Namespace) -> int:
    from .info import chip_info, fit_info, model_info

    out = Output(highlight=False, soft_wrap=False)
    if options.model is None:
        if options.chip is None:
            raise MozgError("info: give a MODEL, --chip CHIP, or both")
        out.print(chip_info(options.chip))
        return 0
    from .checkpoint import load_checkpoint

    checkpoint = load_checkpoint(options.model)
    out.print(model_info(checkpoint))
    out.print(fit_info(checkpoint, [options.chip] if options.chip else list(PRESETS)))
    return 0


def demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(options)


# Parser


def add_common(parser: argparse.ArgumentParser, device: str = "verilator", devices: Sequence[str] = DEVICES) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_chip(parser)
    add_weights(parser)
    described = "; ".join(f"{name}: {DEVICES[name]}" for name in devices)
    parser.add_argument(
        "--device",
        choices=devices,
        default=device,
        metavar="DEVICE",
        help=f"where it runs. {described} (default: {device})",
    )
    parser.add_argument("--port", metavar="PATH", help="serial port of the board, such as /dev/ttyUSB0")
    parser.add_argument("--baud", type=int, default=BAUD, metavar="N", help=f"of that port (default: {BAUD})")
    add_memory(parser)


def add_memory(parser: argparse.ArgumentParser, which: str = "DRAM of the verilator device") -> None:
    parser.add_argument(
        "--memory",
        choices=MEMORIES,
        default="ddr4",
        help=f"{which}. {MEMORY_HELP} (default: ddr4)",
    )


def add_chip(parser: argparse.ArgumentParser, chip: str | None = "edge") -> None:
    default = f" (default: {chip})" if chip else ""
    parser.add_argument("--chip", choices=PRESETS, default=chip, help=f"chip configuration{default}")


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        choices=("mxint8", "mxfp4"),
        default="mxint8",
        help="number format of the weights in memory (default: mxint8)",
    )


def add_prompt(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--prompt", metavar="TEXT", help="text to continue")
    group.add_argument("--prompt-ids", metavar="IDS", help="token ids to continue, such as 1,2,3")


def add_prompts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    again = "again for several prompts, which run as a batch"
    group.add_argument("--prompt", metavar="TEXT", action="append", help=f"text to continue; {again}")
    group.add_argument(
        "--prompt-ids", metavar="IDS", action="append", help=f"token ids to continue, such as 1,2,3; {again}"
    )
    group.add_argument(
        "--prompts-file",
        metavar="FILE",
        help="UTF-8 text with a prompt a line, which run as a batch; empty lines at its end are none",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0: greedy; else softmax temperature (default: 0)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="seed of the sampling noise: the same text on every device, alone or in a batch (default: 0)",
    )


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; options are not abbreviated."""

    def __init__(self, **options: Any):
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mozg",
        description="Run GPT checkpoints on the Mozg inference chip: its RTL in simulation, or its bit-exact model.",
        epilog="Example: mozg generate shakespeare --prompt 'ROMEO:' --max-new-tokens 50",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    sub = command(
        "generate", generate, "continue a prompt on the chip, or several at once (each ends as it does alone)"
    )
    add_common(sub)
    add_prompts(sub)
    sub.add_argument(
        "--max-new-tokens", type=int, default=64, metavar="N", help="tokens to generate for each prompt (default: 64)"
    )
    add_sampling(sub)
    sub.add_argument(
        "--json",
        metavar="FILE",
        help="write ids, text, cycles and counters of every step; of several prompts, a list `results` "
        "(/dev/stdout: standard output, below the text)",
    )
    sub.add_argument("--waves", metavar="FILE", help="write all signals to an FST file (verilator; slow)")

    sub = command(
        "verify", verify, "compare the RTL with the bit-exact model, step by step, and the model with float32"
    )
    add_common(sub, devices=RTL)
    add_prompt(sub)
    sub.add_argument("--tokens", type=int, default=8, metavar="N", help="new tokens (default: 8)")
    add_sampling(sub)

    sub = command("score", score, "perplexity of a model on a text file")
    add_common(sub, device="model")
    sub.add_argument("text", metavar="TEXTFILE", help="UTF-8 text")
    sub.add_argument("--last-percent", type=float, metavar="P", help="score only the last P percent of the characters")

    sub = command("perf", perf, "measure cycles on the RTL at any context, and say what each cycle was used for")
    sub.add_argument("model", metavar="MODEL", help=f"{MODEL_HELP}, or a shape: {', '.join(SHAPES)}[,layers=N,...]")
    add_chip(sub)
    add_weights(sub)
    add_memory(sub, "DRAM of the chip")
    perf_command.add_arguments(sub)

    sub = command("trace", trace, "run a step on the RTL and write the timeline of its engines for ui.perfetto.dev")
    sub.add_argument("model", metavar="MODEL", help=f"{MODEL_HELP}, or a shape: {', '.join(SHAPES)}[,layers=N,...]")
    add_chip(sub)
    add_weights(sub)
    add_memory(sub, "DRAM of the chip")
    trace_command.add_arguments(sub)

    sub = command("explore", explore, "cycles a token of many chips for a model, and their frontier")
    sub.add_argument("model", metavar="MODEL", help=f"{MODEL_HELP}, or a shape: {', '.join(SHAPES)}[,layers=N,...]")
    add_weights(sub)
    add_memory(sub, "DRAM of the chips")
    explore_arguments(sub)

    sub = command("compile", compile_image, "write the memory image and a listing of program and memory map")
    sub.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_chip(sub)
    add_weights(sub)
    sub.add_argument("-o", "--output", metavar="IMAGE", help="memory image, from address 0")
    sub.add_argument("--listing", metavar="FILE", help="readable program and memory map (/dev/stdout: standard output)")

    sub = command("info", info, "shapes and sizes of a model, whether it fits; parameters and peak rates of a chip")
    sub.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    add_chip(sub, chip=None)

    sub = command("demo", demo, "the shipped model writes text on the RTL, checked against the model bit for bit")
    add_chip(sub)
    add_weights(sub)
    add_memory(sub)
    sub.add_argument("--tokens", type=int, default=200, metavar="N", help="tokens to write (default: 200)")
    sub.add_argument("--prompt", default="ROMEO:\n", metavar="TEXT", help="text to continue")
    sub.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0: greedy (default: 0.7)")
    sub.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the sampling noise (default: 1)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point: 0 when all went well, 1 for an error (one line on standard error), 2 for usage, 130 for Ctrl-C."""
    sys.stdout, sys.stderr = (
        stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr)
    )  # closed ones
    options = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except MozgError as error:
        fail(str(error))
    except MemoryError:
        fail("not enough memory; use a smaller model, a shorter text, or a computer with more")
    except KeyboardInterrupt:
        fail("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}; check that it is there and can be used")
    return 1


def fail(text: str) -> None:
    """The one line of an error, on standard error."""
    line = " ".join(text.split("\n"))
    status.print(f"mozg: {line}", style="bold red", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
