"""The layout of the KV cache by hand-made cases, and what the write side refuses.

The blocks themselves run under tests/test_benches.py.
"""

import dataclasses

import pytest

from rtl.common.config import PRESETS
from verif.memory.write_model import Layout


def layout(chip: str, head_blocks: int = 2) -> Layout:
    return Layout(
        PRESETS[chip],
        kv_base=0x10000,
        kv_stride=0x100000,
        layer_offset=0x40,
        head_stride=0x8000,
        head_blocks=head_blocks,
        heads=2,
        value_offset=0x4000,
        value_stride=0x1000,
    )


def test_a_key_is_32_bytes_and_a_scale_behind_the_scales_of_v():
    written = layout("tiny").key(slot=1, head=1, block=1, position=34, data=bytes(range(32)), scale=99)
    group = 0x10000 + 0x100000 + 0x40 + 0x8000 + 67 * 32  # the second group of 32 tokens
    block = group + 34 * 32
    assert written == {block + 2: 99} | {block + 3 * 32 + i: i for i in range(32)}


def test_a_value_is_one_byte_in_each_channel_beat():
    data = bytes(range(64))
    written = layout("tiny").value(slot=0, head=0, position=34, data=data)
    base = 0x10040
    channels = {base + 0x4000 + c // 32 * 0x1000 + (32 + c % 32) * 32 + 2: c for c in range(64)}
    assert written == channels
    assert layout("tiny").value_scale(slot=0, head=0, position=34, scale=99) == {base + 67 * 32 + 2: 99}


def test_two_ports_hold_two_blocks_of_channels_side_by_side():
    written = layout("server").value(slot=0, head=0, position=0, data=bytes([7] * 32 + [8] * 32))
    region = 0x10040 + 0x4000
    assert written[region] == 7 and written[region + 32] == 8
    assert written[region + 31 * 64 + 32] == 8


def test_no_two_units_share_a_byte():
    place = layout("server", 1)
    units = [place.key(0, 0, 0, position, bytes(32), 0) for position in range(128)]
    units += [place.value(0, 0, position, bytes(32)) | place.value_scale(0, 0, position, 0) for position in range(64)]
    assert len(set().union(*units)) == sum(map(len, units))


def test_more_ports_than_the_alignment_of_regions_allows_are_refused():
    with pytest.raises(ValueError, match="ports is 4, expected 1 or 2"):
        dataclasses.replace(PRESETS["server"], ports=4, lanes=16)
