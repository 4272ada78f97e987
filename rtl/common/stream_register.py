"""A register between two streams."""

from myhdl import always, always_comb, instances

from rtl.common.stream import Stream
from rtl.convert import module


@module
def stream_register(clk, rst, source: Stream, sink: Stream, width: int):
    """Hold one word, so that what is behind starts from a flip-flop: for the word of a RAM, which comes late.

    A word leaves a cycle after it came, one in every cycle. sink.ready goes through to source.ready.

    rst: synchronous, active high; empties it. width: bits of the payload.
    """
    if len(source.payload) != width or len(sink.payload) != width:
        raise ValueError(f"stream_register: {len(source.payload)} and {len(sink.payload)} bits, expected {width}")

    @always_comb
    def accept():
        source.ready.next = sink.ready or not sink.valid

    @always(clk.posedge)
    def hold():
        if rst:
            sink.valid.next = False
        elif sink.ready or not sink.valid:
            sink.valid.next = source.valid
        if source.valid and (sink.ready or not sink.valid):
            sink.payload.next = source.payload

    return instances()
