"""Two instructions before an engine, without those that nobody needs in this step."""

from myhdl import Signal, always_comb, instances, intbv

from rtl.common.isa import FIELDS, INSTRUCTION_BITS
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.convert import module


@module
def instruction_register(clk, rst, any_sample, source: Stream, sink: Stream):
    """A stream_register of instructions; a sampling_only one is dropped when any_sample is 0.

    Ports: clk, rst; any_sample; source, sink: instructions in and out.
    """
    sampling_bit = FIELDS["sampling_only"].bit
    wanted = Stream.of(Signal(intbv(0)[INSTRUCTION_BITS:]), Signal(False), Signal(False))

    @always_comb
    def choose():
        wanted.payload.next = source.payload
        wanted.valid.next = source.valid and (any_sample or not source.payload[sampling_bit])
        source.ready.next = wanted.ready

    register = stream_register(clk, rst, wanted, sink, width=INSTRUCTION_BITS)

    return instances()
