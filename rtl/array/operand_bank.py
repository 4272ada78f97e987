"""A bank of the operand RAM with a register behind it."""

from myhdl import Signal, always, instances, intbv

from rtl.common.ram import address_bits, ram
from rtl.convert import module

BANK_WORDS = 2048
"""Words of a bank: a RAM of an ASIC is made of shallow macros, and the multiplexer behind those takes its time too."""


@module
def operand_bank(
    clk, write_enable, write_address, write_data, fetch, read_address, advance, data, depth: int, width: int
):
    """RAM and register: data is the word of the last fetch at the last advance.

    Ports: clk; write_enable, write_address, write_data; fetch, read_address; advance: the register takes what the RAM
    shows; data. Addresses are those within the bank.
    """
    word = Signal(intbv(0)[width:])
    assert len(read_address) == address_bits(depth)
    words = ram(clk, write_enable, write_address, write_data, fetch, read_address, word, depth=depth, width=width)

    @always(clk.posedge)
    def register():
        if advance:
            data.next = word

    return instances()
