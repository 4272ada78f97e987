"""Bench of rtl/memory/memory_read.py, against verif/memory/read_model.py."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock

from rtl.common.config import ChipConfig
from rtl.common.isa import Epilogue, Opcode, encode
from rtl.common.registers import ErrorCode
from rtl.convert import Converted, convert
from rtl.memory.memory_read import memory_read
from verif import benches
from verif.memory.read_agents import IDEAL, Manner, Surroundings
from verif.memory.read_model import Expected, Machine, Row, content
from verif.memory.read_wires import read_signals
from verif.runner import settings


def build(out_dir: Path, chip: ChipConfig, **changes: int) -> Converted:
    """The block, for a chip with fields changed."""
    chip = dataclasses.replace(chip, **changes)
    return convert(memory_read, **read_signals(chip), config=chip, out_dir=out_dir)


def seed_of(name: str) -> random.Random:
    """A generator of its own for each test, from the run's seed."""
    seed = f"{name} {getattr(cocotb, 'RANDOM_SEED', os.environ.get('COCOTB_RANDOM_SEED', 1))}"
    return random.Random(seed)


def a_machine(rng: random.Random, **changes: int) -> Machine:
    shape = settings()
    chip = benches.configuration(shape.pop("chip"))
    chip = dataclasses.replace(chip, **shape)
    machine = Machine(chip, **changes)
    slots = [rng.randrange(chip.slots) for _ in range(max(1, chip.rows // 2))]
    machine.rows = [
        Row(
            active=rng.random() < 0.8,
            sample=rng.random() < 0.5,
            slot=rng.choice(slots),
            position=rng.choice((0, 31, 32, rng.randrange(min(chip.context, 256)), rng.randrange(96))),
            token=rng.choice((0, rng.randrange(50257))),
        )
        for _ in range(chip.rows)
    ]
    machine.rows[rng.randrange(chip.rows)].active = True
    return machine


def an_address(rng: random.Random, machine: Machine) -> int:
    """64-byte aligned in the first part of the weights; often close to a 4 KB boundary."""
    page = machine.weights_base + 4096 * rng.randrange(0x1000)
    return page + 64 * rng.choice((0, 63, 62, rng.randrange(64)))


def matmul(rng: random.Random, machine: Machine, **changes: int) -> bytes:
    fields = {
        "mxfp4": rng.randrange(2),
        "has_bias": rng.randrange(2),
        "sampling_only": int(rng.random() < 0.2),
        "epilogue": rng.choice(list(Epilogue)),
        "address": an_address(rng, machine),
        "address_b": an_address(rng, machine),
        "k_blocks": rng.randrange(1, 5),
        "groups": rng.randrange(1, 4),
        "output_blocks": rng.randrange(1, 5),
    }
    return encode(Opcode.MATMUL, **{**fields, **changes})


def attend(rng: random.Random, machine: Machine, **changes: int) -> bytes:
    fields = {
        "heads": rng.randrange(1, 5),
        "heads_per_kv": rng.randrange(1, 3),
        "head_blocks": rng.randrange(1, machine.chip.head_blocks + 1),
        "layer_offset": 64 * rng.randrange(256),
        "head_stride": 64 * rng.randrange(1, 512),
        "value_offset": 64 * rng.randrange(1, 4096),
        "value_stride": 64 * rng.randrange(1, 512),
    }
    return encode(Opcode.ATTEND, **{**fields, **changes})


def an_instruction(rng: random.Random, machine: Machine) -> bytes:
    kind = rng.choices(list(Opcode), (1, 0.3, 2, 2, 5, 2))[0]
    a, b = an_address(rng, machine), an_address(rng, machine)
    blocks = rng.randrange(1, 9)
    if kind == Opcode.TABLE:
        return encode(kind, address=a)
    if kind == Opcode.EMBED:
        return encode(kind, address=a, address_b=b, k_blocks=blocks, row_stride=128 * blocks)
    if kind == Opcode.NORM:
        return encode(kind, address=a, address_b=b, k_blocks=blocks)
    if kind == Opcode.MATMUL:
        return matmul(rng, machine)
    if kind == Opcode.ATTEND:
        return attend(rng, machine)
    return encode(kind)


clocks: list = []


async def begin(dut, machine: Machine, manner: Manner, rng: random.Random) -> Surroundings:
    """A reset machine in its surroundings; a test may have several, one after the other."""
    if not clocks or clocks[-1].done():
        clocks.append(Clock(dut.clk, 10, unit="ns").start())
    world = Surroundings(dut, machine, manner, rng.randrange(1 << 30))
    await world.reset()
    return world


def compare(world: Surroundings, expected: Expected) -> None:
    assert world.addresses() == expected.addresses, "other addresses, or another order"
    assert len(world.beats) == len(expected.beats) and world.beats == expected.beats
    assert len(world.parameters) == len(expected.parameters) and world.parameters == expected.parameters


async def play(world: Surroundings, instructions: list[bytes]) -> None:
    """Run instructions to the end, idle included, and compare everything."""
    world.bursts, world.beats, world.parameters, world.beat_cycles = [], [], [], []
    expected = Expected(instructions, world.machine)
    world.waiting = list(instructions)
    await world.step()
    done_before = []

    def done() -> bool:
        if world.idle and not world.waiting:
            done_before.append(1)
        return len(done_before) > 2

    await world.run_until(done)
    assert not world.error
    compare(world, expected)
    await world.run(100)
    compare(world, expected)
    assert world.quiet or world.fetches


@cocotb.test()
async def random_instructions_read_what_the_model_says(dut):
    rng = seed_of("random")
    for _ in range(3):
        machine = a_machine(rng)
        manner = Manner(
            (1, rng.choice((2, 40, 120))),
            *(rng.choice((0.3, 0.8, 1.0)) for _ in range(6)),
            (0, rng.choice((0, 300))),
        )
        world = await begin(dut, machine, manner, rng)
        world.start_fetch = True
        await play(world, [an_instruction(rng, machine) for _ in range(12)])


@cocotb.test()
async def every_instruction_alone_reads_what_the_model_says(dut):
    rng = seed_of("alone")
    machine = a_machine(rng)
    world = await begin(dut, machine, IDEAL, rng)
    kinds = [
        encode(Opcode.TABLE, address=machine.weights_base),
        encode(
            Opcode.EMBED,
            address=machine.weights_base,
            address_b=machine.weights_base + 0x800_0000,
            k_blocks=3,
            row_stride=384,
        ),
        encode(Opcode.NORM, address=machine.weights_base + 64, address_b=machine.weights_base + 4032, k_blocks=2),
        matmul(rng, machine, sampling_only=0, mxfp4=0, epilogue=0),
        matmul(rng, machine, sampling_only=0, mxfp4=1, epilogue=0),
        attend(rng, machine),
        encode(Opcode.END),
    ]
    for instruction in kinds:
        await play(world, [instruction])


@cocotb.test()
async def one_beat_a_cycle_at_latency_60(dut):
    """Matrices and caches back to back, at the shapes of GPT-2: over 0.99 beats a cycle after the first."""
    rng = seed_of("throughput")
    machine = a_machine(rng)
    for row in machine.rows:
        row.active, row.slot, row.position = True, 3, 95
    shapes = [
        matmul(rng, machine, sampling_only=0, has_bias=0, epilogue=0, k_blocks=k, groups=g)
        for k, g in ((8, 4), (1, 1), (2, 1), (1, 2), (24, 1))
    ]
    shapes.append(attend(rng, machine, heads=3, head_blocks=2))
    shapes.append(attend(rng, machine, heads=2, head_blocks=1, heads_per_kv=1))
    shapes.append(matmul(rng, machine, sampling_only=0, has_bias=0, epilogue=0, k_blocks=8, groups=2))
    for latency in (40, 60):
        world = await begin(dut, machine, Manner((latency, latency), 1, 1, 1, 1, 1, 1, (0, 0)), rng)
        await play(world, shapes)
        cycles = world.beat_cycles[-1] - world.beat_cycles[0] + 1
        rate = len(world.beats) / cycles
        dut._log.info(f"latency {latency}: {len(world.beats)} beats in {cycles} cycles, {rate:.4f} a cycle")
        assert rate > 0.99, f"{rate:.4f} beats a cycle at latency {latency}"


@cocotb.test()
async def parameters_do_not_hold_the_array_up(dut):
    """Biases before matrices: the bus stays busy although the gearbox takes several cycles a beat."""
    rng = seed_of("parameters")
    machine = a_machine(rng)
    shape = {"sampling_only": 0, "has_bias": 1, "epilogue": 0, "output_blocks": 16, "k_blocks": 8}
    work = [matmul(rng, machine, **shape, groups=3) for _ in range(4)]
    world = await begin(dut, machine, IDEAL, rng)
    first = world.cycle
    await play(world, work)
    cycles = world.beat_cycles[-1] - first
    rate = world.read_beats / cycles
    dut._log.info(f"{world.read_beats} beats in {cycles} cycles, {rate:.4f} a cycle")
    assert rate > 0.975, f"{rate:.4f} beats a cycle from the first instruction on"


@cocotb.test()
async def the_first_address_comes_soon(dut):
    """Cycles from an instruction on the port of the idle block to arvalid, and from a beat to its destination."""
    rng = seed_of("latency")
    machine = a_machine(rng)
    for row in machine.rows:
        row.active, row.slot, row.position, row.token = True, 1, 31, 1
    a, b = machine.weights_base, machine.weights_base + 0x8000
    one = {"sampling_only": 0, "epilogue": 0, "groups": 1, "address": a, "address_b": b}  # no split first burst
    limits = {
        encode(Opcode.TABLE, address=a): 10,
        encode(Opcode.NORM, address=a, address_b=b, k_blocks=1): 10,
        matmul(rng, machine, **one, has_bias=1): 10,
        matmul(rng, machine, **one, has_bias=0): 12,
        encode(Opcode.EMBED, address=a, address_b=b, k_blocks=1, row_stride=128): 14,
        attend(rng, machine): 21,
    }
    world = await begin(dut, machine, IDEAL, rng)
    for instruction, limit in limits.items():
        world.waiting, world.bursts = [instruction], []
        start = world.cycle + 1
        await world.run_until(lambda: dut.m_axi_arvalid.value, 100)
        asked = world.cycle - start
        await world.run_until(lambda: dut.m_axi_rvalid.value, 100)
        answered = world.cycle
        await world.run_until(lambda: dut.beat_valid.value or dut.parameter_valid.value, 100)
        name = Opcode(instruction[0]).name
        dut._log.info(f"{name}: address after {asked} cycles, destination {world.cycle - answered} after the beat")
        assert asked <= limit, f"{name}: {asked} cycles to the first address"
        beats_a_word = 4 * machine.chip.lanes // machine.chip.bus_bytes
        assert world.cycle - answered <= max(7, 4 + beats_a_word)
        await world.run_until(lambda: world.idle)


@cocotb.test()
async def attend_waits_for_the_cache_writes(dut):
    rng = seed_of("barrier")
    machine = a_machine(rng)
    world = await begin(dut, machine, IDEAL, rng)
    world.kv_held = True
    first = [
        matmul(rng, machine, sampling_only=0, epilogue=Epilogue.KEY),
        matmul(rng, machine, sampling_only=0, epilogue=Epilogue.VALUE),
    ]
    last = attend(rng, machine)
    world.waiting = [*first, last]
    await world.run(1500)
    compare(world, Expected(first, machine))
    assert not world.idle
    await world.run(500)
    world.kv_due = world.kv_due[:1]
    world.kv_held = False
    await world.run(500)
    compare(world, Expected(first, machine))
    world.kv_due = [0]
    await world.run_until(lambda: world.idle)
    compare(world, Expected([*first, last], machine))


async def expect_window_error(dut, rng, machine: Machine, instructions: list[bytes], address: int) -> None:
    world = await begin(dut, machine, IDEAL, rng)
    world.waiting = list(instructions)
    await world.run_until(lambda: world.error, 5000)
    assert int(dut.error_code.value) == ErrorCode.WINDOW
    assert int(dut.error_address.value) == address, f"{int(dut.error_address.value):#x} {address:#x}"
    await world.run(200)
    assert world.quiet
    assert int(dut.error_address.value) == address
    reached = world.addresses()
    wanted = Expected(instructions, machine).addresses
    assert reached == wanted[: len(reached)] and all(a < address or a not in wanted for a in reached[-1:])
    assert address not in reached


@cocotb.test()
async def a_burst_outside_its_window_is_an_error_and_no_access(dut):
    rng = seed_of("window")
    machine = a_machine(rng, weights_size=0x10_0000)
    bus = machine.chip.bus_bytes
    end = machine.weights_base + machine.weights_size
    plain = {"sampling_only": 0, "has_bias": 0, "epilogue": 0, "mxfp4": 0}
    # Just before the base, just past the end, and running over the end.
    before = matmul(rng, machine, **plain, address=machine.weights_base - 64)
    await expect_window_error(dut, rng, machine, [before], machine.weights_base - 64)
    await expect_window_error(dut, rng, machine, [matmul(rng, machine, **plain, address=end)], end)
    long = matmul(rng, machine, **plain, address=end - 4096, k_blocks=16, groups=1)
    await expect_window_error(dut, rng, machine, [long], end)
    # A matrix that ends with its window is good.
    machine.weights_size = 0x10_0000 // (33 * bus) * 33 * bus
    world = await begin(dut, machine, IDEAL, rng)
    fits = matmul(
        rng,
        machine,
        **plain,
        address=machine.weights_base + machine.weights_size - 33 * bus,
        k_blocks=1,
        groups=1,
    )
    await play(world, [fits])


@cocotb.test()
async def a_slot_is_the_window_of_its_pass(dut):
    rng = seed_of("slot")
    machine = a_machine(rng, kv_stride=0x1_0000)
    for row in machine.rows:
        row.active, row.slot, row.position = True, 5, 20
    base = machine.kv_base + 5 * machine.kv_stride
    shape = {"heads": 2, "heads_per_kv": 1, "head_blocks": 1, "layer_offset": 0}
    shape |= {"value_offset": 0x8000, "value_stride": 0x4000, "head_stride": 0x2000}
    far = attend(rng, machine, **{**shape, "value_offset": 0x1_0000})
    await expect_window_error(dut, rng, machine, [far], base + 0x1_0000)
    far = attend(rng, machine, **{**shape, "head_stride": 0x1_0000})
    await expect_window_error(dut, rng, machine, [far], base + 0x1_0000)
    world = await begin(dut, machine, IDEAL, rng)
    await play(world, [attend(rng, machine, **shape)])


@cocotb.test()
async def an_address_past_40_bits_does_not_wrap_into_the_window(dut):
    rng = seed_of("wrap")
    machine = a_machine(rng)
    for row in machine.rows:
        row.active, row.token, row.position = False, 0, 0
    machine.rows[0].active = True
    machine.rows[0].token = (1 << 40) // 4096
    wraps = encode(
        Opcode.EMBED,
        address=machine.weights_base,
        address_b=machine.weights_base,
        k_blocks=1,
        row_stride=4096,
    )
    world = await begin(dut, machine, IDEAL, rng)
    world.waiting = [wraps]
    await world.run_until(lambda: world.error, 1000)
    assert int(dut.error_code.value) == ErrorCode.WINDOW and world.bursts == []


@cocotb.test()
async def a_response_with_an_error_stops_with_the_address_of_its_burst(dut):
    rng = seed_of("response")
    machine = a_machine(rng)
    bus = machine.chip.bus_bytes
    world = await begin(dut, machine, Manner(latency=(5, 60)), rng)
    work = [
        matmul(rng, machine, sampling_only=0, epilogue=0, has_bias=0, k_blocks=4, groups=2, address=0x1_0000_1000)
        for _ in range(3)
    ]
    bad = 0x1_0000_1000 + 100 * bus
    world.bad_addresses = {bad}
    world.waiting = list(work)
    await world.run_until(lambda: world.error)
    assert int(dut.error_code.value) == ErrorCode.READ_RESPONSE
    chunk = min(machine.chip.burst_beats * bus, 4096)
    assert int(dut.error_address.value) == bad // chunk * chunk
    issued = len(world.bursts)
    world.freeze = True
    await world.run_until(lambda: world.quiet)
    await world.run(300)
    assert len(world.bursts) <= issued + 1, "a burst was issued after the error"
    assert world.beats == Expected(work, machine).beats[:100], "what came before the error, and nothing after"
    # Reset brings it back.
    world.bad_addresses = set()
    await world.reset()
    await play(world, [an_instruction(rng, machine) for _ in range(4)])


@cocotb.test()
async def freeze_drains_the_bus(dut):
    rng = seed_of("freeze")
    machine = a_machine(rng)
    world = await begin(dut, machine, Manner(latency=(30, 60)), rng)
    for _ in range(4):
        world.start_fetch = True
        world.waiting = [
            matmul(rng, machine, sampling_only=0, epilogue=0, has_bias=1, k_blocks=9, groups=3) for _ in range(3)
        ]
        await world.run(rng.randrange(60, 400))
        world.freeze = True
        await world.step()
        issued = len(world.bursts) + len(world.fetches)
        assert world.in_flight
        await world.run_until(lambda: world.quiet, 5000)
        assert not world.in_flight
        await world.run(100)
        assert world.quiet and len(world.bursts) + len(world.fetches) <= issued + 1
        await world.reset()
        await play(world, [matmul(rng, machine)])


def instructions_at(machine: Machine, count: int) -> list[int]:
    """What the memory holds from the program's base on, 64 bytes each."""
    width = machine.chip.bus_bytes
    return [
        sum(content(at + part, width) << 8 * part for part in range(0, 64, width))
        for at in range(machine.program_base, machine.program_base + 64 * count, 64)
    ]


@cocotb.test()
async def fetch_gives_the_program_in_order_and_its_end(dut):
    rng = seed_of("fetch")
    machine = a_machine(rng, program_base=0x1000_0FC0, program_size=64 * 37 + 63)
    program = instructions_at(machine, 37)
    world = await begin(dut, machine, Manner(fetch_ready=0.4), rng)
    await world.run(50)
    assert not world.fetches and not world.fetch_end
    world.waiting = [matmul(rng, machine) for _ in range(4)]
    world.start_fetch = True
    await world.step()
    await world.run_until(lambda: world.fetch_end)
    assert world.fetched == program
    await world.run(20)
    assert world.fetch_end and len(world.fetches) == 37
    # Starting again, at any time, forgets what is under way.
    for _ in range(30):
        await world.run(rng.choice((1, 2, 3, 10, 60, 150)))
        world.start_fetch = True
        await world.step()
        assert world.fetch_end is False or world.fetch_started
        world.fetched = []
    await world.step()
    assert not world.fetch_end
    await world.run_until(lambda: world.fetch_end)
    assert world.fetched == program


@cocotb.test()
async def no_instruction_is_given_behind_a_response_with_an_error(dut):
    rng = seed_of("fetch error")
    machine = a_machine(rng, program_base=0x1_0000, program_size=64 * 24)
    program = instructions_at(machine, 24)
    world = await begin(dut, machine, Manner(fetch_ready=1.0), rng)
    world.bad_addresses = {machine.program_base + 64 * 9}
    world.start_fetch = True
    await world.run_until(lambda: world.error)
    assert int(dut.error_code.value) == ErrorCode.READ_RESPONSE
    await world.run(300)  # nobody freezes it
    assert world.fetched == program[: len(world.fetched)] and len(world.fetched) <= 9


@cocotb.test()
async def fetch_comes_before_data(dut):
    """With the array asleep and the data FIFO full, instructions still arrive."""
    rng = seed_of("priority")
    machine = a_machine(rng)
    world = await begin(dut, machine, Manner(array_ready=0.0, fetch_ready=1.0, latency=(20, 20)), rng)
    work = [matmul(rng, machine, sampling_only=0, epilogue=0, has_bias=0, k_blocks=20, groups=3)]
    world.waiting = list(work)
    await world.run(1500)
    reserved = sum(beats for _, beats in world.bursts)
    assert machine.chip.fifo_beats - machine.chip.burst_beats < reserved <= machine.chip.fifo_beats + 1
    world.start_fetch = True
    await world.run_until(lambda: world.fetch_end, 3000)
    assert len(world.fetched) == machine.program_size // 64
    world.manner = IDEAL
    await world.run_until(lambda: world.idle)
    compare(world, Expected(work, machine))
