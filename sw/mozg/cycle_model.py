"""Cycles of a step without the RTL: for models and chips too large to simulate, and for sweeps over many chips.

The model walks the compiled program as the three engines do, group by group, and keeps a time for each of them:

- the stream reads regions in order over one bus, which loses its refreshes evenly, row misses where a region begins in
  another row, and the writes of new keys and values with their turnarounds; it runs ahead by the prefetch FIFO, and by
  the instructions that wait for the vector unit;
- the array takes a beat a cycle, not before the beat, the operand blocks and an accumulator bank are there; parameters
  come through the same FIFO and pass it a beat a cycle;
- the vector unit drains a group block by block, a round of all rows at a time; thread S (softmax) takes what thread D
  (drains, norms) leaves, a row at a time;
- the KV writer goes from state to state for each unit, while its buffer lets thread D go on.

Cycles between the registers of one engine are constants that the RTL states, below. The few that lead through several
engines are `Latencies`, fitted to steps measured on the RTL (`python -m mozg.calibrate`, which keeps them in
cycle_points.json). Numbers are means over the phase of the refresh.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rtl.common.config import BLOCK
from rtl.common.interfaces import MINIMUM_ROUND, kv_units
from rtl.common.isa import INSTRUCTION_BYTES, Epilogue, Opcode

from .bandwidth import VECTOR_BYTES
from .compiler import Image, Instruction
from .device.memory import DDR4, MemoryConfig
from .driver import Row
from .layout import KVLayout, ceil_div
from .measure import StepCost, decode_rows, prefill_rows

PAGE_BYTES = 4096  # that no burst crosses
STEADY = 1e-6  # cycles: groups whose costs differ by less are alike

# Cycles that follow from registers of the RTL; tests/test_cycle_model.py compares those that the RTL names. A round
# ends in the cycle after its last beat was granted.
DRAIN = 16  # from a group's last beat to its first drain round: STAGE_WRITE, bank_full, look, hand over, grant
RELEASE = 7  # from a drain's end until the array may fill the bank: RELEASE_DELAY, bank_release, bank_full
QUANTISE = 40  # from a round's end to its first quantised word, beside a level of a tree for each bit of the lanes
LOAD = 5  # from a block's last quantised word to its first weight beat, beside the words that are loaded
LEAVE = 3  # from an instruction's last quantised word until thread D takes the next
LEAVE_SUMS = 4  # the same from its last round where a norm follows, which waits for the sums itself
START = 6  # from thread D's taking an instruction to its first round
NEXT_ROW = 10  # from the end of a row of EMBED to the next row, which does not wait for what is in the lanes
SCALAR = 34  # from a pass's end to one that reads what it wrote: RESULT
SUM = 62  # the same where that is a sum: RESULT, SUM_BUSY
SCORES = 53  # from the end of a job's scores to its softmax: LANDING, look up, offer, grant
INVERSE = 50  # from the end of the inverses to the drain that multiplies by them: LANDING, look, hand over
NEXT_JOB = 7  # from the inverses to the softmax of the next job
QUEUED = 3  # instructions by which the stream may be ahead of thread D: two in its queue, one in the sequencer
FETCHED = 12  # instructions of the program that are read together: FETCH_DEPTH less FETCH_LOW
PARAMETER_BEATS = 128  # FIFO before the gearbox
ROOM = 6  # from a beat's leaving the prefetch FIFO to the address of the burst that gets its place
EMBED_ADDRESSES = 8  # of a row's token and position, beside their bits, one a cycle
KV_ROW = 5  # for the cache of a row of the chip, beside the bits of its slot and group of tokens
PORT = 5  # from a request to the write port to its first beat
HELD = 2  # beats that wait before the write port
OUTSTANDING = 32  # bursts that wait for their answer
RESULT = 9  # a row's result to memory


@dataclass(frozen=True)
class Latencies:
    """Cycles that pass through several engines, for all chips and models alike.

    start, finish: of a step outside its program, beside the memory's latency. beat: from the bus to the array.
    dispatch: from thread D's taking an instruction to the first address of the one that this lets in. barrier: from
    the writer's last beat to the first address of the caches. write: of a new key or value to memory and its answer.
    """

    start: float = 40.6
    finish: float = 12.8
    beat: float = 1.7
    dispatch: float = 14.0
    barrier: float = 1.4
    write: float = 8.4


@dataclass
class _Threads:
    """The lanes of the vector unit and the two threads that share them: times at which each is free."""

    lanes: float
    drain: float
    softmax: float

    def shift(self, cycles: float) -> None:
        self.lanes += cycles
        self.drain += cycles
        self.softmax += cycles


class _Softmax:
    """What thread S does for a job when the lanes have time: a round for each block of tokens, and one of inverses."""

    def __init__(self, ready: float, blocks: int, rows: int):
        self.ready, self.blocks, self.rows = ready, blocks, rows  # ready: when its next round can begin
        self.turns = 0  # rows of the round that have been made
        self.began = 0.0  # the round
        self.done: list[float] = []  # end of each round
        self.inverse = math.inf  # when the results can be multiplied by the inverses of the sums


class CycleModel:
    """One chip program on one memory; `step` gives the cycles of a step of these rows."""

    def __init__(self, image: Image, memory: MemoryConfig = DDR4, latencies: Latencies | None = None):
        self.image, self.memory, self.chip = image, memory, image.chip
        self.late = latencies or FITTED
        self.share = memory.reader_share
        self.fetch_beats = ceil_div(INSTRUCTION_BYTES, self.chip.bus_bytes)
        self.burst = min(self.chip.burst_beats, PAGE_BYTES // self.chip.bus_bytes)
        # From a round's end to its last word in the operand RAM or the KV writer.
        self.quantised = QUANTISE + (self.chip.lanes - 1).bit_length() + self.chip.words
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
        self.slots: dict[int, list[int]] = {}
        for row in rows:
            self.slots.setdefault(row.slot, []).append(row.position)
        self.tokens = [(row.token, row.position) for row in rows]
        # The row table is searched; then come the program and the embedding.
        start = self.late.start + self.chip.rows + 2 * self.memory.latency
        self.bus = self.array = self.passed = self.gearbox = start
        self.threads = _Threads(start, start, start)
        self.end = self.leaves = start  # of thread D's last round; when it takes its next instruction
        self.taken = deque([0.0] * QUEUED, maxlen=QUEUED)  # when it took the last ones
        self.row = -2  # of DRAM, last read
        self.streamed = 0  # beats that have been read
        self.left: deque[tuple[int, float]] = deque([(0, 0.0)])  # beats that have left the prefetch FIFO, and when
        self.banks = [0.0, 0.0]
        self.bank = 0
        self.operands: dict[int, float] = {}
        self.writes: list[tuple[float, float, float]] = []  # sessions: begin, what they cost the bus, end in the writer
        self.written = 0.0  # when all of them are answered
        self.writer = 0.0  # the KV writer is free
        self.port = 0.0  # the write port takes its next request
        self.flushing = False  # it writes all that is there
        self.stored = 0.0  # when thread D's last round for it began
        self.cost = self.draining = 0.0  # of its session: cycles of the bus; when the memory has written what it has
        self.opened = -2  # row of DRAM, last written
        self.inside: deque[tuple[float, int]] = deque()  # bursts in the memory: when it has written them, beats
        self.waiting: list[int] = []  # units in it: blocks of keys or heads of values, each of all rows
        units = kv_units(self.chip.rows)
        self.released = deque([0.0] * units, maxlen=units)  # units that left it last
        self.beats = self.vector_beats = 0
        self.read_beats = len(self.image.program) * self.fetch_beats
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
            ends.append(self.end)
            if index == 2 and skipped > 0:
                self._shift_all(skipped * (ends[2] - ends[1]))
                self._repeat(counts, skipped)
        for instruction in after:
            self._run(instruction)
        self._flush_writes(math.inf)
        return max(self.leaves, self.written) + self.late.finish + RESULT * self.chip.rows

    def _counts(self) -> tuple[int, ...]:
        return self.read_beats, self.write_beats, self.beats, self.vector_beats

    def _repeat(self, before: tuple[int, ...], times: float) -> None:
        """Count what came since `before` so many times more."""
        now = self._counts()
        self.read_beats, self.write_beats, self.beats, self.vector_beats = (
            round(a + times * (a - b)) for a, b in zip(now, before, strict=True)
        )

    def _shift(self, cycles: float) -> None:
        """Let `cycles` pass in which stream, array and vector unit go on as before."""
        self.bus += cycles
        self.array += cycles
        self.passed += cycles
        self.gearbox += cycles
        self.end += cycles
        self.left = deque((beats, time + cycles) for beats, time in self.left)
        self.threads.shift(cycles)
        self.banks = [bank + cycles for bank in self.banks]

    def _shift_all(self, cycles: float) -> None:
        """The same with the KV writer, and what instructions leave to each other."""
        self._shift(cycles)
        self.leaves += cycles
        self.written += cycles
        self.writer += cycles
        for times in (self.taken, self.released):
            times.extend([time + cycles for time in times])
        self.operands = {block: time + cycles for block, time in self.operands.items()}
        self.writes = [(begin + cycles, cost, end + cycles) for begin, cost, end in self.writes]

    def _run(self, instruction: Instruction) -> None:
        given = instruction.fields
        self.bus += (self.fetch_beats + 2 * self.memory.row_miss / FETCHED) / self.share
        if given.get("sampling_only") and not self.samples or instruction.opcode == Opcode.END:
            return
        # The sequencer hands out one instruction at a time: the stream has it when thread D's queue has room.
        self._rest(self.taken[0] + self.late.dispatch + self.memory.latency)
        self.taken.append(self.leaves)
        self.threads.drain = max(self.threads.drain, self.leaves + START)
        if instruction.opcode == Opcode.EMBED:
            self._embed(given)
        elif instruction.opcode == Opcode.NORM:
            self._norm(given)
        elif instruction.opcode == Opcode.MATMUL:
            self._matmul(given)
        elif instruction.opcode == Opcode.ATTEND:
            _Attention(self, given).run()
        sums = instruction.opcode == Opcode.EMBED or given.get("epilogue") == Epilogue.RESIDUAL
        self.leaves = self.end + (LEAVE_SUMS if sums else self.quantised + LEAVE)

    # Memory

    def _region(self, address: int, beats: int) -> None:
        """The stream comes to a region: the row miss at its beginning, if any."""
        row = address // self.memory.row_bytes
        if row not in (self.row, self.row + 1):
            self.bus += self.memory.row_miss / self.share
        self.row = (address + beats * self.chip.bus_bytes - 1) // self.memory.row_bytes

    def _rest(self, until: float) -> None:
        """The stream reads nothing until then; writes go meanwhile."""
        self._flush_writes(until)
        self.bus = max(self.bus, until)

    def _read(self, beats: int) -> None:
        """Beats over the bus, when the prefetch FIFO has room for their burst, after the writes that go first."""
        room = self.streamed + min(beats, self.burst) - self.chip.fifo_beats
        while self.left[0][0] < room:
            self.left.popleft()
        count, time = self.left[0]
        if room > 0:
            self._rest(time - (count - room) + ROOM + self.memory.latency)
        self._flush_writes(self.bus)
        self.bus += beats / self.share
        self.streamed += beats
        self.read_beats += beats

    def _leave(self, time: float) -> None:
        """What has been read leaves the prefetch FIFO until then, a beat a cycle."""
        self.left.append((self.streamed, time))

    def _flush_writes(self, until: float) -> None:
        while self.writes and self.writes[0][0] <= until:
            begin, cost, end = self.writes.pop(0)
            self.bus = max(self.bus, begin) + cost / self.share
            self.written = max(self.written, max(self.bus, end) + self.late.write)

    def _parameters(self, address: int, size: int) -> None:
        """Biases, gammas, betas, embeddings: through the same FIFO, past the array, and the gearbox into words of V."""
        beats, words = ceil_div(size, self.chip.bus_bytes), size // (4 * self.chip.lanes)
        self._region(address, beats)
        begin = self.bus
        self._read(beats)
        self.passed = max(self.passed, self.array, begin + self.late.beat)
        self.gearbox = max(self.gearbox, self.passed) + words
        behind = self.gearbox - PARAMETER_BEATS * words / beats if words > beats else self.gearbox
        self.passed = max(self.passed + beats, self.bus + self.late.beat, behind)
        self.gearbox = max(self.gearbox, self.passed)
        self._leave(self.passed)

    def _take(self, beats: int, ready: float, early: int = 0) -> None:
        """The array takes beats of the stream, all but the first `early` not before `ready`."""
        start = max(ready - early, self.array, self.passed)
        self._read(beats)
        self.array = max(start + beats, self.bus + self.late.beat)
        self._leave(self.array)
        self.beats += beats

    # The vector unit

    def _load(self, rows: int) -> float:
        """From a round's end to the first weight beat: the operands of these rows go into the array."""
        return self.quantised + LOAD + rows * self.chip.words

    def _round(self, ready: float, rows: int) -> float:
        """A round of thread D of one block of these rows, not before `ready`; the end of its last beat."""
        beats, threads = rows * self.chip.words, self.threads
        start = max(ready, threads.drain, threads.lanes)
        threads.lanes = start + beats
        threads.drain = start + max(MINIMUM_ROUND, beats)
        self.vector_beats += beats
        self.end = start + beats
        return self.end

    def _scalars(self) -> None:
        """A beat a row, of what a pass before has left."""
        self.end = self.threads.drain + self.rows
        self.vector_beats += self.rows

    def _embed(self, given: dict[str, int]) -> None:
        size = given["k_blocks"] * VECTOR_BYTES
        asked = self.bus  # when the addresses of a row are known, which are multiplied bit by bit
        for token, position in self.tokens:
            self._rest(asked)
            asked += EMBED_ADDRESSES + token.bit_length() + position.bit_length()
            for address in (given["address"], given["address_b"]):
                self.row = -2
                self._parameters(address, size)
            for block in range(given["k_blocks"]):
                self._round(self.gearbox - (given["k_blocks"] - 1 - block) * self.chip.words, 1)
            self.threads.drain = self.end + NEXT_ROW

    def _norm(self, given: dict[str, int]) -> None:
        self._parameters(given["address"], 2 * given["k_blocks"] * VECTOR_BYTES)
        self.threads.drain = max(self.threads.drain, self.end + SUM)
        self._scalars()  # mean
        self.threads.drain = self.end + SCALAR
        for _ in range(given["k_blocks"]):
            self._round(0, self.rows)
        self.threads.drain = self.end + SUM
        self._scalars()  # variance
        self.threads.drain = self.end + SCALAR
        self._scalars()  # reciprocal of the deviation
        self.threads.drain = self.end + SCALAR
        for block in range(given["k_blocks"]):
            there = self.gearbox - (given["k_blocks"] - 1 - block) * self.chip.words
            self.operands[given["destination"] + block] = self._round(there, self.rows) + self._load(self.rows)

    def _matmul(self, given: dict[str, int]) -> None:
        factor, epilogue = 1 + given["mxfp4"], given["epilogue"]
        if given["has_bias"]:
            self._parameters(given["address_b"], given["output_blocks"] * VECTOR_BYTES)
        k_blocks, groups = given["k_blocks"], given["groups"]
        beats = k_blocks * (BLOCK + factor)
        self._region(given["address"], groups * beats)
        if epilogue in (Epilogue.KEY, Epilogue.VALUE):
            self._begin_writes()
        width, outputs = factor * self.chip.ports, given["output_blocks"]
        last: list[tuple[float, float, float]] = []
        group = 0
        while group < groups:
            counts = self._counts()
            if group:
                self._take(beats, self.banks[self.bank], factor)
            else:
                for index in range(k_blocks):
                    ready = self.operands.get(given["source"] + index, 0.0)
                    self._take(BLOCK + factor, max(ready, 0 if index else self.banks[self.bank]), factor)
            self._drain_group(given, range(group * width, min((group + 1) * width, outputs)))
            last = [*last[-2:], (self.array, self.bus, self.threads.drain)]
            rest = groups - group - 3
            group += 1
            if len(last) == 3 and rest > 0 and epilogue != Epilogue.KEY and not self.writes and self._alike(*last):
                # All groups but the last two cost the same; the blocks of the operand RAM fill in step with them.
                each = last[2][0] - last[1][0]
                if epilogue == Epilogue.QUANTIZE:
                    for index in range(rest * width):
                        ready = self.end + self._load(self.rows) + (index + 1) * each / width
                        self.operands[given["destination"] + group * width + index] = ready
                self._shift(rest * each)
                self._repeat(counts, rest)
                group += rest
        if epilogue == Epilogue.VALUE:
            self._store_values(given)

    def _drain_group(self, given: dict[str, int], blocks: range) -> None:
        """The blocks of outputs that the array has just finished leave its bank."""
        epilogue = given["epilogue"]
        rows = self.samples if epilogue == Epilogue.SAMPLE else self.rows
        ready = self.array + DRAIN
        for block in blocks:
            if epilogue == Epilogue.KEY:
                self._store(ready, given, block, block + 1 == given["output_blocks"])
            else:
                self._round(ready, rows)
            if epilogue == Epilogue.QUANTIZE:
                self.operands[given["destination"] + block] = self.end + self._load(rows)
        self._release_bank()

    def _release_bank(self) -> None:
        self.banks[self.bank] = self.end + RELEASE
        self.bank ^= 1

    @staticmethod
    def _alike(*times: tuple[float, float, float]) -> bool:
        """Whether array, bus and vector unit have all moved on by one and the same time, twice."""
        first, second = ([b - a for a, b in zip(*pair, strict=True)] for pair in (times[:2], times[1:]))
        moves = [*first, *second]
        return max(moves) - min(moves) < STEADY

    # Keys and values

    def _begin_writes(self) -> None:
        """A KEY or VALUE instruction begins when the KV writer has done with the one before; then it finds the rows'
        caches, adding bit by bit."""
        chip = self.chip
        self.threads.drain = max(self.threads.drain, self.writer + START)
        bits = sum(
            slot.bit_length() + (position // chip.group_tokens).bit_length()
            for slot, positions in self.slots.items()
            for position in positions
        )
        self.writer = self.threads.drain + KV_ROW * chip.rows + bits
        self.flushing = False
        self.stored = 0.0

    def _store(self, ready: float, given: dict[str, int], unit: int, last: bool) -> None:
        """A round whose units, one a row, go to the KV writer: a block of keys, or the last round of a head of values.
        They wait there for others, then all are written (rtl/memory/README.md, "Sessions")."""
        most = kv_units(self.chip.rows) - 3 * self.rows
        free = most - len(self.waiting) * self.rows
        # A round is let through while the one before begins: that one's units are not counted yet, or they are.
        if free + self.rows < len(self.released) and self.released[-free - self.rows - 1] > self.stored:
            ready = max(ready, self.released[-free - 1])
        end = self._round(ready, self.rows)
        self.stored = end - self.rows * self.chip.words
        arrival = end + self.quantised
        self.waiting.append(unit)
        joins = self.flushing and arrival <= self.writer
        spare = len(self.waiting) * self.rows - most - 1  # units behind the one with which a session begins
        self.flushing = last or joins or spare >= 0
        if self.flushing:
            self.writer = max(self.writer, arrival + LOAD - (0 if last else spare * self.chip.words))
            self._write(given, joins)

    @staticmethod
    def _runs(positions: list[int]) -> list[list[int]]:
        """These ascending positions, cut where the keys of a block no longer lie one behind the other."""
        runs: list[list[int]] = []
        for position in positions:
            if runs and position == runs[-1][-1] + 1 and position % BLOCK:
                runs[-1].append(position)
            else:
                runs.append([position])
        return runs

    def _write(self, given: dict[str, int], joins: bool) -> None:
        """A session: all waiting units, as the states of rtl/memory/kv_writer.py follow each other. It `joins` the one
        before where the writer never rested."""
        memory, begin = self.memory, self.writer
        self.cost = 0.0 if joins else memory.row_miss + 2 * memory.turnaround  # to and from writing
        self.port = begin
        if not joins:
            self.opened, self.inside = -2, deque()
            self.draining = begin + PORT + memory.turnaround
        for unit in self.waiting:
            if given["epilogue"] == Epilogue.KEY:
                self._write_keys(given, unit)
            else:
                self._write_values(given, unit)
            self.released.extend([self.writer] * self.rows)
        self.writer = max(self.writer, self.port)
        self.writes.append((begin, self.cost, self.writer))
        self.waiting = []

    def _burst(self, address: int, beats: int) -> None:
        """A burst goes into the memory's buffer, and from there over the bus; what has no room waits."""
        row = address // self.memory.row_bytes
        cost = beats + (0 if row in (self.opened, self.opened + 1) else self.memory.row_miss)
        self.opened = row
        self.cost += cost
        self.write_beats += beats
        self.draining = max(self.draining, self.writer + PORT) + cost / self.share
        self.inside.append((self.draining, beats))
        while len(self.inside) > OUTSTANDING or sum(beats for _, beats in self.inside) > self.memory.write_buffer:
            self.writer = max(self.writer, self.inside.popleft()[0])

    def _write_keys(self, given: dict[str, int], block: int) -> None:
        """A block of keys of all rows: for each slot the scale bytes of its rows, with those of the values at a head's
        first block, then the elements."""
        chip = self.chip
        each = chip.words + 1 if chip.words > 1 else 1
        head, within = divmod(block, given["head_blocks"])
        for slot, positions in self.slots.items():
            base = self._slot(slot) + given["layer_offset"] + head * given["head_stride"]
            for group in sorted({position // chip.group_tokens for position in positions}):
                joined = [position for position in positions if position // chip.group_tokens == group]
                _, scale, value_scale = self.cache.key_address(joined[0], within)
                scales = 2 if within == 0 else 1
                self.writer = max(self.writer + 3 + len(joined), self.port)
                self._burst(base + (value_scale if within == 0 else scale), scales)
                self.port = self.writer + PORT + scales
                self.writer += 1 + scales
                for index, run in enumerate(self._runs(joined)):
                    # A run is counted, the first one while the scales are gathered.
                    self.writer = max(self.writer + 2 + (len(run) - 1 if index else 0), self.port)
                    self._burst(base + self.cache.key_address(run[0], within)[0], len(run))
                    self.port = self.writer + max(PORT + len(run), len(run) * each + 2)
                    self.writer = max(self.writer + 1 + len(run) * each, self.port - HELD)

    def _write_values(self, given: dict[str, int], head: int) -> None:
        """A head of values of all rows: a beat for each channel of a slot and a block of 32 tokens."""
        self.writer += 1 + self.rows
        for slot, positions in self.slots.items():
            base = self._slot(slot) + given["layer_offset"] + head * given["head_stride"] + given["value_offset"]
            for block in sorted({position // BLOCK for position in positions}):
                self.writer += 5
                for group in range(ceil_div(given["head_blocks"], self.chip.ports)):
                    self.writer = max(self.writer, self.port)
                    self._burst(base + block * BLOCK * self.chip.bus_bytes + group * given["value_stride"], BLOCK)
                    self.port = self.writer + PORT + BLOCK + 1
                    self.writer = self.port - HELD

    def _slot(self, slot: int) -> int:
        """Address of the KV cache of a slot."""
        return self.image.regions["kv"].base + slot * self.image.slot_bytes

    def _store_values(self, given: dict[str, int]) -> None:
        """Each head of each row, quantised together."""
        self.threads.drain = max(self.threads.drain, self.end + SCALAR)
        for head in range(given["heads"]):
            for _ in range(given["head_blocks"] - 1):
                self._round(0, self.rows)
            self._store(0, given, head, head + 1 == given["heads"])


class _Attention:
    """ATTEND: jobs S0 S1 V0 S2 V1 ... of all heads of all sequences."""

    def __init__(self, model: CycleModel, given: dict[str, int]):
        self.model, self.given = model, given
        self.chip = model.chip
        self.jobs = [
            (slot, max(positions) + 1, len(positions), head)
            for slot, positions in model.slots.items()
            for head in range(given["heads"])
        ]
        self.pending: deque[_Softmax] = deque()
        self.softmax: dict[int, _Softmax] = {}

    def run(self) -> None:
        model = self.model
        model._flush_writes(math.inf)
        model.bus = max(model.bus, model.written + model.late.barrier + model.memory.latency)
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
        """A drain round; what softmax can begin before it goes first."""
        self._softmax_turns(max(ready, self.model.threads.drain))
        return self.model._round(ready, rows)

    def _softmax_turns(self, until: float) -> None:
        """Make the rows of softmax rounds that begin before `until`."""
        threads, words = self.model.threads, self.chip.words
        while self.pending:
            job = self.pending[0]
            inverts = len(job.done) == job.blocks
            beats = 1 if inverts else words
            start = max(job.ready, threads.softmax, threads.lanes)
            if start >= until:
                return
            threads.lanes = threads.softmax = end = start + beats
            self.model.vector_beats += beats
            if job.turns == 0:
                job.began = start
            job.turns += 1
            if job.turns < job.rows:
                continue
            job.turns = 0
            if inverts:
                self.pending.popleft()
                job.inverse = end + INVERSE
                threads.softmax = max(end, job.ready + NEXT_JOB)
            else:
                job.done.append(end)
                threads.softmax = max(end, job.began + MINIMUM_ROUND)
                if len(job.done) == job.blocks:
                    job.ready = end + SUM - 1  # a beat a row makes the inverses of the sums

    def _scores(self, job: int) -> None:
        model, given, ports = self.model, self.given, self.chip.ports
        _, tokens, rows, head = self.jobs[job]
        blocks = ceil_div(tokens, BLOCK)
        groups = ceil_div(blocks, ports)
        beats = 1 + given["head_blocks"] * (1 + BLOCK)
        model._region(self._address(job, "keys"), groups * beats)
        query = given["source"] + head * given["head_blocks"]
        for group in range(groups):
            bank = model.banks[model.bank]
            if group:
                model._take(beats, bank, 2)
            else:
                for index in range(given["head_blocks"]):
                    ready, first = model.operands.get(query + index, 0.0), index == 0
                    model._take(1 + BLOCK + first, max(ready, bank if first else 0), 1 + first)
            for _ in range(min(ports, blocks - group * ports)):
                self._drain(model.array + DRAIN, rows)
            model._release_bank()
        self.softmax[job] = softmax = _Softmax(model.end + SCORES, blocks, rows)
        self.pending.append(softmax)

    def _values(self, job: int) -> None:
        model, given, ports = self.model, self.given, self.chip.ports
        slot, tokens, rows, head = self.jobs[job]
        blocks, softmax = ceil_div(tokens, BLOCK), self.softmax.pop(job)
        last_pass = slot == next(reversed(model.slots))
        for group in range(ceil_div(given["head_blocks"], ports)):
            model._region(self._address(job, "values", group), blocks * BLOCK)
            bank = model.banks[model.bank]
            if group:
                model._take(blocks * BLOCK, bank)
            else:
                for block in range(blocks):
                    while len(softmax.done) <= block:
                        self._softmax_turn()
                    model._take(BLOCK, max(softmax.done[block] + model._load(rows), 0 if block else bank))
            for index in range(min(ports, given["head_blocks"] - group * ports)):
                self._softmax_turns(model.array + DRAIN)
                while softmax.inverse == math.inf:
                    self._softmax_turn()
                self._drain(max(model.array + DRAIN, softmax.inverse), rows)
                if last_pass:
                    block = given["destination"] + head * given["head_blocks"] + group * ports + index
                    model.operands[block] = model.end + model._load(rows)
            model._release_bank()

    def _softmax_turn(self) -> None:
        job = self.pending[0]
        threads = self.model.threads
        self._softmax_turns(max(job.ready, threads.softmax, threads.lanes) + 1e-3)


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
