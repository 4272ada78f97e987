"""Devices: the chip behind one small interface. `open_device` picks one by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from rtl.common.config import ChipConfig

from .base import Device, DeviceError

DEVICES = ("model", "verilator", "icarus", "serial")


def open_device(name: str, chip: ChipConfig, size: int, **options: Any) -> Device:
    """A device with `size` bytes of memory. Options are those of its class; DeviceError for a name or an
    option that is unknown."""
    check_options(name, options)
    return _class(name)(chip, size, **options)


def check_options(name: str, options: Iterable[str]) -> None:
    """DeviceError for an unknown device, or for an option that it does not take."""
    taken = [option for option in inspect.signature(_class(name)).parameters if option not in ("chip", "size")]
    for option in options:
        if option not in taken:
            raise DeviceError(
                f"option {option!r} is unknown: the {name} device takes {', '.join(taken) or 'no options'}"
            )


def _class(name: str) -> type[Device]:
    if name == "model":
        from .model import ModelDevice

        return ModelDevice
    if name == "verilator":
        from .verilator import VerilatorDevice

        return VerilatorDevice
    if name == "icarus":
        from .icarus import IcarusDevice

        return IcarusDevice
    if name == "serial":
        from .serial import SerialDevice

        return SerialDevice
    raise DeviceError(f"device {name!r} is unknown: expected one of {', '.join(DEVICES)}")


__all__ = ["DEVICES", "Device", "DeviceError", "check_options", "open_device"]
