"""Cycles of single steps on the RTL, at any context, without running what came before.

What the chip does in a step, and when, follows from the shapes and from the rows' slots and positions, never from the
numbers in memory. So a decode step at context N needs no prefill: its rows stand at position N - 1 over KV caches of
random numbers. The same holds for weights: a shape without a checkpoint gets random ones, packed as the compiler packs.

>>> with Meter(random_image(parse_shape("gpt2-124m"), PRESETS["edge"])) as meter:
...     print(meter.decode(512).cycles)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import BLOCK, ChipConfig
from rtl.common.isa import Opcode

from . import tables
from .checkpoint import GPTConfig
from .compiler import Image, compile_shape
from .device import DeviceError
from .device.memory import DDR4, MemoryConfig
from .device.verilator import VerilatorDevice
from .driver import Driver, Row
from .errors import MozgError
from .fit import check_memory, shortages
from .layout import KVLayout, ceil_div
from .timeline import Timeline

# Scale bytes that keep sums of random elements in range: 2^-7, 2^-9 and 2^-5.
MXINT8_SCALE, MXFP4_SCALE, KV_SCALE = 120, 118, 122
HEADS = 12  # of the attention that is measured alone, or as many as fit
POOL = 1 << 20  # random numbers that a large table repeats
SPREAD = 0.6180339887  # of refresh phases over measurements: never two alike


class MeasureError(MozgError):
    """A measurement that the model or the chip cannot make."""


def random_image(
    config: GPTConfig, chip: ChipConfig, weights: str = "mxint8", slots: int | None = None, seed: int = 1
) -> Image:
    """A memory image of this shape with random weights, without a checkpoint. Raises FitError."""
    image = compile_shape(config, chip, weights, slots)
    check_memory(image.used)
    image.memory = memory = np.zeros(image.used, dtype=np.uint8)
    code = b"".join(instruction.encode() for instruction in image.setup + image.program)
    memory[: len(code)] = np.frombuffer(code, dtype=np.uint8)
    table = tables.build_tables(config.activation).T.astype("<f4")
    _put(memory, image.setup[0].fields["address"], table)
    random = np.random.default_rng(seed)
    numbers = random.standard_normal(POOL, dtype=np.float32)
    for instruction in image.program:
        fields = instruction.fields
        if instruction.opcode == Opcode.EMBED:
            for address, count in ((fields["address"], config.vocabulary), (fields["address_b"], image.context)):
                rows = np.zeros((count, fields["row_stride"] // 4), dtype="<f4")
                rows[:, : config.width] = np.resize(numbers, (count, config.width))
                _put(memory, address, rows)
        elif instruction.opcode == Opcode.NORM:
            _put(memory, fields["address"], np.ones(config.width, dtype="<f4"))
        elif instruction.opcode == Opcode.MATMUL:
            factor = 2 if fields["mxfp4"] else 1
            beats = np.empty((fields["groups"] * fields["k_blocks"], factor + BLOCK, chip.bus_bytes), dtype=np.uint8)
            beats[:, :factor] = MXFP4_SCALE if fields["mxfp4"] else MXINT8_SCALE
            beats[:, factor:] = _random_bytes(random, beats[:, factor:].shape)
            _put(memory, fields["address"], beats)
    return image


def _random_bytes(random: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    return np.frombuffer(random.bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)


def _put(memory: NDArray[np.uint8], address: int, data: NDArray) -> None:
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    memory[address : address + flat.size] = flat


def random_cache(image: Image, seed: int = 2) -> NDArray[np.uint8]:
    """Bytes of one KV slot with random keys and values at every position: uint8 [slot_bytes]."""
    attend = next(i.fields for i in image.program if i.opcode == Opcode.ATTEND)
    layout = KVLayout.of(image.chip, attend["head_blocks"], image.context)
    head = _random_bytes(np.random.default_rng(seed), (layout.head_stride,)).copy()
    keys = head[: layout.key_groups * layout.group_beats * layout.bus_bytes]
    beats = keys.reshape(layout.key_groups, layout.group_beats, layout.bus_bytes)
    beats[:, 0] = KV_SCALE
    beats[:, 1 :: 1 + BLOCK] = KV_SCALE
    slot = np.zeros(image.slot_bytes, dtype=np.uint8)
    used = image.config.layers * image.config.heads * layout.head_stride
    slot[:used].reshape(-1, layout.head_stride)[:] = head
    return slot


@dataclass(frozen=True)
class StepCost:
    """What one step cost: means over `repeats` runs that meet the DRAM's refreshes at other moments.

    kind: "decode" or "prefill". tokens: for each sequence, its length including the step's rows. samples: the step
    computed logits. counters: those of the chip; memory: those of the DRAM model.
    """

    kind: str
    rows: int
    tokens: tuple[int, ...]
    samples: bool
    cycles: float
    counters: dict[str, float]
    memory: dict[str, float]
    repeats: int = 1


def decode_rows(context: int, batch: int, vocabulary: int) -> list[Row]:
    """A row for each of `batch` sequences whose last token is at position context - 1."""
    return [Row(i, context - 1, (7 + 13 * i) % vocabulary, sample=True) for i in range(batch)]


def prefill_rows(start: int, count: int, total: int, vocabulary: int) -> list[Row]:
    """Prompt tokens start to start + count - 1 of a prompt of `total`, whose last one samples."""
    return [Row(0, i, (7 + 13 * i) % vocabulary, sample=i == total - 1) for i in range(start, start + count)]


class Meter:
    """An image on the Verilated chip, its KV caches filled, ready to measure steps. Close it, or use `with`.

    timeline: what the engines do can be recorded; slower.
    """

    def __init__(
        self,
        image: Image,
        memory: MemoryConfig = DDR4,
        progress: Callable[[str], None] = lambda _: None,
        timeline: bool = False,
    ):
        self.image, self.memory = image, memory
        self.device = VerilatorDevice(
            image.chip, image.memory.size, memory=memory, progress=progress, timeline=timeline
        )
        try:
            self.driver = Driver(self.device, image)
            self._fill()
        except BaseException:
            self.device.close()
            raise

    def _fill(self) -> None:
        cache, base = random_cache(self.image), self.image.regions["kv"].base
        for slot in range(self.image.slots):
            self.device.write_memory(base + slot * self.image.slot_bytes, cache)

    def close(self) -> None:
        self.device.close()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(self, context: int, batch: int = 1, repeats: int = 1) -> StepCost:
        """One step of `batch` sequences, each with `context` tokens including the row's own."""
        self._check(context)
        if not 1 <= batch <= min(self.image.chip.rows, self.image.slots):
            raise MeasureError(f"batch {batch}: chip {self.image.chip.name!r} takes 1 to {self.image.chip.rows} rows")
        rows = decode_rows(context, batch, self.image.config.vocabulary)
        return self.step("decode", rows, repeats)

    def prefill(self, total: int) -> Iterator[StepCost]:
        """The steps of a prompt of `total` tokens, all rows of the chip in each; only the last one samples."""
        self._check(total)
        for start in range(0, total, self.image.chip.rows):
            yield self.prefill_step(start, total, index=start // self.image.chip.rows)

    def prefill_step(self, start: int, total: int, repeats: int = 1, index: int = 0) -> StepCost:
        """The step that begins at prompt token `start`, alone."""
        self._check(total)
        count = min(self.image.chip.rows, total - start)
        rows = prefill_rows(start, count, total, self.image.config.vocabulary)
        return self.step("prefill", rows, repeats, index)

    def step(self, kind: str, rows: Sequence[Row], repeats: int = 1, index: int = 0) -> StepCost:
        """Any rows; `repeats` runs of them from measurement `index` on, which chooses the phase of the refresh."""
        runs = [self._run(rows, index + i) for i in range(repeats)]
        counters, memory = (
            {name: sum(run[part][name] for run in runs) / repeats for name in runs[0][part]} for part in (0, 1)
        )
        tokens: dict[int, int] = {}
        for row in rows:
            tokens[row.slot] = max(tokens.get(row.slot, 0), row.position + 1)
        return StepCost(
            kind=kind,
            rows=len(rows),
            tokens=tuple(tokens.values()),
            samples=any(row.sample for row in rows),
            cycles=counters["cycles"],
            counters=counters,
            memory=memory,
            repeats=repeats,
        )

    def _run(self, rows: Sequence[Row], index: int) -> tuple[dict[str, int], dict[str, int]]:
        interval = self.memory.refresh_interval
        if interval:
            self.device.wait_for_phase(int(index * SPREAD % 1 * interval), interval)
        before = self.device.memory_counters()
        result = self.driver.step(rows)
        after = self.device.memory_counters()
        if not result.counters.get("cycles"):
            raise DeviceError("the chip counted no cycles")
        return result.counters, {name: after[name] - before[name] for name in after}

    def timeline(self, rows: Sequence[Row]) -> tuple[Timeline, dict[str, int]]:
        """What the engines did in one step of these rows, and its counters; for a Meter opened with `timeline`."""
        self.device.start_timeline()
        counters = self.driver.step(rows).counters
        return Timeline(*self.device.read_timeline()), counters

    def _check(self, tokens: int) -> None:
        if not 1 <= tokens <= self.image.context:
            raise MeasureError(f"{tokens} tokens: the model's context on this chip is 1 to {self.image.context}")


def attention_image(config: GPTConfig, chip: ChipConfig, heads: int) -> Image:
    """A chip program that does little but the attention of one layer with `heads` heads: `measure_attention`.

    Embedding, normalisation and the query projection contract a single block; the output projection has a single block
    of outputs, and is there to empty the operand RAM.
    """
    size = config.head_dim
    shape = dataclasses.replace(
        config, layers=1, heads=heads, width=heads * size, hidden=BLOCK, vocabulary=BLOCK, attention_factor=0.125
    )
    image = random_image(shape, chip)
    program = []
    for instruction in image.program:
        fields = {name: value for name, value in instruction.fields.items() if name != "sampling_only"}
        if instruction.name in ("embedding", "layer0.ln_1", "layer0.q"):
            fields["k_blocks"] = 1
        elif instruction.name == "layer0.attention.out":
            fields |= {"groups": 1, "output_blocks": 1}
        elif instruction.name not in ("layer0.attention", "end"):
            continue
        program.append(dataclasses.replace(instruction, fields=fields))
    image.program = program
    region = image.regions["program"]
    code = b"".join(instruction.encode() for instruction in program)
    image.memory[region.base : region.base + len(code)] = np.frombuffer(code, dtype=np.uint8)
    return image


def measure_attention(
    config: GPTConfig,
    chip: ChipConfig,
    total: int,
    memory: MemoryConfig = DDR4,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[float, int]:
    """Cycles that causal attention alone takes for a prompt of `total` tokens, all rows a step: one layer, all heads.

    Measured as the difference between two programs of which one has twice the heads, less the beats by which their
    projections differ; so what surrounds attention in a step cancels. Returns cycles and products that are not masked.
    """
    heads = HEADS
    while heads > 2 and shortages(dataclasses.replace(config, heads=heads, width=heads * config.head_dim), chip):
        heads -= 2
    costs, beats = [], []
    for count in (heads, heads // 2):
        with Meter(attention_image(config, chip, count), memory, progress) as meter:
            costs.append(sum(step.cycles for step in meter.prefill(total)))
            projections = [i.fields for i in meter.image.program if i.opcode == Opcode.MATMUL]
            beats.append(sum(fields["groups"] * fields["k_blocks"] * (BLOCK + 1) for fields in projections))
    steps = ceil_div(total, chip.rows)
    cycles = costs[0] - costs[1] - steps * (beats[0] - beats[1]) / memory.reader_share
    products = 2 * (total * (total + 1) // 2) * ceil_div(config.head_dim, BLOCK) * BLOCK
    return cycles / (heads - heads // 2) * config.heads, products * config.heads
