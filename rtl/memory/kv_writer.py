"""Writes keys and values into the KV cache."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.fifo import fifo
from rtl.common.interfaces import ADDRESS_BITS, kv_units
from rtl.common.isa import FIELDS, INSTRUCTION_BITS, Epilogue
from rtl.common.ram import ram
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.convert import module
from rtl.memory.byte_register import byte_register
from rtl.memory.kv_rows import kv_rows
from rtl.memory.value_gather import value_gather

EPILOGUE_LOW, EPILOGUE_HIGH = FIELDS["epilogue"].bit, FIELDS["epilogue"].bit + FIELDS["epilogue"].width
HEAD_BLOCKS_LOW = FIELDS["head_blocks"].bit
LAYER_LOW, HEAD_STRIDE_LOW = FIELDS["layer_offset"].bit, FIELDS["head_stride"].bit
VALUE_OFFSET_LOW, VALUE_STRIDE_LOW = FIELDS["value_offset"].bit, FIELDS["value_stride"].bit
EPILOGUE_VALUE = int(Epilogue.VALUE)


@module
def kv_writer(
    clk,
    rst,
    kv_base,
    kv_stride,
    row_active,
    row_slot,
    row_position,
    kv_start,
    kv_instruction,
    kv_valid,
    kv_value,
    kv_row,
    kv_head,
    kv_block,
    kv_word,
    kv_data,
    kv_scale,
    kv_last,
    kv_end,
    kv_release,
    kv_idle,
    kv_finished,
    request_valid,
    request_ready,
    request_address,
    request_beats,
    request_window,
    beat_valid,
    beat_ready,
    beat_data,
    beat_strobe,
    config: ChipConfig,
):
    """Turns the units of a KEY or VALUE instruction into write requests; see 'KV cache' in rtl/README.md.

    Units are taken a block of K, or a head of V, at a time, when those of all active rows are there. K: a burst for
    each run of rows whose tokens lie one behind the other, and before them their scale bytes, one beat for all rows
    of a slot and group of tokens. V: for each set of rows with one slot and one block of 32 tokens, a burst of 32
    beats for each group of channels; its scale bytes wait on the chip and go with those of the head's first block of
    K, next to which they lie. So VALUE must come before KEY. Addresses ascend within a head, for the sake of DRAM
    rows.

    A memory loses cycles whenever it turns from reading to writing. So units wait until the vector unit may run out
    of credits, or until kv_end, and then all go at once.

    It does not look at responses, and does not check windows: it gives the slot's base, request_window.

    Ports: clk; rst; kv_base, kv_stride; rows; kv_*: see rtl/README.md; kv_finished: pulse, every burst of the
    instruction has been handed over. request_*, beat_*: see write_port.
    """
    R, P = config.rows, config.ports
    if P > 2:
        raise ValueError(f"ChipConfig.ports is {P}, expected 1 or 2: regions start on 64-byte boundaries")
    W, B = config.bus_bits, config.bus_bytes
    S, C = bits_for(config.slots), bits_for(config.context)
    V8 = 8 * config.lanes
    UNITS = kv_units(R)
    MOST = UNITS + 1
    WORDS, ONE_WORD = config.words, config.words == 1
    ROW_BITS = bits_for(R)
    HEADS_BITS = min(8, bits_for(config.vector_blocks))  # V of all heads lies in the vector RAM
    PLACES = 1 << (HEADS_BITS + ROW_BITS)
    UNIT_BITS = ROW_BITS + 8 + 8 + 8
    LOW = bits_for(B)
    LANE_BITS = bits_for(config.group_tokens)
    BLOCK_LOW = LOW + 5
    GROUP_BITS = bits_for(-(-config.head_blocks // P))
    PORT_BITS = P.bit_length() - 1
    HIGH = ADDRESS_BITS - 32
    PORTS_BITS = bits_for(P)
    BLOCK_BITS = C - 5
    COUNT_BITS = bits_for(UNITS + 1)
    ROWS_BITS = bits_for(R + 1)
    LAST_PORT = P - 1
    BLOCK_BYTES = 0xFFFFFFFF
    PORT_PART = config.group_tokens - 32

    state_t = enum(
        "IDLE", "ROWS", "UNIT", "HEAD", "K_ADDRESS", "GATHER", "SCALE_REQUEST", "VALUE_SCALE", "SCALE_BEAT",
        "K_LANE", "K_REQUEST", "K_DATA", "K_BEAT", "K_NEXT",
        "V_CHECK", "V_VALUE", "V_HEAD", "V_BLOCK", "V_REQUEST", "V_BEATS", "DONE",
    )  # fmt: skip
    NEXT_KEY = state_t.K_BEAT if ONE_WORD else state_t.K_DATA
    state = Signal(state_t.IDLE)
    is_value = Signal(bool(0))
    ending = Signal(bool(0))
    start_rows, rows_ready = [Signal(bool(0)) for _ in range(2)]
    layer_offset, head_stride, value_offset, value_stride = [Signal(intbv(0)[ADDRESS_BITS:]) for _ in range(4)]
    head_blocks = Signal(intbv(0)[8:])
    active_count = Signal(intbv(0)[bits_for(R + 1) :])
    joins, follows = [Signal(intbv(0)[R + 1 :]) for _ in range(2)]
    # Of the unit, and of the scale, among those of all active rows.
    number, ahead, scale_number, scale_ahead = [Signal(intbv(0)[ROWS_BITS:]) for _ in range(4)]
    run_end = Signal(intbv(0)[ROWS_BITS:])
    run = Signal(intbv(0)[6:])  # rows whose keys go in one burst
    joined, scale_joined, first_block, counting, looked_up, gathered, key_taken = [Signal(bool(0)) for _ in range(7)]
    gathered_scale = Signal(intbv(0)[8:])
    threshold, rows_of_round = [Signal(intbv(0)[COUNT_BITS:]) for _ in range(2)]
    three_rounds = Signal(intbv(0)[COUNT_BITS - 1 :])
    flushing = Signal(bool(0))
    window, own_window, group_base, address, scale_address = [Signal(intbv(0)[ADDRESS_BITS:]) for _ in range(5)]
    lane_after = Signal(intbv(0)[6:])
    head_offset = Signal(intbv(0)[ADDRESS_BITS:])
    head_count = Signal(intbv(0)[8:])
    slot = Signal(intbv(0)[S:])
    position = Signal(intbv(0)[C:])
    lane = Signal(intbv(0)[LANE_BITS:])
    token_block = Signal(intbv(0)[C - 5 :])

    unused_ready = Signal(bool(0))
    unused_space = Signal(bool(0))
    unit_in = Stream.of(Signal(intbv(0)[UNIT_BITS:]), Signal(bool(0)), unused_ready)
    unit_out = Stream(UNIT_BITS)
    unit_count = Signal(intbv(0)[bits_for(UNITS + 1) :])
    units = fifo(clk, rst, unit_in, unit_out, unit_count, depth=UNITS, width=UNIT_BITS, distributed=True)
    oldest_row = Signal(intbv(0)[ROW_BITS:])
    # Its fields a clock later, since the queue's word comes late: right from the state behind UNIT on.
    unit_row = Signal(intbv(0)[ROW_BITS:])
    unit_head, unit_block, unit_scale = [Signal(intbv(0)[8:]) for _ in range(3)]

    word_in = Stream.of(Signal(intbv(0)[V8:]), Signal(bool(0)), unused_space)
    word_out = Stream(V8)
    unused_count = Signal(intbv(0)[bits_for(UNITS * WORDS + 1) :])
    words = fifo(clk, rst, word_in, word_out, unused_count, depth=UNITS * WORDS, width=V8)
    # The scales of K once more: they are written before the units leave.
    unused_room = Signal(bool(0))
    scale_in = Stream.of(Signal(intbv(0)[ROW_BITS + 8 :]), Signal(bool(0)), unused_room)
    unused_scale_valid = Signal(bool(0))  # a unit and its scale come together
    scale_out = Stream.of(Signal(intbv(0)[ROW_BITS + 8 :]), unused_scale_valid, Signal(bool(0)))
    unused_scales = Signal(intbv(0)[COUNT_BITS:])
    scales = fifo(clk, rst, scale_in, scale_out, unused_scales, depth=UNITS, width=ROW_BITS + 8, distributed=True)
    key_scale, value_scale = [Signal(intbv(0)[8:]) for _ in range(2)]
    scale_row, lookup_row = [Signal(intbv(0)[ROW_BITS:]) for _ in range(2)]
    keep_value, always_read = [Signal(bool(0)) for _ in range(2)]
    value_place, value_found = [Signal(intbv(0)[HEADS_BITS + ROW_BITS :]) for _ in range(2)]
    value_scales = ram(
        clk, keep_value, value_place, unit_scale, always_read, value_found, value_scale, depth=PLACES, width=8
    )

    beats_before = Signal(intbv(0)[14:])
    key = Signal(intbv(0)[256:])
    key_there = Signal(bool(0))
    key_beat = Signal(intbv(0)[W:])
    words_left = Signal(intbv(0)[bits_for(WORDS + 1) :])

    value_write, select, gather_start, gather_valid, gather_ready, taken = [Signal(bool(0)) for _ in range(6)]
    pop = Signal(bool(0))
    value_free = Signal(bool(0))
    row_slot_in = Signal(intbv(0)[S:])
    row_position_in = Signal(intbv(0)[C:])
    write_data = Signal(intbv(0)[V8:])
    write_block, write_head = [Signal(intbv(0)[8:]) for _ in range(2)]
    write_word = Signal(intbv(0)[bits_for(WORDS) :])
    write_last = Signal(bool(0))
    group = Signal(modbv(0)[GROUP_BITS:])
    blocks_left = Signal(intbv(0)[8:])
    last_port = Signal(intbv(0)[bits_for(P) :])
    gather_data = Signal(intbv(0)[W:])
    gather_strobe = Signal(intbv(0)[B:])
    beats_left = Signal(intbv(0)[6:])
    unused_instruction = Signal(intbv(0)[INSTRUCTION_BITS:])
    last_beat, last_group = [Signal(bool(0)) for _ in range(2)]
    show_values, show_scales, show_value_scales = [Signal(bool(0)) for _ in range(3)]
    scale_enable, scale_strobe, key_strobe = [Signal(intbv(0)[B:]) for _ in range(3)]
    scale_bytes, value_bytes = [[Signal(intbv(0)[8:]) for _ in range(B)] for _ in range(2)]
    scale_data, value_data = ConcatSignal(*reversed(scale_bytes)), ConcatSignal(*reversed(value_bytes))
    units_here = Signal(bool(0))

    rows = kv_rows(
        clk,
        rst,
        start_rows,
        kv_base,
        kv_stride,
        layer_offset,
        head_blocks,
        row_active,
        row_slot,
        row_position,
        rows_ready,
        active_count,
        joins,
        follows,
        lookup_row,
        window,
        group_base,
        slot,
        position,
        lane_after,
        config,
    )
    gather = value_gather(
        clk,
        rst,
        value_write,
        write_block,
        write_word,
        write_data,
        write_last,
        write_head,
        row_slot_in,
        row_position_in,
        select,
        unit_head,
        slot,
        token_block,
        value_free,
        taken,
        gather_start,
        group,
        last_port,
        gather_valid,
        gather_ready,
        gather_data,
        gather_strobe,
        config,
    )
    # What makes beats is far from the port. A beat is taken when this register has room, be its burst opened or not.
    beat_in = Stream(W + B)
    beat_out = Stream.of(Signal(intbv(0)[W + B :]), beat_valid, beat_ready)
    hold_beat = stream_register(clk, rst, beat_in, beat_out, width=W + B)

    keep_scales = [byte_register(clk, scale_enable(i), gathered_scale, scale_bytes[i]) for i in range(B)]
    keep_values = [byte_register(clk, scale_enable(i), value_scale, value_bytes[i]) for i in range(B)]

    @always_comb
    def fields():
        unit_in.payload.next = concat(kv_scale, kv_block, kv_head, kv_row)
        unit_in.valid.next = kv_valid and kv_last
        oldest_row.next = unit_out.payload[ROW_BITS:]
        scale_in.payload.next = concat(kv_scale, kv_row)
        scale_in.valid.next = kv_valid and kv_last and not kv_value
        scale_out.ready.next = state == state_t.GATHER
        scale_row.next = scale_out.payload[ROW_BITS:]
        key_scale.next = scale_out.payload[ROW_BITS + 8 : ROW_BITS]
        lookup_row.next = oldest_row
        if state == state_t.GATHER:
            lookup_row.next = scale_row
        always_read.next = 1
        value_place.next = concat(unit_head[HEADS_BITS:], unit_row)
        value_found.next = concat(unit_head[HEADS_BITS:], scale_row)
        word_in.payload.next = kv_data
        word_in.valid.next = kv_valid and not kv_value
        lane.next = position[LANE_BITS:]
        rows_of_round.next = concat(intbv(0)[COUNT_BITS - ROWS_BITS :], active_count)
        three_rounds.next = concat(intbv(0)[COUNT_BITS - ROWS_BITS - 2 :], active_count, False) + concat(
            intbv(0)[COUNT_BITS - ROWS_BITS - 1 :], active_count
        )
        ahead.next = number + 1
        joined.next = joins[ahead]
        scale_ahead.next = scale_number + 1
        scale_joined.next = joins[scale_ahead]
        first_block.next = unit_block == 0
        token_block.next = position[C:5]
        kv_idle.next = state == state_t.IDLE
        unit_out.ready.next = pop
        value_free.next = pop and is_value
        request_window.next = own_window

    @always(clk.posedge)
    def take_unit():
        unit_row.next = oldest_row
        unit_head.next = unit_out.payload[ROW_BITS + 8 : ROW_BITS]
        unit_block.next = unit_out.payload[ROW_BITS + 16 : ROW_BITS + 8]
        unit_scale.next = unit_out.payload[ROW_BITS + 24 : ROW_BITS + 16]
        # The unit that leaves is in the registers after this clock.
        keep_value.next = pop and is_value
        kv_release.next = pop and not rst
        beats_before.next = concat(intbv(0)[1:], unit_block, intbv(0)[5:]) + concat(intbv(0)[6:], unit_block) + 1

    @always_comb
    def ignore():
        unused_instruction.next = kv_instruction

    @always_comb
    def offer():
        units_here.next = unit_out.valid and (number != 0 or (flushing and unit_count >= rows_of_round) or ending)
        request_valid.next = (
            (state == state_t.SCALE_REQUEST) or (state == state_t.K_REQUEST) or (state == state_t.V_REQUEST)
        )
        request_address.next = address
        request_beats.next = 1
        if first_block:
            request_beats.next = 2
        if state == state_t.K_REQUEST:
            request_beats.next = run
        if state == state_t.V_REQUEST:
            request_beats.next = 32
        gather_ready.next = (state == state_t.V_BEATS) and beat_in.ready
        last_beat.next = (state == state_t.V_BEATS) and gather_valid and gather_ready and (beats_left == 1)

    @always(clk.posedge)
    def choose_beat():
        # In registers, for the wires of a whole beat: right in the states that give one, of which a clock is enough
        # between those of different kinds.
        show_values.next = state == state_t.V_BEATS
        show_scales.next = state == state_t.SCALE_REQUEST or state == state_t.VALUE_SCALE or state == state_t.SCALE_BEAT
        show_value_scales.next = (state == state_t.SCALE_REQUEST and first_block) or (
            state == state_t.VALUE_SCALE and not beat_in.ready
        )

    @always_comb
    def give():
        beat_in.valid.next = (
            (state == state_t.VALUE_SCALE)
            or (state == state_t.SCALE_BEAT)
            or ((state == state_t.K_BEAT) and key_there)
            or ((state == state_t.V_BEATS) and gather_valid)
        )
        beat_in.payload.next = concat(key_strobe, key_beat)
        if show_values:
            beat_in.payload.next = concat(gather_strobe, gather_data)
        if show_scales:
            beat_in.payload.next = concat(scale_strobe, scale_data)
        if show_value_scales:
            beat_in.payload.next = concat(scale_strobe, value_data)
        beat_data.next = beat_out.payload[W:]
        beat_strobe.next = beat_out.payload[W + B : W]
        pop.next = key_taken or ((state == state_t.V_CHECK) and taken) or (last_beat and last_group)

    @always(clk.posedge)
    def take_value_words():
        value_write.next = 0
        if kv_valid and kv_value and not rst:
            value_write.next = 1
            write_block.next = kv_block
            write_word.next = kv_word
            write_data.next = kv_data
            write_last.next = kv_last
            write_head.next = kv_head
            unused_slots = intbv(0)[R * S :]
            unused_positions = intbv(0)[R * C :]
            # Row kv_row of the packed vectors: by shifts, since a product would take a multiplier.
            unused_number = intbv(0)[6:]
            unused_number[:] = concat(intbv(0)[6 - ROW_BITS :], kv_row)
            unused_slots[:] = row_slot
            unused_positions[:] = row_position
            if unused_number[0]:
                unused_slots[:] = unused_slots >> S
                unused_positions[:] = unused_positions >> C
            if unused_number[1]:
                unused_slots[:] = unused_slots >> (2 * S)
                unused_positions[:] = unused_positions >> (2 * C)
            if unused_number[2]:
                unused_slots[:] = unused_slots >> (4 * S)
                unused_positions[:] = unused_positions >> (4 * C)
            if unused_number[3]:
                unused_slots[:] = unused_slots >> (8 * S)
                unused_positions[:] = unused_positions >> (8 * C)
            if unused_number[4]:
                unused_slots[:] = unused_slots >> (16 * S)
                unused_positions[:] = unused_positions >> (16 * C)
            row_slot_in.next = unused_slots[S:]
            row_position_in.next = unused_positions[C:]

    @always_comb
    def gather_scale():
        scale_enable.next = 0
        if gathered:
            scale_enable.next = 1 << lane
        strobes = intbv(0)[B:]
        strobes[:] = intbv(BLOCK_BYTES)[B:]
        key_strobe.next = strobes << (lane & PORT_PART)

    @always(clk.posedge)
    def mark_scales():
        if rst or (state == state_t.SCALE_BEAT and beat_in.ready):
            scale_strobe.next = 0
        else:
            scale_strobe.next = scale_strobe | scale_enable

    if ONE_WORD:

        @always_comb
        def show_key():
            key.next = word_out.payload
            key_there.next = word_out.valid
            key_taken.next = (state == state_t.K_BEAT) and word_out.valid and beat_in.ready
            word_out.ready.next = (state == state_t.K_BEAT) and beat_in.ready

    else:

        @always(clk.posedge)
        def collect():
            if word_out.valid and word_out.ready:
                key.next = concat(word_out.payload, key[256:V8])

        @always_comb
        def show_key():
            key_there.next = True
            key_taken.next = (state == state_t.K_BEAT) and beat_in.ready
            word_out.ready.next = state == state_t.K_DATA

    # The 32 bytes in every port; the strobes choose one.
    if P == 1:

        @always_comb
        def copy():
            key_beat.next = key

    else:

        @always_comb
        def copy():
            key_beat.next = concat(key, key)

    @always(clk.posedge)
    def keep_instruction():
        if kv_start:
            is_value.next = kv_instruction[EPILOGUE_HIGH:EPILOGUE_LOW] == EPILOGUE_VALUE
            head_blocks.next = kv_instruction[HEAD_BLOCKS_LOW + 8 : HEAD_BLOCKS_LOW]
            layer_offset.next = concat(intbv(0)[HIGH:], kv_instruction[LAYER_LOW + 32 : LAYER_LOW])
            head_stride.next = concat(intbv(0)[HIGH:], kv_instruction[HEAD_STRIDE_LOW + 32 : HEAD_STRIDE_LOW])
            value_offset.next = concat(intbv(0)[HIGH:], kv_instruction[VALUE_OFFSET_LOW + 32 : VALUE_OFFSET_LOW])
            value_stride.next = concat(intbv(0)[HIGH:], kv_instruction[VALUE_STRIDE_LOW + 32 : VALUE_STRIDE_LOW])

    @always(clk.posedge)
    def find_last_port():
        last_group.next = blocks_left <= P
        last_port.next = LAST_PORT
        if blocks_left < P:
            last_port.next = blocks_left[PORTS_BITS:] - 1

    @always(clk.posedge)
    def follow():
        # What kv_rows and the RAM of V scales tell is of the clock before.
        looked_up.next = state == state_t.HEAD
        gathered.next = state == state_t.GATHER
        gathered_scale.next = key_scale

    @always(clk.posedge)
    def count_run():
        if state == state_t.K_ADDRESS or state == state_t.K_NEXT:
            counting.next = 1
            run.next = 1
            run_end.next = ahead
        elif counting:
            if follows[run_end]:
                run.next = run + 1
                run_end.next = run_end + 1
            else:
                counting.next = 0

    @always(clk.posedge)
    def hold_back():
        # The vector unit begins a round while there is room for three: so many units surely come.
        threshold.next = MOST - concat(False, three_rounds)
        if rst or kv_start:
            flushing.next = 0
        elif ending or unit_count >= threshold:
            flushing.next = 1
        elif state == state_t.UNIT and number == 0 and unit_count < rows_of_round:
            flushing.next = 0

    @always(clk.posedge)
    def run_units():
        start_rows.next = 0
        select.next = 0
        gather_start.next = 0
        kv_finished.next = 0
        if rst:
            state.next = state_t.IDLE
            ending.next = 0
            number.next = 0
            head_count.next = 0
        else:
            if kv_end:
                ending.next = 1
            if pop:
                number.next = ahead
                if ahead == active_count:
                    number.next = 0
            if state == state_t.IDLE:
                if kv_start:
                    ending.next = 0
                    start_rows.next = 1
                    head_count.next = 0
                    head_offset.next = 0
                    number.next = 0
                    state.next = state_t.ROWS
            elif state == state_t.ROWS:
                if rows_ready and not start_rows:
                    state.next = state_t.UNIT
            elif state == state_t.UNIT:
                if units_here:
                    state.next = state_t.HEAD
                elif ending and not unit_out.valid:
                    state.next = state_t.DONE
            elif state == state_t.HEAD:
                address.next = group_base + head_offset
                if head_count == unit_head:
                    state.next = state_t.K_ADDRESS
                    if is_value:
                        state.next = state_t.V_CHECK
                elif head_count < unit_head:
                    head_offset.next = head_offset + head_stride
                    head_count.next = head_count + 1
                else:
                    head_offset.next = 0
                    head_count.next = 0
            elif state == state_t.K_ADDRESS:
                own_window.next = window
                scale_address.next = address + concat(intbv(0)[ADDRESS_BITS - 14 - LOW :], beats_before, intbv(0)[LOW:])
                if not first_block:
                    address.next = address + concat(intbv(0)[ADDRESS_BITS - 14 - LOW :], beats_before, intbv(0)[LOW:])
                scale_number.next = number
                state.next = state_t.GATHER
            elif state == state_t.GATHER:
                scale_number.next = scale_ahead
                if not scale_joined:
                    state.next = state_t.SCALE_REQUEST
            elif state == state_t.SCALE_REQUEST:
                if request_ready:
                    state.next = state_t.SCALE_BEAT
                    if first_block:
                        state.next = state_t.VALUE_SCALE
            elif state == state_t.VALUE_SCALE:
                if beat_in.ready:
                    state.next = state_t.SCALE_BEAT
            elif state == state_t.SCALE_BEAT:
                if beat_in.ready:
                    state.next = state_t.K_LANE
            elif state == state_t.K_LANE:
                address.next = scale_address + concat(intbv(0)[ADDRESS_BITS - 6 - LOW :], lane_after, intbv(0)[LOW:])
                words_left.next = WORDS
                if not counting:
                    state.next = state_t.K_REQUEST
            elif state == state_t.K_REQUEST:
                beats_left.next = run
                if request_ready:
                    state.next = NEXT_KEY
            elif state == state_t.K_DATA:
                if word_out.valid:
                    words_left.next = words_left - 1
                    if words_left == 1:
                        state.next = state_t.K_BEAT
            elif state == state_t.K_BEAT:
                words_left.next = WORDS
                if key_taken:
                    beats_left.next = beats_left - 1
                    state.next = NEXT_KEY
                    if beats_left == 1:
                        state.next = state_t.UNIT
                        if joined:
                            state.next = state_t.K_NEXT
            elif state == state_t.K_NEXT:
                state.next = state_t.K_LANE
            elif state == state_t.V_CHECK:
                own_window.next = window
                address.next = window + layer_offset
                if taken:
                    if ahead == active_count:
                        state.next = state_t.UNIT
                elif not looked_up:
                    state.next = state_t.HEAD
                else:
                    select.next = 1
                    state.next = state_t.V_VALUE
            elif state == state_t.V_VALUE:
                address.next = address + value_offset
                state.next = state_t.V_HEAD
            elif state == state_t.V_HEAD:
                address.next = address + head_offset
                state.next = state_t.V_BLOCK
            elif state == state_t.V_BLOCK:
                address.next = address + concat(
                    intbv(0)[ADDRESS_BITS - BLOCK_BITS - BLOCK_LOW :], token_block, intbv(0)[BLOCK_LOW:]
                )
                group.next = 0
                blocks_left.next = head_blocks
                state.next = state_t.V_REQUEST
            elif state == state_t.V_REQUEST:
                if request_ready:
                    gather_start.next = 1
                    beats_left.next = 32
                    address.next = address + value_stride
                    state.next = state_t.V_BEATS
            elif state == state_t.V_BEATS:
                if gather_valid and gather_ready:
                    beats_left.next = beats_left - 1
                if last_beat:
                    group.next = group + 1
                    blocks_left.next = blocks_left - P
                    state.next = state_t.V_REQUEST
                    if last_group:
                        blocks_left.next = 0
                        state.next = state_t.UNIT
            else:
                kv_finished.next = 1
                state.next = state_t.IDLE

    return instances()
