"""Coefficients c2, c1, c0 of the function tables, for one lane."""

from myhdl import Signal, always_comb, instances, intbv

from rtl.common.isa import TABLE_ENTRIES
from rtl.common.ram import ram
from rtl.convert import module


@module
def function_table(clk, write, write_address, write_data, read, index_2, index_1, index_0, c2, c1, c0):
    """Three RAMs of TABLE_ENTRIES words, written by one port and read where each coefficient is needed.

    write, write_address (12 bits: coefficient 0 c2, 1 c1, 2 c0 in the two high bits), write_data (32); read (3
    bits, bit 2 for c2), index_2, index_1, index_0 (10 bits); c2, c1, c0 (32 bits, one cycle after their read bit).
    """
    write_2, write_1, write_0 = [Signal(False) for _ in range(3)]
    entry = Signal(intbv(0)[10:])
    read_2, read_1, read_0 = read(2), read(1), read(0)

    @always_comb
    def select():
        write_2.next = write and (write_address[12:10] == 0)
        write_1.next = write and (write_address[12:10] == 1)
        write_0.next = write and (write_address[12:10] == 2)
        entry.next = write_address[10:]

    coefficients_2 = ram(clk, write_2, entry, write_data, read_2, index_2, c2, TABLE_ENTRIES, 32)
    coefficients_1 = ram(clk, write_1, entry, write_data, read_1, index_1, c1, TABLE_ENTRIES, 32)
    coefficients_0 = ram(clk, write_0, entry, write_data, read_0, index_0, c0, TABLE_ENTRIES, 32)
    return instances()
