"""Expansion of ATTEND into K and V descriptors."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import BLOCK, ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.convert import module
from rtl.memory.descriptor import BEATS_BITS, field
from rtl.memory.serial_multiply import serial_multiply


@module
def attend_stream(
    clk,
    rst,
    start,
    instruction,
    kv_base,
    kv_stride,
    pass_count,
    pass_slot,
    pass_tokens,
    busy,
    address,
    beats,
    low,
    limit,
    bad,
    valid,
    ready,
    config: ChipConfig,
):
    """Descriptors of one ATTEND in job order: S0 S1 V0 S2 V1 ... S(n-1) V(n-2) V(n-1) over passes x heads.

    An S job is one descriptor (the K region of a head: groups of 32 P tokens lie back to back), a V job one
    for each group of P blocks of channels. Their window is the pass's slot. The KV barrier is the caller's.

    start: pulse, only while not busy; instruction, pass_* and kv_* are stable until busy falls.
    busy: from the cycle after start until the last descriptor is taken.
    address, beats, low, limit, bad, valid, ready: the descriptor (see descriptor.py); its tag is 0.
    The first comes after two serial multiplications (slot, beats of K: under 20 cycles), each pass costs that
    again, else a descriptor takes two or three cycles.
    """
    slot_bits = bits_for(config.slots)
    token_bits = bits_for(config.context) + 1
    wide = ADDRESS_BITS + 2  # 40 bits + 2^32 + 255 * 2^32, twice: never wraps
    heads_high, heads_low = field("heads")
    blocks_high, blocks_low = field("head_blocks")
    shared_high, shared_low = field("heads_per_kv")
    layer_high, layer_low = field("layer_offset")
    head_high, head_low = field("head_stride")
    value_high, value_low = field("value_offset")
    stride_high, stride_low = field("value_stride")
    group_round, group_shift = BLOCK * config.ports - 1, (BLOCK * config.ports).bit_length() - 1
    block_round = BLOCK - 1
    channel_round, channel_shift = config.ports - 1, config.ports.bit_length() - 1

    IDLE, SLOT, WINDOW, KEY_BEATS, KEY, VALUE, ADVANCE = range(7)
    state = Signal(intbv(0)[3:])
    passes_left = Signal(intbv(0)[len(pass_count) :])
    slots_left = Signal(intbv(0)[config.rows * slot_bits :])
    tokens_left = Signal(intbv(0)[config.rows * token_bits :])
    heads_left = Signal(intbv(0)[8:])
    shared_left = Signal(intbv(0)[8:])
    slot_low = Signal(intbv(0)[ADDRESS_BITS:])
    slot_end = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    slot_bad = Signal(False)
    key_groups = Signal(intbv(0)[token_bits:])
    token_blocks = Signal(intbv(0)[token_bits:])
    key_beats = Signal(intbv(0)[BEATS_BITS:])
    head_base = Signal(intbv(0)[wide:])
    value_base = Signal(intbv(0)[wide:])
    # The V job that waits for the next S job.
    waiting = Signal(False)
    last = Signal(False)
    value_address = Signal(intbv(0)[wide:])
    value_blocks = Signal(intbv(0)[token_bits:])  # blocks of tokens
    value_groups = Signal(intbv(0)[9:])
    value_slot_low = Signal(intbv(0)[ADDRESS_BITS:])
    value_slot_end = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    value_slot_bad = Signal(False)

    multiply = Signal(False)
    multiply_base = Signal(intbv(0)[ADDRESS_BITS:])
    multiply_factor = Signal(intbv(0)[ADDRESS_BITS:])
    multiply_count = Signal(intbv(0)[32:])
    product = Signal(intbv(0)[ADDRESS_BITS:])
    overflow = Signal(False)
    multiplying = Signal(False)
    free = Signal(False)
    head_blocks = Signal(intbv(0)[ADDRESS_BITS:])
    # Sums take the width of their operands: fields and registers as wide as the addresses they go into.
    layer_offset = Signal(intbv(0)[wide:])
    head_stride = Signal(intbv(0)[wide:])
    value_offset = Signal(intbv(0)[wide:])
    value_stride = Signal(intbv(0)[wide:])
    slot_wide = Signal(intbv(0)[wide:])
    unused_fields = Signal(False)

    multiplier = serial_multiply(
        clk, rst, multiply, multiply_base, multiply_factor, multiply_count, product, overflow, multiplying
    )

    @always_comb
    def look():
        free.next = ready or not valid
        busy.next = valid or (state != IDLE)
        head_blocks.next = concat(intbv(0)[ADDRESS_BITS - 8 :], instruction[blocks_high:blocks_low])
        unused_fields.next = instruction != 0
        layer_offset.next = concat(intbv(0)[wide - 32 :], instruction[layer_high:layer_low])
        head_stride.next = concat(intbv(0)[wide - 32 :], instruction[head_high:head_low])
        value_offset.next = concat(intbv(0)[wide - 32 :], instruction[value_high:value_low])
        value_stride.next = concat(intbv(0)[wide - 32 :], instruction[stride_high:stride_low])
        slot_wide.next = concat(intbv(0)[2:], slot_low)

    @always(clk.posedge)
    def expand():
        if rst:
            state.next = IDLE
            valid.next = False
            multiply.next = False
        else:
            multiply.next = False
            if ready:
                valid.next = False
            if state == IDLE:
                if start:
                    passes_left.next = pass_count
                    slots_left.next = pass_slot
                    tokens_left.next = pass_tokens
                    waiting.next = False
                    last.next = False
                    if (pass_count != 0) and (instruction[heads_high:heads_low] != 0):
                        state.next = SLOT
            elif state == SLOT:
                multiply.next = True
                multiply_base.next = kv_base
                multiply_factor.next = kv_stride
                multiply_count.next = concat(intbv(0)[32 - slot_bits :], slots_left[slot_bits:])
                key_groups.next = (tokens_left[token_bits:] + group_round) >> group_shift
                token_blocks.next = (tokens_left[token_bits:] + block_round) >> 5
                slots_left.next = slots_left >> slot_bits
                tokens_left.next = tokens_left >> token_bits
                passes_left.next = passes_left - 1
                state.next = WINDOW
            elif state == WINDOW:
                if not (multiply or multiplying):
                    slot_low.next = product
                    slot_end.next = product + kv_stride
                    slot_bad.next = overflow
                    multiply.next = True
                    multiply_base.next = 0
                    multiply_factor.next = (head_blocks << 5) + head_blocks + 1
                    multiply_count.next = concat(intbv(0)[32 - token_bits :], key_groups)
                    state.next = KEY_BEATS
            elif state == KEY_BEATS:
                if not (multiply or multiplying):
                    key_beats.next = product
                    head_base.next = slot_wide + layer_offset
                    heads_left.next = instruction[heads_high:heads_low]
                    shared_left.next = instruction[shared_high:shared_low]
                    state.next = KEY
            elif state == KEY:
                if free:
                    address.next = head_base[ADDRESS_BITS:]
                    beats.next = key_beats
                    low.next = slot_low
                    limit.next = slot_end
                    bad.next = slot_bad or (head_base[wide:ADDRESS_BITS] != 0)
                    valid.next = True
                    value_base.next = head_base + value_offset
                    if waiting:
                        state.next = VALUE
                    else:
                        state.next = ADVANCE
            elif state == VALUE:
                if free:
                    address.next = value_address[ADDRESS_BITS:]
                    beats.next = concat(intbv(0)[BEATS_BITS - token_bits - 5 :], value_blocks, intbv(0)[5:])
                    low.next = value_slot_low
                    limit.next = value_slot_end
                    bad.next = value_slot_bad or (value_address[wide:ADDRESS_BITS] != 0)
                    valid.next = True
                    value_address.next = value_address + value_stride
                    value_groups.next = value_groups - 1
                    if value_groups == 1:
                        if last:
                            state.next = IDLE
                        else:
                            state.next = ADVANCE
            else:
                # The S job of this head is out: its V job waits, the next head comes.
                waiting.next = True
                value_address.next = value_base
                value_blocks.next = token_blocks
                value_groups.next = (head_blocks[9:] + channel_round) >> channel_shift
                value_slot_low.next = slot_low
                value_slot_end.next = slot_end
                value_slot_bad.next = slot_bad
                heads_left.next = heads_left - 1
                if shared_left == 1:
                    head_base.next = head_base + head_stride
                    shared_left.next = instruction[shared_high:shared_low]
                else:
                    shared_left.next = shared_left - 1
                if heads_left != 1:
                    state.next = KEY
                elif passes_left != 0:
                    state.next = SLOT
                else:
                    last.next = True
                    state.next = VALUE

    return instances()
