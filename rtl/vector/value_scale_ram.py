"""V scales of the sequence under attention: two buffers of one byte a token."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, SignalType, always_comb, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.ram import address_bits, ram
from rtl.common.unused import unused
from rtl.convert import module
from rtl.vector.delay_line import delay_line
from rtl.vector.pick import pick


def bits_of(word: SignalType, low: int, width: int) -> SignalType:
    """A slice for a concatenation, where Verilog wants a single bit as a bit."""
    return word(low) if width == 1 else word(low + width, low)


@module
def value_scale_ram(
    clk, write, write_buffer, write_group, write_data, enable, buffer_number, block, word, scales, config: ChipConfig
):
    """Written by groups of 32 P tokens (a beat of the bus), read by words of V tokens.

    write, write_buffer, write_group, write_data (W bits); enable (3 bits, one a stage), buffer_number, block (block
    of 32 tokens), word; scales (V * 8), 3 cycles after enable[0].
    """
    groups = config.context // config.group_tokens
    bits = address_bits(2 * groups)
    group_bits = bits - 1
    port_bits = (config.ports - 1).bit_length()
    word_bits = (config.words - 1).bit_length()
    beat = Signal(intbv(0)[config.bus_bits :])
    width = config.lanes * 8
    count = config.ports * config.words
    if groups > 1:
        write_address = ConcatSignal(write_buffer, write_group)
        read_address = ConcatSignal(buffer_number, bits_of(block, port_bits, group_bits))
    else:
        write_address, read_address = ConcatSignal(write_buffer), ConcatSignal(buffer_number)
    parts = ([bits_of(block, 0, port_bits)] if port_bits else []) + ([bits_of(word, 0, word_bits)] if word_bits else [])
    place = ConcatSignal(*parts) if len(parts) > 1 else (parts or [word])[0]
    place_bits = max(1, port_bits + word_bits)
    place_now, place_late = Signal(intbv(0)[place_bits:]), Signal(intbv(0)[place_bits:])
    if parts and not word_bits:
        rest = unused(word, 1)

    @always_comb
    def locate():
        place_now.next = place

    beats = ram(
        clk,
        write,
        write_address,
        write_data,
        enable(0),
        read_address,
        beat,
        depth=2 * groups,
        width=config.bus_bits,
        read_stages=2,
    )
    hold_place = delay_line(clk, enable(2, 0), place_now, place_late, 2, place_bits)
    select = pick(clk, enable(2), beat, place_late, scales, count, width)
    return instances()
