"""Quantised operands of all rows, their full bits, and their way into the rows."""

from myhdl import ConcatSignal, Signal, always, always_comb, always_seq, instances, intbv

from rtl.array.operand_loader import operand_loader
from rtl.common.config import ChipConfig, bits_for
from rtl.common.ram import ram
from rtl.convert import module


@module
def operand_store(
    clk,
    rst,
    request,
    operand_write,
    operand_block,
    operand_row,
    operand_word,
    operand_data,
    operand_scale,
    operand_fill,
    operand_full,
    switch_1,
    load_enable,
    load_data,
    load_scale,
    operand_ready,
    loading,
    config: ChipConfig,
):
    """Operand RAM addressed [block][row][word], a scale RAM [block][row], and a full bit a block.

    Ports: clk, rst; request: see operand_loader; operand_write with operand_block, _row, _word, _data (V bytes),
    _scale (the same with every word of a block); operand_fill: this write completes the block for all rows;
    operand_full (a bit a block, set a cycle after the fill, cleared when a request has emptied it); switch_1,
    load_enable, load_data, load_scale, operand_ready: to the rows, loading: see operand_loader.
    """
    rows, words, word_end, blocks = config.rows, config.words, config.words - 1, config.operand_blocks

    advance, read_enable, clear = [Signal(bool(0)) for _ in range(3)]
    read_block = Signal(intbv(0)[bits_for(blocks) :])
    read_row = Signal(intbv(0)[bits_for(rows) :])
    read_word = Signal(intbv(0)[bits_for(words) :])
    data_1 = Signal(intbv(0)[8 * config.lanes :])
    scale_1 = Signal(intbv(0)[8:])

    def address(block, row, word=None):
        """[block][row] or [block][row][word]; an index with one value takes no bits."""
        parts = [block] + [row] * (rows > 1) + ([word] if word is not None and words > 1 else [])
        return ConcatSignal(*parts) if len(parts) > 1 else block

    write_address, read_address = (
        address(operand_block, operand_row, operand_word),
        address(read_block, read_row, read_word),
    )
    scale_write_address, scale_read_address = address(operand_block, operand_row), address(read_block, read_row)

    # Where a block is one word, there is nothing to address in it.
    write_enable, fetch = [Signal(bool(0)) for _ in range(2)]

    @always_comb
    def enable():
        write_enable.next = operand_write & (operand_word <= word_end)
        fetch.next = read_enable & (read_word <= word_end)

    loader = operand_loader(
        clk,
        rst,
        request,
        operand_full,
        switch_1,
        advance,
        read_enable,
        read_block,
        read_row,
        read_word,
        clear,
        load_enable,
        operand_ready,
        loading,
        config=config,
    )
    operands = ram(
        clk,
        write_enable,
        write_address,
        operand_data,
        fetch,
        read_address,
        data_1,
        depth=blocks * rows * words,
        width=8 * config.lanes,
    )
    scales = ram(
        clk,
        write_enable,
        scale_write_address,
        operand_scale,
        fetch,
        scale_read_address,
        scale_1,
        depth=blocks * rows,
        width=8,
    )

    @always(clk.posedge)
    def register():
        if advance:
            load_data.next = data_1
            load_scale.next = scale_1

    @always_seq(clk.posedge, reset=rst)
    def track_full():
        if operand_write & operand_fill:
            operand_full.next[operand_block] = True
        if clear:
            operand_full.next[read_block] = False

    return instances()
