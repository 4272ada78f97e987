"""UART receiver."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.common.config import bits_for
from rtl.convert import module


@module
def uart_rx(clk, rst, rxd, data, valid, clocks_per_bit: int):
    """8 data bits, no parity, one stop bit, low bit first. Samples each bit once, in its middle.

    A start bit that is high in its middle and a byte whose stop bit is low are dropped. It waits for the next
    falling edge, so a line that is held low gives nothing. No buffer: valid is a pulse of one clock.

    rxd: asynchronous, synchronised here. clocks_per_bit: at least 4. data, valid: the byte.
    """
    if clocks_per_bit < 4:
        raise ValueError(f"uart_rx: {clocks_per_bit} clocks a bit: expected at least 4")
    LAST, MIDDLE = clocks_per_bit - 1, clocks_per_bit // 2 - 1
    STOP = 9

    line = Signal(intbv(0)[3:])
    busy = Signal(bool(0))
    phase = Signal(modbv(0)[bits_for(clocks_per_bit) :])
    place = Signal(modbv(0)[4:])
    begins = Signal(bool(0))

    @always_comb
    def look():
        begins.next = line[2] and not line[1]

    @always(clk.posedge)
    def receive():
        line.next = concat(line[2:], rxd)
        valid.next = 0
        if rst:
            busy.next = 0
        elif not busy:
            phase.next = 0
            place.next = 0
            busy.next = begins
        else:
            phase.next = phase + 1
            if phase == LAST:
                phase.next = 0
                place.next = place + 1
            if phase == MIDDLE:
                if place == 0:
                    busy.next = not line[1]
                elif place == STOP:
                    busy.next = 0
                    valid.next = line[1]
                else:
                    data.next = concat(line[1], data[8:1])

    return instances()
