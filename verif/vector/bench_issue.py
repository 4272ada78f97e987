"""Bench of the issue logic against a mock of lanes, array, rings and writers, hazards as assertions."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from rtl.common.config import PRESETS, ChipConfig, bits_for
from rtl.common.interfaces import MINIMUM_ROUND, kv_units, logits_units
from rtl.common.isa import Epilogue, Opcode, encode
from rtl.vector.control_word import Destination, Source, control_fields
from rtl.vector.timing import ISSUE_DELAY
from verif.runner import settings
from verif.vector.issue_model import Expansion, Rows, reads_ring, uses

DRAIN_READ = 3  # cycles from control word to the end of the accumulator read
FIELDS = (
    "opcode mxfp4 has_bias sampling_only activate epilogue k_blocks source destination output_blocks "
    "head_blocks heads count weight_block"
).split()


def instruction(opcode: Opcode, **fields: int) -> dict[str, int]:
    return {name: 0 for name in FIELDS} | {"opcode": int(opcode)} | fields


def random_program(rng: random.Random, config: ChipConfig, length: int) -> list[dict[str, int]]:
    """Instructions within the chip's bounds; what they compute makes no sense."""
    weight_block = config.operand_blocks - 2 * config.context_blocks
    program = []
    for _ in range(length):
        choice = rng.randrange(9)
        k = rng.randint(1, 5)
        place = {"k_blocks": k, "source": rng.randrange(8), "destination": rng.randrange(weight_block // 2)}
        if choice == 0:
            program.append(instruction(Opcode.EMBED, **place))
        elif choice == 1:
            program.append(instruction(Opcode.NORM, **place))
        elif choice == 2:
            f = {"heads": rng.randint(1, 3), "head_blocks": rng.randint(1, min(3, config.head_blocks))}
            program.append(instruction(Opcode.ATTEND, **place, **f, weight_block=weight_block))
        else:
            epilogue = Epilogue(choice - 4) if choice > 3 else Epilogue.SAMPLE
            heads, head_blocks = rng.randint(1, 3), rng.randint(1, 3)
            program.append(
                instruction(
                    Opcode.MATMUL,
                    **place,
                    epilogue=int(epilogue),
                    heads=heads,
                    head_blocks=head_blocks,
                    output_blocks=heads * head_blocks
                    if epilogue in (Epilogue.KEY, Epilogue.VALUE)
                    else rng.randint(1, 7),
                    has_bias=int(epilogue != Epilogue.SAMPLE and rng.random() < 0.5),
                    activate=rng.randrange(2),
                    mxfp4=rng.randrange(2),
                    sampling_only=int(epilogue == Epilogue.SAMPLE or rng.random() < 0.2),
                )
            )
    return program


def random_rows(rng: random.Random, config: ChipConfig) -> Rows:
    rows = range(config.rows)

    def some() -> list[int]:
        return [r for r in rows if rng.random() < 0.6]

    slots = [rng.randrange(rng.choice((1, 2, config.rows))) for _ in rows]
    longest = config.context if rng.random() < 0.3 else min(config.context, 200)
    positions = [rng.randrange(longest) for _ in rows]
    return Rows(
        some() or [rng.randrange(config.rows)],
        some(),
        some(),
        some() if rng.random() < 0.5 else [],
        slots,
        positions,
    )


class Mock:
    """Everything around the issue logic, one `cycle` at a time."""

    def __init__(self, dut, config: ChipConfig, rng: random.Random, fast: bool) -> None:
        self.dut, self.config, self.rng, self.fast = dut, config, rng, fast
        self.fields = control_fields(config)
        self.now = 0
        self.latency = rng.randint(30, 43)
        self.kv_rate, self.consume_rate = rng.choice((0.5, 0.05, 0.01)), rng.choice((0.1, 0.02, 0.002))
        self.logits_delay = rng.choice((20, 600))
        self.ring_rates = [rng.choice((1, 0.3, 0.05)) for _ in range(2)]
        self.bank = 0
        self.full = [None, None]  # group in a bank
        self.operands: set[int] = set()
        self.level = [0, 0]
        self.flight: deque = deque()  # (time, beat, places), until its result can be read
        self.leaving: deque = deque()  # until it has left the unit
        self.kv_flight = self.kv_waiting = self.logits_flight = 0
        self.kv_open, self.kv_draining = False, False
        self.kv_hoards = rng.random() < 0.5  # gives nothing back before it must, as kv_writer
        self.busy_at: list[int] = []
        self.grants: dict = {}
        self.bank_reads = [0, 0]
        self.stats = {"beats": 0, "gaps": 0}

    def load(self, rows: Rows, program: list[dict[str, int]]) -> None:
        self.model = Expansion(self.config, rows, program, self.bank)
        self.kv_surely = kv_units(self.config.rows) - 3 * len(rows.active)
        self.expected = [deque(self.model.drain), deque(self.model.softmax)]
        self.groups = deque(self.model.groups)
        self.ring_left = [self.model.ring_a * self.config.words, self.model.ring_b * self.config.words]
        self.program = deque(program)
        self.samples = self.model.sample_done
        self.next_group = 0
        self.weight_block = self.config.operand_blocks - 2 * self.config.context_blocks
        self.open_turn = [None, None]
        self.drive_rows(rows)

    def drive_rows(self, rows: Rows) -> None:
        dut, config = self.dut, self.config
        for name in ("active", "sample", "greedy", "logits"):
            getattr(dut, f"row_{name}").value = sum(1 << r for r in getattr(rows, name))
        dut.any_sample.value = int(any(r in rows.sample for r in rows.active))
        passes = rows.passes()
        width = bits_for(config.context) + 1
        dut.pass_count.value = len(passes)
        dut.pass_mask.value = sum(1 << i * config.rows + r for i, (members, _) in enumerate(passes) for r in members)
        dut.pass_tokens.value = sum(tokens << i * width for i, (_, tokens) in enumerate(passes))

    # What the lanes see

    def beat(self, word: int) -> None:
        got = {name: word >> low & (1 << width) - 1 for name, (low, width) in self.fields.items()}
        thread = got["thread"]
        assert self.expected[thread], f"a beat of thread {thread} after the last: {got}"
        want = self.expected[thread].popleft()
        relevant = {name: int(got[name]) for name in want}
        assert relevant == {name: int(value) for name, value in want.items()}, (
            f"cycle {self.now}: beat {len(self.expected[thread])} from the end of thread {thread}\n"
            + "\n".join(f"{n}: {got[n]} expected {v}" for n, v in want.items() if got[n] != v)
        )
        self.stats["beats"] += 1
        assert self.open_turn[1 - thread] is None, "a turn was interrupted by the other thread"
        first_of_turn = self.open_turn[thread] is None
        self.open_turn[thread] = None if got["quantise_last"] else got["row"]
        places = uses(got)
        for _, other, places_then in self.flight:
            clash = places["reads"] & places_then["writes"]
            assert not clash, f"cycle {self.now}: reads {clash} before they landed, {got}"
            if got["destination"] == other["destination"] == Destination.OPERAND and other["fill"]:
                assert other["block"] != got["block"] or other["row"] == got["row"], "a block filled twice"
        if got["reduce"]:
            key = ("sum", got["scalar_out"], got["row"])
            if first_of_turn:
                assert self.now - self.grants.get(key, -99) >= MINIMUM_ROUND, f"two blocks of a row too close: {got}"
                self.grants[key] = self.now
        if got["source"] == Source.ACCUMULATOR:
            assert self.full[got["bank"]] is not None, f"cycle {self.now}: bank {got['bank']} is not full"
            self.bank_reads[got["bank"]] = self.now + DRAIN_READ
        for ring, used in enumerate(reads_ring(got)):
            if used:
                need = got["parameter_block"] * self.config.words + got["word"] + 1
                assert self.level[ring] >= need, f"ring {ring} holds {self.level[ring]} words, read {need}"
        if got["destination"] == Destination.OPERAND:
            assert got["block"] not in self.operands, f"cycle {self.now}: operand block {got['block']} is full"
        if got["destination"] in (Destination.KEY, Destination.VALUE):
            assert self.kv_open, "KV data outside kv_start .. kv_end"
            if got["quantise_last"]:
                self.kv_flight += 1
                assert self.kv_flight <= kv_units(self.config.rows), "too many KV units in flight"
        if got["destination"] == Destination.LOGITS and got["quantise_last"]:
            self.logits_flight += 1
            assert self.logits_flight <= logits_units(self.config.rows), "too many logits in flight"
        self.flight.append((self.now + self.latency, got, places))
        self.leaving.append((self.now + self.latency + 20, got))

    def land(self) -> tuple[int, int]:
        """Effects of the beats that land now; units that the writers give back."""
        while self.flight and self.flight[0][0] <= self.now:
            self.flight.popleft()
        while self.leaving and self.leaving[0][0] <= self.now:
            _, beat = self.leaving.popleft()
            if beat["destination"] == Destination.OPERAND and beat["fill"] and beat["quantise_last"]:
                assert beat["block"] not in self.operands
                self.operands.add(beat["block"])
            if beat["destination"] in (Destination.KEY, Destination.VALUE) and beat["quantise_last"]:
                self.kv_waiting += 1
            if beat["destination"] == Destination.LOGITS and beat["quantise_last"]:
                self.busy_at.append(self.now + self.rng.randrange(self.logits_delay))
        kv = logits = 0
        gives = not self.kv_hoards or self.kv_draining or self.kv_waiting > self.kv_surely
        if self.kv_waiting and gives and self.rng.random() < self.kv_rate:
            self.kv_waiting -= 1
            self.kv_flight -= 1
            kv = 1
        if self.busy_at and min(self.busy_at) <= self.now:
            self.busy_at.remove(min(self.busy_at))
            self.logits_flight -= 1
            logits = 1
        return kv, logits

    # What the array does

    def array(self) -> None:
        for block in [b for b in self.operands if b < self.weight_block]:
            if self.rng.random() < self.consume_rate:
                self.operands.discard(block)
        if self.groups and self.full[self.bank] is None and self.now >= self.next_group:
            group = self.groups[0]
            if all(block in self.operands for block in group.needs):
                self.groups.popleft()
                self.full[self.bank] = group
                self.bank ^= 1
                self.next_group = self.now + (self.rng.randrange(10) if self.fast else self.rng.randint(30, 400))
                if group.empties:
                    self.operands -= set(group.needs)

    def release(self, banks: int) -> None:
        for bank in range(2):
            if banks >> bank & 1:
                assert self.full[bank] is not None, "an empty bank was released"
                assert self.now > self.bank_reads[bank], "a bank was released before its last read"
                self.full[bank] = None
                self.next_group = max(self.next_group, self.now + 4)  # the array cannot fill it faster

    async def cycle(self) -> None:
        dut, rng = self.dut, self.rng
        await RisingEdge(dut.clk)
        self.now += 1
        taken = int(dut.instruction_valid.value) and int(dut.instruction_ready.value)
        if int(dut.issue_valid.value):
            self.beat(int(dut.issue_control.value))
        kv, logits = self.land()
        self.release(int(dut.bank_release.value))
        self.array()
        for ring, name in enumerate("ab"):
            if int(getattr(dut, f"ring_{name}_free").value):
                words = int(dut.ring_free_blocks.value) * self.config.words
                assert self.level[ring] >= words, "a ring was freed of more than it holds"
                self.level[ring] -= words
            limit = self.config.ring_words // self.config.lanes
            if self.ring_left[ring] and self.level[ring] < limit and rng.random() < self.ring_rates[ring]:
                self.level[ring] += 1
                self.ring_left[ring] -= 1
            getattr(dut, f"ring_{name}_level").value = self.level[ring]
        if int(dut.sample_done.value):
            assert not self.leaving, "sample_done before the last logits landed"
            self.samples -= 1
        if int(dut.kv_end.value):
            assert self.kv_open and not any(
                b["destination"] in (Destination.KEY, Destination.VALUE) for _, b in self.leaving
            )
            self.kv_open, self.kv_draining = False, True
        if int(dut.kv_start.value):
            assert not self.kv_open and not self.kv_draining, "kv_start while the writer is not idle"
            self.kv_open = True
        if self.kv_draining and self.kv_flight == 0 and rng.random() < 0.1:
            self.kv_draining = False
        dut.kv_idle.value = int(not self.kv_open and not self.kv_draining)
        dut.kv_release.value = kv
        dut.logits_release.value = logits
        dut.bank_full.value = sum((group is not None) << bank for bank, group in enumerate(self.full))
        dut.operand_full.value = sum(1 << block for block in self.operands)
        dut.pipeline_busy.value = int(bool(self.leaving))
        unseen = [beat["thread"] for time, beat, _ in self.flight if time > self.now + ISSUE_DELAY]
        dut.busy_d.value = int(0 in unseen)
        dut.busy_s.value = int(1 in unseen)
        if taken:
            self.program.popleft()
            dut.instruction_valid.value = 0
        if self.program and (taken or not int(dut.instruction_valid.value)) and (self.fast or rng.random() < 0.1):
            fields = dict(self.program[0])
            opcode = fields.pop("opcode")
            dut.instruction.value = int.from_bytes(encode(Opcode(opcode), **fields), "little")
            dut.instruction_valid.value = 1

    async def run(self, rows: Rows, program: list[dict[str, int]], limit: int = 60000) -> int:
        """Run a program; returns its cycles."""
        self.load(rows, program)
        begin = self.now
        for _ in range(limit):
            await self.cycle()
            if not (self.program or any(self.expected) or self.leaving or self.kv_open or self.samples):
                break
        else:
            left = [len(e) for e in self.expected]
            raise AssertionError(
                f"stuck: {left} beats left, program {len(self.program)}, banks {self.full}, "
                f"next {[list(e)[:1] for e in self.expected]}"
            )
        cycles = self.now - begin
        for _ in range(150):
            await self.cycle()
        assert int(self.dut.idle.value), "not idle at the end"
        assert not self.groups and self.full == [None, None], "a bank was not released"
        assert self.ring_left == [0, 0] and self.level == [0, 0], f"rings hold {self.level}"
        assert self.samples == 0
        return cycles


async def start(dut, seed: int, fast: bool, clock: bool = True) -> Mock:
    """Clock, reset, quiet inputs."""
    config = PRESETS[settings()["chip"]]
    mock = Mock(dut, config, random.Random(seed), fast)
    if clock:
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for name in (
        "row_active row_sample row_greedy row_logits any_sample pass_count pass_mask pass_tokens "
        "instruction instruction_valid bank_full operand_full ring_a_level ring_b_level "
        "kv_release logits_release pipeline_busy busy_d busy_s"
    ).split():
        getattr(dut, name).value = 0
    dut.kv_idle.value = 1
    dut.rst.value = 1
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    return mock


@cocotb.test()
async def every_instruction_issues_the_beats_of_the_specification(dut):
    """Each instruction alone, with all rows."""
    mock = await start(dut, 1, fast=True)
    config = mock.config
    everyone = list(range(config.rows))
    rows = Rows(everyone, everyone, everyone[:1], everyone[-1:], [0] * config.rows, [37 + r for r in everyone])
    weights = config.operand_blocks - 2 * config.context_blocks
    matmul = [
        instruction(
            Opcode.MATMUL,
            epilogue=int(e),
            output_blocks=4,
            heads=2,
            head_blocks=2,
            has_bias=int(e < 4),
            destination=3,
        )
        for e in Epilogue
    ]
    attend = instruction(Opcode.ATTEND, heads=2, head_blocks=2, destination=5, weight_block=weights)
    plain = {"k_blocks": 3, "source": 1, "destination": 2}
    for one in [instruction(Opcode.EMBED, **plain), instruction(Opcode.NORM, **plain), *matmul, attend]:
        cycles = await mock.run(rows, [one])
        name = Opcode(one["opcode"]).name
        dut._log.info(f"{name} {Epilogue(one['epilogue']).name if name == 'MATMUL' else ''}: {cycles} cycles")


@cocotb.test()
async def random_programs_meet_no_hazard(dut):
    """Programs of random instructions on random rows, slow and fast surroundings."""
    rng = random.Random(cocotb.RANDOM_SEED)
    for trial in range(settings().get("trials", 6)):
        mock = await start(dut, rng.getrandbits(30), fast=trial % 2 == 0, clock=trial == 0)
        for _ in range(3):
            rows = random_rows(mock.rng, mock.config)
            await mock.run(rows, random_program(mock.rng, mock.config, mock.rng.randint(1, 6)))


@cocotb.test()
async def slow_readers_hold_back_the_writer(dut):
    """Credits and operand blocks at their limits: every reader is far slower than the drains."""
    mock = await start(dut, 5, fast=True)
    mock.kv_rate, mock.consume_rate, mock.logits_delay = 0.01, 0.003, 600
    everyone = list(range(mock.config.rows))
    rows = Rows(everyone, everyone, everyone, everyone, [0] * mock.config.rows, [3] * mock.config.rows)
    matmul = {"output_blocks": 9, "heads": 3, "head_blocks": 3, "destination": 2}
    quantize = instruction(Opcode.MATMUL, epilogue=int(Epilogue.QUANTIZE), **matmul)
    key = instruction(Opcode.MATMUL, epilogue=int(Epilogue.KEY), **matmul)
    single = matmul | {"heads": 9, "head_blocks": 1}
    value = instruction(Opcode.MATMUL, epilogue=int(Epilogue.VALUE), **single)
    sample = instruction(Opcode.MATMUL, epilogue=int(Epilogue.SAMPLE), **matmul)
    await mock.run(rows, [quantize, quantize, key, value, sample])
