"""The bridge at its bytes: accesses of every kind, broken frames that must change nothing, silence in the middle."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from mozg.device import frames
from mozg.device.frames import FrameError
from rtl.board.protocol import SYNC_REQUEST, Operation, ReplyStatus
from rtl.board.uart_bridge import uart_bridge
from rtl.common.config import ChipConfig
from rtl.convert import Converted
from verif.board import signals

TIMEOUT = 256
BYTE_CLOCKS = 12  # from one byte to the next, at least
WINDOW = 1 << 25


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return signals.build(uart_bridge, out_dir, timeout_clocks=TIMEOUT)


class TB:
    """Both byte streams, a register bus and a memory of words that answer after random delays. step() is a clock."""

    def __init__(self, dut, name: str) -> None:
        self.dut = dut
        seed = getattr(cocotb, "RANDOM_SEED", os.environ.get("COCOTB_RANDOM_SEED", 1))
        self.rng = random.Random(f"{name} {seed}")
        self.registers: dict[int, int] = {}
        self.words: dict[int, int] = {}
        self.refusing = False  # registers answer SLVERR
        self.slow = 6  # longest delay of the memory
        self.received = bytearray()
        self.accesses = 0
        self.memory_wait: int | None = None
        self.taken: tuple[bool, int] | None = None
        self.bus_wait = 0

    async def begin(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        for name in ("rx_valid", "rx_data", "tx_ready", "host_ready", "host_done", "host_read_data", "s_axi_awready"):
            getattr(self.dut, name).value = 0
        for name in ("wready", "bvalid", "bresp", "arready", "rvalid", "rdata", "rresp"):
            getattr(self.dut, f"s_axi_{name}").value = 0
        self.dut.rst.value = 1
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def step(self, byte: int | None = None) -> None:
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.rx_valid.value = int(byte is not None)
        dut.rx_data.value = byte if byte is not None else self.rng.randrange(256)
        dut.tx_ready.value = int(self.rng.random() < 0.4)
        self.serve_memory()
        self.serve_registers()
        await ReadOnly()
        if int(dut.tx_valid.value) and int(dut.tx_ready.value):
            self.received.append(int(dut.tx_data.value))
        if int(dut.host_valid.value) and int(dut.host_ready.value):
            self.taken = bool(int(dut.host_write.value)), int(dut.host_address.value)
            self.memory_wait = self.rng.randrange(self.slow)
        await Timer(1, "ns")

    def serve_memory(self) -> None:
        dut = self.dut
        dut.host_ready.value = int(self.taken is None and self.rng.random() < 0.5)
        dut.host_done.value = 0
        if self.memory_wait is None:
            return
        self.memory_wait -= 1
        if self.memory_wait < 0:
            write, address = self.taken
            self.accesses += 1
            if write:
                self.words[address] = int(dut.host_write_data.value)
            else:
                dut.host_read_data.value = self.words.setdefault(address, self.rng.randrange(1 << 16))
            dut.host_done.value = 1
            self.memory_wait = self.taken = None

    def serve_registers(self) -> None:
        """As the chip does it: address and data are taken together, the answer comes some clocks later."""
        dut = self.dut
        for name in ("awready", "wready", "arready", "bvalid", "rvalid"):
            getattr(dut, f"s_axi_{name}").value = 0
        if self.bus_wait:
            self.bus_wait -= 1
            if self.bus_wait == 0:
                write, address, data = self.open_access
                response = 2 if self.refusing else 0
                self.accesses += 1
                if write:
                    dut.s_axi_bvalid.value, dut.s_axi_bresp.value = 1, response
                    if not self.refusing:
                        self.registers[address] = data
                else:
                    dut.s_axi_rvalid.value, dut.s_axi_rresp.value = 1, response
                    dut.s_axi_rdata.value = self.registers.setdefault(address, self.rng.randrange(1 << 32))
        elif int(dut.s_axi_awvalid.value) and int(dut.s_axi_wvalid.value):
            assert int(dut.s_axi_wstrb.value) == 15
            dut.s_axi_awready.value = dut.s_axi_wready.value = 1
            self.open_access = True, int(dut.s_axi_awaddr.value), int(dut.s_axi_wdata.value)
            self.bus_wait = self.rng.randrange(1, 9)
        elif int(dut.s_axi_arvalid.value):
            dut.s_axi_arready.value = 1
            self.open_access = False, int(dut.s_axi_araddr.value), 0
            self.bus_wait = self.rng.randrange(1, 9)

    async def send(self, data: bytes) -> None:
        for byte in data:
            await self.step(byte)
            for _ in range(BYTE_CLOCKS - 1 + self.rng.randrange(4)):
                await self.step()

    async def rest(self) -> bytes:
        """Longer than the time-out; what came meanwhile, and before."""
        for _ in range(TIMEOUT + 60):
            await self.step()
        assert not int(self.dut.receiving.value)
        found, self.received = bytes(self.received), bytearray()
        return found

    async def ask(self, data: bytes, count: int = 0) -> bytes:
        """What a request brings; FrameError if it is refused."""
        await self.send(data)
        for _ in range(60_000):
            good = self.received[1:2] == bytes([ReplyStatus.OK])
            if len(self.received) >= frames.REPLY_OVERHEAD + (count if good else 0):
                break
            await self.step()
        for _ in range(8):
            await self.step()
        found, self.received = bytes(self.received), bytearray()
        return frames.payload_of(found, count)

    async def write_block(self, address: int, data: bytes) -> None:
        await self.ask(frames.request(Operation.WRITE_MEMORY, address, len(data) // 2, data))

    async def read_block(self, address: int, count: int) -> bytes:
        return await self.ask(frames.request(Operation.READ_MEMORY, address, count // 2), count)

    def held(self, address: int, count: int) -> bytes:
        return b"".join(self.words[address // 2 + i].to_bytes(2, "little") for i in range(count // 2))

    async def refused(self, data: bytes) -> ReplyStatus | None:
        try:
            await self.ask(data)
        except FrameError as error:
            return error.status
        raise AssertionError("the request was accepted")


@cocotb.test()
async def accesses_of_every_kind_in_any_order(dut):
    tb = TB(dut, "mixed")
    await tb.begin()
    rng = tb.rng
    for _ in range(60):
        kind = rng.randrange(5)
        register, place = 4 * rng.randrange(1024), 2 * rng.randrange(WINDOW // 2 - 100)
        if kind == 0:
            value = rng.randrange(1 << 32)
            assert await tb.ask(frames.request(Operation.WRITE_REGISTER, register, value)) == b""
            assert tb.registers[register] == value
        elif kind == 1:
            found = await tb.ask(frames.request(Operation.READ_REGISTER, register), 4)
            assert int.from_bytes(found, "little") == tb.registers[register]
        elif kind == 2:
            data = rng.randbytes(2 * rng.choice((0, 1, 2, 17, 40)))
            before = dict(tb.words)
            await tb.write_block(place, data)
            assert tb.held(place, len(data)) == data
            assert {a: w for a, w in tb.words.items() if not place <= 2 * a < place + len(data)} == {
                a: w for a, w in before.items() if not place <= 2 * a < place + len(data)
            }
        elif kind == 3:
            count = 2 * rng.choice((0, 1, 2, 33))
            assert await tb.read_block(place, count) == tb.held(place, count)
        else:
            word, count = rng.randrange(1 << 16), rng.choice((0, 1, 50))
            await tb.ask(frames.request(Operation.FILL_MEMORY, place, word << 16 | count))
            assert tb.held(place, 2 * count) == word.to_bytes(2, "little") * count
    assert not int(dut.refused.value)


@cocotb.test()
async def a_broken_header_changes_nothing_and_is_refused(dut):
    tb = TB(dut, "header")
    await tb.begin()
    for _ in range(60):
        operation = tb.rng.choice((Operation.WRITE_REGISTER, Operation.FILL_MEMORY, Operation.READ_MEMORY))
        frame = bytearray(frames.request(operation, 4 * tb.rng.randrange(1000), tb.rng.randrange(1 << 32)))
        bit = tb.rng.randrange(8, 8 * len(frame))
        frame[bit // 8] ^= 1 << bit % 8
        assert await tb.refused(bytes(frame)) == ReplyStatus.HEADER_CRC
        assert tb.accesses == 0 and int(dut.refused.value)


@cocotb.test()
async def a_frame_that_stops_is_given_up_and_the_next_one_works(dut):
    tb = TB(dut, "stops")
    await tb.begin()
    for _ in range(25):
        data = tb.rng.randbytes(2 * tb.rng.randrange(1, 8))
        frame = frames.request(Operation.WRITE_MEMORY, 0x400, len(data) // 2, data)
        await tb.send(frame[: tb.rng.randrange(1, len(frame))])
        assert await tb.rest() == b"" and int(dut.refused.value)
        await tb.write_block(0x800, data)
        assert tb.held(0x800, len(data)) == data and not int(dut.refused.value)


@cocotb.test()
async def noise_between_frames_is_passed_over(dut):
    tb = TB(dut, "noise")
    await tb.begin()
    for _ in range(25):
        noise = bytes(tb.rng.choice([b for b in range(256) if b != SYNC_REQUEST]) for _ in range(tb.rng.randrange(20)))
        await tb.send(noise)
        data = tb.rng.randbytes(6)
        await tb.write_block(0x40, data)
        assert await tb.read_block(0x40, 6) == data


@cocotb.test()
async def noise_with_sync_bytes_is_over_after_a_time_out(dut):
    tb = TB(dut, "sync noise")
    await tb.begin()
    for _ in range(15):
        await tb.send(tb.rng.randbytes(tb.rng.randrange(40)) + bytes([SYNC_REQUEST]))
        await tb.rest()
        assert tb.accesses == 0
        assert len(await tb.read_block(0x40, 2)) == 2
        tb.accesses = 0


@cocotb.test()
async def a_block_with_a_wrong_crc_is_reported(dut):
    tb = TB(dut, "payload")
    await tb.begin()
    for _ in range(25):
        data = tb.rng.randbytes(2 * tb.rng.randrange(1, 20))
        frame = bytearray(frames.request(Operation.WRITE_MEMORY, 0x400, len(data) // 2, data))
        bit = tb.rng.randrange(8 * 12, 8 * len(frame))
        frame[bit // 8] ^= 1 << bit % 8
        assert await tb.refused(bytes(frame)) == ReplyStatus.PAYLOAD_CRC
        assert all(0x400 <= 2 * address < 0x400 + len(data) for address in tb.words)
        await tb.write_block(0x400, data)
        assert tb.held(0x400, len(data)) == data
        tb.words.clear()


@cocotb.test()
async def what_cannot_be_done_is_refused_with_its_reason(dut):
    tb = TB(dut, "refused")
    await tb.begin()
    data = bytes(range(8))
    for operation in (0, 6, 7, 255):
        assert await tb.refused(frames.request(operation, 0)) == ReplyStatus.OPERATION
    for address in (1, WINDOW, WINDOW + 2, 0x8000_0000):
        assert await tb.refused(frames.request(Operation.WRITE_MEMORY, address, 4, data)) == ReplyStatus.ADDRESS
        assert await tb.refused(frames.request(Operation.READ_MEMORY, address, 4)) == ReplyStatus.ADDRESS
        assert await tb.refused(frames.request(Operation.FILL_MEMORY, address, 4)) == ReplyStatus.ADDRESS
    assert tb.accesses == 0
    tb.refusing = True
    assert await tb.refused(frames.request(Operation.READ_REGISTER, 0)) == ReplyStatus.BUS
    assert await tb.refused(frames.request(Operation.WRITE_REGISTER, 0, 5)) == ReplyStatus.BUS
    tb.refusing = False
    await tb.write_block(0x40, data)
    assert tb.held(0x40, 8) == data


@cocotb.test()
async def a_memory_slower_than_the_line_is_reported(dut):
    tb = TB(dut, "overrun")
    await tb.begin()
    tb.slow = 100
    data = tb.rng.randbytes(80)
    assert await tb.refused(frames.request(Operation.WRITE_MEMORY, 0x40, 40, data)) == ReplyStatus.OVERRUN
    tb.slow = 2
    await tb.write_block(0x40, data)
    assert tb.held(0x40, 80) == data
