"""Coefficients c2, c1, c0 of the function tables, for one lane."""

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.isa import TABLE_ENTRIES
from rtl.common.ram import ram
from rtl.convert import module

WRITE_WORDS = 2  # entries that one write brings


@module
def function_table(
    clk,
    write,
    write_address,
    write_data,
    move_2,
    use_2,
    read,
    hold,
    index_2,
    index_1,
    index_0,
    low_2,
    high_2,
    c2_low,
    c2_high,
    c1,
    c0,
):
    """Three RAMs of TABLE_ENTRIES words, written two entries at a time and read where each coefficient is needed.

    write, write_address (11 bits: coefficient 0 c2, 1 c1, 2 c0 in the two high bits, then a pair of entries),
    write_data (64 bits); read (3 bits, bit 2 for c2), index_2, index_1, index_0 (10 bits). c1, c0 (32 bits): two
    cycles after their read bit, from a register; hold (bit 1 for c1): the read bit one cycle later. c2 has no cycle to
    spare: c2_low and c2_high (32 bits) come one cycle after the read bit, from the RAM, and low_2 or high_2 says which
    one is meant, or neither if use_2 was low; use_2 counts with move_2, in the cycle of the read bit.
    """
    write_2, write_1, write_0 = [Signal(False) for _ in range(3)]
    pair = Signal(intbv(0)[9:])
    pair_2, pair_1, pair_0 = [Signal(intbv(0)[64:]) for _ in range(3)]
    odd_1, odd_0 = [Signal(False) for _ in range(2)]
    read_2, read_1, read_0 = read(2), read(1), read(0)
    depth, width = TABLE_ENTRIES // WRITE_WORDS, 32 * WRITE_WORDS

    @always_comb
    def select():
        write_2.next = write & (write_address[11:9] == 0)
        write_1.next = write & (write_address[11:9] == 1)
        write_0.next = write & (write_address[11:9] == 2)
        pair.next = write_address[9:]

    coefficients_2 = ram(clk, write_2, pair, write_data, read_2, index_2(10, 1), pair_2, depth, width)
    coefficients_1 = ram(clk, write_1, pair, write_data, read_1, index_1(10, 1), pair_1, depth, width)
    coefficients_0 = ram(clk, write_0, pair, write_data, read_0, index_0(10, 1), pair_0, depth, width)

    @always(clk.posedge)
    def remember_half():
        if move_2:
            low_2.next = use_2 & (not index_2[0])
            high_2.next = use_2 & index_2[0]
        if read[1]:
            odd_1.next = index_1[0]
        if read[0]:
            odd_0.next = index_0[0]

    @always_comb
    def give_halves():
        c2_low.next = pair_2[32:]
        c2_high.next = pair_2[64:32]

    @always(clk.posedge)
    def choose_half():
        if hold[1]:
            c1.next = pair_1[32:]
            if odd_1:
                c1.next = pair_1[64:32]
        if hold[0]:
            c0.next = pair_0[32:]
            if odd_0:
                c0.next = pair_0[64:32]

    return instances()
