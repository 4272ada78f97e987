"""Steps measured over random memory cost what the same steps cost in a real run; shapes compile as checkpoints do."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import checkpoint, image

from mozg.checkpoint import read_config
from mozg.compiler import compile_shape
from mozg.device.memory import DDR4, IDEAL
from mozg.driver import Row
from mozg.errors import MozgError
from mozg.measure import MeasureError, Meter, decode_rows, prefill_rows, random_image
from mozg.random_checkpoint import make_random_checkpoint
from mozg.shapes import config_of, parse_shape
from rtl.common.config import PRESETS

SHAPE = {"layers": 2, "heads": 2, "width": 64, "context": 80, "vocabulary": 70, "seed": 3}


def real_run(meter: Meter, length: int, batch: int) -> None:
    """Prefill `batch` sequences of `length` - 1 tokens into the slots of a meter."""
    rows = meter.image.chip.rows
    for slot in range(batch):
        for start in range(0, length - 1, rows):
            meter.driver.step([Row(slot, i, (i * i) % 70) for i in range(start, min(start + rows, length - 1))])


@pytest.mark.parametrize(("weights", "memory"), [("mxint8", DDR4), ("mxfp4", DDR4), ("mxint8", IDEAL)])
def test_a_decode_step_over_random_memory_costs_what_it_costs_in_a_real_run(weights, memory):
    """Every counter of chip and DRAM, of other weights and keys, with the same phase of the refresh."""
    with Meter(image("tiny", weights, **SHAPE), memory) as real:
        found = {}
        for batch, length in ((1, 34), (2, 67)):
            real_run(real, length, batch)
            found[batch, length] = real.step("decode", decode_rows(length, batch, 70))
    with Meter(random_image(checkpoint(**SHAPE).config, PRESETS["tiny"], weights), memory) as meter:
        for (batch, length), cost in found.items():
            assert meter.decode(length, batch) == cost
            assert cost.tokens == (length,) * batch and cost.cycles > cost.counters["array_beats"] > 1000


def test_a_step_of_a_prefill_costs_alone_what_it_costs_in_the_prompt():
    with Meter(random_image(checkpoint(**SHAPE).config, PRESETS["tiny"])) as meter:
        steps = list(meter.prefill(9))
        assert [step.rows for step in steps] == [2, 2, 2, 2, 1]
        assert [step.samples for step in steps] == [False] * 4 + [True]
        assert [step.tokens for step in steps] == [(2,), (4,), (6,), (8,), (9,)]
        assert meter.prefill_step(4, 9, index=2) == steps[2]


def test_repeats_meet_the_refresh_at_other_moments():
    with Meter(random_image(checkpoint(**SHAPE).config, PRESETS["tiny"])) as meter:
        once, mean = meter.decode(20), meter.decode(20, repeats=8)
        assert mean.repeats == 8 and abs(mean.cycles - once.cycles) <= DDR4.refresh_cycles
        assert mean.counters["array_beats"] == once.counters["array_beats"]
        assert mean.memory["read_beats"] == once.memory["read_beats"]


def test_counters_agree_with_the_memory_model():
    with Meter(random_image(checkpoint(**SHAPE).config, PRESETS["tiny"])) as meter:
        cost = meter.decode(40, 2)
        assert cost.memory["read_beats"] == cost.counters["read_beats"]
        assert cost.memory["write_beats"] == cost.counters["write_beats"]


@pytest.mark.parametrize("chip", ["tiny", "edge", "server"])
@pytest.mark.parametrize("weights", ["mxint8", "mxfp4"])
def test_a_shape_compiles_to_the_program_and_places_of_its_checkpoint(chip, weights):
    real = image(chip, weights)
    shape = compile_shape(real.config, PRESETS[chip], weights)
    assert shape.program == real.program and shape.setup == real.setup
    assert shape.regions == real.regions and shape.names == real.names
    assert shape.used == real.used == real.memory.size and shape.memory.size == 0
    assert (shape.slots, shape.slot_bytes, shape.streamed_bytes) == (real.slots, real.slot_bytes, real.streamed_bytes)


def test_a_random_image_has_no_bytes_where_the_compiler_has_none():
    real, random = image("tiny", **SHAPE), random_image(checkpoint(**SHAPE).config, PRESETS["tiny"])
    kv = real.regions["kv"].base
    end = real.regions["weights"].base + real.regions["weights"].size
    assert not random.memory[end:kv].any() and not random.memory[kv:].any()
    code = real.regions["program"]
    assert np.array_equal(real.memory[: code.base + code.size], random.memory[: code.base + code.size])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda meter: meter.decode(81), "81 tokens: the model's context on this chip is 1 to 80"),
        (lambda meter: meter.decode(0), "0 tokens: the model's context on this chip is 1 to 80"),
        (lambda meter: meter.decode(5, 3), "batch 3: chip 'tiny' takes 1 to 2 rows"),
        (lambda meter: list(meter.prefill(100)), "100 tokens: the model's context on this chip is 1 to 80"),
    ],
)
def test_what_cannot_be_measured_is_refused(request_, message):
    with (
        Meter(random_image(checkpoint(**SHAPE).config, PRESETS["tiny"])) as meter,
        pytest.raises(MeasureError) as error,
    ):
        request_(meter)
    assert str(error.value) == message


def test_rows_of_a_prefill_end_with_one_that_samples():
    rows = prefill_rows(4, 4, 8, 70)
    assert [row.position for row in rows] == [4, 5, 6, 7]
    assert [row.sample for row in rows] == [False, False, False, True]
    assert not any(row.sample for row in prefill_rows(0, 4, 8, 70))


def test_names_of_shapes(tmp_path):
    found = parse_shape("gpt2-124m")
    assert (found.layers, found.heads, found.width, found.hidden) == (12, 12, 768, 3072)
    assert (found.context, found.vocabulary) == (1024, 50257)
    small = parse_shape("gpt2-124m,layers=2,vocabulary=512,hidden=100")
    assert (small.layers, small.vocabulary, small.hidden, small.width) == (2, 512, 100, 768)
    make_random_checkpoint(tmp_path, layers=1, heads=2, width=64)
    assert config_of(tmp_path) == config_of(str(tmp_path)) == read_config(tmp_path)
    assert config_of("shakespeare").layers == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt2-124m,depth=2", "'depth=2' is not KEY=NUMBER with a KEY of layers, heads, width, hidden, context, voca"),
        ("gpt2-124m,layers=0", "'layers=0' is not KEY=NUMBER"),
        ("gpt2-124m,layers", "'layers' is not KEY=NUMBER"),
        ("gpt2-124m,heads=7", "width 768 is not a multiple of 7 heads"),
        ("gpt9", "gpt9 is not a directory: give one with a config.json, or a name (shakespeare, gpt2-124m, "),
    ],
)
def test_a_name_that_is_no_shape_says_what_is_known(text, message):
    with pytest.raises(MozgError) as error:
        config_of(text)
    assert message in str(error.value) and "\n" not in str(error.value)
