"""The cycle model against the RTL: the table of points, and small steps that run here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_models import checkpoint

from mozg import calibrate, cycle_model
from mozg.cli import main
from mozg.compiler import compile_shape
from mozg.cycle_model import FITTED, CycleModel, predict_decode, predict_prefill
from mozg.device.memory import DDR4, IDEAL, MEMORIES
from mozg.explore import chip_for, frontier, sweep_of
from mozg.measure import Meter, decode_rows, random_image
from mozg.shapes import config_of, parse_shape
from rtl.common.config import PRESETS

TOLERANCE = 0.03
SHAPE = "gpt2-124m,layers=2,vocabulary=512"


def test_every_measured_point_is_predicted_within_three_percent():
    """All points, and enough of those that were not used to fit the latencies."""
    found = calibrate.read_points()
    errors = calibrate.Errors(found).of()
    worst = max(zip(errors, found, strict=True), key=lambda pair: abs(pair[0]))
    assert abs(worst[0]) <= TOLERANCE, worst
    checks = [point for point in found if point.use == "check"]
    assert len(found) >= 8 and len(checks) >= 5
    assert len({point.chip for point in checks}) >= 3 and len({point.model for point in checks}) >= 3


def test_the_table_holds_every_point_once():
    assert [replace(point, cycles=0.0) for point in calibrate.read_points()] == calibrate.points()


@pytest.mark.parametrize(
    ("chip", "shape", "weights", "memory"),
    [
        ("tiny", "layers=2,heads=4,width=128,context=128,vocabulary=600", "mxint8", "ddr4"),
        ("tiny", "layers=5,heads=5,width=65,hidden=210,vocabulary=333", "mxfp4", "ideal"),
        ("tiny", "layers=4,heads=2,width=24,hidden=800,vocabulary=1100", "mxint8", "hbm2e"),
        ("edge", "layers=5,heads=7,width=49,hidden=300,vocabulary=150", "mxfp4", "lpddr4"),
        ("edge", "layers=3,heads=3,width=219,hidden=420,vocabulary=90", "mxint8", "ideal"),
        ("edge", "layers=4,heads=11,width=220,hidden=100,vocabulary=700", "mxfp4", "ddr4"),
    ],
)
def test_small_steps_measured_now_are_predicted_within_three_percent(chip, shape, weights, memory):
    """On the RTL as it is, not as it was when the table was made, and for shapes that are not in it."""
    config, dram = parse_shape(f"gpt2-124m,{shape}"), MEMORIES[memory]
    image = random_image(config, PRESETS[chip], weights)
    rows = image.chip.rows
    with Meter(image, dram) as meter:
        cases = [
            (meter.decode(length, batch, 4), predict_decode(image, length, batch, dram))
            for length, batch in ((60, 1), (128, rows))
        ]
        cases.append((meter.prefill_step(40, 100, 4), predict_prefill(image, 100, dram)[40 // rows]))
        cases.append((meter.prefill_step(100 - rows, 100, 4), predict_prefill(image, 100, dram)[-1]))
    for measured, predicted in cases:
        if measured.cycles >= calibrate.SHORT:
            assert predicted.cycles == pytest.approx(measured.cycles, rel=TOLERANCE)
        else:
            assert predicted.cycles == pytest.approx(measured.cycles, abs=TOLERANCE * calibrate.SHORT)
        assert predicted.tokens == measured.tokens and predicted.samples == measured.samples
        for name in ("read_beats", "write_beats", "vector_beats"):
            assert predicted.counters[name] == measured.counters[name]


@pytest.mark.slow
def test_the_table_is_what_the_rtl_does():
    """Measures every point again; the smallest in everyday tests are above."""
    wanted = calibrate.read_points()
    found = calibrate.measure(wanted, print)
    for before, now in zip(wanted, found, strict=True):
        assert now.cycles == pytest.approx(before.cycles, rel=0.002), before


def test_constants_are_those_of_the_rtl():
    """A change of the pipelines shows here before it shows in cycles."""
    from rtl.array import STAGE_WRITE
    from rtl.memory import descriptor
    from rtl.vector.issue import LANDING, RELEASE_DELAY
    from rtl.vector.timing import RESULT, SUM_BUSY

    assert STAGE_WRITE + 3 == cycle_model.DRAIN and RELEASE_DELAY + 2 == cycle_model.RELEASE
    assert RESULT == cycle_model.SCALAR and RESULT + SUM_BUSY == cycle_model.SUM
    assert LANDING + 5 == cycle_model.SCORES and LANDING + 2 == cycle_model.INVERSE
    assert descriptor.FETCH_DEPTH - descriptor.FETCH_LOW == cycle_model.FETCHED
    assert descriptor.PARAMETER_BEATS == cycle_model.PARAMETER_BEATS


def test_layers_and_groups_that_are_alike_are_skipped_without_a_difference():
    """A model of 6 layers costs its first layers and six times a layer; a long matrix, its groups."""
    cycles = [
        CycleModel(compile_shape(parse_shape(f"gpt2-124m,layers={layers},vocabulary=512"), PRESETS["edge"])).step(
            decode_rows(100, 1, 512)
        )
        for layers in (3, 4, 5, 8)
    ]
    each = cycles[1] - cycles[0]
    assert cycles[2] - cycles[1] == pytest.approx(each, rel=1e-3)
    assert cycles[3] - cycles[2] == pytest.approx(3 * each, rel=1e-3)


def test_more_of_anything_costs_no_less():
    small = compile_shape(parse_shape(SHAPE), PRESETS["server"])
    steps = [predict_decode(small, length, batch).cycles for length, batch in ((64, 1), (512, 1), (512, 16))]
    assert steps == sorted(steps)
    memories = [predict_decode(small, 512, 1, memory).cycles for memory in (IDEAL, DDR4, MEMORIES["hbm2e"])]
    assert memories == sorted(memories)
    slower = replace(FITTED, dispatch=100 * FITTED.dispatch)
    rows = decode_rows(512, 1, 512)
    assert CycleModel(small, DDR4, slower).step(rows) > CycleModel(small, DDR4).step(rows)


def test_a_model_too_large_to_simulate_is_predicted_at_once(capsys):
    assert main(["perf", "gpt2-355m", "--chip", "server", "--weights", "mxfp4", "--predict", "--prompt", "16"]) == 0
    text = capsys.readouterr().out
    assert "cycle model" in text and "share of the ideal reader" in text and "causal attention alone" not in text


def test_chips_of_a_sweep_hold_the_model():
    config = config_of("gpt2-124m")
    for rows, bus, lanes, fifo in sweep_of((2, 16), (256, 1024), (4, 32), (512,)):
        chip = chip_for(config, rows, bus, lanes, fifo, 600)
        assert chip.context == 1024 and chip.rows <= chip.lanes
        assert compile_shape(config, chip).context == 1024
    assert sweep_of((8,), (256,), (4,), (512,)) == []


def test_the_frontier_has_no_chip_that_another_beats(tmp_path, capsys):
    written, drawn = tmp_path / "chips.json", tmp_path / "chips.svg"
    arguments = ["explore", SHAPE, "--context", "100", "--prompt", "64", "--rows", "2,4", "--lanes", "4,8"]
    assert main([*arguments, "--json", str(written), "--plot", str(drawn)]) == 0
    assert "prompt 64, cycle model: 12 chips" in " ".join(capsys.readouterr().out.split())
    chips = json.loads(written.read_text())["chips"]
    assert len(chips) == 2 * 3 * 2 and drawn.read_text().startswith("<?xml")
    for kind in ("decode", "batch", "prefill"):
        best = [chip for chip in chips if kind in chip["frontier"]]
        for chip in chips:
            assert any(
                other["multipliers"] <= chip["multipliers"] and other["cycles"][kind] <= 1.01 * chip["cycles"][kind]
                for other in best
            )
        sizes = [chip["multipliers"] for chip in best]
        assert len(set(sizes)) == len(sizes)


def test_a_frontier_is_sorted_and_falls():
    config = checkpoint(layers=1, heads=2, width=64, context=80, vocabulary=70).config
    from mozg.explore import explore

    found = explore(config, "mxint8", DDR4, 64, 32, sweep_of((2, 4), (256, 512), (4,), (512,)))
    line = frontier(found, "prefill")
    assert [c.multipliers for c in line] == sorted({c.multipliers for c in line})
    cycles = [c.cycles["prefill"] for c in line]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "3"], "argument --rows: '3' is not powers of two from 2 to 32"),
        (["--bus", "x"], "argument --bus: 'x' is not powers of two from 256 to 1024"),
        (["--rows", "8", "--lanes", "4"], "no chip has fewer lanes than rows"),
        (["--context", "2000"], "--context 2000: expected 1 to 1024 for this model"),
        (["--plot", "x.txt"], "x.txt: expected a figure's name that ends in .png, .svg, .pdf"),
    ],
)
def test_explore_refuses_in_one_line(arguments, message, capsys):
    try:
        code = main(["explore", "gpt2-124m", *arguments])
    except SystemExit as exit_:
        code = exit_.code
    assert code in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())
