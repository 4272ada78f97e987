"""Devices: the chip behind one small interface. `open_device` picks one by name."""

from __future__ import annotations

from typing import Any

from rtl.common.config import ChipConfig

from .base import Device, DeviceError

DEVICES = ("model", "verilator", "icarus", "serial")


def open_device(name: str, chip: ChipConfig, size: int, **options: Any) -> Device:
    """A device with `size` bytes of memory. Options are those of its class; DeviceError for an unknown name."""
    if name == "model":
        from .model import ModelDevice

        return ModelDevice(chip, size, **options)
    if name == "verilator":
        from .verilator import VerilatorDevice

        return VerilatorDevice(chip, size, **options)
    if name == "icarus":
        from .icarus import IcarusDevice

        return IcarusDevice(chip, size, **options)
    if name == "serial":
        from .serial import SerialDevice

        return SerialDevice(chip, size, **options)
    raise DeviceError(f"device {name!r} is unknown: expected one of {', '.join(DEVICES)}")


__all__ = ["DEVICES", "Device", "DeviceError", "open_device"]
