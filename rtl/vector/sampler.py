"""Running maximum of each row: the sampler's argmax, and the softmax maxima."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module
from rtl.vector.best_tree import best_tree
from rtl.vector.delay_ring import delay_ring
from rtl.vector.order_key import order_key
from rtl.vector.sampled_token import sampled_token


@module
def sampler(
    clk,
    rst,
    valid_in,
    sampling,
    buffer_number,
    first,
    row,
    word,
    index,
    x,
    counted,
    read_address,
    read_data,
    sample_token,
    config: ChipConfig,
):
    """Keeps, for each row, the largest logit with its index, and the largest score of each score buffer.

    Lowest index wins ties; NaN and uncounted elements never win; -0 counts as +0. A row of logits starts with index
    block 0, a row of scores with `first`. Without any number the maximum is -inf, the token 0. Words of a block
    follow one another; blocks of one row are at least 6 cycles apart.

    valid_in, sampling (else scores), buffer_number, first, row, word, index (32 - log2 V bits: of the
    word), x (V * 32), counted
    (V); read_address {buffer, row}, read_data: FP32 maximum of scores, same cycle; sample_token (R * 32).
    log2 V + 5 cycles after valid_in the maximum can be read, a cycle later the token.
    """
    lanes, rows, words = config.lanes, config.rows, config.words
    row_bits, word_bits = bits_for(rows), bits_for(words)
    levels = (lanes - 1).bit_length()
    index_bits = 32 - levels
    last_word = words - 1
    tag_bits = 3 + row_bits + word_bits + index_bits
    key_2 = [Signal(intbv(0)[32:]) for _ in range(lanes)]
    keys = ConcatSignal(*reversed(key_2))
    flow = Signal(intbv(0)[levels + 2 :])
    start = ConcatSignal(flow(0), valid_in)
    tag, tag_late = Signal(intbv(0)[tag_bits:]), Signal(intbv(0)[tag_bits:])
    word_late = Signal(intbv(0)[word_bits:])
    key_tree, key_block, key_before = [Signal(intbv(0)[32:]) for _ in range(3)]
    place = Signal(intbv(0)[levels:])
    index_block, token_row, token_kept = [Signal(intbv(0)[32:]) for _ in range(3)]
    index_late = Signal(intbv(0)[32 - levels :])
    start_block, sampling_block, better, take_token, write_token = [Signal(False) for _ in range(5)]
    start_row, sampling_row = [Signal(False) for _ in range(2)]
    address_block, address_row = [Signal(intbv(0)[2 + row_bits :]) for _ in range(2)]
    row_row, row_kept = [Signal(intbv(0)[row_bits:]) for _ in range(2)]
    score_address = Signal(intbv(0)[2 + row_bits :])
    row_block = Signal(intbv(0)[row_bits:])
    end_block, compare_row = Signal(False), Signal(False)
    move = Signal(intbv(0)[levels:])
    holders = [Signal(intbv(0)[32:]) for _ in range(4 * rows if rows > 1 else 8)]
    tokens = [Signal(intbv(0)[32:]) for _ in range(rows)]
    tokens_packed = ConcatSignal(*reversed(tokens)) if rows > 1 else tokens[0]
    found = Signal(intbv(0)[32:])

    @always(clk.posedge)
    def age():
        if rst:
            flow.next = 0
        else:
            flow.next = concat(flow[levels + 1 :], valid_in)

    @always_comb
    def watch():
        move.next = flow[levels + 1 : 1]
        sample_token.next = tokens_packed

    # A slice of a packed vector for each lane.
    order = [order_key(clk, start, x(32 * k + 32, 32 * k), counted(k), key_2[k]) for k in range(lanes)]
    enable = move if levels > 1 else move(0)
    tree = best_tree(clk, enable, keys, key_tree, place, lanes)

    @always_comb
    def tag_word():
        if sampling:
            tag.next = concat(index == 0, sampling, "0", row, word, index)
        else:
            tag.next = concat(first & (word == 0), sampling, buffer_number, row, word, index)

    hold_tag = delay_ring(clk, rst, valid_in, tag, flow(levels), tag_late, levels + 2, tag_bits)

    @always_comb
    def unpack_tag():
        word_late.next = tag_late[index_bits + word_bits : index_bits]
        index_late.next = tag_late[index_bits:]

    @always(clk.posedge)
    def gather_block():
        if flow[levels + 1]:
            if (word_late == 0) | (key_tree > key_block):
                key_block.next = key_tree
                index_block.next = concat(index_late, place)
            if word_late == 0:
                start_block.next = tag_late[tag_bits - 1]
                sampling_block.next = tag_late[tag_bits - 2]
                address_block.next = tag_late[tag_bits - 1 : index_bits + word_bits]
                row_block.next = tag_late[index_bits + word_bits + row_bits : index_bits + word_bits]

    @always(clk.posedge)
    def find_end():
        if rst:
            end_block.next = False
            compare_row.next = False
        else:
            end_block.next = flow[levels + 1] & (word_late == last_word)
            compare_row.next = end_block

    @always(clk.posedge)
    def recall():
        if end_block:
            key_before.next = holders[address_block]
            found.next = key_block
            token_row.next = index_block
            # Word 0 of the next row's block may be here already.
            start_row.next = start_block
            sampling_row.next = sampling_block
            address_row.next = address_block
            row_row.next = row_block

    @always_comb
    def compare():
        better.next = start_row | (found > key_before)
        take_token.next = compare_row & sampling_row & (start_row | (found > key_before))

    @always(clk.posedge)
    def keep():
        if compare_row:
            if better:
                holders[address_row].next = found

    @always(clk.posedge)
    def pass_token():
        write_token.next = take_token & (not rst)
        if compare_row:
            row_kept.next = row_row
            token_kept.next = token_row

    @always_comb
    def place_scores():
        score_address.next = concat("0", read_address)

    @always_comb
    def read_maximum():
        held = intbv(0)[32:]
        held[:] = holders[score_address]
        if held[31]:
            read_data.next = concat("0", held[31:])
        elif held == 0:
            read_data.next = concat("11111111100000000000000000000000")
        else:
            read_data.next = ~held

    keepers = [sampled_token(clk, write_token, row_kept, token_kept, tokens[k], k) for k in range(rows)]
    return instances()
