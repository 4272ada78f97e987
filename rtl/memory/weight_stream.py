"""Expansion of instructions into descriptors of what the machine reads from memory."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS, PARAMETER_RING_A, PARAMETER_RING_B, PARAMETER_TABLE
from rtl.common.isa import TABLE_ENTRIES, Opcode
from rtl.convert import module
from rtl.memory.attend_stream import attend_stream
from rtl.memory.descriptor import BEATS_BITS, check_config, field
from rtl.memory.serial_multiply import serial_multiply


@module
def weight_stream(
    clk,
    rst,
    freeze,
    weights_base,
    weights_size,
    kv_base,
    kv_stride,
    row_active,
    row_token,
    row_position,
    pass_count,
    pass_slot,
    pass_tokens,
    kv_done,
    idle,
    barred,
    instruction,
    instruction_valid,
    instruction_ready,
    address,
    beats,
    tag,
    low,
    limit,
    bad,
    valid,
    ready,
    config: ChipConfig,
):
    """Turns instructions into descriptors (see descriptor.py), as the 'stream' column of rtl/README.md says.

    An instruction is taken when its last descriptor has been prepared; the next descriptor is prepared while
    the one before is at work. ATTEND waits until kv_done has come for each KEY and VALUE taken before.
    It checks no window: that is done for each burst. Opcodes without a stream part are dropped.

    freeze: no new instruction is begun. idle: nothing at work; what is queued in front is not seen.
    barred: at the barrier, all that came before handed on.
    Latency from instruction_valid: 3 cycles, serial multiplications (MATMUL: bits of groups; EMBED: bits of
    the token id; ATTEND: bits of slot and of K groups) added.
    """
    check_config(config)
    rows = config.rows
    position_bits = bits_for(config.context)
    zeros = 32 - position_bits
    block_shift = (4 // config.ports).bit_length() - 1  # beats of a block of 32 FP32
    table_beats = 3 * TABLE_ENTRIES * 4 // config.bus_bytes
    opcode_high, opcode_low = field("opcode")
    address_high, address_low = field("address")
    second_high, second_low = field("address_b")
    width_high, width_low = field("k_blocks")
    groups_high, groups_low = field("groups")
    outputs_high, outputs_low = field("output_blocks")
    stride_high, stride_low = field("row_stride")
    has_bias = field("has_bias")[1]
    mxfp4 = field("mxfp4")[1]
    # Bits above the lowest of the epilogue: 1 for KEY (2) and VALUE (3).
    to_cache_high, to_cache_low = field("epilogue")[0], field("epilogue")[1] + 1
    OP_TABLE, OP_EMBED, OP_NORM = int(Opcode.TABLE), int(Opcode.EMBED), int(Opcode.NORM)
    OP_MATMUL, OP_ATTEND = int(Opcode.MATMUL), int(Opcode.ATTEND)
    RING_A, RING_B, TABLES = PARAMETER_RING_A, PARAMETER_RING_B, PARAMETER_TABLE

    IDLE, START, TABLE, GAMMA, BETA, BIAS, MATRIX, ROW, TOKEN, POSITION, NEXT, BARRIER, ATTEND, DONE = range(14)
    state = Signal(intbv(0)[4:])
    opcode = Signal(intbv(0)[8:])
    k_blocks = Signal(intbv(0)[BEATS_BITS:])  # wide, since sums and shifts take the width of their operands
    output_blocks = Signal(intbv(0)[BEATS_BITS:])
    free = Signal(False)
    pending = Signal(intbv(0)[8:])  # KEY and VALUE instructions without their kv_done
    counted = Signal(False)
    starting = Signal(False)
    # What the instruction in front is, a clock after it came.
    is_table, is_embed, is_norm, is_matmul, is_attend, is_cached = [Signal(False) for _ in range(6)]
    weights_end = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    active_left = Signal(intbv(0)[rows:])
    tokens_left = Signal(intbv(0)[rows * 32 :])
    positions_left = Signal(intbv(0)[rows * position_bits :])

    multiply = Signal(False)
    multiply_base = Signal(intbv(0)[ADDRESS_BITS:])
    multiply_factor = Signal(intbv(0)[ADDRESS_BITS:])
    multiply_count = Signal(intbv(0)[32:])
    product = Signal(intbv(0)[ADDRESS_BITS:])
    overflow = Signal(False)
    multiplying = Signal(False)
    multiplier = serial_multiply(
        clk, rst, multiply, multiply_base, multiply_factor, multiply_count, product, overflow, multiplying
    )

    attend_start = Signal(False)
    attend_busy = Signal(False)
    attend_address = Signal(intbv(0)[ADDRESS_BITS:])
    attend_beats = Signal(intbv(0)[BEATS_BITS:])
    attend_low = Signal(intbv(0)[ADDRESS_BITS:])
    attend_end = Signal(intbv(0)[ADDRESS_BITS + 1 :])
    attend_bad = Signal(False)
    attend_valid = Signal(False)
    attend = attend_stream(
        clk,
        rst,
        attend_start,
        instruction,
        kv_base,
        kv_stride,
        pass_count,
        pass_slot,
        pass_tokens,
        attend_busy,
        attend_address,
        attend_beats,
        attend_low,
        attend_end,
        attend_bad,
        attend_valid,
        free,
        config=config,
    )

    @always_comb
    def look():
        free.next = ready or not valid
        idle.next = (state == IDLE) and not valid
        barred.next = (state == BARRIER) and not valid
        instruction_ready.next = state == DONE
        opcode.next = instruction[opcode_high:opcode_low]
        k_blocks.next = concat(intbv(0)[BEATS_BITS - 16 :], instruction[width_high:width_low])
        output_blocks.next = concat(intbv(0)[BEATS_BITS - 16 :], instruction[outputs_high:outputs_low])
        starting.next = (state == IDLE) and instruction_valid and not freeze

    @always(clk.posedge)
    def recognise():
        is_table.next = opcode == OP_TABLE
        is_embed.next = opcode == OP_EMBED
        is_norm.next = opcode == OP_NORM
        is_matmul.next = opcode == OP_MATMUL
        is_attend.next = opcode == OP_ATTEND
        is_cached.next = instruction[to_cache_high:to_cache_low] == 1

    @always_comb
    def count():
        counted.next = (state == START) and is_matmul and is_cached

    @always(clk.posedge)
    def count_writes():
        if rst:
            pending.next = 0
        elif counted and not kv_done:
            pending.next = pending + 1
        elif kv_done and not counted:
            pending.next = pending - 1

    @always(clk.posedge)
    def expand():
        if rst:
            state.next = IDLE
            valid.next = False
            multiply.next = False
            attend_start.next = False
        else:
            multiply.next = False
            attend_start.next = False
            if ready:
                valid.next = False

            if state == IDLE:
                if starting:
                    state.next = START

            elif state == START:
                if is_table:
                    state.next = TABLE
                elif is_embed:
                    state.next = ROW
                elif is_norm:
                    state.next = GAMMA
                elif is_matmul:
                    multiply.next = True
                    if instruction[has_bias]:
                        state.next = BIAS
                    else:
                        state.next = MATRIX
                elif is_attend:
                    state.next = BARRIER
                else:
                    state.next = DONE

            elif state == TABLE:
                if free:
                    valid.next = True
                    state.next = DONE

            elif state == GAMMA:
                if free:
                    valid.next = True
                    state.next = BETA

            elif state == BETA:
                if free:
                    valid.next = True
                    state.next = DONE

            elif state == BIAS:
                if free:
                    valid.next = True
                    state.next = MATRIX

            elif state == MATRIX:
                if free and not (multiply or multiplying):
                    valid.next = True
                    state.next = DONE

            elif state == ROW:
                if active_left == 0:
                    state.next = DONE
                elif active_left[0]:
                    multiply.next = True
                    state.next = TOKEN

            elif state == TOKEN:
                if free and not (multiply or multiplying):
                    valid.next = True
                    multiply.next = True
                    state.next = POSITION

            elif state == POSITION:
                if free and not (multiply or multiplying):
                    valid.next = True
                    state.next = NEXT

            elif state == NEXT:
                state.next = ROW

            elif state == BARRIER:
                if pending == 0:
                    attend_start.next = True
                    state.next = ATTEND

            elif state == ATTEND:
                if attend_valid and free:
                    valid.next = True
                elif not (attend_start or attend_busy):
                    state.next = DONE

            else:
                state.next = IDLE

    @always(clk.posedge)
    def choose_operands():
        """For the multiplication that the state may begin."""
        if state == START:
            multiply_base.next = 0
            if instruction[mxfp4]:
                multiply_factor.next = (k_blocks << 5) + (k_blocks << 1)
            else:
                multiply_factor.next = (k_blocks << 5) + k_blocks
            multiply_count.next = concat(intbv(0)[16:], instruction[groups_high:groups_low])
        else:
            multiply_factor.next = concat(intbv(0)[8:], instruction[stride_high:stride_low])
            if state == ROW:
                multiply_base.next = instruction[address_high:address_low]
                multiply_count.next = tokens_left[32:]
            else:
                multiply_base.next = instruction[second_high:second_low]
                multiply_count.next = concat(intbv(0)[zeros:], positions_left[position_bits:])

    @always(clk.posedge)
    def walk_rows():
        if state == START:
            active_left.next = row_active
            tokens_left.next = row_token
            positions_left.next = row_position
        elif (state == NEXT) or (state == ROW and not active_left[0]):
            active_left.next = active_left >> 1
            tokens_left.next = tokens_left >> 32
            positions_left.next = positions_left >> position_bits

    @always(clk.posedge)
    def describe():
        """The descriptor of the state; it counts where `expand` makes it valid."""
        weights_end.next = weights_base + weights_size
        if free:
            low.next = weights_base
            limit.next = weights_end
            bad.next = False
            if state == ATTEND:
                address.next = attend_address
                beats.next = attend_beats
                tag.next = 0
                low.next = attend_low
                limit.next = attend_end
                bad.next = attend_bad
            elif state == MATRIX:
                address.next = instruction[address_high:address_low]
                beats.next = product
                tag.next = 0
            elif state == TOKEN:
                address.next = product
                beats.next = k_blocks << block_shift
                tag.next = RING_A
                bad.next = overflow
            elif state == POSITION:
                address.next = product
                beats.next = k_blocks << block_shift
                tag.next = RING_B
                bad.next = overflow
            elif state == TABLE:
                address.next = instruction[address_high:address_low]
                beats.next = table_beats
                tag.next = TABLES
            elif state == GAMMA:
                address.next = instruction[address_high:address_low]
                beats.next = k_blocks << block_shift
                tag.next = RING_A
            elif state == BETA:
                address.next = instruction[second_high:second_low]
                beats.next = k_blocks << block_shift
                tag.next = RING_B
            else:
                address.next = instruction[second_high:second_low]
                beats.next = output_blocks << block_shift
                tag.next = RING_A

    return instances()
