"""Stand-ins for the engines and the memory around control(), and the rows as they should develop."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from cocotb.triggers import FallingEdge, ReadOnly

from rtl.common.config import ChipConfig, bits_for
from rtl.common.isa import Opcode
from rtl.common.registers import CAUSE_CODE, CAUSES

CONCERNED = {
    Opcode.TABLE: ("stream",),
    Opcode.EMBED: ("stream", "vector"),
    Opcode.NORM: ("stream", "vector"),
    Opcode.MATMUL: ("stream", "array", "vector"),
    Opcode.ATTEND: ("stream", "array", "vector"),
    Opcode.END: (),
}
EVENTS = ("read_beat", "write_beat", "vector_beat")
ARRAY = ("consuming", "stall_memory", "stall_operand", "stall_bank")
LEVELS = ("operand_loading", "value_job", "parameter_wait", "kv_barrier")
SEEN = ("array_idle", "vector_idle", "stream_idle", "write_idle", "in_step", "fetching")
PHASES = [CAUSE_CODE[name] for name in CAUSES if name.startswith("wait_") or name == "fill_drain"]
INPUTS = (
    "bus_quiet_read bus_quiet_write fetch_end fetch_instruction fetch_valid stream_ready stream_idle array_ready "
    "array_idle vector_ready vector_idle write_idle sample_token sample_done row_fault result_ready read_error_valid "
    "read_error_code read_error_address write_error_valid write_error_code write_error_address"
).split()


def cause_of(array: str, phase: str, **seen: int) -> str:
    """The table of causes of rtl/control/README.md: the first line that holds. array: an event of ARRAY or none."""
    barrier = "wait_kv_write" if seen["kv_barrier"] else "wait_memory"
    table = (
        (array == "consuming", "array_beats"),
        (array == "stall_memory", phase if seen["parameter_wait"] else barrier),
        (array == "stall_operand" and (seen["operand_loading"] or seen["vector_idle"]), "fill_drain"),
        (array == "stall_operand" and seen["value_job"] and phase != "fill_drain", "wait_softmax"),
        (array in ("stall_operand", "stall_bank"), phase),
        (not seen["in_step"], "idle"),
        (seen["fetching"], "fetch"),
        (not seen["array_idle"], "fill_drain"),
        (not seen["vector_idle"], phase),
        (not seen["stream_idle"], barrier),
        (not seen["write_idle"], phase),
        (True, "idle"),
    )
    return next(cause for holds, cause in table if holds)


def random_levels(rng: random.Random) -> dict[str, object]:
    """What array, vector unit and memory may show in a cycle."""
    levels: dict[str, object] = {name: rng.random() < 0.3 for name in LEVELS}
    return levels | {"array": rng.choice((*ARRAY, "", "")), "vector_phase": rng.choice(PHASES)}


@dataclass
class RowModel:
    """One row as the host wrote it, and what a step makes of it."""

    config: ChipConfig
    active: int
    sample: int
    slot: int
    position: int
    token: int
    stops: tuple[int, int] = (0xFFFFFFFF, 0xFFFFFFFF)
    flags: int = 0  # GREEDY and LOGITS as in the control word
    stopped: int = 0
    full: int = 0
    fault: int = 0

    def check(self, slots_used: int, limit: int) -> None:
        config = self.config
        if self.active and (self.slot >= min(slots_used, config.slots) or self.position >= min(limit, config.context)):
            self.active, self.fault = 0, self.fault | 2

    def end(self, token: int | None, limit: int) -> int:
        """The result word of this row."""
        if not self.active:
            return 0xFFFFFFFF
        if self.fault & 1:
            self.active = 0
            return 0xFFFFFFFF
        if not self.sample or token is None:
            return 0xFFFFFFFF
        self.token, self.position = token, self.position + 1
        self.stopped |= int(token in self.stops)
        self.full |= int(self.position >= min(limit, self.config.context))
        if token in self.stops or self.position >= min(limit, self.config.context):
            self.active = 0
        return token

    @property
    def control(self) -> int:
        return self.active | self.sample << 1 | self.flags | self.stopped << 4 | self.full << 5


def passes(config: ChipConfig, rows: list[RowModel]) -> list[tuple[int, int, int]]:
    """(slot, mask, tokens) of each pass."""
    found: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        if row.active:
            entry = found.setdefault(row.slot, [0, 0])
            entry[0] |= 1 << i
            entry[1] = max(entry[1], row.position + 1)
    return [(slot, mask, tokens) for slot, (mask, tokens) in found.items()]


@dataclass
class Engines:
    """What surrounds control(); run() plays it, one clock after another."""

    dut: object
    config: ChipConfig
    rng: random.Random
    program: list[bytes] = field(default_factory=list)
    stuck: bool = False
    quiet: bool = True
    errors: dict[str, tuple[int, int]] = field(default_factory=dict)
    tokens: list[list[int]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    taken: dict[str, list[int]] = field(default_factory=lambda: {"stream": [], "array": [], "vector": []})
    results: list[tuple[int, int]] = field(default_factory=list)
    passes: list[list[tuple[int, int, int]]] = field(default_factory=list)
    resets: int = 0
    reset_clocks: int = 0  # of a reset that lasts
    last_reset: int = 0  # clocks
    fetched: int = -1
    counts: dict[str, int] = field(default_factory=dict)
    events: bool = False
    forced: dict[str, object] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("stream", "array", "vector", "write"), 0))
    sample_in: int = -1
    step: int = -1
    offering: bool = False

    def begin(self) -> None:
        for name in INPUTS:
            getattr(self.dut, name).value = 0
        for name in EVENTS + ARRAY:
            getattr(self.dut, f"event_{name}").value = 0
        for name in LEVELS:
            getattr(self.dut, name).value = 0
        self.dut.vector_phase.value = PHASES[0]

    def see_cause(self) -> str:
        """The cause of this cycle by the rules of rtl/control/README.md."""
        dut = self.dut
        seen = {name: int(getattr(dut, name).value) for name in (*LEVELS, *SEEN)}
        array = next((name for name in ARRAY if int(getattr(dut, f"event_{name}").value)), "")
        return cause_of(array, next(n for n, c in CAUSE_CODE.items() if c == int(dut.vector_phase.value)), **seen)

    def see_passes(self) -> None:
        dut, R = self.dut, self.config.rows
        S, C1 = bits_for(self.config.slots), bits_for(self.config.context) + 1

        def element(word: object, i: int, width: int) -> int:
            # By text: passes that do not exist are undefined.
            text = str(word.value)
            return int(text[len(text) - (i + 1) * width :][:width], 2)

        self.passes.append(
            [
                (element(dut.pass_slot, i, S), element(dut.pass_mask, i, R), element(dut.pass_tokens, i, C1))
                for i in range(int(dut.pass_count.value))
            ]
        )

    def drive(self) -> None:
        dut, rng = self.dut, self.rng
        for engine in self.taken:
            getattr(dut, f"{engine}_ready").value = int(rng.random() < 0.5 and not self.stuck)
            getattr(dut, f"{engine}_idle").value = int(self.busy[engine] == 0)
        dut.write_idle.value = int(self.busy["write"] == 0)
        dut.result_ready.value = int(rng.random() < 0.4)
        if not self.offering and 0 <= self.fetched < len(self.program) and rng.random() < 0.4:
            self.offering = True
            dut.fetch_instruction.value = int.from_bytes(self.program[self.fetched], "little")
        dut.fetch_valid.value = int(self.offering)
        dut.fetch_end.value = int(self.fetched >= len(self.program))
        dut.bus_quiet_read.value = dut.bus_quiet_write.value = int(self.quiet)
        dut.sample_done.value = dut.row_fault.value = 0
        if self.sample_in == 0:
            dut.sample_done.value = 1
            dut.sample_token.value = sum(token << 32 * i for i, token in enumerate(self.tokens[self.step]))
            dut.row_fault.value = self.faults[self.step]
        self.sample_in -= self.sample_in >= 0
        for side in ("read", "write"):
            code, address = self.errors.get(side, (0, 0)) if self.fetched > 0 else (0, 0)
            getattr(dut, f"{side}_error_valid").value = int(code != 0)
            getattr(dut, f"{side}_error_code").value = code
            getattr(dut, f"{side}_error_address").value = address
        for name in EVENTS:
            getattr(dut, f"event_{name}").value = int(self.events and rng.random() < 0.5)
        if self.events:
            what = self.forced or random_levels(rng)
            for name in ARRAY:
                getattr(dut, f"event_{name}").value = int(what.get("array") == name)
            for name in LEVELS:
                getattr(dut, name).value = int(what.get(name, False))
            dut.vector_phase.value = what.get("vector_phase", PHASES[0])
            for name in ("stream_idle", "array_idle", "vector_idle", "write_idle"):
                if name in self.forced:
                    getattr(dut, name).value = int(self.forced[name])

    def forget(self) -> None:
        self.fetched, self.sample_in, self.step, self.offering = -1, -1, -1, False
        self.busy = dict.fromkeys(self.busy, 0)
        self.errors.clear()

    def sample(self) -> None:
        dut, rng = self.dut, self.rng
        if int(dut.rst.value):
            return
        if int(dut.engine_reset.value):
            self.resets += self.reset_clocks == 0
            self.reset_clocks += 1
            self.forget()
            return
        self.last_reset, self.reset_clocks = self.reset_clocks or self.last_reset, 0
        if int(dut.busy.value):
            for name in EVENTS:
                self.counts[name] = self.counts.get(name, 0) + int(getattr(dut, f"event_{name}").value)
            self.counts["cycles"] = self.counts.get("cycles", 0) + 1
            cause = self.see_cause()
            self.counts[cause] = self.counts.get(cause, 0) + 1
        if int(dut.run_start.value):
            self.counts = {"cycles": 1, self.see_cause(): 1}
            for name in EVENTS:
                self.counts[name] = int(getattr(dut, f"event_{name}").value)
        for name in self.busy:
            self.busy[name] -= self.busy[name] > 0
        if int(dut.fetch_start.value):
            self.fetched, self.offering = 0, False
            self.step += 1
            self.see_passes()
        elif self.offering and int(dut.fetch_ready.value):
            self.fetched, self.offering = self.fetched + 1, False
        for engine, taken in self.taken.items():
            if int(getattr(dut, f"{engine}_valid").value) and int(getattr(dut, f"{engine}_ready").value):
                instruction = int(dut.instruction.value)
                taken.append(instruction)
                self.busy[engine] = rng.randrange(2, 30)
                if engine == "vector" and instruction & 255 == Opcode.MATMUL and self.step < len(self.tokens):
                    self.sample_in = rng.randrange(self.busy[engine] - 1)
        if int(dut.result_valid.value) and int(dut.result_ready.value):
            self.results.append((int(dut.result_offset.value), int(dut.result_data.value)))
            self.busy["write"] = rng.randrange(1, 20)

    async def run(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            self.drive()
            await ReadOnly()
            self.sample()
