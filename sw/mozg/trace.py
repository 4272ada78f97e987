"""A step of the chip as a timeline of its engines, in the JSON trace format of Chrome and Perfetto.

One track an engine, slices within slices: instruction; group, head or pass; what it did or waited for. A cycle is shown
as a microsecond.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from rtl.common.config import BLOCK
from rtl.common.isa import Epilogue, Opcode
from rtl.common.registers import CAUSE_CODE

from .compiler import Image, Instruction
from .driver import Row
from .errors import MozgError
from .layout import ceil_div
from .timeline import CAUSE_DELAY, Burst, Timeline

CAUSE_NAME = {code: name for name, code in CAUSE_CODE.items()}
TRACKS = (
    "sequencer",
    "weight stream",
    "array",
    "vector unit: thread D",
    "vector unit: thread S",
    "write side",
)
PROCESS = 1
PROGRAM = "program"


class TraceError(MozgError):
    """The timeline does not fit the program."""


@dataclass(frozen=True)
class Slice:
    """Cycles start to end - 1 of a track. depth: how many slices it lies in."""

    name: str
    start: int
    end: int
    depth: int = 0
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One head of one pass over a KV cache."""

    slot: int
    tokens: int
    head: int
    name: str


# What each engine has to do, in its order


def work(image: Image, rows: Sequence[Row], *opcodes: Opcode) -> list[Instruction]:
    """The instructions of a step that an engine works on."""
    samples = any(row.sample for row in rows)
    return [i for i in image.program if i.opcode in opcodes and (samples or not i.fields.get("sampling_only"))]


def attention_jobs(instruction: Instruction, rows: Sequence[Row]) -> list[tuple[bool, Job]]:
    """(whether it is the scores, job) in the order S0 S1 V0 S2 V1 ... of rtl/README.md."""
    tokens: dict[int, int] = {}
    for row in rows:
        tokens[row.slot] = max(tokens.get(row.slot, 0), row.position + 1)
    jobs = [
        Job(slot, count, head, f"head {head}" + (f", slot {slot}" if len(tokens) > 1 else ""))
        for slot, count in tokens.items()
        for head in range(instruction.fields["heads"])
    ]
    order = [(True, jobs[0])]
    for before, job in pairwise(jobs):
        order += [(True, job), (False, before)]
    return [*order, (False, jobs[-1])]


def array_work(image: Image, rows: Sequence[Row]) -> Iterator[tuple[str, str, int]]:
    """(instruction, part, beats) in the order in which the array takes them."""
    chip = image.chip
    for instruction in work(image, rows, Opcode.MATMUL, Opcode.ATTEND):
        fields = instruction.fields
        if instruction.opcode == Opcode.MATMUL:
            beats = fields["k_blocks"] * (BLOCK + 1 + fields["mxfp4"])
            for group in range(fields["groups"]):
                yield instruction.name, f"group {group}", beats
            continue
        blocks = fields["head_blocks"]
        for scores, job in attention_jobs(instruction, rows):
            if scores:
                beats = ceil_div(job.tokens, chip.group_tokens) * (1 + blocks * (BLOCK + 1))
            else:
                beats = ceil_div(blocks, chip.ports) * ceil_div(job.tokens, BLOCK) * BLOCK
            yield instruction.name, f"{'scores' if scores else 'values'}, {job.name}", beats


class Places:
    """Names of addresses: (instruction, part)."""

    def __init__(self, image: Image):
        self.image = image
        self.ranges: list[tuple[int, int, str, str]] = []
        bus = image.chip.bus_bytes
        for instruction in image.program:
            f, name = instruction.fields, instruction.name
            if instruction.opcode == Opcode.EMBED:
                self._add(f["address"], image.config.vocabulary * f["row_stride"], name, "token")
                self._add(f["address_b"], image.context * f["row_stride"], name, "position")
            elif instruction.opcode == Opcode.NORM:
                self._add(f["address"], 4 * BLOCK * f["k_blocks"], name, "gamma")
                self._add(f["address_b"], 4 * BLOCK * f["k_blocks"], name, "beta")
            elif instruction.opcode == Opcode.MATMUL:
                beats = f["groups"] * f["k_blocks"] * (BLOCK + 1 + f["mxfp4"])
                self._add(f["address"], beats * bus, name, "weights")
                if f["has_bias"]:
                    self._add(f["address_b"], 4 * BLOCK * f["output_blocks"], name, "bias")
        self.ranges.sort()
        self.lows = [low for low, *_ in self.ranges]
        self.attention = [i for i in image.program if i.opcode == Opcode.ATTEND]

    def _add(self, low: int, size: int, instruction: str, part: str) -> None:
        self.ranges.append((low, low + size, instruction, part))

    def name(self, address: int) -> tuple[str, str]:
        """What lies there."""
        regions = self.image.regions
        offset = address - regions["kv"].base
        if 0 <= offset < regions["kv"].size:
            return self._cache(*divmod(offset, self.image.slot_bytes))
        offset = address - regions["output"].base
        if 0 <= offset < regions["output"].size:
            return ("logits" if offset >= self.image.logits_offset else "results"), ""
        if regions["program"].base <= address < regions["program"].base + regions["program"].size:
            return PROGRAM, ""
        index = bisect_right(self.lows, address) - 1
        if index < 0 or address >= self.ranges[index][1]:
            raise TraceError(f"the chip accessed {address:#x}, where the program has nothing")
        return self.ranges[index][2:]

    def _cache(self, slot: int, offset: int) -> tuple[str, str]:
        for instruction in self.attention:
            f = instruction.fields
            head, within = divmod(offset - f["layer_offset"], f["head_stride"])
            if 0 <= head < f["heads"] // f["heads_per_kv"]:
                return instruction.name, f"{'V' if within >= f['value_offset'] else 'K'} head {head}, slot {slot}"
        raise TraceError(f"the chip accessed byte {offset} of slot {slot}, where no layer has its cache")


# Slices


def split(slices: Iterable[Slice], outer: Sequence[Slice]) -> list[Slice]:
    """The slices cut where one of `outer` begins or ends, so that each lies inside or outside."""
    edges = sorted({edge for each in outer for edge in (each.start, each.end)})
    found = []
    for each in slices:
        inside = edges[bisect_right(edges, each.start) : bisect_right(edges, each.end - 1)]
        cuts = [each.start, *inside, each.end]
        found += [Slice(each.name, low, high, each.depth, each.args) for low, high in pairwise(cuts)]
    return found


def stretches(labels: Iterable[tuple[str | None, int, int]], depth: int) -> list[Slice]:
    """Labelled stretches, equal neighbours joined, those without a label left out."""
    found: list[Slice] = []
    for label, start, end in labels:
        if label is None:
            continue
        if found and found[-1].name == label and found[-1].end == start:
            found[-1] = Slice(label, found[-1].start, end, depth)
        else:
            found.append(Slice(label, start, end, depth))
    return found


def array_track(timeline: Timeline, image: Image, rows: Sequence[Row]) -> list[Slice]:
    """Instructions, groups and jobs, each from the end of the one before to its last beat; the cause of each cycle."""
    causes = [(CAUSE_NAME[code], start, end) for (code,), start, end in timeline.runs("cause", delay=CAUSE_DELAY)]
    lengths = [end - start for _, start, end in causes]
    takes = np.flatnonzero(np.repeat([name == "array_beats" for name, *_ in causes], lengths))
    parts = list(array_work(image, rows))
    ends = np.cumsum([beats for *_, beats in parts])
    if ends[-1] != takes.size:
        raise TraceError(f"the array took {takes.size} beats, the program has {ends[-1]}")
    inner, outer, start = [], [], 0
    for (instruction, part, beats), last in zip(parts, takes[ends - 1].tolist(), strict=True):
        inner.append(Slice(part, start, last + 1, 1, {"beats": beats}))
        if outer and outer[-1].name == instruction:
            outer[-1] = Slice(instruction, outer[-1].start, last + 1)
        else:
            outer.append(Slice(instruction, start, last + 1))
        start = last + 1
    return outer + inner + split(stretches(causes, 2), inner)


def burst_slices(bursts: Sequence[Burst], places: Places) -> list[Slice]:
    """Bursts in order, neighbours of one name joined: instructions, their parts, and fetches in between."""
    bus = places.image.chip.bus_bytes

    def joined(group: Sequence[Burst], name: str, depth: int) -> Slice:
        size = bus * sum(burst.beats for burst in group)
        return Slice(name, group[0].first, group[-1].end, depth, {"bytes": size})

    named = [(*places.name(burst.address), burst) for burst in bursts]
    outer, inner = [], []
    for instruction, group in groupby((each for each in named if each[0] != PROGRAM), key=itemgetter(0)):
        parts = [(part, [each[2] for each in found]) for part, found in groupby(group, key=itemgetter(1))]
        outer.append(joined([burst for _, part in parts for burst in part], instruction, 0))
        inner += [joined(part, name, 1) for name, part in parts if name]
    fetches = [joined([burst], "fetch", 2) for name, _, burst in named if name == PROGRAM]
    return outer + inner + split(fetches, outer + inner)


def stream_track(timeline: Timeline, places: Places) -> list[Slice]:
    """What comes from memory, by its address, and the KV barrier at which nothing does."""
    barrier = stretches(
        (("KV barrier" if held else None, start, end) for (held,), start, end in timeline.runs("kv_barrier")), 0
    )
    return burst_slices(timeline.reads, places) + barrier


def write_track(timeline: Timeline, image: Image, places: Places) -> list[Slice]:
    """KEY and VALUE instructions from their first unit to their last answer, logits and results, and their bursts."""
    instructions = [
        i.name
        for i in image.program
        if i.opcode == Opcode.MATMUL and i.fields["epilogue"] in (Epilogue.KEY, Epilogue.VALUE)
    ]
    starts, dones = timeline.pulses("kv_start"), timeline.pulses("kv_done")
    if not len(starts) == len(dones) == len(instructions):
        raise TraceError(f"{len(starts)} KEY and VALUE instructions began, the program has {len(instructions)}")
    ends = [min(done + 1, after) for done, after in zip(dones, [*starts[1:], timeline.length], strict=True)]
    outer = [Slice(name, start, end) for name, start, end in zip(instructions, starts, ends, strict=True)]
    caches, others = [], []
    for burst in timeline.writes:
        (others if places.name(burst.address)[1] == "" else caches).append(burst)
    inner = [each for each in burst_slices(caches, places) if each.depth == 1]
    return outer + split(inner, outer) + [each for each in burst_slices(others, places) if each.depth == 0]


def drain_track(timeline: Timeline, image: Image, rows: Sequence[Row]) -> list[Slice]:
    """Thread D: instructions, passes (of attention: jobs), and when it issues beats or waits for another engine."""
    from rtl.vector import thread_drain as states
    from rtl.vector.passes import PHASE_CODES, Kind

    names = {kind: kind.name.lower().replace("_", " ") for kind in Kind}
    instructions = iter(work(image, rows, Opcode.EMBED, Opcode.NORM, Opcode.MATMUL, Opcode.ATTEND))
    outer: list[Slice] = []
    passes: list[tuple[str | None, int, int]] = []
    jobs: Iterator[str] = iter(())
    job, resting = "", True
    for (state, kind), start, end in timeline.runs("drain_state", "drain_kind"):
        if state == states.IDLE:
            resting = True
            continue
        if resting:
            instruction = next(instructions, None)
            if instruction is None:
                raise TraceError("thread D began more instructions than the program has")
            if instruction.opcode == Opcode.ATTEND:
                jobs = (f"{'score' if s else 'values'}, {each.name}" for s, each in attention_jobs(instruction, rows))
            job, resting = "", False
            outer.append(Slice(instruction.name, start, end))
        outer[-1] = Slice(outer[-1].name, outer[-1].start, end)
        if state == states.JOB:
            job = next(jobs, "landing")
        if state != states.START:  # there the pass is still that of the instruction before
            label = job or None if instruction.opcode == Opcode.ATTEND else names[Kind(kind)]
            passes.append((label, start, end))
    inner = stretches(passes, 1)
    waits = {CAUSE_CODE["fill_drain"]: "waits for sums", CAUSE_CODE["wait_memory"]: "waits for parameters"}
    waits |= {CAUSE_CODE["wait_softmax"]: "waits for softmax", CAUSE_CODE["wait_kv_write"]: "waits for the KV writer"}

    def doing(state: int, kind: int, phase: int, beat: int) -> str | None:
        if beat:
            return "beats"
        return waits.get(phase) if state == states.CHECK and phase != PHASE_CODES[kind] else None

    seen = timeline.runs("drain_state", "drain_kind", "phase", "drain_beat")
    details = stretches(((doing(*values), start, end) for values, start, end in seen), 2)
    return outer + inner + split(details, outer + inner)


def softmax_track(timeline: Timeline, image: Image, rows: Sequence[Row]) -> list[Slice]:
    """Thread S: attention, its jobs or the wait for their scores, and when it issues beats."""
    from rtl.vector import thread_softmax as states
    from rtl.vector.passes import Kind

    instructions = iter(work(image, rows, Opcode.ATTEND))
    outer: list[Slice] = []
    phases: list[tuple[str | None, int, int]] = []
    jobs: Iterator[str] = iter(())
    before = states.IDLE
    job = ""
    for (state,), start, end in timeline.runs("softmax_state"):
        if state != states.IDLE:
            if before == states.IDLE:
                instruction = next(instructions, None)
                if instruction is None:
                    raise TraceError("thread S began more instructions than the program has")
                jobs = (f"softmax, {each.name}" for scores, each in attention_jobs(instruction, rows) if scores)
                outer.append(Slice(instruction.name, start, end))
            outer[-1] = Slice(outer[-1].name, outer[-1].start, end)
            if state in (states.SETTLE_1, states.SETTLE_2):
                phases.append((None, start, end))
            elif state == states.SCORES:
                phases.append(("waits for scores", start, end))
            else:
                if before == states.SCORES:
                    job = next(jobs, "softmax")
                phases.append((job, start, end))
        before = state
    inner = stretches(phases, 1)
    seen = timeline.runs("softmax_kind", "softmax_beat")
    beats = stretches(((Kind(kind).name.lower() if beat else None, s, e) for (kind, beat), s, e in seen), 2)
    return outer + inner + split(beats, outer + inner)


def sequencer_track(timeline: Timeline, image: Image) -> list[Slice]:
    """Parts of a step, and each instruction from its dispatch to the next one's."""
    from rtl.control.sequencer import STATES

    parts = dict.fromkeys(("FETCH_WAIT", "FETCH"), "program") | dict.fromkeys(("RESULT", "ADVANCE"), "results")
    parts |= {"IDLE": "start and end", "DRAIN": "waits for the engines", "LAST_WRITES": "last writes"}
    seen = timeline.runs("sequencer")
    outer = stretches(((parts.get(STATES[state], "row table"), start, end) for (state,), start, end in seen), 0)
    taken = timeline.pulses("dispatched", delay=1)
    if len(taken) != len(image.program):
        raise TraceError(f"{len(taken)} instructions were dispatched, the program has {len(image.program)}")
    ends = [*taken[1:], taken[-1] + 1]
    inner = [Slice(i.name, start, end, 1) for i, start, end in zip(image.program, taken, ends, strict=True)]
    return outer + split(inner, outer)


# The file


def tracks(timeline: Timeline, image: Image, rows: Sequence[Row]) -> dict[str, list[Slice]]:
    """The slices of each of TRACKS."""
    places = Places(image)
    found = (
        sequencer_track(timeline, image),
        stream_track(timeline, places),
        array_track(timeline, image, rows),
        drain_track(timeline, image, rows),
        softmax_track(timeline, image, rows),
        write_track(timeline, image, places),
    )
    return dict(zip(TRACKS, found, strict=True))


def events(found: dict[str, list[Slice]], title: str) -> Iterator[dict[str, Any]]:
    """Trace events: names of process and tracks, then complete events, an outer slice before those inside it."""
    yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": title}}
    for number, (track, slices) in enumerate(found.items(), 1):
        place = {"pid": PROCESS, "tid": number}
        yield {"ph": "M", **place, "name": "thread_name", "args": {"name": track}}
        yield {"ph": "M", **place, "name": "thread_sort_index", "args": {"sort_index": number}}
        for each in sorted(slices, key=lambda s: (s.start, -s.end, s.depth)):
            event = {"ph": "X", **place, "name": each.name, "ts": each.start, "dur": each.end - each.start}
            yield event | ({"args": each.args} if each.args else {})


def trace_json(found: dict[str, list[Slice]], title: str, about: dict[str, Any]) -> str:
    """The file, a line for each event."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events(found, title))
    return f'{{"otherData":{json.dumps(about)},"traceEvents":[\n{lines}\n]}}\n'
