"""Frames of the board's protocol (rtl/board/README.md): requests to bytes, replies to data."""

from __future__ import annotations

import binascii
import struct

from rtl.board.protocol import SYNC_REPLY, SYNC_REQUEST, Operation, ReplyStatus

CRC_START = 0xFFFF
REPLY_OVERHEAD = 4  # sync, status, CRC
MOST_WORDS = 0xFFFF  # in one frame


class FrameError(Exception):
    """A reply that is not one, or that says that the request was refused; `status` is None for the former."""

    def __init__(self, message: str, status: ReplyStatus | None = None):
        super().__init__(message)
        self.status = status


def crc(data: bytes) -> bytes:
    """CRC-16/CCITT-FALSE, high byte first."""
    return struct.pack(">H", binascii.crc_hqx(data, CRC_START))


def request(operation: Operation, address: int, value: int = 0, payload: bytes = b"") -> bytes:
    """A whole request; `payload` only for WRITE_MEMORY."""
    header = struct.pack("<BII", operation, address, value)
    block = payload + crc(payload) if operation == Operation.WRITE_MEMORY else b""
    return bytes([SYNC_REQUEST]) + header + crc(header) + block


def payload_of(reply: bytes, count: int) -> bytes:
    """The `count` bytes that a whole reply carries; FrameError for anything but a good one.

    A reply that refuses is REPLY_OVERHEAD bytes long, whatever was asked for.
    """
    if len(reply) < REPLY_OVERHEAD:
        raise FrameError(f"{len(reply)} bytes came back" if reply else "no answer")
    if reply[0] != SYNC_REPLY:
        raise FrameError(f"the reply begins with {reply[0]:#04x}, expected {SYNC_REPLY:#04x}")
    body, check = reply[1:-2], reply[-2:]
    if crc(body) != check:
        raise FrameError("the CRC of the reply is wrong")
    if body[0] != ReplyStatus.OK:
        status = ReplyStatus(body[0]) if body[0] in list(ReplyStatus) else None
        name = status.name if status is not None else str(body[0])
        raise FrameError(f"the board refused the request: {name}", status)
    if len(body) != count + 1:
        raise FrameError(f"{len(body) - 1} bytes of data came back, expected {count}")
    return body[1:]
