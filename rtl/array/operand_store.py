"""Quantised operands of all rows, their full bits, and their way into the rows."""

from myhdl import ConcatSignal, Signal, always, always_comb, always_seq, concat, instances, intbv

from rtl.array.operand_bank import BANK_WORDS, operand_bank
from rtl.array.operand_loader import operand_loader
from rtl.common.config import ChipConfig, bits_for
from rtl.common.ram import address_bits, ram
from rtl.convert import module


@module
def operand_store(
    clk,
    rst,
    step_start,
    request,
    operand_write,
    operand_block,
    operand_row,
    operand_word,
    operand_data,
    operand_scale,
    operand_fill,
    operand_full,
    switching,
    switch_1,
    load_enable,
    load_data,
    load_scale,
    operand_ready,
    loading,
    config: ChipConfig,
):
    """Operand RAM in banks, addressed [block][row][word], a scale RAM [block][row], and a full bit a block.

    Ports: clk, rst; step_start (pulse): no block is full, whatever the step before has left; request: see
    operand_loader; operand_write with operand_block, _row, _word, _data (V bytes),
    _scale (the same with every word of a block); operand_fill: this write completes the block for all rows;
    operand_full (a bit a block, set two cycles after the fill, cleared two cycles after a request has emptied it);
    switching, switch_1, load_enable, load_data, load_scale, operand_ready: to the rows, loading: see operand_loader.
    """
    rows, words, word_end, blocks = config.rows, config.words, config.words - 1, config.operand_blocks

    # A write comes from afar: the RAMs and the full bits see it a cycle later.
    write, fill = [Signal(bool(0)) for _ in range(2)]
    fill_block = Signal(intbv(0)[bits_for(blocks) :])  # a register of its own: RAMs and full bits lie apart
    write_block, write_row, write_word = [Signal(intbv(0)[bits_for(count) :]) for count in (blocks, rows, words)]
    write_data, write_scale = Signal(intbv(0)[8 * config.lanes :]), Signal(intbv(0)[8:])
    advance, read_enable, clear = [Signal(bool(0)) for _ in range(3)]
    read_block, clear_block = [Signal(intbv(0)[bits_for(blocks) :]) for _ in range(2)]
    read_row = Signal(intbv(0)[bits_for(rows) :])
    read_word = Signal(intbv(0)[bits_for(words) :])
    scale_1 = Signal(intbv(0)[8:])

    def address(block, row, word=None):
        """[block][row] or [block][row][word]; an index with one value takes no bits."""
        parts = [block] + [row] * (rows > 1) + ([word] if word is not None and words > 1 else [])
        return ConcatSignal(*parts) if len(parts) > 1 else block

    write_address, read_address = (
        address(write_block, write_row, write_word),
        address(read_block, read_row, read_word),
    )
    scale_write_address, scale_read_address = address(write_block, write_row), address(read_block, read_row)

    depth, width = blocks * rows * words, 8 * config.lanes
    bank_depth = min(depth, BANK_WORDS)
    banks, low = -(-depth // bank_depth), address_bits(bank_depth)
    bank_bits, high = address_bits(banks), address_bits(depth)
    if banks > 8:
        raise ValueError(f"operand RAM of {depth} words: at most {8 * BANK_WORDS}")
    # Where a block is one word, there is nothing to address in it.
    write_enable, fetch = [Signal(bool(0)) for _ in range(2)]
    write_banks, fetch_banks = [Signal(intbv(0)[banks:]) for _ in range(2)]
    write_place, read_place = [Signal(intbv(0)[low:]) for _ in range(2)]
    bank_write = [write_banks(i) for i in range(banks)] if banks > 1 else [write_enable]
    bank_fetch = [fetch_banks(i) for i in range(banks)] if banks > 1 else [fetch]

    @always_seq(clk.posedge, reset=rst)
    def accept():
        write.next = operand_write
        fill.next = operand_write & operand_fill

    @always(clk.posedge)
    def take():
        if operand_write:
            write_block.next = operand_block
            write_row.next = operand_row
            write_word.next = operand_word
            write_data.next = operand_data
            write_scale.next = operand_scale
        if operand_write & operand_fill:
            fill_block.next = operand_block

    @always_comb
    def enable():
        write_enable.next = write & (write_word <= word_end)
        fetch.next = read_enable & (read_word <= word_end)
        write_place.next = write_address[low:]
        read_place.next = read_address[low:]

    loader = operand_loader(
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
        config=config,
    )
    data = [Signal(intbv(0)[width:]) for _ in range(banks)] if banks > 1 else [load_data]
    operands = [
        operand_bank(
            clk,
            bank_write[i],
            write_place,
            write_data,
            bank_fetch[i],
            read_place,
            advance,
            data[i],
            depth=bank_depth,
            width=width,
        )
        for i in range(banks)
    ]
    if banks > 1:
        bank_1, bank_2 = [Signal(intbv(0)[4:]) for _ in range(2)]
        spare = 4 - bank_bits
        unused_bank = Signal(bool(0))
        all_data = ConcatSignal(*reversed(data))

        @always_comb
        def choose_bank():
            write_banks.next = 0
            fetch_banks.next = 0
            if write_enable:
                write_banks.next = 1 << write_address[high:low]
            if fetch:
                fetch_banks.next = 1 << read_address[high:low]

        @always(clk.posedge)
        def follow_bank():
            if fetch:
                bank_1.next = concat(intbv(0)[spare:], read_address[high:low])
            if advance:
                bank_2.next = bank_1

        @always_comb
        def take_bank():
            unused_words = intbv(0)[banks * width :]
            unused_words[:] = all_data
            if bank_2[0]:
                unused_words[:] = unused_words >> width
            if bank_2[1]:
                unused_words[:] = unused_words >> (2 * width)
            if bank_2[2]:
                unused_words[:] = unused_words >> (4 * width)
            load_data.next = unused_words[width:]
            unused_bank.next = bank_2[3]

    scales = ram(
        clk,
        write_enable,
        scale_write_address,
        write_scale,
        fetch,
        scale_read_address,
        scale_1,
        depth=blocks * rows,
        width=8,
    )

    @always(clk.posedge)
    def register():
        if advance:
            load_scale.next = scale_1

    @always_seq(clk.posedge, reset=rst)
    def track_full():
        if fill:
            operand_full.next[fill_block] = True
        if clear:
            operand_full.next[clear_block] = False
        if step_start:
            operand_full.next = 0

    return instances()
