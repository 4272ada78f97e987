"""The RTL in Verilator against the NumPy model on GPTs of any shape: logits, tokens and KV cache, bit for bit.

MOZG_SEED picks other examples, MOZG_EXAMPLES the number of those in the slow tests.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from mozg.checkpoint import load_checkpoint
from mozg.compiler import Image, compile_model
from mozg.device import open_device
from mozg.device.memory import MEMORIES
from mozg.driver import Driver, Row
from mozg.random_checkpoint import make_random_checkpoint
from mozg.verify import Lockstep
from rtl.common.config import PRESETS

SEED = int(os.environ.get("MOZG_SEED", "1"))
SLOW_EXAMPLES = int(os.environ.get("MOZG_EXAMPLES", "150"))
FILL = 0xFF


@dataclass(frozen=True)
class Case:
    """A model, and what it is asked: the prompt in steps of `chunk` rows, then `new` tokens beside another sequence."""

    layers: int
    heads: int
    head: int
    context: int
    vocabulary: int
    hidden: int
    tied: bool
    activation: str
    weights: str
    seed: int
    prompt: int
    chunk: int
    new: int
    temperature: float
    slot: int
    memory: str
    power_up: int


@st.composite
def cases(draw: st.DrawFn, chip: str) -> Case:
    rows = PRESETS[chip].rows
    # What the smallest chip holds: 512 values a row.
    head = draw(st.one_of(st.sampled_from((8, 32, 64, 100)), st.integers(8, 100)))
    heads = draw(st.integers(1, max(1, min(4, 200 // head))))
    context = draw(st.one_of(st.sampled_from((11, 32, 33)), st.integers(11, PRESETS[chip].context)))
    return Case(
        layers=draw(st.integers(1, 3)),
        heads=heads,
        head=head,
        context=context,
        vocabulary=draw(st.one_of(st.sampled_from((3, 32, 33)), st.integers(3, 300))),
        hidden=draw(st.one_of(st.sampled_from((4 * heads * head,)), st.integers(5, 400))),
        tied=draw(st.booleans()),
        activation=draw(st.sampled_from(("gelu", "gelu_new"))),
        weights=draw(st.sampled_from(("mxint8", "mxfp4"))),
        seed=draw(st.integers(0, 1 << 16)),
        prompt=draw(st.integers(1, min(context - 4, 3 * rows + 1))),
        chunk=draw(st.integers(1, rows)),
        new=draw(st.integers(1, 4)),
        temperature=draw(st.sampled_from((0.0, 0.3, 1.0, 7.0))),
        slot=draw(st.integers(0, 1)),
        memory=draw(st.sampled_from(sorted(MEMORIES))),
        power_up=draw(st.integers(1, 1 << 16)),
    )


def compiled(case: Case, chip: str) -> Image:
    with tempfile.TemporaryDirectory() as folder:
        make_random_checkpoint(
            folder,
            layers=case.layers,
            heads=case.heads,
            width=case.heads * case.head,
            context=case.context,
            vocabulary=case.vocabulary,
            hidden=case.hidden,
            tied=case.tied,
            activation=case.activation,
            seed=case.seed,
        )
        return compile_model(load_checkpoint(folder), PRESETS[chip], case.weights)


def compare(case: Case, chip: str) -> None:
    """The prompt in chunks, then new tokens beside a second sequence that starts then."""
    image = compiled(case, chip)
    size, memory = image.memory.size, MEMORIES[case.memory]
    with (
        open_device("verilator", PRESETS[chip], size, memory=memory, seed=case.power_up) as rtl,
        open_device("model", PRESETS[chip], size) as model,
    ):
        both = Lockstep(Driver(rtl, image, FILL), Driver(model, image, FILL))

        def step(rows: list[Row]) -> list[int | None]:
            result, _, difference = both.step(rows)
            assert difference is None, f"{chip}: {difference}"
            return result.tokens[0]

        prompt = [(case.seed + 7 * i) % case.vocabulary for i in range(case.prompt)]
        tokens: list[int | None] = []
        for start in range(0, case.prompt, case.chunk):
            part = prompt[start : start + case.chunk]
            tokens = step([Row(case.slot, start + i, t, sample=True, logits=True) for i, t in enumerate(part)])
        mine, other = tokens[-1], case.seed % case.vocabulary
        for i in range(min(case.new, image.context - case.prompt)):
            rows = [Row(case.slot, case.prompt + i, mine, True, case.temperature, case.seed, logits=True)]
            if image.slots > 1 and PRESETS[chip].rows > 1:
                rows.append(Row(1 - case.slot, i, other, sample=True, logits=i % 2 == 0))
            mine, *others = step(rows)
            other = others[0] if others else 0


def check(chip: str, examples: int) -> None:
    """As many examples of hypothesis on one chip; the seed is printed with the number."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(cases(chip))
    def agree(case: Case) -> None:
        nonlocal count
        note(f"MOZG_SEED={SEED}, chip {chip}: {case}")
        compare(case, chip)
        count += 1

    count = 0
    print(f"MOZG_SEED={SEED}, chip {chip}")
    agree()
    print(f"{count} random shapes agree on {chip}")


def test_random_shapes_on_tiny():
    check("tiny", 6)


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["tiny", "edge", "server"])
def test_many_random_shapes(chip):
    check(chip, SLOW_EXAMPLES)
