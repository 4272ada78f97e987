"""Accumulators of one column of a row: two banks of 32 FP32."""

from myhdl import always, instances

from rtl.common.config import BLOCK
from rtl.convert import module


def accumulator_ram_verilog(
    clk,
    write_enable,
    write_element,
    write_data,
    read_enable,
    read_element,
    read_data,
    drain_enable,
    drain_word,
    drain_data,
    lanes: int,
) -> str:
    low = lanes.bit_length() - 1
    parts = [f"mem[{{drain_word, {low}'d{lane}}}]" for lane in reversed(range(lanes))]
    joined = ",\n            ".join(parts)
    return f"""\
reg [31:0] mem [0:{2 * BLOCK - 1}];

always @(posedge clk) begin: write
    if (write_enable) mem[write_element] <= write_data;
end

always @(posedge clk) begin: accumulate
    if (read_enable) read_data <= mem[read_element];
end

always @(posedge clk) begin: drain
    if (drain_enable)
        drain_data <= {{
            {joined}
        }};
end"""


@module(verilog=accumulator_ram_verilog)
def accumulator_ram(
    clk,
    write_enable,
    write_element,
    write_data,
    read_enable,
    read_element,
    read_data,
    drain_enable,
    drain_word,
    drain_data,
    lanes: int,
):
    """64 words of 32 bits, with a write port, a read port, and a read port of `lanes` neighbours at once.

    Reads are registered and give what was there before a write of the same cycle. Contents are not reset. Text,
    because the wide port is a concatenation whose length is a parameter.

    Ports: clk; write_enable, write_element ({bank, element}, 6 bits), write_data; read_enable, read_element,
    read_data; drain_enable, drain_word ({bank, word}; just the bank where a word is a whole bank),
    drain_data (element i at bits 32 * i).
    """
    words = [0] * (2 * BLOCK)
    if len(drain_data) != 32 * lanes or 1 << len(drain_word) != 2 * BLOCK // lanes:
        raise ValueError(
            f"accumulator_ram: drain_data has {len(drain_data)} bits, drain_word {len(drain_word)}: "
            f"expected {32 * lanes} and one for each of {2 * BLOCK // lanes} words"
        )

    @always(clk.posedge)
    def access():
        if read_enable:
            read_data.next = words[int(read_element)]
        if drain_enable:
            first = lanes * int(drain_word)
            drain_data.next = sum(words[first + lane] << (32 * lane) for lane in range(lanes))
        if write_enable:
            words[int(write_element)] = int(write_data)

    return instances()
