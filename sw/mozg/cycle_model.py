"""Cycles of a step without the RTL: for models and chips too large to simulate, and for sweeps over many chips.

The model walks the compiled program as the three engines do, group by group, and keeps a time for each of them:

- the stream reads regions in order over one bus, which loses its refreshes evenly, row misses where a region begins in
  another row, and the writes of new keys and values with their turnarounds; it runs ahead by the prefetch FIFO;
- the array takes a beat a cycle, not before the beat, the operand blocks and an accumulator bank are there;
- the vector unit drains a group block by block, a round of all rows at a time; thread S (softmax) takes what thread D
  (drains, norms) leaves.

What cannot be derived from shapes are the latencies between the engines: `Latencies`, few, fitted to the RTL
(`tests/data/cycles.json`, `python -m mozg.cycle_model --fit`). Numbers are means over the phase of the refresh.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rtl.common.config import BLOCK, bits_for
from rtl.common.interfaces import MINIMUM_ROUND, kv_units
from rtl.common.isa import INSTRUCTION_BYTES, Epilogue, Opcode

from .bandwidth import VECTOR_BYTES
from .compiler import Image, Instruction
from .device.memory import DDR4, MemoryConfig
from .driver import Row
from .layout import KVLayout, ceil_div
from .measure import StepCost, decode_rows, prefill_rows

STEADY = 1e-6  # cycles: groups whose costs differ by less are alike


@dataclass(frozen=True)
class Latencies:
    """Cycles between engines, for all chips and models alike.

    start, finish: of a step outside its program, beside the memory's latency. beat: from the bus to the array.
    drain: from a group's last beat to its first drain round. operand: from the last beat of a round until its
    operand block can be loaded. landing: until scores and inverses can be read. turn: between two instructions of
    the vector unit. norm: from a norm's begin to its first round beyond the passes over the width. write: of a new
    key or value to memory and its answer. key: of the KV writer for a block of keys of a sequence, beside its
    beats; value: for a head of values; burst: for 32 channels of a head and a sequence.
    """

    start: float = 273.3
    finish: float = 162.3
    beat: float = 1.7
    drain: float = 37.1
    operand: float = 40.3
    landing: float = 82.1
    turn: float = 25.2
    norm: float = 94.4
    write: float = 8.5
    key: float = 20
    value: float = 31.2
    burst: float = 14.1


@dataclass
class _Threads:
    """The lanes of the vector unit and the two threads that share them: times at which each is free."""

    lanes: float = 0.0
    drain: float = 37.1
    softmax: float = 0.0

    def shift(self, cycles: float) -> None:
        self.lanes += cycles
        self.drain += cycles
        self.softmax += cycles


class _Softmax:
    """The rounds of one job's softmax, made when the lanes have time."""

    def __init__(self, ready: float, blocks: int, rows: int, beats: int):
        self.ready, self.blocks, self.rows, self.beats = ready, blocks, rows, beats
        self.done: list[float] = []  # end of each round


class CycleModel:
    """One chip program on one memory; `step` gives the cycles of a step of these rows."""

    def __init__(self, image: Image, memory: MemoryConfig = DDR4, latencies: Latencies | None = None):
        self.image, self.memory, self.chip = image, memory, image.chip
        self.late = latencies or FITTED
        self.share = memory.reader_share
        self.ahead = self.chip.fifo_beats / self.share
        self.layers = self._split()
        attend = next(i.fields for i in image.program if i.opcode == Opcode.ATTEND)
        self.cache = KVLayout.of(self.chip, attend["head_blocks"], image.context)

    def _split(self) -> tuple[list[Instruction], list[list[Instruction]], list[Instruction]]:
        """The program before, in, and after its layers."""
        before: list[Instruction] = []
        after: list[Instruction] = []
        layers: list[list[Instruction]] = []
        for instruction in self.image.program:
            prefix = instruction.name.split(".")[0]
            if prefix.startswith("layer"):
                index = int(prefix[5:])
                while len(layers) <= index:
                    layers.append([])
                layers[index].append(instruction)
            else:
                (after if layers else before).append(instruction)
        return before, layers, after

    # A step

    def step(self, rows: Sequence[Row]) -> float:
        """Cycles of a step of these rows."""
        self.rows = len(rows)
        self.samples = sum(row.sample for row in rows)
        self.positions = [row.position for row in rows]
        self.slots: dict[int, list[int]] = {}
        for row in rows:
            self.slots.setdefault(row.slot, []).append(row.position)
        start = self.late.start + 2 * self.memory.latency  # of the program, then of the embedding
        self.bus = self.array = start
        self.threads = _Threads(start, start, start)
        self.row = -2  # of DRAM, last read
        self.banks = [0.0, 0.0]
        self.bank = 0
        self.operands: dict[int, float] = {}
        self.writes: list[tuple[float, float]] = []  # of keys and values: when they can go, what they cost the bus
        self.written = 0.0  # when all of them are answered
        self.writer = 0.0  # the KV writer is free
        self.waiting: list[int] = []  # units in it: blocks of keys or heads of values, each of all rows
        self.released = deque(
            [0.0] * kv_units(self.chip.rows), maxlen=kv_units(self.chip.rows)
        )  # units that left it last
        self.causes = dict.fromkeys(("memory", "operand", "bank"), 0.0)  # what the array waited for
        self.beats = self.vector_beats = 0
        self.read_beats = len(self.image.program) * ceil_div(INSTRUCTION_BYTES, self.chip.bus_bytes)
        self.write_beats = self.chip.rows  # results
        before, layers, after = self.layers
        for instruction in before:
            self._run(instruction)
        ends: list[float] = []
        skipped = len(layers) - 4  # alike the third; steps without a row that samples leave out much of the last
        for index, layer in enumerate(layers):
            if 3 <= index < len(layers) - 1:
                continue
            counts = self._counts()
            for instruction in layer:
                self._run(instruction)
            ends.append(self.array)
            if index == 2 and skipped > 0:
                self._shift(skipped * (ends[2] - ends[1]))
                self._repeat(counts, skipped)
        for instruction in after:
            self._run(instruction)
        self._flush_writes(math.inf)
        return max(self.array, self.threads.drain, self.written) + self.late.finish

    def _counts(self) -> tuple[int, ...]:
        return self.read_beats, self.write_beats, self.beats, self.vector_beats

    def _repeat(self, before: tuple[int, ...], times: float) -> None:
        """Count what came since `before` so many times more."""
        now = self._counts()
        self.read_beats, self.write_beats, self.beats, self.vector_beats = (
            round(a + times * (a - b)) for a, b in zip(now, before, strict=True)
        )

    def _shift(self, cycles: float) -> None:
        """Let `cycles` pass that are like those before."""
        self.bus += cycles
        self.array += cycles
        self.written += cycles
        self.writer += cycles
        self.released = deque((time + cycles for time in self.released), maxlen=self.released.maxlen)
        self.threads.shift(cycles)
        self.banks = [bank + cycles for bank in self.banks]
        self.operands = {block: time + cycles for block, time in self.operands.items()}
        self.writes = [(time + cycles, cost) for time, cost in self.writes]

    def _run(self, instruction: Instruction) -> None:
        given = instruction.fields
        if given.get("sampling_only") and not self.samples:
            return
        if instruction.opcode == Opcode.EMBED:
            self._embed(given)
        elif instruction.opcode == Opcode.NORM:
            self._norm(given)
        elif instruction.opcode == Opcode.MATMUL:
            self._matmul(given)
        elif instruction.opcode == Opcode.ATTEND:
            _Attention(self, given).run()

    # Memory

    def _region(self, address: int, beats: int) -> None:
        """The stream comes to a region: the row miss at its beginning, if any."""
        row = address // self.memory.row_bytes
        if row not in (self.row, self.row + 1):
            self.bus += self.memory.row_miss / self.share
        self.row = (address + beats * self.chip.bus_bytes - 1) // self.memory.row_bytes

    def _read(self, beats: float) -> None:
        """Beats over the bus, after the writes that go first."""
        self._flush_writes(self.bus)
        self.bus += beats / self.share
        self.read_beats += beats

    def _flush_writes(self, until: float) -> None:
        while self.writes and self.writes[0][0] <= until:
            time, cost = self.writes.pop(0)
            self.bus = max(self.bus, time) + cost / self.share
            self.written = max(self.written, self.bus + self.late.write)

    def _parameters(self, address: int, size: int) -> None:
        """Biases, gammas, betas, embeddings: bus beats that the array does not see."""
        beats = ceil_div(size, self.chip.bus_bytes)
        self._region(address, beats)
        self._read(beats)

    def _take(self, beats: int, start: float) -> None:
        """The array takes beats of the stream from `start` on."""
        start = max(start, self.array)
        self.causes["operand"] += start - self.array
        self.bus = max(self.bus, start - self.ahead)
        self._read(beats)
        self.array = max(start + beats, self.bus + self.late.beat)
        self.causes["memory"] += self.array - start - beats
        self.beats += beats

    def _write(self, time: float, beats: int, misses: int) -> None:
        """Writes of a session, which begin at `time`."""
        cost = beats + misses * self.memory.row_miss + 2 * self.memory.turnaround + self.memory.row_miss
        self.writes.append((time, cost))
        self.write_beats += beats

    # The vector unit

    def _beats(self, rows: int) -> int:
        return rows * self.chip.words

    def _load(self, rows: int) -> float:
        """From the last beat of a round to the first weight beat: the operands of these rows go into the array."""
        return self.late.operand + self._beats(rows)

    def _round(self, ready: float, rows: int) -> float:
        """A drain round of one block of these rows, not before `ready`; the end of its last beat."""
        beats, threads = self._beats(rows), self.threads
        start = max(ready, threads.drain, threads.lanes)
        threads.lanes = start + beats
        threads.drain = start + max(MINIMUM_ROUND, beats)
        self.vector_beats += beats
        return start + beats

    def _scalars(self, rows: int) -> None:
        self.threads.drain += max(MINIMUM_ROUND, rows)
        self.vector_beats += rows

    def _embed(self, given: dict[str, int]) -> None:
        size = given["k_blocks"] * VECTOR_BYTES
        for _ in range(self.rows):
            self.row = -2
            self._parameters(given["address"], size)
            self.row = -2
            self._parameters(given["address_b"], size)
            self.threads.drain = max(self.threads.drain, self.bus + self.late.beat)
            for _ in range(given["k_blocks"]):
                self._round(0, 1)
            self.threads.drain += self.late.turn

    def _norm(self, given: dict[str, int]) -> None:
        size = given["k_blocks"] * VECTOR_BYTES
        self._parameters(given["address"], 2 * size)
        self.threads.drain += self.late.turn + self.late.norm
        for _ in range(3):
            self._scalars(self.rows)
        for _ in range(given["k_blocks"]):
            self._round(0, self.rows)
        for block in range(given["k_blocks"]):
            end = self._round(self.bus + self.late.beat, self.rows)
            self.operands[given["destination"] + block] = end + self._load(self.rows)

    def _matmul(self, given: dict[str, int]) -> None:
        chip, factor, epilogue = self.chip, 1 + given["mxfp4"], given["epilogue"]
        if given["has_bias"]:
            self._parameters(given["address_b"], given["output_blocks"] * VECTOR_BYTES)
        k_blocks, groups = given["k_blocks"], given["groups"]
        beats = k_blocks * (BLOCK + factor)
        self._region(given["address"], groups * beats)
        self.threads.drain += self.late.turn
        if epilogue in (Epilogue.KEY, Epilogue.VALUE):
            self._begin_writes()
        rows = self.samples if epilogue == Epilogue.SAMPLE else self.rows
        width, left = factor * chip.ports, given["output_blocks"]
        block = given.get("destination", 0)
        last: list[tuple[float, float, float]] = []
        for group in range(groups):
            counts = self._counts()
            start = max(self.array, self.banks[self.bank])
            if group:
                self._take(beats, start)
            else:
                for index in range(k_blocks):
                    ready = self.operands.get(given["source"] + index, 0.0)
                    self._take(BLOCK + factor, max(start, ready))
            end = self.array + self.late.drain
            for _ in range(min(width, left)):
                if epilogue == Epilogue.KEY:
                    end = self._store(end, given, block, block + 1 == given["output_blocks"])
                else:
                    end = self._round(end, rows)
                if epilogue == Epilogue.QUANTIZE:
                    self.operands[block] = end + self._load(rows)
                block += 1
            left -= width
            self.banks[self.bank] = end
            self.bank ^= 1
            last = [*last[-2:], (self.array, self.bus, self.threads.drain)]
            steady = len(last) == 3 and self._alike(*last)
            rest = groups - group - 3
            if steady and rest > 0 and epilogue != Epilogue.KEY:
                # All groups but the last two cost the same; the blocks of the operand RAM fill in step with them.
                self._shift(rest * (last[2][0] - last[1][0]))
                self._repeat(counts, rest)
                left -= rest * width
                if epilogue == Epilogue.QUANTIZE:
                    each = (last[2][0] - last[1][0]) / width
                    for index in range(rest * width):
                        self.operands[block] = end + self._load(rows) + (index + 1) * each
                        block += 1
                for _ in range(2):
                    self._take(beats, max(self.array, self.banks[self.bank]))
                    end = self.array + self.late.drain
                    for _ in range(max(0, min(width, left))):
                        end = self._round(end, rows)
                        if epilogue == Epilogue.QUANTIZE:
                            self.operands[block] = end + self._load(rows)
                        block += 1
                    left -= width
                    self.banks[self.bank] = end
                    self.bank ^= 1
                break
        if epilogue == Epilogue.VALUE:
            self._store_values(given)

    @staticmethod
    def _alike(*times: tuple[float, float, float]) -> bool:
        """Whether array, bus and vector unit have all moved on by one and the same time, twice."""
        first, second = ([b - a for a, b in zip(*pair, strict=True)] for pair in (times[:2], times[1:]))
        moves = [*first, *second]
        return max(moves) - min(moves) < STEADY

    def _begin_writes(self) -> None:
        """A KEY or VALUE instruction begins when the KV writer has done with the one before; then it finds the rows'
        caches, adding bit by bit."""
        chip = self.chip
        self.threads.drain = max(self.threads.drain, self.writer)
        bits = bits_for(chip.slots) + bits_for(ceil_div(chip.context, chip.group_tokens))
        self.writer = self.threads.drain + chip.rows * (5 + bits)

    def _store(self, ready: float, given: dict[str, int], unit: int, last: bool) -> float:
        """A round whose units, one a row, go to the KV writer: a block of keys, or the last round of a head of values.
        They wait there for others, then all are written (rtl/memory/README.md, "Sessions"). The end of the round."""
        end = self._round(max(ready, self.released[self.rows - 1]), self.rows)
        self.waiting.append(unit)
        if last or len(self.waiting) * self.rows > kv_units(self.chip.rows) - 3 * self.rows:
            self.writer = max(self.writer, end + self.late.operand)
            if given["epilogue"] == Epilogue.KEY:
                self._write_keys(given)
            else:
                self._write_values(given)
            self.waiting = []
        return end

    def _write_keys(self, given: dict[str, int]) -> None:
        """A session of blocks of keys: for each slot the scale bytes of its rows, with those of the values at a head's
        first block, then the elements; rows of DRAM are opened in this order."""
        misses = beats = 0
        row, size = -2, self.memory.row_bytes
        begin = self.writer
        for block in self.waiting:
            head, within = divmod(block, given["head_blocks"])
            for slot, positions in self.slots.items():
                base = self._slot(slot) + given["layer_offset"] + head * given["head_stride"]
                groups = sorted({position // self.chip.group_tokens for position in positions})
                for group in groups:
                    elements, scale, value_scale = self.cache.key_address(group * self.chip.group_tokens, within)
                    places = [value_scale, scale, elements] if within == 0 else [scale, elements]
                    for address in places:
                        misses += (base + address) // size not in (row, row + 1)
                        row = (base + address) // size
                    beats += len(places) - 1
                beats += len(positions)
                self.writer += self.late.key + len(positions) * (1 + self.chip.words)
            self.released.extend([self.writer] * self.rows)
        self._write(begin, beats, misses)

    def _write_values(self, given: dict[str, int]) -> None:
        """A session of heads of values: a beat for each channel of a slot and a block of 32 tokens."""
        bursts = ceil_div(given["head_blocks"], self.chip.ports)
        bursts *= sum(len({p // BLOCK for p in positions}) for positions in self.slots.values())
        begin = self.writer
        for _ in self.waiting:
            self.writer += self.late.value + self.rows + bursts * self.late.burst
            self.released.extend([self.writer] * self.rows)
        count = len(self.waiting)
        self._write(begin, count * bursts * BLOCK, count * bursts)

    def _slot(self, slot: int) -> int:
        """Address of the KV cache of a slot."""
        return self.image.regions["kv"].base + slot * self.image.slot_bytes

    def _store_values(self, given: dict[str, int]) -> None:
        """Each head of each row, quantised together."""
        self.threads.drain += self.late.turn
        for head in range(given["heads"]):
            for _ in range(given["head_blocks"] - 1):
                self._round(0, self.rows)
            self._store(0, given, head, head + 1 == given["heads"])


class _Attention:
    """ATTEND: jobs S0 S1 V0 S2 V1 ... of all heads of all sequences."""

    def __init__(self, model: CycleModel, given: dict[str, int]):
        self.model, self.given = model, given
        self.chip, self.late = model.chip, model.late
        self.jobs = [
            (slot, max(positions) + 1, len(positions), head)
            for slot, positions in model.slots.items()
            for head in range(given["heads"])
        ]
        self.pending: list[_Softmax] = []
        self.softmax: dict[int, _Softmax] = {}
        self.inverse: dict[int, float] = {}

    def run(self) -> None:
        model = self.model
        model._flush_writes(math.inf)
        model.bus = max(model.bus, model.written + model.memory.latency)
        model.threads.drain += self.late.turn
        count = len(self.jobs)
        for step in range(count + 1):
            if step < count:
                self._scores(step)
            if step:
                self._values(step - 1)

    def _address(self, job: int, part: str, group: int = 0) -> int:
        slot, _, _, head = self.jobs[job]
        given = self.given
        base = self.model._slot(slot) + given["layer_offset"] + head // given["heads_per_kv"] * given["head_stride"]
        return base if part == "keys" else base + given["value_offset"] + group * given["value_stride"]

    def _drain(self, ready: float, rows: int) -> float:
        """A drain round; softmax rounds that can begin before it go first."""
        self._softmax_rounds(max(ready, self.model.threads.drain))
        return self.model._round(ready, rows)

    def _softmax_rounds(self, until: float) -> None:
        """Make the softmax rounds that begin before `until`."""
        threads = self.model.threads
        while self.pending:
            job = self.pending[0]
            start = max(job.ready, threads.softmax, threads.lanes)
            if start >= until:
                return
            threads.lanes = start + job.beats
            threads.softmax = start + max(MINIMUM_ROUND, job.beats)
            self.model.vector_beats += job.beats
            job.done.append(start + job.beats)
            if len(job.done) == job.blocks:
                self.pending.pop(0)
                # The sums land, the inverse is one more beat a row; the next job follows.
                self.model.vector_beats += job.rows
                threads.softmax = start + job.beats + self.late.landing

    def _scores(self, job: int) -> None:
        model, given, ports = self.model, self.given, self.chip.ports
        _, tokens, rows, head = self.jobs[job]
        blocks = ceil_div(tokens, BLOCK)
        groups = ceil_div(blocks, ports)
        beats = 1 + given["head_blocks"] * (1 + BLOCK)
        model._region(self._address(job, "keys"), groups * beats)
        query = given["source"] + head * given["head_blocks"]
        ready = max(model.operands.get(query + i, 0.0) for i in range(given["head_blocks"]))
        end = 0.0
        for group in range(groups):
            model._take(beats, max(ready, model.banks[model.bank]))
            end = model.array + self.late.drain
            for _ in range(min(ports, blocks - group * ports)):
                end = self._drain(end, rows)
            model.banks[model.bank] = end
            model.bank ^= 1
        self.softmax[job] = softmax = _Softmax(end + self.late.landing, blocks, rows, model._beats(rows))
        self.pending.append(softmax)

    def _values(self, job: int) -> None:
        model, given, ports = self.model, self.given, self.chip.ports
        slot, tokens, rows, head = self.jobs[job]
        blocks, softmax = ceil_div(tokens, BLOCK), self.softmax.pop(job)
        last_pass = slot == next(reversed(model.slots))
        for group in range(ceil_div(given["head_blocks"], ports)):
            model._region(self._address(job, "values", group), blocks * BLOCK)
            start = model.banks[model.bank]
            if group:
                model._take(blocks * BLOCK, start)
            else:
                for block in range(blocks):
                    while len(softmax.done) <= block:
                        self._one_softmax_round()
                    model._take(BLOCK, max(start, softmax.done[block] + model._load(rows)))
                inverse = softmax.done[-1] + 2 * self.late.landing
            end = max(model.array + self.late.drain, inverse)
            for index in range(min(ports, given["head_blocks"] - group * ports)):
                end = self._drain(end, rows)
                if last_pass:
                    block = given["destination"] + head * given["head_blocks"] + group * ports + index
                    model.operands[block] = end + model._load(rows)
            model.banks[model.bank] = end
            model.bank ^= 1

    def _one_softmax_round(self) -> None:
        job = self.pending[0]
        threads = self.model.threads
        self._softmax_rounds(max(job.ready, threads.softmax, threads.lanes) + 1e-3)


FITTED = Latencies()


def predict(image: Image, kind: str, rows: Sequence[Row], memory: MemoryConfig = DDR4) -> StepCost:
    """What a step of these rows costs, by the model. Only beats are counted: causes need the RTL."""
    model = CycleModel(image, memory)
    cycles = model.step(rows)
    tokens: dict[int, int] = {}
    for row in rows:
        tokens[row.slot] = max(tokens.get(row.slot, 0), row.position + 1)
    counters = {
        "cycles": cycles,
        "read_beats": model.read_beats,
        "write_beats": model.write_beats,
        "vector_beats": model.vector_beats,
    }
    samples = any(row.sample for row in rows)
    return StepCost(kind, len(rows), tuple(tokens.values()), samples, cycles, counters, {})


def predict_decode(image: Image, context: int, batch: int = 1, memory: MemoryConfig = DDR4) -> StepCost:
    """A decode step of `batch` sequences of `context` tokens each."""
    return predict(image, "decode", decode_rows(context, batch, image.config.vocabulary), memory)


def predict_prefill(image: Image, total: int, memory: MemoryConfig = DDR4) -> list[StepCost]:
    """The steps of a prompt of `total` tokens."""
    rows = image.chip.rows
    return [
        predict(image, "prefill", prefill_rows(i, min(rows, total - i), total, image.config.vocabulary), memory)
        for i in range(0, total, rows)
    ]
