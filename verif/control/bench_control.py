"""Bench of rtl/control/control.py: registers over AXI4-Lite, rows, programs, errors, with stand-ins for the engines."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from rtl.common.config import ChipConfig
from rtl.common.isa import Epilogue, Opcode, encode
from rtl.common.registers import CAUSE_CODE, CAUSES, COUNTERS, ID_VALUE, REGISTERS, ErrorCode, RowFlag, all_registers
from rtl.control.control import control
from rtl.control.ports import control_ports
from rtl.convert import Converted, convert
from verif import benches
from verif.control.engines import CONCERNED, Engines, RowModel, passes
from verif.runner import settings

EVENTS_COUNTED = {"read_beats": "read_beat", "write_beats": "write_beat", "vector_beats": "vector_beat"}


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(control, **control_ports(chip), config=chip, out_dir=out_dir)


class TB:
    def __init__(self, dut, name: str) -> None:
        seed = getattr(cocotb, "RANDOM_SEED", os.environ.get("COCOTB_RANDOM_SEED", 1))
        self.dut, self.rng = dut, random.Random(f"{name} {seed}")
        self.config = benches.configuration(settings()["chip"])
        self.registers = all_registers(self.config.rows)
        self.engines = Engines(dut, self.config, self.rng)

    async def begin(self) -> None:
        self.dut.rst.value = 1
        self.engines.begin()
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(self.dut, "s_axi"), self.dut.clk, self.dut.rst)
        self.bus.write_if.log.setLevel("WARNING")
        self.bus.read_if.log.setLevel("WARNING")
        if self.rng.random() < 0.5:
            self.bus.write_if.b_channel.set_pause_generator(iter(lambda: self.rng.random() < 0.5, None))
            self.bus.read_if.r_channel.set_pause_generator(iter(lambda: self.rng.random() < 0.5, None))
        cocotb.start_soon(self.engines.run())
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 4)

    async def raw_write(self, offset: int, value: int, size: int = 4) -> AxiResp:
        return (await self.bus.write(offset, value.to_bytes(size, "little"))).resp

    async def raw_read(self, offset: int) -> tuple[AxiResp, int]:
        answer = await self.bus.read(offset, 4)
        return answer.resp, int.from_bytes(answer.data, "little")

    async def write(self, name: str, value: int) -> None:
        assert await self.raw_write(self.registers[name].offset, value) == AxiResp.OKAY, name

    async def read(self, name: str) -> int:
        response, value = await self.raw_read(self.registers[name].offset)
        assert response == AxiResp.OKAY, name
        return value

    async def write_rows(self, rows: list[RowModel]) -> None:
        for i, row in enumerate(rows):
            fields = {"control": row.control, "slot": row.slot, "position": row.position, "token": row.token}
            fields |= {"seed": 77 + i, "inverse_temperature": 0x3F800000 + i}
            fields |= {"stop_a": row.stops[0], "stop_b": row.stops[1]}
            for name, value in fields.items():
                await self.write(f"row{i}_{name}", value)

    async def check_rows(self, rows: list[RowModel]) -> None:
        for i, row in enumerate(rows):
            for name in ("control", "slot", "position", "token", "fault"):
                value, wanted = await self.read(f"row{i}_{name}"), getattr(row, name)
                assert value == wanted, f"row {i} {name} is {value:#x}, expected {wanted:#x}"

    async def check_counters(self) -> dict[str, int]:
        """All but `instructions` as the engines counted them; causes together are all cycles."""
        found = {}
        for name in COUNTERS:
            low, high = await self.read(f"count_{name}_low"), await self.read(f"count_{name}_high")
            found[name] = high << 32 | low
            wanted = self.engines.counts.get(EVENTS_COUNTED.get(name, name), 0)
            assert name == "instructions" or found[name] == wanted, f"{name} is {found[name]}, expected {wanted}"
        assert sum(found[name] for name in CAUSES) == found["cycles"]
        return found

    async def wait_end(self, limit: int = 3000) -> int:
        for _ in range(limit):
            status = await self.read("status")
            if not status & 1:
                return status
        raise AssertionError("the machine stays busy")

    async def run(self) -> int:
        await self.write("control", 1)
        return await self.wait_end()

    def a_row(self, **fields: int) -> RowModel:
        return RowModel(self.config, **{"active": 1, "sample": 1, "slot": 0, "position": 0, "token": 5, **fields})

    def some_rows(self, limit: int) -> list[RowModel]:
        rng, rows = self.rng, []
        slots = [rng.randrange(self.config.slots) for _ in range(max(1, self.config.rows // 2))]
        for _ in range(self.config.rows):
            position = rng.choice((0, 31, limit - 2, limit - 1, rng.randrange(limit), rng.randrange(limit)))
            if rng.random() < 0.1:
                position = limit
            row = self.a_row(slot=rng.choice(slots), position=position, token=rng.randrange(50257))
            row.active, row.sample = int(rng.random() < 0.8), int(rng.random() < 0.7)
            row.flags = rng.choice((0, 1 << RowFlag.GREEDY, 1 << RowFlag.LOGITS))
            row.stops = (rng.randrange(4), rng.choice((0xFFFFFFFF, rng.randrange(4))))
            if rng.random() < 0.1:
                row.slot = rng.choice((self.config.slots - 1, self.config.slots))
            rows.append(row)
        rows[rng.randrange(len(rows))].active = 1
        return rows

    async def settle(self, steps: int, limit: int, slots_used: int) -> None:
        for name, value in (("steps", steps), ("context_limit", limit), ("slots_used", slots_used)):
            await self.write(name, value)


def some_program(rng: random.Random) -> list[bytes]:
    opcodes = [Opcode.TABLE, Opcode.EMBED, Opcode.NORM]
    opcodes += [rng.choice([Opcode.MATMUL, Opcode.ATTEND, Opcode.NORM]) for _ in range(rng.randrange(6))]
    program = [encode(opcode, address=rng.randrange(1 << 40), address_b=i) for i, opcode in enumerate(opcodes)]
    program.append(encode(Opcode.MATMUL, epilogue=Epilogue.SAMPLE, count=rng.randrange(1 << 32)))
    return program + [encode(Opcode.END)]


@cocotb.test()
async def registers_read_what_they_should(dut):
    tb = TB(dut, "registers")
    await tb.begin()
    assert await tb.read("id") == ID_VALUE
    for name in REGISTERS:
        if name.startswith("cap_"):
            assert await tb.read(name) == getattr(tb.config, name.removeprefix("cap_")), name
    written = {}
    settings_of_a_run = [n for n, r in REGISTERS.items() if r.access == "rw" and n not in ("irq_enable", "irq_status")]
    for name in settings_of_a_run:
        written[name] = tb.rng.randrange(1 << 32)
        await tb.write(name, written[name])
    for name, value in written.items():
        assert await tb.read(name) == value, name
    await tb.write("irq_enable", 1)
    assert await tb.read("irq_enable") == 1 and await tb.read("control") == 0
    high = written["kv_high"] & 0xFF
    assert int(dut.kv_base.value) == high << 32 | written["kv_low"]
    assert int(dut.weights_size.value) == (written["weights_size_high"] & 0xFF) << 32 | written["weights_size_low"]
    assert int(dut.logits_stride.value) == written["logits_stride"]
    for row in range(tb.config.rows):
        fields = {
            name: tb.rng.randrange(1 << 32) for name in ("token", "seed", "inverse_temperature", "stop_a", "stop_b")
        }
        fields |= {"slot": tb.rng.randrange(tb.config.slots), "position": tb.rng.randrange(tb.config.context)}
        fields["control"] = tb.rng.randrange(64)
        for name, value in fields.items():
            await tb.write(f"row{row}_{name}", value)
        for name, value in fields.items():
            assert await tb.read(f"row{row}_{name}") == value, name
        await tb.write(f"row{row}_slot", 0x12345)
        assert await tb.read(f"row{row}_slot") == 2 * tb.config.slots - 1
    for name, value in written.items():
        assert await tb.read(name) == value, name


@cocotb.test()
async def what_is_not_a_register_is_refused(dut):
    tb = TB(dut, "refused")
    await tb.begin()
    known = {register.offset: register.access for register in tb.registers.values()}
    for offset in range(0, 0x1000, 4):
        if offset > 0x130 and tb.rng.random() < 0.8:
            continue
        response, value = await tb.raw_read(offset)
        assert response == (AxiResp.OKAY if offset in known else AxiResp.SLVERR), hex(offset)
        if offset not in known:
            assert value == 0
        if known.get(offset) in (None, "ro"):
            assert await tb.raw_write(offset, 0xFFFFFFFF) == AxiResp.SLVERR, hex(offset)
    assert await tb.raw_write(REGISTERS["steps"].offset, 0xAA, 1) == AxiResp.SLVERR
    assert await tb.read("steps") == 0 and await tb.read("status") == 0


@cocotb.test()
async def runs_dispatch_the_program_and_advance_the_rows(dut):
    tb = TB(dut, "runs")
    await tb.begin()
    tb.engines.events = True
    for _ in range(25 if tb.config.rows < 16 else 6):
        limit, steps = tb.rng.choice((tb.config.context, 64, 1 << 20)), tb.rng.randrange(1, 5)
        slots_used = tb.rng.choice((tb.config.slots, tb.config.slots - 1, 1000))
        rows = tb.some_rows(min(limit, tb.config.context))
        await tb.settle(steps, limit, slots_used)
        await tb.write_rows(rows)
        engines = tb.engines
        engines.forget()
        engines.program = some_program(tb.rng)
        engines.tokens = [[tb.rng.randrange(4 + 12 * (i > 0)) for i in range(tb.config.rows)] for _ in range(steps)]
        engines.faults = [tb.rng.randrange(1 << tb.config.rows) if tb.rng.random() < 0.2 else 0 for _ in range(steps)]
        for log in (*engines.taken.values(), engines.results, engines.passes):
            log.clear()
        await tb.write("irq_enable", tb.rng.randrange(2))
        enabled = await tb.read("irq_enable")
        status = await tb.run()
        assert status == 2, status

        wanted_results, wanted_passes, done = [], [], 0
        while done < steps:
            for row in rows:
                if done:
                    row.active &= row.sample
                row.check(slots_used, limit)
            if not any(row.active for row in rows):
                break
            wanted_passes.append(passes(tb.config, rows))
            for i, row in enumerate(rows):
                if engines.faults[done] >> i & 1 and row.active:
                    row.fault |= 1
                wanted_results.append((4 * len(wanted_results), row.end(engines.tokens[done][i], limit)))
            done += 1
        assert engines.passes == wanted_passes
        assert engines.results == wanted_results
        await tb.check_rows(rows)
        assert await tb.read("steps_done") == done
        for engine, taken in engines.taken.items():
            wanted = [i for i in engines.program if engine in CONCERNED[Opcode(i[0])]] * done
            assert taken == [int.from_bytes(i, "little") for i in wanted], engine
        assert await tb.read("count_instructions_low") == done * len(engines.program)
        await tb.check_counters()
        assert await tb.read("irq_status") == 1 and int(dut.irq.value) == enabled
        await tb.write("irq_status", 1)
        assert await tb.read("irq_status") == 0 and int(dut.irq.value) == 0


def situations() -> list[tuple[str, dict[str, object]]]:
    """(cause, what the engines show) of every way to each cause, while the program waits for the engines to end."""
    rest = {"array_idle": True, "vector_idle": True, "stream_idle": True, "write_idle": True}
    ways: list[tuple[str, dict[str, object]]] = [
        ("array_beats", {"array": "consuming"}),
        ("wait_memory", {"array": "stall_memory"}),
        ("wait_memory", {**rest, "stream_idle": False}),
        ("wait_kv_write", {"array": "stall_memory", "kv_barrier": True}),
        ("wait_kv_write", {**rest, "stream_idle": False, "kv_barrier": True}),
        ("wait_softmax", {"array": "stall_operand", "value_job": True}),
        ("fill_drain", {"array": "stall_operand", "operand_loading": True}),
        ("fill_drain", {"array": "stall_operand", "vector_idle": True, "stream_idle": False}),
        ("fill_drain", {**rest, "array_idle": False}),
        ("idle", rest),
    ]
    for cause in [name for name in CAUSES if name.startswith("wait_") or name == "fill_drain"]:
        at = {"vector_phase": CAUSE_CODE[cause]}
        ways += [
            (cause, {**at, "array": "stall_memory", "parameter_wait": True}),
            (cause, {**at, "array": "stall_operand"}),
            (cause, {**at, "array": "stall_bank"}),
            (cause, {**at, **rest, "vector_idle": False}),
            (cause, {**at, **rest, "write_idle": False}),
        ]
    return ways


@cocotb.test()
async def every_cause_is_counted_when_it_is_forced(dut):
    tb = TB(dut, "causes")
    await tb.begin()
    await tb.settle(1, tb.config.context, tb.config.slots)
    await tb.write_rows([tb.a_row(stops=(0xFFFFFFFF, 0xFFFFFFFF)) for _ in range(tb.config.rows)])
    engines = tb.engines
    for way, (cause, shown) in enumerate(situations()):
        engines.forget()
        engines.program, engines.tokens, engines.faults = [encode(Opcode.END)], [[9] * tb.config.rows], [0]
        engines.events, engines.forced = True, {"vector_idle": False}
        await tb.write("row0_control", 3)
        await tb.write("control", 1)
        while not int(dut.in_step.value) or int(dut.fetching.value):
            await FallingEdge(dut.clk)
        length = tb.rng.choice((1, 2, 3, tb.rng.randrange(4, 100), 300, 700))
        # Idle engines end the step soon.
        if cause == "idle":
            length = 3
        engines.forced = {"vector_idle": False, **shown}
        before = dict(engines.counts)
        for _ in range(length):
            await FallingEdge(dut.clk)
        await ReadOnly()
        assert engines.counts.get(cause, 0) - before.get(cause, 0) >= length, f"way {way}, {cause}: {engines.counts}"
        await FallingEdge(dut.clk)
        engines.forced = {"array_idle": True, "vector_idle": True, "stream_idle": True, "write_idle": True}
        assert await tb.wait_end() == 2
        counted = await tb.check_counters()
        assert counted["fetch"] > 0 and counted["idle"] > 0 and counted[cause] >= length
    # Before the first instruction nothing is known of it, whatever else waits.
    engines.forget()
    engines.program, engines.forced = [], {"vector_idle": False}
    await tb.write("row0_control", 3)
    assert await tb.run() == 4
    assert (await tb.check_counters())["fetch"] > 0


@cocotb.test()
async def rows_are_broadcast(dut):
    tb = TB(dut, "broadcast")
    await tb.begin()
    rows = [tb.a_row(slot=i % tb.config.slots, position=i, token=1000 + i, sample=i & 1) for i in range(tb.config.rows)]
    await tb.write_rows(rows)
    active = (1 << tb.config.rows) - 1
    assert int(dut.row_active.value) == active
    assert int(dut.row_sample.value) == sum(row.sample << i for i, row in enumerate(rows))
    await ClockCycles(dut.clk, 2)  # it comes from a register
    assert int(dut.any_sample.value) == 1
    for i in range(tb.config.rows):
        assert int(dut.row_token.value) >> 32 * i & 0xFFFFFFFF == 1000 + i
        assert int(dut.row_seed.value) >> 32 * i & 0xFFFFFFFF == 77 + i
        assert int(dut.row_temperature.value) >> 32 * i & 0xFFFFFFFF == 0x3F800000 + i
    for i in range(tb.config.rows):
        await tb.write(f"row{i}_control", 1)
    await ClockCycles(dut.clk, 2)
    assert int(dut.any_sample.value) == 0


async def recover(tb: TB) -> None:
    """control.reset, which waits for the bus, then an ordinary run."""
    tb.engines.quiet = False
    before = tb.engines.resets
    await tb.write("control", 2)
    await ClockCycles(tb.dut.clk, 50)
    assert tb.engines.resets == before and await tb.read("status") == 1
    assert int(tb.dut.freeze.value) == 1
    tb.engines.quiet = True
    assert await tb.wait_end() == 0
    assert tb.engines.resets == before + 1 and int(tb.dut.freeze.value) == 0
    assert tb.engines.last_reset == 2
    assert await tb.read("error") == 0 and await tb.read("steps") == 1
    tb.engines.stuck = False
    tb.engines.program = some_program(tb.rng)
    tb.engines.tokens, tb.engines.faults = [[9] * tb.config.rows], [0]
    await tb.write("row0_control", 3)
    assert await tb.run() == 2
    tb.engines.forget()


@cocotb.test()
async def errors_stop_the_machine_with_a_code_and_reset_brings_it_back(dut):
    tb = TB(dut, "errors")
    await tb.begin()
    await tb.settle(1, tb.config.context, tb.config.slots)
    await tb.write_rows([tb.a_row(stops=(0xFFFFFFFF, 0xFFFFFFFF)) for _ in range(tb.config.rows)])
    good = some_program(tb.rng)

    async def fails(code: ErrorCode, instruction: int | None = None, address: int = 0) -> None:
        await tb.write("irq_status", 1)
        assert await tb.run() == 4
        assert await tb.read("error") == code
        assert (await tb.read("error_address_high")) << 32 | await tb.read("error_address_low") == address
        if instruction is not None:
            assert await tb.read("error_instruction") == instruction
        assert await tb.read("irq_status") == 1 and int(dut.freeze.value) == 1
        await tb.write("control", 1)
        assert await tb.read("status") == 4, "start works only after reset"
        await recover(tb)

    for opcode in (0, 7, 255):
        tb.engines.program = good[:3] + [bytes([opcode]) + bytes(63)] + good[3:]
        await fails(ErrorCode.OPCODE, 3)
    tb.engines.program = good[:-1]
    await fails(ErrorCode.PROGRAM_END, len(good) - 2)
    tb.engines.program = []
    await fails(ErrorCode.PROGRAM_END, 0)

    for side, code in (
        ("read", ErrorCode.READ_RESPONSE),
        ("read", ErrorCode.WINDOW),
        ("write", ErrorCode.WRITE_RESPONSE),
    ):
        tb.engines.program, tb.engines.stuck = good, True
        address = tb.rng.randrange(1 << 40)
        tb.engines.errors = {side: (code, address)}
        await fails(code, 0, address)

    await tb.write("watchdog", 300)
    tb.engines.program, tb.engines.stuck = good, True
    await fails(ErrorCode.WATCHDOG, 0)
    for row in range(tb.config.rows):
        await tb.write(f"row{row}_control", 0)
    await fails(ErrorCode.NO_ROWS, 0)


@cocotb.test()
async def settings_and_rows_cannot_be_written_while_busy(dut):
    tb = TB(dut, "busy")
    await tb.begin()
    await tb.settle(1, tb.config.context, tb.config.slots)
    await tb.write_rows([tb.a_row() for _ in range(tb.config.rows)])
    tb.engines.program, tb.engines.stuck = some_program(tb.rng), True
    tb.engines.tokens, tb.engines.faults = [[1] * tb.config.rows], [0]
    await tb.write("control", 1)
    for name in ("steps", "kv_low", "row0_token", "context_limit"):
        assert await tb.raw_write(tb.registers[name].offset, 99) == AxiResp.SLVERR, name
    assert await tb.read("steps") == 1 and await tb.read("row0_token") == 5
    await tb.write("watchdog", 0)
    await recover(tb)


@cocotb.test()
async def rows_out_of_bounds_alone_end_the_run_without_a_step(dut):
    tb = TB(dut, "bounds")
    await tb.begin()
    await tb.settle(3, 10, 2)
    rows = [tb.a_row(slot=2) if i % 2 else tb.a_row(position=10) for i in range(tb.config.rows)]
    await tb.write_rows(rows)
    assert await tb.run() == 2
    assert await tb.read("steps_done") == 0 and tb.engines.results == []
    for row in range(tb.config.rows):
        assert await tb.read(f"row{row}_fault") == 2 and await tb.read(f"row{row}_control") == 2
