"""Splits descriptors into AXI bursts, each checked against its window."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.interfaces import ADDRESS_BITS
from rtl.convert import module
from rtl.memory.descriptor import BEATS_BITS, LENGTH_BITS


def chunk_beats(config: ChipConfig) -> int:
    """Beats of the longest burst: it starts on a multiple of its length, so that 4 KB are never crossed."""
    return min(config.burst_beats, 4096 // config.bus_bytes, 1 << LENGTH_BITS)


@module
def burst_splitter(
    clk,
    rst,
    freeze,
    error_valid,
    error_address,
    idle,
    address,
    beats,
    tag,
    low,
    limit,
    bad,
    valid,
    ready,
    burst_address,
    burst_length,
    burst_tag,
    burst_valid,
    burst_ready,
    config: ChipConfig,
):
    """INCR bursts of a descriptor, in order, cut at multiples of the longest burst (at most 4 KB).

    A burst that is not within low <= address, last byte < limit, that starts off a beat, or whose descriptor
    is bad raises error_valid with its address, and is not issued; everything after it waits for rst. A
    descriptor of 0 beats gives no burst. No wrap at 2^40: an end beyond it fails the check.

    burst_length: beats - 1. Three cycles a burst, one more a descriptor; one burst waits in the output register while
    the next is prepared, which takes its place when it has gone. freeze: no further descriptor is taken and no further
    burst given.
    """
    chunk = chunk_beats(config)
    beat_shift = config.bus_bytes.bit_length() - 1
    chunk_shift = chunk.bit_length() - 1
    chunk_high = beat_shift + chunk_shift
    length_bits = LENGTH_BITS  # a beat is at least 32 bytes, so 4 KB are at most 128
    byte_zeros = ADDRESS_BITS + 1 - length_bits - beat_shift

    LOAD, SIZE, STEP, CHECK, STOPPED = range(5)
    state = Signal(intbv(0)[3:])
    here = Signal(intbv(0)[ADDRESS_BITS:])
    after = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    left = Signal(intbv(0)[BEATS_BITS:])
    limit_low = Signal(intbv(0)[ADDRESS_BITS:])
    limit_end = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    current_tag = Signal(intbv(0)[2:])
    refused = Signal(False)
    length = Signal(intbv(0)[length_bits:])
    space = Signal(intbv(0)[length_bits:])
    # Sums and comparisons take the width of their operands.
    space_wide = Signal(intbv(0)[BEATS_BITS:])
    length_wide = Signal(intbv(0)[BEATS_BITS:])
    bytes_wide = Signal(intbv(0)[ADDRESS_BITS + 1 :])

    @always_comb
    def look():
        ready.next = (state == LOAD) and not freeze
        idle.next = (state == LOAD) and not burst_valid

    @always_comb
    def measure():
        space.next = chunk - concat(intbv(0)[length_bits - chunk_shift :], here[chunk_high:beat_shift])

    @always_comb
    def widen():
        space_wide.next = concat(intbv(0)[BEATS_BITS - length_bits :], space)
        length_wide.next = concat(intbv(0)[BEATS_BITS - length_bits :], length)
        bytes_wide.next = concat(intbv(0)[byte_zeros:], length, intbv(0)[beat_shift:])

    @always(clk.posedge)
    def split():
        if rst:
            state.next = LOAD
            burst_valid.next = False
            error_valid.next = False
        else:
            if burst_ready:
                burst_valid.next = False

            if state == LOAD:
                if valid and not freeze:
                    here.next = address
                    left.next = beats
                    current_tag.next = tag
                    limit_low.next = low
                    limit_end.next = limit
                    refused.next = bad or (address[beat_shift:] != 0)
                    if (beats != 0) or bad:
                        state.next = SIZE

            elif state == SIZE:
                if left >= space_wide:
                    length.next = space
                else:
                    length.next = left[length_bits:]
                state.next = STEP

            elif state == STEP:
                after.next = here + bytes_wide
                left.next = left - length_wide
                if here < limit_low:
                    refused.next = True
                state.next = CHECK

            elif state == CHECK:
                if refused or (after > limit_end):
                    error_valid.next = True
                    error_address.next = here
                    state.next = STOPPED
                elif not (burst_valid or freeze):
                    burst_address.next = here
                    burst_length.next = length - 1
                    burst_tag.next = current_tag
                    burst_valid.next = True
                    here.next = after[ADDRESS_BITS:]
                    if left == 0:
                        state.next = LOAD
                    else:
                        state.next = SIZE

    return instances()
