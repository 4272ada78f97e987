"""Two registers between two streams."""

from myhdl import Signal, always, always_comb, instances, intbv

from rtl.common.stream import Stream
from rtl.convert import module


@module
def stream_register(clk, rst, source: Stream, sink: Stream, width: int):
    """Hold up to two words, so that what is before and what is behind start from flip-flops: no path leads from
    source to sink, nor from sink.ready to source.ready.

    A word leaves a cycle after it came, one in every cycle.

    rst: synchronous, active high; empties it. width: bits of the payload.
    """
    if len(source.payload) != width or len(sink.payload) != width:
        raise ValueError(f"stream_register: {len(source.payload)} and {len(sink.payload)} bits, expected {width}")
    held = Signal(False)
    spare = Signal(intbv(0)[width:])

    @always_comb
    def accept():
        source.ready.next = not held

    @always(clk.posedge)
    def hold():
        if rst:
            sink.valid.next = False
            held.next = False
        elif sink.ready or not sink.valid:
            sink.valid.next = source.valid or held
            held.next = False
        elif source.valid:
            held.next = True

    @always(clk.posedge)
    def keep():
        # Whatever is there, valid or not: no enable of so many flip-flops waits for source.valid.
        if sink.ready or not sink.valid:
            if held:
                sink.payload.next = spare
            else:
                sink.payload.next = source.payload
        if not held:
            spare.next = source.payload

    return instances()
