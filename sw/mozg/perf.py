"""`mozg perf`: what a step costs, what of it was useful, and where the rest went.

All figures of a kind of step (decode, prefill) come from its StepCosts: measured on the RTL (`measure.py`) or predicted
(`cycle_model.py`). Useful bytes and the ideal reader are those of `bandwidth.py`. Multiplies done are the products that
a result needs: rows x outputs x inputs of every matrix in whole blocks of 32 (of the LM head: of sampling rows only),
and in attention those of tokens that a row looks back on. Multiplies possible are R x 32 x P x f for every beat that
the ideal reader delivers in the same time; f is 1 for MXINT8, 2 for MXFP4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rtl.common import registers
from rtl.common.config import BLOCK
from rtl.common.isa import Opcode

from .bandwidth import ideal_cycles, step_parts
from .compiler import Image
from .device.memory import MemoryConfig
from .layout import ceil_div
from .measure import StepCost


def matrix_products(image: Image, cost: StepCost) -> int:
    """Products of weights that a step's results need."""
    total = 0
    for instruction in image.program:
        fields = instruction.fields
        if instruction.opcode != Opcode.MATMUL:
            continue
        rows = cost.rows
        if fields.get("sampling_only"):
            rows = sampling_rows(cost)
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
    for instruction in image.program:
        if instruction.opcode == Opcode.ATTEND:
            total += 2 * looked_at * instruction.fields["heads"] * instruction.fields["head_blocks"] * BLOCK
    return total


def peak_products(image: Image) -> int:
    """Products that the array can do in a beat."""
    return image.chip.rows * BLOCK * image.chip.ports * (2 if image.weights == "mxfp4" else 1)


def streamed_beats(image: Image, cost: StepCost) -> tuple[int, int, int]:
    """Of a step: weight beats of matrices, those of KV caches (both without scale beats), operand loads (k blocks)."""
    matrix = cache = loads = 0
    for instruction in image.program:
        fields = instruction.fields
        if fields.get("sampling_only") and not cost.samples:
            continue
        if instruction.opcode == Opcode.MATMUL:
            blocks = fields["groups"] * fields["k_blocks"]
            matrix, loads = matrix + BLOCK * blocks, loads + blocks
        elif instruction.opcode == Opcode.ATTEND:
            for length in cost.tokens:
                keys = ceil_div(length, BLOCK * image.chip.ports) * fields["head_blocks"]
                values = ceil_div(length, BLOCK) * ceil_div(fields["head_blocks"], image.chip.ports)
                blocks = fields["heads"] * (keys + values)
                cache, loads = cache + BLOCK * blocks, loads + blocks
    return matrix, cache, loads


def energy_counts(image: Image, cost: StepCost) -> dict[str, float]:
    """What costs energy in a step, per token: bytes, multiplications made (masked and padded ones too) and accesses of
    the large RAMs, in words of their own width.

    operand_ram: words of V bytes read for a k block of each row that takes part; accumulators: one read and one write
    of each column a weight beat; fifo: a write and a read of each beat; vector_beats: a control word each, whose pass
    reads and writes vector RAM, score RAM or rings as its kind says.
    """
    chip, factor = image.chip, 2 if image.weights == "mxfp4" else 1
    matrix, cache, loads = streamed_beats(image, cost)
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

    causes: share of the cycles by cause, which sum to 1; empty where cycles were predicted.
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
    multiplies_per_cycle: float
    multiplies_per_byte: float
    attention_products: float
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
    possible = peak_products(image) * cycles * memory.reader_share
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
        multiplies_per_cycle=done / cycles,
        multiplies_per_byte=done / (read + written),
        attention_products=attention / steps,
        causes=causes,
        energy_per_token={
            name: sum(counts[name] * cost.rows for counts, cost in zip(energy, costs, strict=True)) / rows
            for name in energy[0]
        },
        memory={name: sum(cost.memory[name] for cost in costs) / steps for name in costs[0].memory},
    )
