"""Queue of the instructions that concern the array."""

from myhdl import Signal, always_comb, always_seq, concat, instances, intbv

from rtl.array.descriptors import operand_range, queued_bits
from rtl.common.config import ChipConfig, bits_for
from rtl.common.fifo import fifo
from rtl.common.isa import Opcode
from rtl.common.stream import Stream
from rtl.convert import module

DEPTH = 5
"""Words; the last one is for what comes while there was still room a clock ago."""


@module
def instruction_queue(
    clk, rst, any_sample, instruction, instruction_valid, instruction_ready, sink, waiting, config: ChipConfig
):
    """Keep what the array needs of MATMUL and ATTEND; drop others, and sampling_only ones when no row samples.

    Instructions without work (no groups, k blocks, heads or head blocks) are dropped too.

    Ports: clk, rst; any_sample; instruction (512), _valid, _ready; sink: stream of packed fields, see
    descriptors.py; waiting: one is queued.
    """
    opcode_high, opcode_low = operand_range("opcode", config)
    _, sampling_at = operand_range("sampling_only", config)
    _, mxfp4_at = operand_range("mxfp4", config)
    _, consume_at = operand_range("consume", config)
    k_high, k_low = operand_range("k_blocks", config)
    groups_high, groups_low = operand_range("groups", config)
    source_high, source_low = operand_range("source", config)
    blocks_high, blocks_low = operand_range("head_blocks", config)
    heads_high, heads_low = operand_range("heads", config)
    weight_high, weight_low = operand_range("weight_block", config)
    matmul, attend = int(Opcode.MATMUL), int(Opcode.ATTEND)

    unused_ready = Signal(bool(0))
    entry = Stream.of(Signal(intbv(0)[queued_bits(config) :]), Signal(bool(0)), unused_ready)
    count = Signal(intbv(0)[bits_for(DEPTH + 1) :])
    room = Signal(bool(0))

    @always_seq(clk.posedge, reset=rst)
    def look():
        # In a register: the sequencer, which is far away, decides by it what to do next.
        room.next = count < DEPTH - 1

    @always_comb
    def select():
        wanted = intbv(0)[1:]
        if instruction[opcode_high:opcode_low] == matmul:
            wanted[0] = (instruction[groups_high:groups_low] != 0) & (instruction[k_high:k_low] != 0)
        elif instruction[opcode_high:opcode_low] == attend:
            wanted[0] = (instruction[heads_high:heads_low] != 0) & (instruction[blocks_high:blocks_low] != 0)
        if instruction[sampling_at] & (not any_sample):
            wanted[0] = 0
        entry.valid.next = instruction_valid & room & wanted[0]

    @always_comb
    def pack():
        entry.payload.next = concat(
            instruction[opcode_high:opcode_low] == attend,
            instruction[weight_high:weight_low],
            instruction[heads_high:heads_low],
            instruction[blocks_high:blocks_low],
            instruction[source_high:source_low],
            instruction[groups_high:groups_low],
            instruction[k_high:k_low],
            instruction[consume_at],
            instruction[mxfp4_at],
        )
        instruction_ready.next = room

    queue = fifo(clk, rst, entry, sink, count, depth=DEPTH, width=queued_bits(config), distributed=True)

    @always_comb
    def tell():
        waiting.next = count != 0

    return instances()
