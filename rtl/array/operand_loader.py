"""Reader of the operand RAM: brings the next block to the rows while they work on the current one."""

from myhdl import Signal, always, always_comb, always_seq, concat, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module


@module
def operand_loader(
    clk,
    rst,
    request,
    operand_full,
    switching,
    switch_1,
    advance,
    read_enable,
    read_block,
    read_row,
    read_word,
    clear,
    clear_block,
    load_enable,
    operand_ready,
    loading,
    config: ChipConfig,
):
    """For each requested block, wait until it is full, read its words for the rows of the request in ascending
    order, and tell which row takes the word that leaves the RAM two cycles later.

    The pipeline (address, RAM, output register) stops as a whole while its first word waits for the rows' shadow
    registers. A block of 32 words is loaded in 32 cycles, with no gap before the next.

    Ports: clk, rst; request ({clear, block, row mask}, stream): clear the block's full bit once read;
    operand_full (a bit a block); switch_1: the rows take over what was loaded, switching: a cycle earlier; advance:
    the pipeline moves;
    read_enable, read_block, read_row, read_word: to the RAM; clear, clear_block: a cycle after the last read of a block
    to be emptied; load_enable (a bit a row): the RAM's output register is for this row; operand_ready: the rows can
    switch at the end of the next cycle; loading: the next block is full and on its way.
    """
    rows, row_end, words, word_end = config.rows, config.rows - 1, config.words, config.words - 1
    block_bits, row_bits, word_bits = bits_for(config.operand_blocks), bits_for(rows), bits_for(words)

    low_bits = block_bits // 2
    width = 1 << low_bits
    groups = -(-config.operand_blocks // width)
    spare = groups * width - config.operand_blocks + 1  # above the last block; at least one bit
    group_bits = block_bits - low_bits

    active, clears, armed, emptied, steady = [Signal(bool(0)) for _ in range(5)]
    # Of each group of full bits the one of the request, and which group is meant.
    full = Signal(intbv(0)[groups:])
    group = Signal(intbv(0)[group_bits:])
    all_full = Signal(intbv(0)[groups * width + 1 :])
    block = Signal(intbv(0)[block_bits:])
    pending, chosen, selected_1, selected_2 = [Signal(intbv(0)[rows:]) for _ in range(4)]
    word = Signal(intbv(0)[word_bits:])
    last, take = [Signal(bool(0)) for _ in range(2)]
    valid_1, valid_2, last_1, last_2, loaded = [Signal(bool(0)) for _ in range(5)]

    @always_comb
    def choose():
        """The lowest row that is still to be read."""
        lowest = intbv(0)[rows:]
        number = intbv(0)[row_bits:]
        row = modbv(row_end)[row_bits:]
        for i in range(rows):
            if pending[rows - 1 - i]:
                lowest[:] = 0
                lowest[rows - 1 - i] = 1
                number[:] = row
            row[:] = row - 1
        chosen.next = lowest
        read_row.next = number

    @always_comb
    def decide():
        move = intbv(0)[1:]
        ending = intbv(0)[1:]
        move[0] = (not valid_2) | (not loaded) | switch_1
        ending[0] = (word == word_end) & (pending == chosen)
        advance.next = move[0]
        last.next = ending[0]
        read_enable.next = active & move[0]
        take.next = armed & ((not active) | (move[0] & ending[0]))
        loading.next = armed | active | valid_1 | valid_2
        read_word.next = word

    @always_comb
    def look():
        block.next = request.payload[block_bits + rows : rows]
        all_full.next = concat(intbv(0)[spare:], operand_full)

    if low_bits > 0:

        @always(clk.posedge)
        def look_up():
            unused_full = intbv(0)[groups * width + 1 :]
            unused_full[:] = all_full >> block[low_bits:]
            for i in range(groups):
                full.next[i] = unused_full[i * width]
            group.next = block[block_bits:low_bits]

    else:

        @always(clk.posedge)
        def look_up():
            full.next = all_full[groups:]
            group.next = block

    @always(clk.posedge)
    def guard():
        # A block that is being emptied still reads as full.
        emptied.next = (active & clears & (read_block == block)) | (clear & (clear_block == block))

    @always_seq(clk.posedge, reset=rst)
    def arm():
        steady.next = request.valid & (not request.ready)  # the request that was looked up is still the one
        armed.next = steady & full[group] & (not emptied) & (not take) & (not request.ready)

    @always_seq(clk.posedge, reset=rst)
    def give_back():
        # A clock after it was taken: what is taken depends on much.
        request.ready.next = take

    @always_seq(clk.posedge, reset=rst)
    def walk():
        if take:
            active.next = True
            word.next = 0
        elif active & advance:
            if word == word_end:
                word.next = 0
                if last:
                    active.next = False
            else:
                word.next = word + 1

    @always_seq(clk.posedge, reset=rst)
    def empty():
        clear.next = active & advance & last & clears

    @always(clk.posedge)
    def follow():
        clear_block.next = read_block
        if take:
            clears.next = request.payload[block_bits + rows]
            read_block.next = request.payload[block_bits + rows : rows]
            pending.next = request.payload[rows:]
        elif active & advance & (word == word_end):
            pending.next = pending ^ chosen

    @always_seq(clk.posedge, reset=rst)
    def deliver():
        if advance:
            valid_1.next = active
            valid_2.next = valid_1
        if advance & valid_2:
            loaded.next = last_2
        elif switch_1:
            loaded.next = False

    @always_seq(clk.posedge, reset=rst)
    def foresee():
        """Whether the block will be loaded, or its last word be in the output register: in a register, since every
        beat waits for it."""
        operand_ready.next = (loaded & (not switch_1)) | (valid_2 & last_2)
        if advance:
            operand_ready.next = (valid_1 & last_1) | (valid_2 & last_2)
            if not valid_2:
                operand_ready.next = (loaded & (not switch_1)) | (valid_1 & last_1)

    @always(clk.posedge)
    def escort():
        if advance:
            last_1.next = last
            last_2.next = last_1
            selected_1.next = chosen
            selected_2.next = selected_1

    @always_seq(clk.posedge, reset=rst)
    def enable_rows():
        """In registers, from what `deliver` and `escort` will have: the rows are wide."""
        load_enable.next = 0
        if valid_2 & loaded & (not switch_1):
            if switching:
                load_enable.next = selected_2
        elif valid_1 & (switching | (valid_2 & (not last_2)) | ((not valid_2) & ((not loaded) | switch_1))):
            load_enable.next = selected_1

    return instances()
