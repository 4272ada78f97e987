"""UART transmitter."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def uart_tx(clk, rst, data, valid, ready, txd, clocks_per_bit: int):
    """8 data bits, no parity, one stop bit, low bit first.

    data, valid, ready: a stream of bytes; one is taken when the line is free. txd: registered, high when idle.
    """
    LAST = clocks_per_bit - 1
    FRAME = 10

    frame = Signal(intbv(0)[9:])
    left = Signal(modbv(0)[4:])
    phase = Signal(modbv(0)[bits_for(clocks_per_bit) :])

    @always_comb
    def accept():
        ready.next = left == 0

    @always(clk.posedge)
    def transmit():
        if rst:
            left.next = 0
            txd.next = 1
        elif left == 0:
            txd.next = 1
            phase.next = 0
            if valid:
                frame.next = concat(True, data)
                txd.next = 0
                left.next = FRAME
        else:
            phase.next = phase + 1
            if phase == LAST:
                phase.next = 0
                left.next = left - 1
                txd.next = frame[0]
                frame.next = concat(True, frame[9:1])

    return instances()
