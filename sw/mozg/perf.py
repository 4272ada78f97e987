"""`mozg perf`: what a step costs, what of it was useful, and where the rest went.

All figures of a kind of step (decode, prefill) come from its StepCosts: measured on the RTL (`measure.py`) or
predicted (`cycle_model.py`). Useful bytes and the ideal reader are those of `bandwidth.py`. Multiplies done are rows
x outputs x inputs of every matrix that the step runs, in whole blocks of 32 (of the LM head: of sampling rows only),
and in attention those of tokens that a row looks back on. Multiplies possible are R x 32 x P x f for every beat that
the ideal reader delivers in the same time. f is that of the format of the beat, 1 for MXINT8, 2 for MXFP4, mixed as
the array takes them: KV caches are MXINT8 in every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rtl.common import registers
from rtl.common.config import BLOCK
from rtl.common.isa import Epilogue, Opcode

from .bandwidth import ideal_cycles, step_parts
from .compiler import Image, Instruction
from .device.memory import MemoryConfig
from .layout import ceil_div
from .measure import StepCost


def ran(image: Image, cost: StepCost) -> list[Instruction]:
    """The instructions that the step did not leave out."""
    return [i for i in image.program if cost.samples or not i.fields.get("sampling_only")]


def matrix_products(image: Image, cost: StepCost) -> int:
    """Products of weights and operands in a step."""
    total = 0
    for instruction in ran(image, cost):
        fields = instruction.fields
        if instruction.opcode != Opcode.MATMUL:
            continue
        rows = sampling_rows(cost) if fields["epilogue"] == Epilogue.SAMPLE else cost.rows
        total += rows * fields["output_blocks"] * fields["k_blocks"] * BLOCK * BLOCK
    return total


def sampling_rows(cost: StepCost) -> int:
    """Rows whose logits count: all of a decode step, the last of a prompt."""
    if not cost.samples:
        return 0
    return cost.rows if cost.kind == "decode" else len(cost.tokens)


def attention_products(image: Image, cost: StepCost) -> int:
    """Products of queries with keys and of softmax weights with values, without masked ones."""
    each = cost.rows // len(cost.tokens)  # rows of a sequence, ending at its last token
    looked_at = sum(length - i for length in cost.tokens for i in range(each))
    total = 0
    for instruction in ran(image, cost):
        if instruction.opcode == Opcode.ATTEND:
            total += 2 * looked_at * instruction.fields["heads"] * instruction.fields["head_blocks"] * BLOCK
    return total


def products_per_beat(image: Image, weights: str | None = None) -> int:
    """Products that the array can do in a beat of this format, or of the model's weights."""
    return image.chip.rows * BLOCK * image.chip.ports * (2 if (weights or image.weights) == "mxfp4" else 1)


def possible_products(image: Image, cost: StepCost, share: float) -> float:
    """Products that the array can do while the ideal reader, with this share of the bus, delivers for the step's time
    what the step takes: beats of matrices in their format, beats of KV caches in MXINT8."""
    matrix, cache, _, scales = streamed_beats(image, cost)
    mean = products_per_beat(image, "mxint8")
    if image.weights == "mxfp4":
        matrix += matrix // BLOCK * 2
        cache += scales
        mean *= (2 * matrix + cache) / (matrix + cache)
    return mean * cost.cycles * share


def streamed_beats(image: Image, cost: StepCost) -> tuple[int, int, int, int]:
    """Of a step: weight beats of matrices, those of KV caches (both without scale beats), operand loads (k blocks),
    scale beats of KV caches."""
    matrix = cache = loads = scales = 0
    for instruction in ran(image, cost):
        fields = instruction.fields
        if instruction.opcode == Opcode.MATMUL:
            blocks = fields["groups"] * fields["k_blocks"]
            matrix, loads = matrix + BLOCK * blocks, loads + blocks
        elif instruction.opcode == Opcode.ATTEND:
            for length in cost.tokens:
                groups = ceil_div(length, image.chip.group_tokens)
                keys = groups * fields["head_blocks"]
                scales += fields["heads"] * (groups + keys)
                values = ceil_div(length, BLOCK) * ceil_div(fields["head_blocks"], image.chip.ports)
                blocks = fields["heads"] * (keys + values)
                cache, loads = cache + BLOCK * blocks, loads + blocks
    return matrix, cache, loads, scales


def energy_counts(image: Image, cost: StepCost) -> dict[str, float]:
    """What costs energy in a step, per token: bytes, multiplications made (masked and padded ones too) and accesses of
    the large RAMs, in words of their own width.

    operand_ram: words of V bytes read for a k block of each row that takes part; accumulators: one read and one write
    of each column a weight beat; fifo: a write and a read of each beat; vector_beats: V elements through the lanes
    each, whose pass says which of accumulators, vector RAM, score RAM and rings they come from and go to (the table of
    passes in rtl/README.md): up to three words of V read, at most one written. No counter tells passes apart.
    """
    chip, factor = image.chip, 2 if image.weights == "mxfp4" else 1
    matrix, cache, loads, _ = streamed_beats(image, cost)
    shared = cost.rows / len(cost.tokens)  # rows that take part in a pass over a cache
    columns = chip.ports * (matrix * factor * cost.rows + cache * shared)
    moved = (cost.counters["read_beats"] + cost.counters["write_beats"]) * chip.bus_bytes
    cache_loads = cache // BLOCK
    counts = {
        "bytes_moved": moved,
        "multiplications": BLOCK * columns,
        "accumulator_accesses": 2 * columns,
        "operand_ram_reads": chip.words * ((loads - cache_loads) * cost.rows + cache_loads * shared),
        "fifo_accesses": 2 * cost.counters["read_beats"],
        "vector_beats": cost.counters["vector_beats"],
    }
    return {name: value / cost.rows for name, value in counts.items()}


@dataclass(frozen=True)
class Report:
    """One kind of step. Shares are of 1; bytes and counts are per step, unless their name says per token.

    other_beats: read a step, but not for the array, which waits for memory meanwhile; 0 where cycles were predicted.
    causes: share of the cycles by cause, which sum to 1; empty where cycles were predicted. multiplies_share_of_peak:
    the same with every beat counted as one of the weights' format, as those of KV caches are not in MXFP4.
    multiplies_per_byte: a byte moved, useful or not.
    """

    kind: str
    steps: int
    tokens: int
    cycles: float
    cycles_per_token: float
    cycles_per_step: float
    useful_bytes: dict[str, float]
    useful_bytes_total: float
    bytes_read: float
    bytes_written: float
    moved_over_useful: float
    share_of_ideal: float
    share_of_bus: float
    multiplies_done: float
    multiplies_possible: float
    multiplies_share: float
    multiplies_share_of_peak: float
    multiplies_per_cycle: float
    multiplies_per_byte: float
    multiplies_per_useful_byte: float
    attention_products: float
    other_beats: float
    causes: dict[str, float]
    energy_per_token: dict[str, float]
    memory: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def report(image: Image, memory: MemoryConfig, costs: Sequence[StepCost]) -> Report:
    """The figures of some steps of one kind."""
    cycles = sum(cost.cycles for cost in costs)
    rows, steps = sum(cost.rows for cost in costs), len(costs)
    parts = [asdict(step_parts(image, cost.tokens, cost.samples)) for cost in costs]
    useful = {name: sum(part[name] for part in parts) / steps for name in parts[0]}
    total = sum(useful.values()) * steps
    ideal = sum(ideal_cycles(image, memory, cost.tokens, cost.samples) for cost in costs)
    bus = image.chip.bus_bytes

    def sum_of(name: str) -> float:
        return sum(cost.counters.get(name, 0) for cost in costs)

    read, written = sum_of("read_beats") * bus, sum_of("write_beats") * bus
    attention = sum(attention_products(image, cost) for cost in costs)
    done = sum(matrix_products(image, cost) for cost in costs) + attention
    possible = sum(possible_products(image, cost, memory.reader_share) for cost in costs)
    # Of the array alone, as if every beat carried the format of the weights.
    peak = products_per_beat(image) * cycles * memory.reader_share
    energy = [energy_counts(image, cost) for cost in costs]
    causes = {name: sum_of(name) / cycles for name in registers.CAUSES if name in costs[0].counters}
    return Report(
        kind=costs[0].kind,
        steps=steps,
        tokens=rows,
        cycles=cycles,
        cycles_per_token=cycles / rows,
        cycles_per_step=cycles / steps,
        useful_bytes=useful,
        useful_bytes_total=total / steps,
        bytes_read=read / steps,
        bytes_written=written / steps,
        moved_over_useful=(read + written) / total,
        share_of_ideal=ideal / cycles,
        share_of_bus=total / bus / cycles,
        multiplies_done=done / steps,
        multiplies_possible=possible / steps,
        multiplies_share=done / possible,
        multiplies_share_of_peak=done / peak,
        multiplies_per_cycle=done / cycles,
        multiplies_per_byte=done / (read + written),
        multiplies_per_useful_byte=done / total,
        attention_products=attention / steps,
        other_beats=(sum_of("read_beats") - sum_of("array_beats")) / steps if causes else 0.0,
        causes=causes,
        energy_per_token={
            name: sum(counts[name] * cost.rows for counts, cost in zip(energy, costs, strict=True)) / rows
            for name in energy[0]
        },
        memory={name: sum(cost.memory[name] for cost in costs) / steps for name in costs[0].memory},
    )
