"""`mozg perf`: figures against what they are defined to be, and the command's tables, files and refusals."""

from __future__ import annotations

import json

import pytest
from small_models import checkpoint, image

from mozg.bandwidth import ideal_cycles, step_bytes
from mozg.cli import main
from mozg.compiler import compile_shape
from mozg.device.memory import DDR4
from mozg.measure import Meter, StepCost, measure_attention, random_image
from mozg.perf import attention_products, matrix_products, products_per_beat, report, streamed_beats
from mozg.shapes import parse_shape
from rtl.common.config import PRESETS
from rtl.common.registers import CAUSES

SHAPE = "gpt2-124m,layers=2,heads=3,width=96,context=128,vocabulary=100"


def cost(kind: str, rows: int, tokens: tuple[int, ...], samples: bool = True) -> StepCost:
    return StepCost(kind, rows, tokens, samples, 1000.0, {"read_beats": 700, "write_beats": 20, "vector_beats": 5}, {})


def test_products_of_matrices_are_counted_in_blocks_and_the_head_for_sampling_rows_only():
    shape = compile_shape(parse_shape(SHAPE), PRESETS["tiny"])
    layers = 2 * (4 * 96 * 96 + 2 * 96 * 384)
    head = 128 * 96  # 100 ids in whole blocks of 32
    assert matrix_products(shape, cost("decode", 1, (50,))) == layers + head
    assert matrix_products(shape, cost("decode", 2, (50, 50))) == 2 * (layers + head)
    cached = layers // 2 + 2 * 96 * 96  # where no row samples, the last layer ends with its keys and values
    assert matrix_products(shape, cost("prefill", 2, (50,))) == 2 * layers + head
    assert matrix_products(shape, cost("prefill", 2, (50,), samples=False)) == 2 * cached


def test_products_of_attention_leave_out_what_a_row_does_not_look_at():
    shape = compile_shape(parse_shape(SHAPE), PRESETS["tiny"])
    a_token = 2 * 2 * 96  # layers, keys and values, channels
    assert attention_products(shape, cost("decode", 2, (50, 50))) == 100 * a_token
    assert attention_products(shape, cost("prefill", 2, (50,))) == (50 + 49) * a_token
    assert attention_products(shape, cost("prefill", 2, (50,), samples=False)) == (50 + 49) * a_token // 2
    whole = sum(attention_products(shape, cost("prefill", 2, (length,))) for length in (2, 4, 6, 8))
    assert whole == sum(range(1, 9)) * a_token


def test_products_possible_in_a_beat_are_those_of_the_chip():
    for chip, weights, products in (("tiny", "mxint8", 64), ("edge", "mxfp4", 256), ("server", "mxint8", 1024)):
        assert products_per_beat(compile_shape(parse_shape(SHAPE), PRESETS[chip], weights)) == products


@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_streamed_beats_are_those_that_the_chip_consumes(weights):
    config = checkpoint(layers=1, heads=2, width=64, context=80, vocabulary=70).config
    with Meter(random_image(config, PRESETS["tiny"], weights)) as meter:
        for batch, length in ((1, 1), (1, 33), (2, 64)):
            step = meter.decode(length, batch)
            matrix, cache, _, cache_scales = streamed_beats(meter.image, step)
            factor = 2 if weights == "mxfp4" else 1
            assert cache_scales == batch * 2 * -(-length // 32) * 2
            assert matrix + cache + matrix // 32 * factor + cache_scales == step.counters["array_beats"]


def test_a_report_is_what_its_steps_are():
    shape = image("tiny", layers=2, heads=3, width=96, context=128, vocabulary=100)
    steps = [cost("prefill", 2, (2,), False), cost("prefill", 1, (3,))]
    found = report(shape, DDR4, steps)
    assert (found.steps, found.tokens, found.cycles, found.cycles_per_token) == (2, 3, 2000, 2000 / 3)
    useful = step_bytes(shape, [2], False) + step_bytes(shape, [3])
    assert found.useful_bytes_total == sum(found.useful_bytes.values()) == useful / 2
    assert found.moved_over_useful == 1440 * 32 / useful
    ideal = ideal_cycles(shape, DDR4, [2], False) + ideal_cycles(shape, DDR4, [3])
    assert found.share_of_ideal == ideal / 2000
    assert found.share_of_bus == pytest.approx(found.share_of_ideal * DDR4.reader_share)
    assert found.energy_per_token["bytes_moved"] == 1440 * 32 / 3


def predicted(tmp_path, *more: str, weights: str = "mxfp4") -> dict:
    """What --json holds of a prediction."""
    written = tmp_path / "perf.json"
    options = ["--chip", "tiny", "--context", "64", "--prompt", "20", "--batch", "2", "--predict"]
    assert main(["perf", SHAPE, *options, "--weights", weights, "--json", str(written), *more]) == 0
    return json.loads(written.read_text())


@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_the_figure_stands_alone_and_bytes_in_vain_do_not_lower_its_roof(weights, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("mozg.figures.save", lambda figure, path: drawn.append(figure))
    found = predicted(tmp_path, "--plot", "x.png", weights=weights)
    (figure,) = drawn
    for text in (SHAPE, "chip tiny", f"weights {weights}", "memory ddr4", "cycle model", "prefill of 20 tokens"):
        assert text in figure.get_suptitle()
    assert "decode at context 64, batch 2" in figure.get_suptitle()
    (axes,) = figure.axes
    assert "a useful byte" in axes.get_xlabel()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    for kind in ("decode", "prefill"):
        assert f"{kind}: {found[kind]['share_of_ideal']:.1%} of its roof" in labels
    figure.canvas.draw()
    for axis in (axes.xaxis, axes.yaxis):
        shown = [label.get_window_extent() for label in axis.get_ticklabels(which="both") if label.get_text()]
        assert len(shown) >= 3
        assert not any(a.overlaps(b) for index, a in enumerate(shown) for b in shown[:index])


def test_tables_say_what_a_vector_beat_is_and_what_counts_as_mxfp4(tmp_path, capsys):
    found = predicted(tmp_path)["decode"]
    text = " ".join(capsys.readouterr().out.split())
    assert f"with KV beats counted as MXFP4 {found['multiplies_share_of_peak']:.2%}" in text
    assert "vector beat: 2 elements through the lanes" in text
    predicted(tmp_path, weights="mxint8")
    assert "KV beats" not in capsys.readouterr().out


def test_causes_of_a_step_sum_to_all_its_cycles():
    config = checkpoint(layers=1, heads=2, width=64, context=80, vocabulary=70).config
    with Meter(random_image(config, PRESETS["tiny"])) as meter:
        for steps in ([meter.decode(40, 2)], list(meter.prefill(9))):
            found = report(meter.image, DDR4, steps)
            assert set(found.causes) == set(CAUSES) and sum(found.causes.values()) == pytest.approx(1)


def test_attention_alone_costs_what_a_head_adds():
    config = checkpoint(layers=1, heads=2, width=64, context=80, vocabulary=70).config
    cycles, products = measure_attention(config, PRESETS["tiny"], 64)
    assert products == 2 * sum(range(1, 65)) * 64
    # Beats alone: keys 1 + 33 and values 32 a head and 32 tokens looked at; more is refresh and latency.
    beats = 2 * 66 * (16 * 1 + 16 * 2)
    assert beats / DDR4.reader_share < cycles < 3 * beats


def test_the_command_prints_tables_and_writes_json_and_a_figure(tmp_path, capsys):
    written, drawn = tmp_path / "perf.json", tmp_path / "perf.svg"
    code = main(
        ["perf", SHAPE, "--chip", "tiny", "--context", "40", "--prompt", "8", "--batch", "2"]
        + ["--memory", "lpddr4", "--json", str(written), "--plot", str(drawn)]
    )
    assert code == 0
    text = capsys.readouterr().out
    for line in ("cycles a token", "share of the ideal reader", "multiplies done of possible", "for energy, a token"):
        assert line in text
    found = json.loads(written.read_text())
    assert (found["chip"], found["memory"], found["batch"], found["source"]) == ("tiny", "lpddr4", 2, "RTL")
    assert found["decode"]["tokens"] == 2 and found["prefill"]["tokens"] == 8 and found["prefill"]["steps"] == 4
    assert 0 < found["attention"]["multiplies_share"] < 1
    assert sum(found["decode"]["causes"].values()) == pytest.approx(1)
    assert drawn.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "200"], "--context 200: expected 1 to 128 for this model on chip 'tiny'"),
        (["--batch", "3"], "--batch 3: expected 1 to 2 for this model on chip 'tiny'"),
        (["--prompt", "-1"], "--prompt -1: expected 0 to 128"),
        (["--plot", "x.bmp"], "x.bmp: expected a figure's name that ends in .png, .svg, .pdf"),
        (["--plot", "nowhere/x.png"], "nowhere is not a folder that can be written to"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, message, capsys):
    assert main(["perf", SHAPE, "--chip", "tiny", *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
