"""CRC-16 of a byte stream."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.convert import module

CRC_START = 0xFFFF


@module
def crc16(clk, clear, step, data, crc):
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF, no reflection): `binascii.crc_hqx(bytes, 0xFFFF)`.

    It is 0 after a message and its own CRC, high byte first. clear: start again (with step: the byte is dropped). step:
    take a byte. crc: so far.
    """
    START = CRC_START
    crc_next = Signal(intbv(0)[16:])
    mixed = Signal(intbv(0)[8:])
    folded = Signal(intbv(0)[8:])

    @always_comb
    def mix():
        mixed.next = crc[16:8] ^ data

    @always_comb
    def fold():
        folded.next = mixed ^ (mixed >> 4)

    @always_comb
    def add():
        # The terms x^12, x^5 and 1 of the polynomial.
        crc_next.next = (
            concat(crc[8:], intbv(0)[8:])
            ^ concat(folded[4:], intbv(0)[12:])
            ^ concat(intbv(0)[3:], folded, intbv(0)[5:])
            ^ concat(intbv(0)[8:], folded)
        )

    @always(clk.posedge)
    def keep():
        if clear:
            crc.next = START
        elif step:
            crc.next = crc_next

    return instances()
