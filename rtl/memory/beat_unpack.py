"""Gearbox from bus beats to words of V parameters."""

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def beat_unpack(
    clk,
    rst,
    beat,
    beat_tag,
    beat_valid,
    beat_ready,
    parameter_data,
    parameter_tag,
    parameter_valid,
    parameter_ready,
    config: ChipConfig,
):
    """W-bit beats to words of V * 32 bits, low part first, whichever is wider, at full rate.

    Beats of one tag come in whole words: every vector is a multiple of 32 elements. parameter_tag is the tag
    of the word's last beat. One word, or one beat, is held: parameter_valid comes the cycle after the beat.
    """
    bus = config.bus_bits
    word = 32 * config.lanes

    if word > bus:
        parts = word // bus
        last_part = parts - 1
        part = Signal(intbv(0)[max(1, (parts - 1).bit_length()) :])

        @always_comb
        def accept():
            beat_ready.next = parameter_ready or not parameter_valid

        @always(clk.posedge)
        def gather():
            if rst:
                parameter_valid.next = False
                part.next = 0
            else:
                if parameter_ready:
                    parameter_valid.next = False
                if beat_valid and beat_ready:
                    # The oldest beat moves down to the low end.
                    parameter_data.next[word - bus :] = parameter_data[word:bus]
                    parameter_data.next[word : word - bus] = beat
                    parameter_tag.next = beat_tag
                    if part == last_part:
                        part.next = 0
                        parameter_valid.next = True
                    else:
                        part.next = part + 1

    else:
        parts = bus // word
        held = Signal(intbv(0)[bus:])
        left = Signal(intbv(0)[parts.bit_length() :])

        @always_comb
        def accept():
            parameter_data.next = held[word:]
            parameter_valid.next = left != 0
            beat_ready.next = (left == 0) or (parameter_ready and (left == 1))

        @always(clk.posedge)
        def count():
            if rst:
                left.next = 0
            elif beat_valid and beat_ready:
                parameter_tag.next = beat_tag
                left.next = parts
            elif parameter_ready and (left != 0):
                left.next = left - 1

        if parts > 1:

            @always(clk.posedge)
            def shift():
                if beat_valid and beat_ready:
                    held.next = beat
                elif parameter_ready and (left != 0):
                    held.next[bus - word :] = held[bus:word]

        else:

            @always(clk.posedge)
            def keep():
                if beat_valid and beat_ready:
                    held.next = beat

    return instances()
