"""Reads safetensors files into NumPy float32, and writes them.

The format is 8 bytes of header length (little endian), a JSON header of name -> dtype, shape and offsets, and
the tensors' bytes. The file is read here because NumPy has no bfloat16, which the safetensors library needs
for one, and because a header that does not fit its file must be told apart from any other mistake.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .output import whole_file

Float32 = NDArray[np.float32]

# What the tensors' bytes hold; bfloat16 is read as integers and widened.
STORED_AS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
DTYPE_NAMES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
# The limit of the safetensors library: a larger length is not a header.
LARGEST_HEADER = 100_000_000


class TensorFileError(ValueError):
    """What is wrong with a file, without its name: the caller adds what to do."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: `dtype` as safetensors spells it, `start` and `size` in bytes of the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def readable(self) -> bool:
        return self.dtype in STORED_AS

    @property
    def dtype_name(self) -> str:
        return DTYPE_NAMES.get(self.dtype, self.dtype)

    def read(self) -> Float32:
        """The tensor as float32 [shape], a copy: float16 and bfloat16 are widened, which is exact."""
        stored = STORED_AS[self.dtype]
        values = np.fromfile(self.file, stored, count=self.size // stored.itemsize, offset=self.start)
        if values.nbytes != self.size:
            raise TensorFileError(f"is truncated: {values.nbytes} of {self.size} bytes of a tensor are there")
        if self.dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False).reshape(self.shape)


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of one file by name. Raises TensorFileError for a file that is truncated or not
    safetensors, and OSError for one that cannot be opened."""
    length = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        size = int.from_bytes(prefix, "little")
        if prefix == b"version ":
            raise TensorFileError("is a Git LFS pointer, the weights themselves were not downloaded")
        if len(prefix) == 8 and size > LARGEST_HEADER:
            raise TensorFileError(f"is not a safetensors file: its first 8 bytes give a header of {size} bytes")
        if 8 + size > length or len(prefix) < 8:
            raise TensorFileError(f"is truncated: {length} bytes, and its header ends at {8 + size}")
        raw = file.read(size)
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("it is no JSON object")
        header.pop("__metadata__", None)
        entries = {name: _entry(path, 8 + size, fields) for name, fields in header.items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TensorFileError(f"is not a safetensors file: its header is damaged ({error})") from None
    _check_apart(entries, 8 + size)
    end = max((entry.start + entry.size for entry in entries.values()), default=8 + size)
    if end > length:
        raise TensorFileError(f"is truncated: {length} bytes, and its tensors end at {end}")
    if end < length:
        raise TensorFileError(f"is damaged: {length} bytes, and its tensors end at {end}")
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a name that is there twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it names {name} twice")
        found[name] = value
    return found


def _check_apart(entries: Mapping[str, TensorEntry], data: int) -> None:
    """TensorFileError where two tensors share bytes; `data`: where the bytes of all tensors begin."""
    end, before = data, ""
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].size)):
        if entry.start < end:
            raise TensorFileError(f"is damaged: tensors {before} and {name} overlap")
        end, before = entry.start + entry.size, name


def _entry(path: Path, data: int, fields: dict) -> TensorEntry:
    dtype, shape, (begin, end) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)) or end < begin:
        raise ValueError(f"shape {list(shape)}, offsets {begin} to {end}")
    if dtype in STORED_AS and end - begin != math.prod(shape) * STORED_AS[dtype].itemsize:
        raise ValueError(f"{end - begin} bytes for shape {list(shape)} of {dtype}")
    return TensorEntry(path, dtype, shape, data + begin, end - begin)


def write_tensors(path: Path, tensors: Mapping[str, Float32], dtype: str = "F32") -> None:
    """Writes tensors in their order as `dtype`, of STORED_AS; float16 and bfloat16 round to nearest even.

    The file is there when it is complete.
    """
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.size * STORED_AS[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8, which readers may map
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(_stored(tensor, dtype).tobytes())


def _stored(tensor: Float32, dtype: str) -> NDArray:
    if dtype == "BF16":
        bits = np.ascontiguousarray(tensor, dtype="<f4").view("<u4")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return tensor.astype(STORED_AS[dtype], copy=False)
