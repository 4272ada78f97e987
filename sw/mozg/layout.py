"""How matrices and KV caches lie in the chip's memory: rtl/README.md, "Memory layouts".

Packing is done by the compiler, unpacking by the NumPy machine; both see bytes only, so a wrong layout cannot hide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.common.config import BLOCK, ChipConfig

from . import mx

UInt8 = NDArray[np.uint8]
FORMATS = ("mxint8", "mxfp4")


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(value: int, multiple: int) -> int:
    return ceil_div(value, multiple) * multiple


@dataclass(frozen=True)
class MatrixShape:
    """Size of a packed matrix: outputs and contraction in blocks of 32, format, and bus ports."""

    output_blocks: int
    k_blocks: int
    mxfp4: bool
    ports: int

    @property
    def factor(self) -> int:
        return 2 if self.mxfp4 else 1

    @property
    def groups(self) -> int:
        return ceil_div(self.output_blocks, self.factor * self.ports)

    @property
    def beats(self) -> int:
        return self.groups * self.k_blocks * (BLOCK + self.factor)

    @property
    def bytes(self) -> int:
        return self.beats * BLOCK * self.ports


def pack_matrix(weights: NDArray[np.float32], shape: MatrixShape) -> UInt8:
    """Quantise and tile weights [outputs, inputs] (padded with zeros to the shape) into bytes [shape.bytes]."""
    padded_outputs = shape.groups * shape.factor * shape.ports * BLOCK
    padded = np.zeros((padded_outputs, shape.k_blocks * BLOCK), dtype=np.float32)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    tile = (shape.groups, shape.ports, shape.factor, BLOCK, shape.k_blocks)
    if shape.mxfp4:
        codes, scales = mx.quantize_mxfp4(padded)
        codes = codes.reshape(*tile, BLOCK)
        elements = codes[:, :, 0] | codes[:, :, 1] << 4
    else:
        signed, scales = mx.quantize_mxint8(padded)
        elements = signed.view(np.uint8).reshape(*tile, BLOCK)[:, :, 0]
    # elements [group, port, j, k block, byte], scales [group, port, n, j, k block]
    beats = np.empty((shape.groups, shape.k_blocks, shape.factor + BLOCK, shape.ports, BLOCK), dtype=np.uint8)
    beats[:, :, : shape.factor] = scales.reshape(tile).transpose(0, 4, 2, 1, 3)
    beats[:, :, shape.factor :] = elements.transpose(0, 3, 2, 1, 4)
    return beats.reshape(-1)


def unpack_matrix(data: UInt8, shape: MatrixShape) -> tuple[NDArray[np.int8], UInt8]:
    """Integers that the array multiplies [k_blocks, outputs, 32] and scales [k_blocks, outputs].

    The integers are int8, of MXFP4 twice the value. Outputs are padded to whole groups.
    """
    beats = data.reshape(shape.groups, shape.k_blocks, shape.factor + BLOCK, shape.ports, BLOCK)
    outputs = shape.groups * shape.ports * shape.factor * BLOCK
    scales = beats[:, :, : shape.factor].transpose(1, 0, 3, 2, 4).reshape(shape.k_blocks, outputs)
    raw = beats[:, :, shape.factor :].transpose(1, 0, 3, 2, 4)  # [k, group, port, j, byte]
    if shape.mxfp4:
        elements = mx.FP4_TWICE[np.stack([raw & 15, raw >> 4], axis=3)]  # [k, group, port, n, j, i]
    else:
        elements = raw.view(np.int8)
    return np.ascontiguousarray(elements).reshape(shape.k_blocks, outputs, BLOCK), np.ascontiguousarray(scales)


@dataclass(frozen=True)
class KVLayout:
    """Byte geometry of one KV head's cache for `context` tokens and heads of `head_blocks` * 32 channels."""

    head_blocks: int
    context: int
    ports: int

    @classmethod
    def of(cls, chip: ChipConfig, head_blocks: int, context: int) -> KVLayout:
        return cls(head_blocks, context, chip.ports)

    @property
    def bus_bytes(self) -> int:
        return BLOCK * self.ports

    @property
    def group_beats(self) -> int:
        """Beats of one group of 32 * ports tokens in the K region."""
        return 1 + self.head_blocks * (1 + BLOCK)

    @property
    def key_groups(self) -> int:
        return ceil_div(self.context, BLOCK * self.ports)

    @property
    def value_offset(self) -> int:
        return round_up(self.key_groups * self.group_beats * self.bus_bytes, 4096)

    @property
    def value_stride(self) -> int:
        return ceil_div(self.context, BLOCK) * BLOCK * self.bus_bytes

    @property
    def head_stride(self) -> int:
        return round_up(self.value_offset + ceil_div(self.head_blocks, self.ports) * self.value_stride, 4096)

    def key_address(self, token: int, block: int) -> tuple[int, int, int]:
        """Byte offsets within a head's cache of a token's (32 int8 of a k block, its scale byte, the V scale byte)."""
        group, within = divmod(token, BLOCK * self.ports)
        start = group * self.group_beats
        beat = start + 1 + block * (1 + BLOCK)
        elements = (beat + 1 + within % BLOCK) * self.bus_bytes + within // BLOCK * BLOCK
        return elements, beat * self.bus_bytes + within, start * self.bus_bytes + within

    def value_addresses(self, token: int, channels: int) -> NDArray[np.int64]:
        """Byte offsets within a head's cache of a token's `channels` V elements."""
        channel = np.arange(channels)
        group, within = np.divmod(channel, BLOCK * self.ports)
        beat = token // BLOCK * BLOCK + within % BLOCK
        return (
            self.value_offset
            + group * self.value_stride
            + beat * self.bus_bytes
            + within // BLOCK * BLOCK
            + token % BLOCK
        )
