"""Writes logits and results into the output window."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, enum, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.fifo import fifo
from rtl.common.interfaces import ADDRESS_BITS, logits_units
from rtl.common.stream import Stream
from rtl.convert import module


@module
def output_writer(
    clk,
    rst,
    output_base,
    logits_offset,
    logits_stride,
    logits_valid,
    logits_row,
    logits_block,
    logits_word,
    logits_data,
    logits_release,
    result_valid,
    result_ready,
    result_offset,
    result_data,
    busy,
    request_valid,
    request_ready,
    request_address,
    request_beats,
    beat_valid,
    beat_ready,
    beat_data,
    beat_strobe,
    config: ChipConfig,
):
    """A block of 32 logits becomes one burst, a result one strobed beat; see 'Output' in rtl/README.md.

    The words of a block come in order; logits_word only tells the last one. A beat is gathered when it is wanted, so no
    more than a beat, or a word, is held. Results wait for logits. It does not look at responses, and does not check
    windows.

    Ports: clk; rst; output_base, logits_offset, logits_stride; logits_*, result_*: see rtl/README.md; busy:
    something waits to be handed over. request_*, beat_*: see write_port.
    """
    R = config.rows
    W, B = config.bus_bits, config.bus_bytes
    V32 = 32 * config.lanes
    UNITS = logits_units(R)
    WORDS = config.words
    ROW_BITS = bits_for(R)
    UNIT_BITS = ROW_BITS + 16
    LOW = bits_for(B)
    BEATS = 128 // B
    HIGH = ADDRESS_BITS - 32
    LAST_WORD = WORDS - 1
    ALL_BYTES = 2**B - 1
    WORD_BYTES = 15
    WIDE = max(W, V32)
    WORDS_BEAT, BEATS_WORD = max(1, W // V32), max(1, V32 // W)

    state_t = enum("IDLE", "ROW", "BLOCK", "REQUEST", "BEAT", "RESULT", "RESULT_REQUEST", "RESULT_BEAT")
    state = Signal(state_t.IDLE)
    address = Signal(intbv(0)[ADDRESS_BITS:])
    stride = Signal(intbv(0)[ADDRESS_BITS:])
    row_left = Signal(intbv(0)[ROW_BITS:])
    beats_left = Signal(intbv(0)[3:])
    strobe = Signal(intbv(0)[B:])
    held = Signal(intbv(0)[WIDE:])
    appended, rest = [Signal(intbv(0)[WIDE:]) for _ in range(2)]
    lacking = Signal(intbv(0)[bits_for(WORDS_BEAT + 1) :])  # words of the beat
    held_beats = Signal(intbv(0)[bits_for(BEATS_WORD + 1) :])
    words_left = Signal(intbv(0)[bits_for(WORDS + 1) :])
    wanting, take, give = [Signal(bool(0)) for _ in range(3)]
    unused_ready = Signal(bool(0))
    unused_space = Signal(bool(0))
    unit_in = Stream.of(Signal(intbv(0)[UNIT_BITS:]), Signal(bool(0)), unused_ready)
    unit_out = Stream(UNIT_BITS)
    unused_units = Signal(intbv(0)[bits_for(UNITS + 1) :])
    units = fifo(clk, rst, unit_in, unit_out, unused_units, depth=UNITS, width=UNIT_BITS, distributed=True)
    word_in = Stream.of(Signal(intbv(0)[V32:]), Signal(bool(0)), unused_space)
    word_out = Stream(V32)
    unused_words = Signal(intbv(0)[bits_for(UNITS * WORDS + 1) :])
    words = fifo(clk, rst, word_in, word_out, unused_words, depth=UNITS * WORDS, width=V32)
    # The word in all lanes; the strobes choose one.
    copies = ConcatSignal(*[result_data] * (WIDE // 32))

    @always(clk.posedge)
    def take_logits():
        # A clock later, since they come from afar; nobody looks at `busy` in it.
        word_in.valid.next = logits_valid and not rst
        unit_in.valid.next = logits_valid and (logits_word == LAST_WORD) and not rst
        if logits_valid:
            word_in.payload.next = logits_data
            unit_in.payload.next = concat(logits_block, logits_row)

    @always_comb
    def connect():
        unit_out.ready.next = state == state_t.BLOCK
        word_out.ready.next = wanting
        busy.next = (state != state_t.IDLE) or unit_out.valid or result_valid
        request_valid.next = (state == state_t.REQUEST) or (state == state_t.RESULT_REQUEST)
        request_address.next = address
        request_beats.next = BEATS
        if state == state_t.RESULT_REQUEST:
            request_beats.next = 1

    @always_comb
    def hand_over():
        take.next = wanting and word_out.valid
        give.next = (state == state_t.BEAT) and (lacking == 0) and beat_ready
        beat_valid.next = ((state == state_t.BEAT) and (lacking == 0)) or (state == state_t.RESULT_BEAT)
        beat_data.next = held[W:]
        beat_strobe.next = strobe

    if WORDS_BEAT > 1:

        @always_comb
        def append():
            appended.next = concat(word_out.payload, held[WIDE:V32])

    else:

        @always_comb
        def append():
            appended.next = word_out.payload

    if BEATS_WORD > 1:

        @always_comb
        def pass_on():
            rest.next = held >> W

    else:

        @always_comb
        def pass_on():
            rest.next = held

    @always(clk.posedge)
    def want():
        # A clock is left out behind each word, so that the queue and the wires of a word start from a register.
        wanting.next = (
            ((state == state_t.REQUEST) or (state == state_t.BEAT)) and (lacking != 0) and not take and not rst
        )

    @always(clk.posedge)
    def gather():
        logits_release.next = 0
        if state == state_t.BLOCK:
            lacking.next = WORDS_BEAT
            held_beats.next = BEATS_WORD
            words_left.next = WORDS
        elif state == state_t.RESULT:
            held.next = copies
        elif take:
            held.next = appended
            lacking.next = lacking - 1
            words_left.next = words_left - 1
            logits_release.next = words_left == 1
        elif give:
            held.next = rest
            held_beats.next = held_beats - 1
            if held_beats == 1:
                lacking.next = WORDS_BEAT
                held_beats.next = BEATS_WORD

    @always(clk.posedge)
    def run_units():
        result_ready.next = 0
        if rst:
            state.next = state_t.IDLE
        elif state == state_t.IDLE:
            address.next = output_base + concat(intbv(0)[HIGH:], logits_offset)
            stride.next = concat(intbv(0)[HIGH:], logits_stride)
            row_left.next = unit_out.payload[ROW_BITS:]
            strobe.next = intbv(ALL_BYTES)[B:]
            if unit_out.valid:
                state.next = state_t.ROW
            elif result_valid:
                address.next = output_base + concat(intbv(0)[HIGH:], result_offset)
                result_ready.next = 1
                state.next = state_t.RESULT
        elif state == state_t.ROW:
            # address + row * stride, a bit of the row at a time
            if row_left == 0:
                state.next = state_t.BLOCK
            else:
                if row_left[0]:
                    address.next = address + stride
                stride.next = concat(stride[ADDRESS_BITS - 1 :], False)
                row_left.next = row_left >> 1
        elif state == state_t.BLOCK:
            address.next = address + concat(
                intbv(0)[ADDRESS_BITS - 23 :], unit_out.payload[UNIT_BITS:ROW_BITS], intbv(0)[7:]
            )
            state.next = state_t.REQUEST
        elif state == state_t.REQUEST:
            beats_left.next = BEATS
            if request_ready:
                state.next = state_t.BEAT
        elif state == state_t.BEAT:
            if give:
                beats_left.next = beats_left - 1
                if beats_left == 1:
                    state.next = state_t.IDLE
        elif state == state_t.RESULT:
            state.next = state_t.RESULT_REQUEST
        elif state == state_t.RESULT_REQUEST:
            strobe.next = intbv(WORD_BYTES)[B:] << address[LOW:]
            if request_ready:
                state.next = state_t.RESULT_BEAT
        else:
            if beat_ready:
                state.next = state_t.IDLE

    return instances()
