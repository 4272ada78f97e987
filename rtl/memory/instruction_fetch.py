"""Prefetch of the program."""

from myhdl import ResetSignal, Signal, always, always_comb, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.fifo import fifo
from rtl.common.isa import INSTRUCTION_BITS, INSTRUCTION_BYTES
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.convert import module
from rtl.memory.descriptor import FETCH_DEPTH, FETCH_LOW


@module
def instruction_fetch(
    clk,
    rst,
    program_base,
    program_size,
    fetch_start,
    fetch_end,
    beat,
    beat_valid,
    fetch_instruction,
    fetch_valid,
    fetch_ready,
    request_address,
    request_valid,
    request_ready,
    config: ChipConfig,
):
    """Reads instructions one after the other from program_base into a FIFO, each as one burst of its own.

    Each departure from the weights costs the DRAM two rows to open. So it waits until few instructions are left, then
    asks for all that the FIFO has room for, burst after burst.

    fetch_start: pulse; forgets everything fetched or requested and begins at program_base. Nothing is
    requested before the first one. Bursts of an earlier start that still arrive are counted and dropped.
    It never requests past program_base + program_size (a rest under 64 bytes counts as nothing).
    fetch_end: held from when the last instruction of the program has been taken until the next fetch_start.
    beat, beat_valid: the beats of the bursts, in order; there is always room, so there is no ready.
    request_address: the burst wanted; it is withdrawn by fetch_start, and not held as a stream's.
    """
    parts = INSTRUCTION_BITS // config.bus_bits
    width = config.bus_bits
    depth, low = FETCH_DEPTH, FETCH_LOW
    shift = INSTRUCTION_BYTES.bit_length() - 1

    running = Signal(False)
    left = Signal(intbv(0)[32 - shift :])  # instructions not yet requested
    filling = Signal(False)
    reserved = Signal(intbv(0)[5:])  # places in the FIFO: requested or filled
    outstanding = Signal(intbv(0)[6:])  # requested and not arrived
    stale = Signal(intbv(0)[6:])  # the first of those belong to an earlier start
    grant = Signal(False)
    arrived = Signal(False)
    taken = Signal(False)
    flush = ResetSignal(0, active=1, isasync=False)
    unused_count = Signal(intbv(0)[(depth * parts).bit_length() :])
    unused_ready = Signal(False)
    unused_bits = Signal(False)
    source = Stream.of(beat, Signal(False), unused_ready)
    kept = Stream(width)
    buffer = fifo(clk, flush, source, kept, unused_count, depth=depth * parts, width=width)

    # The instruction waits in a register: it decides much, and a RAM answers late. The next one waits until it is gone.
    if parts == 1:
        sink = Stream.of(fetch_instruction, fetch_valid, fetch_ready)
        whole = stream_register(clk, flush, kept, sink, width=width)

        @always_comb
        def see_end():
            arrived.next = beat_valid

    else:
        second_half = Signal(False)
        halves = Signal(intbv(0)[2:])

        @always_comb
        def see_end():
            arrived.next = beat_valid and second_half
            fetch_valid.next = halves == 2
            kept.ready.next = halves != 2

        @always(clk.posedge)
        def follow():
            if rst:
                second_half.next = False
            elif beat_valid:
                second_half.next = not second_half

        @always(clk.posedge)
        def assemble():
            if flush:
                halves.next = 0
            elif kept.valid and kept.ready:
                halves.next = halves + 1
            elif fetch_ready and (halves == 2):
                halves.next = 0
            if kept.valid and kept.ready:
                fetch_instruction.next[width:] = fetch_instruction[2 * width : width]
                fetch_instruction.next[2 * width : width] = kept.payload

    @always_comb
    def look():
        unused_bits.next = program_size[shift:] != 0
        flush.next = rst or fetch_start
        source.valid.next = beat_valid and (stale == 0)
        grant.next = request_valid and request_ready
        taken.next = fetch_valid and fetch_ready
        fetch_end.next = running and (left == 0) and (reserved == 0)

    @always(clk.posedge)
    def request():
        # A clock ahead, since it goes before every burst of data: what a grant in this clock leaves to request.
        if rst or fetch_start:
            request_valid.next = False
        elif grant:
            request_valid.next = filling and (left != 1) and (reserved != depth - 1)
        else:
            request_valid.next = filling and (left != 0) and (reserved != depth)

    @always(clk.posedge)
    def advance():
        if rst:
            running.next = False
            left.next = 0
        elif fetch_start:
            running.next = True
            left.next = program_size[32:shift]
            request_address.next = program_base
        elif grant:
            left.next = left - 1
            request_address.next = (request_address + 64) & ((1 << 40) - 1)

    @always(clk.posedge)
    def reserve():
        if rst or fetch_start:
            reserved.next = 0
        elif grant and not taken:
            reserved.next = reserved + 1
        elif taken and not grant:
            reserved.next = reserved - 1

    @always(clk.posedge)
    def decide():
        if rst or fetch_start or reserved <= low:
            filling.next = True
        elif reserved == depth:
            filling.next = False

    @always(clk.posedge)
    def count_bursts():
        if rst:
            outstanding.next = 0
        elif grant and not arrived:
            outstanding.next = outstanding + 1
        elif arrived and not grant:
            outstanding.next = outstanding - 1

    @always(clk.posedge)
    def forget():
        if rst:
            stale.next = 0
        elif fetch_start:
            if grant and not arrived:
                stale.next = outstanding + 1
            elif arrived and not grant:
                stale.next = outstanding - 1
            else:
                stale.next = outstanding
        elif arrived and (stale != 0):
            stale.next = stale - 1

    return instances()
