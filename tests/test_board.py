"""The ULX3S board: the driver over its UART, simulated, against the model; frames, serial port, constraints."""

from __future__ import annotations

import os
import random
import re
import threading
import tty

import numpy as np
import pytest

from mozg.checkpoint import load_checkpoint
from mozg.compiler import compile_model
from mozg.device import DeviceError, frames, open_device
from mozg.device.frames import FrameError
from mozg.device.serial import SerialDevice, segments
from mozg.device.serial_port import SerialPort
from mozg.driver import Driver, Row
from mozg.random_checkpoint import make_random_checkpoint
from mozg.verify import Lockstep
from rtl.board.board_config import ULX3S, BoardConfig
from rtl.board.protocol import Operation, ReplyStatus
from rtl.board.sdram_timing import ALLIANCE, ANY, ISSI, MEMORY_BYTES, MICRON, SdramConfig
from rtl.board.ulx3s import CONSTRAINTS, PINS, clock_verilog
from rtl.common.config import PRESETS
from rtl.common.registers import Status
from verif.board.simulated_port import SimulatedPort

CHIP = PRESETS["tiny"]
SEED = 3


# The whole board.


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small"
    make_random_checkpoint(path, layers=1, heads=2, width=48, context=40, vocabulary=37, seed=5)
    return compile_model(load_checkpoint(path), CHIP)


class NoisyPort:
    """A port that damages some bytes in both directions, and loses some."""

    def __init__(self, port: SimulatedPort, chance: float):
        self.port, self.chance, self.rng, self.damaged = port, 0.0, random.Random(SEED), 0
        self.wanted = chance

    def _damage(self, data: bytes) -> bytes:
        found = bytearray()
        for byte in data:
            if self.rng.random() < self.chance:
                self.damaged += 1
                if self.rng.random() < 0.5:
                    found.append(byte ^ 1 << self.rng.randrange(8))
            else:
                found.append(byte)
        return bytes(found)

    def write(self, data: bytes) -> None:
        self.port.write(self._damage(data))

    def read(self, count: int, seconds: float) -> bytes:
        return self._damage(self.port.read(count, seconds))

    def close(self) -> None:
        self.port.close()


def test_tokens_and_logits_over_the_uart_equal_the_model(image):
    port = SimulatedPort(CHIP)
    with SerialDevice(CHIP, image.memory.size, port) as device, open_device("model", CHIP, image.memory.size) as model:
        lockstep = Lockstep(Driver(device, image, fill=0xFF), Driver(model, image, fill=0xFF))
        tokens = [5, 6, 7]
        for position in range(6):
            row = Row(0, position, tokens[position], sample=True, logits=True)
            result, _, difference = lockstep.step([row])
            assert difference is None
            if position >= 2:
                tokens.append(result.tokens[0][0])
        assert result.cycles > 1000 and device.repeats == 0
        assert port.violations() == (0, 0)
        assert port.leds & 0b1011 == 0b0011  # runs, SDRAM initialised, nothing refused
        print(f"{port.cycles} cycles of the board, tokens {tokens}")


@pytest.mark.slow
def test_damaged_bytes_are_repeated_and_a_run_starts_once(image):
    with open_device("model", CHIP, image.memory.size) as model:
        driver = Driver(model, image)
        expected = [driver.step([Row(0, 0, 9, sample=True)], steps=3).tokens for _ in range(2)]
    noisy = NoisyPort(SimulatedPort(CHIP), 0.001)
    with SerialDevice(CHIP, image.memory.size, noisy) as device:
        driver = Driver(device, image)
        noisy.chance = 0.004
        found = [driver.step([Row(0, 0, 9, sample=True)], steps=3).tokens for _ in range(2)]
        assert found == expected
        assert noisy.damaged > 0 and device.repeats > 0
        assert noisy.port.violations() == (0, 0)


def test_memory_of_any_address_and_length_keeps_its_neighbours():
    rng = np.random.default_rng(SEED)
    with SerialDevice(CHIP, 1 << 16, SimulatedPort(CHIP)) as device:
        shadow = rng.integers(0, 256, 4096, dtype=np.uint8)
        shadow[1024:3072] = 0x55
        device.write_memory(0x2000, shadow)
        for _ in range(12):
            start = int(rng.integers(0, 4000))
            data = rng.integers(0, 256, int(rng.integers(1, 90)), dtype=np.uint8)
            data = data[: 4096 - start]
            shadow[start : start + data.size] = data
            device.write_memory(0x2000 + start, data)
            first = int(rng.integers(0, 4000))
            assert (device.read_memory(0x2000 + first, 33) == shadow[first : first + 33]).all()
        assert (device.read_memory(0x2000, 4096) == shadow).all()
        last = np.arange(64, dtype=np.uint8)
        device.write_memory(MEMORY_BYTES - 64, last)
        assert (device.read_memory(MEMORY_BYTES - 64, 64) == last).all()


def test_a_register_that_is_not_there_is_refused_with_its_reason():
    with SerialDevice(CHIP, 4096, SimulatedPort(CHIP)) as device:
        with pytest.raises(DeviceError, match="the board refused the request: BUS"):
            device.write_register("id", 1)
        assert device.read_register("id").to_bytes(4, "little") == b"MOZG"
        assert not device.read_register("status") >> Status.BUSY & 1


# Frames, and the port.


def test_the_crc_is_the_one_of_the_manual():
    assert frames.crc(b"123456789") == bytes([0x29, 0xB1])
    frame = frames.request(Operation.WRITE_REGISTER, 0x44, 0x1234)
    assert len(frame) == 12 and frames.crc(frame[1:]) == b"\0\0"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "no answer"),
        (b"\x5a\0", "2 bytes came back"),
        (b"\xa5\0\0\0", "begins with 0xa5"),
        (b"\x5a\0\0\0", "CRC of the reply is wrong"),
        (b"\x5a\x05" + frames.crc(b"\x05"), "refused the request: BUS"),
        (b"\x5a\0" + frames.crc(b"\0"), "0 bytes of data came back, expected 4"),
    ],
)
def test_a_bad_reply_says_what_is_wrong(reply, message):
    with pytest.raises(FrameError, match=message):
        frames.payload_of(reply, 4)


@pytest.mark.parametrize("size", [0, 2, 254, 256, 300, 5000, 70_000])
@pytest.mark.parametrize("kind", ["random", "zeros", "mixed"])
def test_segments_cover_every_byte_once(size, kind):
    rng = np.random.default_rng(SEED)
    data = np.zeros(size, dtype=np.uint8) if kind == "zeros" else rng.integers(0, 256, size, dtype=np.uint8)
    if kind == "mixed":
        data[size // 4 : size // 2] = 7
    end = 0
    for start, stop, uniform in segments(data):
        assert start == end and stop > start
        if uniform:
            assert len(set(data[start:stop:2])) == len(set(data[start + 1 : stop : 2])) == 1
        else:
            assert stop - start <= 4096
        end = stop
    assert end == size


class Answering(threading.Thread):
    """A board at the other end of a pseudo terminal: it knows one register."""

    def __init__(self, file: int):
        super().__init__(daemon=True)
        self.file = file

    def run(self) -> None:
        while True:
            try:
                frame = b""
                while len(frame) < 12:
                    frame += os.read(self.file, 12 - len(frame))
            except OSError:
                return
            body = bytes([ReplyStatus.OK]) + b"\x0d\x0a\x11\x13"
            for byte in b"\x5a" + body + frames.crc(body):
                os.write(self.file, bytes([byte]))


def test_a_serial_port_passes_every_byte_as_it_is():
    board, host = os.openpty()
    tty.setraw(board)
    Answering(board).start()
    port = SerialPort(os.ttyname(host), 115_200)
    try:
        port.write(frames.request(Operation.READ_REGISTER, 0))
        reply = port.read(8, 5.0)
        assert frames.payload_of(reply, 4) == b"\x0d\x0a\x11\x13"
        assert port.read(1, 0.01) == b""
    finally:
        port.close()
        os.close(host)
        os.close(board)


def test_what_is_no_board_is_told_in_one_line(tmp_path):
    with pytest.raises(DeviceError, match="needs a port"):
        SerialDevice(CHIP, 4096)
    with pytest.raises(DeviceError, match="cannot open the serial port /nowhere: No such file"):
        SerialDevice(CHIP, 4096, "/nowhere")
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DeviceError, match="is not a serial port"):
        SerialDevice(CHIP, 4096, str(path))
    with pytest.raises(DeviceError, match="baud rate 12345 is not one"):
        SerialPort(str(path), 12345)
    with pytest.raises(DeviceError, match="the board has 33,554,432"):
        SerialDevice(CHIP, MEMORY_BYTES + 1, "/nowhere")


class SilentPort:
    """Nobody at the other end."""

    def write(self, data: bytes) -> None: ...

    def read(self, count: int, seconds: float) -> bytes:
        return b""

    def close(self) -> None: ...


def test_a_board_that_does_not_answer_is_told_in_one_line():
    with pytest.raises(DeviceError, match="does not answer READ_REGISTER at 0x0 .no answer.: check the port"):
        SerialDevice(CHIP, 4096, SilentPort()).read_register("id")


# Parameters and constraints.


def test_the_constraints_name_every_pin_once():
    text = CONSTRAINTS.read_text()
    names = []
    for width, name in re.findall(r"wire (?:\[(\d+):0\] )?(\w+)", PINS):
        names += [f"{name}[{i}]" for i in range(int(width) + 1)] if width else [name]
    located = re.findall(r'LOCATE COMP "([^"]+)" SITE "(\w+)"', text)
    assert sorted(name for name, _ in located) == sorted(names)
    assert len({site for _, site in located}) == len(located)
    assert sorted(re.findall(r'IOBUF PORT "([^"]+)"', text)) == sorted(names)


def test_cycles_cover_the_slowest_part():
    assert (ANY.t_rcd, ANY.t_rp, ANY.t_ras, ANY.t_rc, ANY.t_rfc, ANY.t_wr, ANY.t_refi) == (21, 21, 44, 70, 70, 20, 7800)
    for khz in (25_000, 50_000, 75_000, 100_000, 133_000):
        config = SdramConfig("x", khz, cas=3)
        period = 1e6 / khz
        for part in (MICRON, ALLIANCE, ISSI):
            assert config.activate_to_column * period >= part.t_rcd
            assert (config.activate_to_precharge + config.precharge) * period >= part.t_rc
            assert config.refresh * period >= part.t_rfc and config.refresh_interval * period <= part.t_refi
            assert config.power_up_intervals * config.refresh_interval * period >= part.t_power_up


def test_a_clock_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="133000 kHz is too fast for a CAS latency of 2"):
        SdramConfig("x", 133_000)
    with pytest.raises(ValueError, match="no PLL makes 26001 kHz"):
        BoardConfig("x", 26_001, baud=1000)
    with pytest.raises(ValueError, match="25000 kHz is no multiple of 115200 baud"):
        BoardConfig("x", baud=115_200)


@pytest.mark.parametrize("khz", [50_000, 62_500, 75_000, 100_000])
def test_the_pll_makes_the_clock_that_was_asked_for(khz):
    pll = BoardConfig("x", khz, baud=500_000).pll
    assert 25_000 * pll.feedback_divider == khz * pll.input_divider
    assert 400_000 <= khz * pll.output_divider <= 800_000
    assert f".CLKOP_DIV({pll.output_divider})" in clock_verilog(BoardConfig("x", khz, baud=500_000))
    assert ULX3S.clocks_per_bit == 25 and ULX3S.pll is None
