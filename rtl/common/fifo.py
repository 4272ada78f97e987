"""Synchronous FIFO between two streams."""

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.ram import address_bits, lutram, ram
from rtl.common.stream import Stream
from rtl.convert import module


@module
def fifo(clk, rst, source: Stream, sink: Stream, count, depth: int, width: int, distributed: bool = False):
    """FIFO of `depth` words whose first word falls through: sink.payload is valid without a request.

    Takes and gives a word in every cycle. A word that enters an empty FIFO is at the sink two cycles
    later, or one cycle later with `distributed`, which keeps the words in RAM with asynchronous read.

    rst: synchronous, active high; empties the FIFO.
    count: words inside, 0 to depth, in address_bits(depth + 1) bits.
    """
    pointer_bits = address_bits(depth)
    last = depth - 1
    write_address = Signal(intbv(0)[pointer_bits:])
    read_address = Signal(intbv(0)[pointer_bits:])
    push = Signal(False)
    pop = Signal(False)

    @always_comb
    def accept():
        push.next = source.valid and source.ready
        pop.next = sink.valid and sink.ready

    @always(clk.posedge)
    def advance_write():
        if rst:
            write_address.next = 0
        elif push:
            if write_address == last:
                write_address.next = 0
            else:
                write_address.next = write_address + 1

    @always(clk.posedge)
    def track():
        # Whether there is room is counted along: a word more or less is a register's matter, not one of comparisons.
        if rst:
            count.next = 0
            source.ready.next = True
        elif push and not pop:
            count.next = count + 1
            source.ready.next = count != last
        elif pop and not push:
            count.next = count - 1
            source.ready.next = True

    if distributed:
        words = lutram(clk, push, write_address, source.payload, read_address, sink.payload, depth=depth, width=width)

        @always(clk.posedge)
        def offer():
            if rst:
                sink.valid.next = False
            elif push and not pop:
                sink.valid.next = True
            elif pop and not push:
                sink.valid.next = count != 1

        @always(clk.posedge)
        def advance_read():
            if rst:
                read_address.next = 0
            elif pop:
                if read_address == last:
                    read_address.next = 0
                else:
                    read_address.next = read_address + 1

    else:
        fetch = Signal(False)
        some, more = [Signal(False) for _ in range(2)]  # words than none, than one
        words = ram(
            clk,
            push,
            write_address,
            source.payload,
            fetch,
            read_address,
            sink.payload,
            depth=depth,
            width=width,
        )

        @always_comb
        def decide():
            # The word at the sink is one of those counted; what is left waits in the RAM.
            if sink.valid:
                fetch.next = sink.ready and more
            else:
                fetch.next = some

        @always(clk.posedge)
        def look():
            if rst:
                some.next = False
                more.next = False
            elif push and not pop:
                some.next = True
                more.next = count != 0
            elif pop and not push:
                some.next = count != 1
                more.next = (count != 1) and (count != 2)

        @always(clk.posedge)
        def advance_read():
            if rst:
                sink.valid.next = False
                read_address.next = 0
            elif fetch:
                sink.valid.next = True
                if read_address == last:
                    read_address.next = 0
                else:
                    read_address.next = read_address + 1
            elif sink.ready:
                sink.valid.next = False

    return instances()
