"""Memories: simulated as a Python list, written as Verilog from which tools infer RAM."""

from myhdl import Signal, always, always_comb, instances

from rtl.convert import module

COLLISIONS = "MOZG_RAM_COLLISIONS"
"""Macro for simulations: a ram gives wrong bits where its word must not be used."""
BLOCK_BITS = 8192
"""A ram of so many bits is a block RAM, however shallow: as distributed RAM it needs a multiplexer behind."""


def address_bits(depth: int) -> int:
    """Width of an address of `depth` words, at least one bit."""
    return max(1, (depth - 1).bit_length())


def check_ports(block: str, wanted: dict[str, tuple[object, int]]) -> None:
    """Raise ValueError where a port's width is not what depth, width and parts ask for."""
    for name, (signal, width) in wanted.items():
        if signal._nrbits != width:
            raise ValueError(f"{block}: {name} has {signal._nrbits} bits, expected {width}")


def write_text(width: int, parts: int) -> str:
    """The Verilog statement that writes a word, or the enabled parts of it."""
    if parts == 1:
        return "if (write_enable) mem[write_address] <= write_data;"
    size = width // parts
    select = f"[part*{size} +: {size}]"
    return (
        f"for (part = 0; part < {parts}; part = part + 1)\n"
        f"        if (write_enable[part]) mem[write_address]{select} <= write_data{select};"
    )


def ram_verilog(
    clk,
    write_enable,
    write_address,
    write_data,
    read_enable,
    read_address,
    read_data,
    depth: int,
    width: int,
    parts: int = 1,
    read_stages: int = 1,
) -> str:
    index = "integer part;\n" if parts > 1 else ""
    target = "read_data" if read_stages == 1 else "fetched"
    second = "" if read_stages == 1 else "    read_data <= fetched;\n"
    fetched = "" if read_stages == 1 else f"reg [{width - 1}:0] fetched;\n"
    writes = "write_enable" if parts == 1 else "|write_enable"
    style = ', ram_style = "block"' if depth * width >= BLOCK_BITS else ""
    return f"""\
(* no_rw_check{style} *)
reg [{width - 1}:0] mem [0:{depth - 1}];
{fetched}{index}
always @(posedge clk) begin: write
    {write_text(width, parts)}
end

always @(posedge clk) begin: read
    if (read_enable) {target} <= mem[read_address];
`ifdef {COLLISIONS}
    if (read_enable && {writes} && read_address == write_address) {target} <= ~mem[read_address];
`endif
{second}end"""


@module(verilog=ram_verilog)
def ram(
    clk,
    write_enable,
    write_address,
    write_data,
    read_enable,
    read_address,
    read_data,
    depth: int,
    width: int,
    parts: int = 1,
    read_stages: int = 1,
):
    """RAM with one write port and one registered read port on one clock.

    What is read at the address that is written in the same cycle is undefined, as in the block RAM of an FPGA: whoever
    reads then must not use it. (For the old word Yosys would add a register a bit and a multiplexer on the way out.)
    In simulation it is the old word, or with the macro MOZG_RAM_COLLISIONS, which every bench defines, its complement.
    Contents are not reset. An enabled address must be below depth.

    write_enable: one bit, or `parts` bits, each for width / parts bits of the word, low part first.
    read_data: the word read_stages (1 or 2) cycles after read_enable; held while read_enable is low.
    """
    if width % parts or read_stages not in (1, 2):
        raise ValueError(f"ram: width {width} / parts {parts}, read_stages {read_stages}: expected 1 or 2 stages")
    check_ports(
        "ram",
        {
            "write_enable": (write_enable, parts),
            "write_address": (write_address, address_bits(depth)),
            "write_data": (write_data, width),
            "read_address": (read_address, address_bits(depth)),
            "read_data": (read_data, width),
        },
    )
    words = [0] * depth
    fetched = [0]
    size = width // parts
    ones = (1 << size) - 1

    @always(clk.posedge)
    def access():
        if read_stages == 2:
            read_data.next = fetched[0]
        if read_enable:
            if read_stages == 2:
                fetched[0] = words[int(read_address)]
            else:
                read_data.next = words[int(read_address)]
        if write_enable:
            mask = sum(ones << (part * size) for part in range(parts) if int(write_enable) >> part & 1)
            address = int(write_address)
            words[address] = (words[address] & ~mask) | (int(write_data) & mask)

    return instances()


def lutram_verilog(
    clk, write_enable, write_address, write_data, read_address, read_data, depth: int, width: int
) -> str:
    return f"""\
reg [{width - 1}:0] mem [0:{depth - 1}];

always @(posedge clk) begin: write
    {write_text(width, 1)}
end

assign read_data = mem[read_address];"""


@module(verilog=lutram_verilog)
def lutram(clk, write_enable, write_address, write_data, read_address, read_data, depth: int, width: int):
    """RAM with one write port and one asynchronous read port; for small depths, else use ram.

    A word can be read in the cycle after it was written. Contents are not reset.
    """
    check_ports(
        "lutram",
        {
            "write_address": (write_address, address_bits(depth)),
            "write_data": (write_data, width),
            "read_address": (read_address, address_bits(depth)),
            "read_data": (read_data, width),
        },
    )
    words = [0] * depth
    written = Signal(False)

    @always(clk.posedge)
    def write():
        if write_enable:
            words[int(write_address)] = int(write_data)
            written.next = not written

    @always_comb
    def read():
        # Reading `written` wakes this generator when the word under the address changes.
        read_data.next = words[int(read_address)] if written or read_address < depth else 0

    return instances()
