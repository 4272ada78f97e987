"""A serial port of the operating system, by termios: bytes out, bytes in with a time limit."""

from __future__ import annotations

import os
import select
import termios
import time
import tty

from .base import DeviceError


class SerialPort:
    """8 data bits, no parity, one stop bit, no flow control. DeviceError if it cannot be opened so."""

    def __init__(self, path: str, baud: int):
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise DeviceError(f"baud rate {baud} is not one that this system offers, such as 115200 or 1000000")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(f"cannot open the serial port {path}: {error.strerror}") from None
        try:
            tty.setraw(self._file)
            settings = termios.tcgetattr(self._file)
            settings[2] = settings[2] & ~(termios.CRTSCTS | termios.CSTOPB | termios.PARENB) | termios.CLOCAL
            settings[4] = settings[5] = speed
            termios.tcsetattr(self._file, termios.TCSANOW, settings)
            termios.tcflush(self._file, termios.TCIOFLUSH)
        except termios.error as error:
            os.close(self._file)
            raise DeviceError(f"{path} is not a serial port: {error.args[-1]}") from None

    def write(self, data: bytes) -> None:
        """Returns when the system has taken all."""
        left = memoryview(data)
        while left:
            select.select([], [self._file], [])
            left = left[os.write(self._file, left) :]

    def read(self, count: int, seconds: float) -> bytes:
        """`count` bytes, or as many as came in time."""
        found, end = bytearray(), time.monotonic() + seconds
        while len(found) < count:
            ready, _, _ = select.select([self._file], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                break
            part = os.read(self._file, count - len(found))
            if not part:
                break
            found += part
        return bytes(found)

    def close(self) -> None:
        os.close(self._file)
