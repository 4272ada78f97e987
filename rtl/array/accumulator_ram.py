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
    fresh,
    read_data,
    drain_enable,
    drain_word,
    drain_data,
    lanes: int,
    block_ram: bool,
) -> str:
    low = lanes.bit_length() - 1
    parts = [f"mem[{{drain_word, {low}'d{lane}}}]" for lane in reversed(range(lanes))]
    joined = ",\n            ".join(parts)
    if block_ram:
        memories = f"""\
reg [31:0] mem [0:{2 * BLOCK - 1}];
(* ram_style = "block", no_rw_check *)
reg [31:0] copy [0:{2 * BLOCK - 1}];
reg [31:0] fetched;"""
        write = """begin
        mem[write_element] <= write_data;
        copy[write_element] <= write_data;
    end"""
        first, word = "fetched <= copy[read_element]", "fetched"
    else:
        memories = f"""\
reg [31:0] mem [0:{2 * BLOCK - 1}];
reg [5:0] element;"""
        write = "mem[write_element] <= write_data;"
        first, word = "element <= read_element", "mem[element]"
    return f"""\
{memories}

always @(posedge clk) begin: write
    if (write_enable) {write}
end

always @(posedge clk) begin: accumulate
    if (read_enable) {first};
    read_data <= {word};
    if (fresh) read_data <= 0;
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
    fresh,
    read_data,
    drain_enable,
    drain_word,
    drain_data,
    lanes: int,
    block_ram: bool,
):
    """64 words of 32 bits, with a write port, a read port of two cycles, and a read port of `lanes` neighbours at once.

    A word that is written in one of the two cycles of its read may be the old or the new one; the wide port gives
    the old one. Contents are not reset. block_ram: the word to be added to comes from a second copy, a block RAM with
    its output register. Text, because the wide port is a concatenation whose length is a parameter.

    Ports: clk; write_enable, write_element ({bank, element}, 6 bits), write_data; read_enable, read_element; fresh (a
    cycle later): +0 instead of what was read; read_data; drain_enable, drain_word ({bank, word}; just the bank
    where a word is a whole bank), drain_data (element i at bits 32 * i).
    """
    words = [0] * (2 * BLOCK)
    if len(drain_data) != 32 * lanes or 1 << len(drain_word) != 2 * BLOCK // lanes:
        raise ValueError(
            f"accumulator_ram: drain_data has {len(drain_data)} bits, drain_word {len(drain_word)}: "
            f"expected {32 * lanes} and one for each of {2 * BLOCK // lanes} words"
        )

    fetched = [0]

    @always(clk.posedge)
    def access():
        read_data.next = 0 if fresh else fetched[0]
        if read_enable:
            fetched[0] = words[int(read_element)]
        if drain_enable:
            first = lanes * int(drain_word)
            drain_data.next = sum(words[first + lane] << (32 * lane) for lane in range(lanes))
        if write_enable:
            words[int(write_element)] = int(write_data)

    return instances()
