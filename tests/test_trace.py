"""The timeline of a step: what it shows, that it accounts for every cycle, and the file's format."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from small_models import image

from mozg import trace
from mozg.cli import main
from mozg.measure import Meter, decode_rows, prefill_rows
from mozg.random_checkpoint import make_random_checkpoint
from mozg.timeline import CAUSE_DELAY
from mozg.trace import TRACKS, Places, Slice, TraceError, events, split, tracks
from rtl.common.isa import Opcode
from rtl.common.registers import CAUSES

SHAPE = {"layers": 2, "heads": 3, "width": 96, "context": 80, "vocabulary": 90}
STEPS = {
    "decode": decode_rows(70, 1, 90),
    "batch": decode_rows(33, 2, 90),
    "prefill": prefill_rows(30, 2, 32, 90),
    "prefill without sampling": prefill_rows(4, 2, 32, 90),
}


@pytest.fixture(scope="module", params=("mxint8", "mxfp4"))
def recorded(request):
    """The image, and of each step its rows, timeline, counters and slices."""
    compiled = image("tiny", request.param, **SHAPE)
    found = {}
    with Meter(compiled, timeline=True) as meter:
        for step, rows in STEPS.items():
            timeline, counters = meter.timeline(rows)
            found[step] = rows, timeline, counters, tracks(timeline, compiled, rows)
    return compiled, found


def check_nesting(found: list[dict]) -> None:
    """Events of a track in order: each lies in the one before or after it, none crosses another's end."""
    open_events: list[dict] = []
    for event, after in pairwise([*found, {"ts": 1 << 60}]):
        assert event["dur"] > 0 and event["ts"] <= after["ts"]
        while open_events and open_events[-1]["ts"] + open_events[-1]["dur"] <= event["ts"]:
            open_events.pop()
        if open_events:
            outer = open_events[-1]
            assert event["ts"] + event["dur"] <= outer["ts"] + outer["dur"], f"{event} crosses {outer}"
        open_events.append(event)


@pytest.mark.parametrize("step", STEPS)
def test_the_timeline_is_the_run_that_the_counters_counted(recorded, step):
    _, timeline, counters, _ = recorded[1][step]
    assert timeline.length == counters["cycles"]
    found = Counter()
    for (code,), start, end in timeline.runs("cause", delay=CAUSE_DELAY):
        found[trace.CAUSE_NAME[code]] += end - start
    assert found == {cause: counters[cause] for cause in CAUSES if counters[cause]}
    assert sum(burst.beats for burst in timeline.reads) == counters["read_beats"]
    assert sum(burst.beats for burst in timeline.writes) == counters["write_beats"]


@pytest.mark.parametrize("step", STEPS)
def test_beats_and_stalls_of_the_array_cover_the_step(recorded, step):
    _, timeline, _, found = recorded[1][step]
    causes = sorted((s for s in found["array"] if s.depth == 2), key=lambda s: s.start)
    assert causes[0].start == 0 and causes[-1].end == timeline.length
    assert all(a.end == b.start for a, b in pairwise(causes))
    instructions = [s for s in found["array"] if s.depth == 0]
    assert instructions[0].start == 0 and all(a.end == b.start for a, b in pairwise(instructions))


@pytest.mark.parametrize("step", STEPS)
def test_engines_show_the_instructions_that_concern_them_in_order(recorded, step):
    compiled, steps = recorded
    rows, _, _, found = steps[step]

    def shown(track: str) -> list[str]:
        return [s.name for s in found[track] if s.depth == 0]

    def program(*opcodes: Opcode) -> list[str]:
        return [i.name for i in trace.work(compiled, rows, *opcodes)]

    everything = program(Opcode.EMBED, Opcode.NORM, Opcode.MATMUL, Opcode.ATTEND)
    assert shown("array") == program(Opcode.MATMUL, Opcode.ATTEND)
    assert shown("vector unit: thread D") == everything
    assert shown("vector unit: thread S") == program(Opcode.ATTEND)
    assert [name for name in shown("weight stream") if name not in ("KV barrier", "fetch")] == everything
    assert [s.name for s in found["sequencer"] if s.depth == 1] == [i.name for i in compiled.program]
    written = [name for name in shown("write side") if name != "results"]
    assert written == [f"layer{i}.{which}" for i in range(SHAPE["layers"]) for which in "vk"]
    heads = [s.name for s in found["vector unit: thread D"] if s.name.startswith(("score", "values"))]
    sequences = len({row.slot for row in rows})
    assert len(heads) == 2 * len(program(Opcode.ATTEND)) * SHAPE["heads"] * sequences


@pytest.mark.parametrize("step", STEPS)
def test_slices_of_a_track_are_well_nested_and_within_the_step(recorded, step):
    _, timeline, _, found = recorded[1][step]
    by_track = defaultdict(list)
    for event in events(found, "a title"):
        if event["ph"] == "X":
            assert 0 <= event["ts"] and event["ts"] + event["dur"] <= timeline.length
            by_track[event["tid"]].append(event)
    assert len(by_track) == len(TRACKS)
    for track in by_track.values():
        check_nesting(track)


def test_the_stream_brings_what_the_array_takes(recorded):
    """Each instruction's first beat is taken after it came, and its last one not before its last came."""
    _, steps = recorded
    found = steps["decode"][3]
    came = {s.name: s for s in found["weight stream"] if s.depth == 0}
    for taken in (s for s in found["array"] if s.depth == 0):
        assert taken.end > came[taken.name].end - 1


def test_a_timeline_of_another_step_is_refused(recorded):
    compiled, steps = recorded
    _, timeline, _, _ = steps["decode"]
    with pytest.raises(TraceError, match="the array took"):
        tracks(timeline, compiled, STEPS["prefill without sampling"])


def test_an_address_without_a_name_is_refused():
    with pytest.raises(TraceError, match="where the program has nothing"):
        Places(image("tiny", **SHAPE)).name(image("tiny", **SHAPE).regions["weights"].base)


def test_split_cuts_at_the_edges_of_what_lies_outside():
    outer = [Slice("a", 2, 5), Slice("b", 5, 9)]
    assert [(s.start, s.end) for s in split([Slice("x", 0, 7), Slice("y", 7, 12)], outer)] == [
        (0, 2),
        (2, 5),
        (5, 7),
        (7, 9),
        (9, 12),
    ]


def test_the_command_writes_a_trace_that_follows_the_format(tmp_path, capsys):
    path = tmp_path / "step.json"
    shape = "gpt2-124m,layers=1,heads=2,width=64,context=64,vocabulary=100"
    assert main(["trace", shape, "--chip", "tiny", "--context", "40", "-o", str(path)]) == 0
    assert capsys.readouterr().out.startswith("decode at context 40, batch 1: ")
    found = json.loads(path.read_text())
    assert set(found) == {"otherData", "traceEvents"}
    names = {}
    for event in found["traceEvents"]:
        assert event["pid"] == trace.PROCESS and event["ph"] in "MX"
        if event["ph"] == "X":
            assert set(event) - {"args"} == {"ph", "pid", "tid", "name", "ts", "dur"}
            assert isinstance(event["ts"], int) and isinstance(event["dur"], int) and event["name"]
            assert event["tid"] in names, "a track has its name before its slices"
        elif event["name"] == "thread_name":
            names[event["tid"]] = event["args"]["name"]
    assert tuple(names[tid] for tid in sorted(names)) == TRACKS
    counters = found["otherData"]["counters"]
    assert sum(counters[cause] for cause in CAUSES) == counters["cycles"]
    last = max(event["ts"] + event["dur"] for event in found["traceEvents"] if event["ph"] == "X")
    assert last == counters["cycles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (["--context", "200"], "--context 200: expected 1 to 128 for this model on chip 'tiny'"),
        (["--context", "0"], "--context 0: expected 1 to 128 for this model on chip 'tiny'"),
        (["--batch", "3"], "--batch 3: expected 1 to 2 for this model on chip 'tiny'"),
        (["--prefill", "--batch", "2"], "--batch 2 with --prefill: a prefill step is traced for one sequence"),
        (["-o", "/nowhere/step.json"], "/nowhere/step.json cannot be written: /nowhere is not a folder"),
    ),
)
def test_bad_requests_end_in_one_line(arguments, message, capsys, tmp_path):
    path = str(tmp_path / "step.json")
    assert main(["trace", "gpt2-124m,layers=1", "--chip", "tiny", "-o", path, *arguments]) == 1
    assert message in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "step.json").exists()


def test_a_trace_needs_a_file(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["trace", "shakespeare"])
    assert "the following arguments are required: -o/--output" in capsys.readouterr().err


def test_a_checkpoint_can_be_traced(tmp_path):
    path = tmp_path / "step.json"
    model = make_random_checkpoint(tmp_path / "model", **SHAPE)
    assert main(["trace", str(model), "--chip", "tiny", "--prefill", "--context", "9", "-o", str(path)]) == 0
    assert "prefill of 2 tokens to context 9" in json.loads(path.read_text())["otherData"]["step"]
