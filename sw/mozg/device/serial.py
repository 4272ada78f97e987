"""The chip on a board, over a serial port: frames of rtl/board/README.md.

Nothing here was run on a board: tests put the simulated board (verif/board/) in the port's place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtl.board.protocol import Operation, ReplyStatus
from rtl.board.sdram_timing import MEMORY_BYTES
from rtl.common.config import ChipConfig
from rtl.common.registers import Status

from .base import START, Device, DeviceError
from .frames import MOST_WORDS, REPLY_OVERHEAD, FrameError, payload_of, request

BAUD = 1_000_000
ATTEMPTS = 4
ANSWER_SECONDS = 1.0  # to the first byte and between bytes: a USB adapter holds bytes back for some milliseconds
REST_SECONDS = 0.2  # the board has given a broken frame up by then
BLOCK_BYTES = 4096  # of one frame
PIECE_BYTES = 256  # what is uniform in units of this is filled, not sent


class Port(Protocol):
    """What the device needs of a port."""

    def write(self, data: bytes) -> None: ...

    def read(self, count: int, seconds: float) -> bytes:
        """`count` bytes, or as many as came in time."""

    def close(self) -> None: ...


class SerialDevice(Device):
    """`port`: path of the board's serial port, or an opened Port. `baud`: what the board was built for.

    A request that is damaged on the way is sent again; every request may be, but for the start of a run, of which
    the chip is asked whether it began.
    """

    name = "serial"

    def __init__(self, chip: ChipConfig, size: int, port: str | Port | None = None, baud: int = BAUD):
        super().__init__(chip, size)
        if port is None:
            raise DeviceError("the serial device needs a port: --port /dev/ttyUSB0, or port=... in Python")
        if size > MEMORY_BYTES:
            raise DeviceError(f"the image takes {size:,} bytes of memory, the board has {MEMORY_BYTES:,}")
        self._port = _open(port, baud) if isinstance(port, str) else port
        self.repeats = 0
        try:
            self._rest()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._port.close()

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        data = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        if not data.size:
            return
        if address % 2 or data.size % 2:  # the memory has words of two bytes
            first, last = address & ~1, address + data.size + 1 & ~1
            whole = self.read_memory(first, last - first)
            whole[address - first : address - first + data.size] = data
            address, data = first, whole
        for start, end, uniform in segments(data):
            if uniform:
                value = int(data[start]) | int(data[start + 1]) << 8
                self._ask(Operation.FILL_MEMORY, address + start, value << 16 | (end - start) // 2)
            else:
                payload = data[start:end].tobytes()
                self._ask(Operation.WRITE_MEMORY, address + start, len(payload) // 2, payload)

    def read_memory(self, address: int, count: int) -> NDArray[np.uint8]:
        first, last = address & ~1, address + count + 1 & ~1
        found = bytearray()
        for start in range(first, last, BLOCK_BYTES):
            size = min(BLOCK_BYTES, last - start)
            found += self._ask(Operation.READ_MEMORY, start, size // 2, answer=size)
        return np.frombuffer(bytes(found), dtype=np.uint8)[address - first :][:count].copy()

    def write_register(self, name: str, value: int) -> None:
        self._ask(Operation.WRITE_REGISTER, self._register(name).offset, value & 0xFFFFFFFF)

    def read_register(self, name: str) -> int:
        found = self._ask(Operation.READ_REGISTER, self._register(name).offset, answer=4)
        return int.from_bytes(found, "little")

    def run(self, limit: int) -> int:
        self.write_register("irq_status", 1)
        self._start()
        while self._busy() and self._cycles() < limit:
            pass
        return self._cycles()

    def _busy(self) -> bool:
        return bool(self.read_register("status") >> Status.BUSY & 1)

    def _cycles(self) -> int:
        return self.read_register("count_cycles_low") | self.read_register("count_cycles_high") << 32

    def _start(self) -> None:
        """Exactly one run, whatever is lost: a run that began is busy, or has ended and set irq_status."""
        for _ in range(ATTEMPTS):
            try:
                self._exchange(Operation.WRITE_REGISTER, self._register("control").offset, START)
                return
            except FrameError as error:
                self._recover(error)
                if self._busy() or self.read_register("irq_status") & 1:
                    return
        raise DeviceError("the board does not take the start of a run: check the line and its baud rate")

    def _ask(self, operation: Operation, address: int, value: int = 0, payload: bytes = b"", answer: int = 0) -> bytes:
        """The data of the reply; the request is repeated when it or its reply is damaged."""
        for _ in range(ATTEMPTS):
            try:
                return self._exchange(operation, address, value, payload, answer)
            except FrameError as error:
                last = error
                self._recover(error)
        raise DeviceError(
            f"the board does not answer {operation.name} at {address:#x} ({last}): check the port, its baud rate and "
            "whether the bitstream is loaded"
        )

    def _exchange(
        self, operation: Operation, address: int, value: int = 0, payload: bytes = b"", answer: int = 0
    ) -> bytes:
        self._port.write(request(operation, address, value, payload))
        # A fill takes some clocks a word before its reply; bytes of a long reply come while this waits.
        reply = self._port.read(REPLY_OVERHEAD, ANSWER_SECONDS)
        if answer and len(reply) == REPLY_OVERHEAD and reply[1] == ReplyStatus.OK:
            reply += self._read_rest(answer)
        return payload_of(reply, answer)

    def _read_rest(self, count: int) -> bytes:
        """`count` bytes, as long as some arrive within each ANSWER_SECONDS."""
        found = b""
        while len(found) < count:
            part = self._port.read(min(BLOCK_BYTES, count - len(found)), ANSWER_SECONDS)
            if not part:
                break
            found += part
        return found

    def _recover(self, error: FrameError) -> None:
        """Before a repetition; what repeating cannot heal is a DeviceError now."""
        if error.status in (ReplyStatus.OPERATION, ReplyStatus.ADDRESS, ReplyStatus.BUS):
            raise DeviceError(str(error)) from None
        self.repeats += 1
        self._rest()

    def _rest(self) -> None:
        """Let the board give up what it is in, and drop what it says."""
        with contextlib.suppress(OSError):
            while self._port.read(BLOCK_BYTES, REST_SECONDS):
                pass


def _open(path: str, baud: int) -> Port:
    from .serial_port import SerialPort  # termios is not on every system

    return SerialPort(path, baud)


def segments(data: NDArray[np.uint8]) -> Iterator[tuple[int, int, bool]]:
    """(start, end, uniform) of the frames that write `data`: uniform ones hold one word over and over.

    Pieces of PIECE_BYTES that are uniform and alike are joined, and so are the others, up to a frame.
    """
    whole = data.size // PIECE_BYTES
    words = data[: whole * PIECE_BYTES].view("<u2").reshape(whole, PIECE_BYTES // 2)
    alike = (words == words[:, :1]).all(axis=1) if whole else np.zeros(0, dtype=bool)
    piece = 0
    while piece < whole:
        end = piece + 1
        most = MOST_WORDS * 2 // PIECE_BYTES if alike[piece] else BLOCK_BYTES // PIECE_BYTES
        while end < min(whole, piece + most) and alike[end] == alike[piece]:
            if alike[piece] and words[end, 0] != words[piece, 0]:
                break
            end += 1
        yield piece * PIECE_BYTES, end * PIECE_BYTES, bool(alike[piece])
        piece = end
    if data.size > whole * PIECE_BYTES:
        yield whole * PIECE_BYTES, data.size, False
