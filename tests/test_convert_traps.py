"""What MyHDL converts to wrong hardware without a warning, pinned: refused here, or known and avoided.

A test of a trap that remains checks that it still is one: when it fails, MyHDL changed, and the rule can go.
"""

import subprocess

import pytest
from myhdl import Signal, always, always_comb, instances, intbv

from rtl.convert import HierarchyError, convert, module


def bit() -> Signal:
    return Signal(False)


def word(width: int) -> Signal:
    return Signal(intbv(0)[width:])


def signed(width: int) -> Signal:
    return Signal(intbv(0, min=-(2 ** (width - 1)), max=2 ** (width - 1)))


def evaluate(tmp_path, result, inputs: dict[str, int], output: str, width: int) -> int:
    """The value, signed, of a combinational module's output in Icarus."""
    connections = ", ".join(f".{name}({value})" for name, value in inputs.items())
    bench = tmp_path / "bench.v"
    bench.write_text(
        f"module bench; wire signed [{width - 1}:0] out; {result.name} dut ({connections}, .{output}(out));\n"
        f'initial #1 $display("%0d", out);\nendmodule\n'
    )
    subprocess.run(["iverilog", "-o", tmp_path / "a.out", bench, *result.files], check=True)
    return int(subprocess.run([tmp_path / "a.out"], check=True, capture_output=True, text=True).stdout)


@module
def indexed_slices(word_in, index, y):
    """Reads a list of shadow slices by index."""
    lanes = [word_in(i * 8 + 8, i * 8) for i in range(4)]

    @always_comb
    def select():
        y.next = lanes[index]

    return instances()


def test_indexed_list_of_slices_is_refused(tmp_path):
    with pytest.raises(HierarchyError, match="list lanes would be memory full of zeros: a list of slices"):
        convert(indexed_slices, word(32), word(2), word(8), out_dir=tmp_path)


class Bus:
    def __init__(self) -> None:
        self.data = word(8)


@module
def slice_of_interface(bus, y):
    """Reads a shadow slice of a member of a top-level interface: MyHDL alone makes a constant 0 of it."""
    high = bus.data(8, 4)

    @always_comb
    def copy():
        y.next = high

    return instances()


def test_slice_of_interface_member_is_connected(tmp_path):
    result = convert(slice_of_interface, Bus(), word(4), out_dir=tmp_path)
    assert evaluate(tmp_path, result, {"bus_data": "8'h50"}, "y", 4) == 5


@module
def list_ports_indexed(clk, lanes, index, y):
    """Indexes a list of ports in a generator: MyHDL alone makes a memory of it."""

    @always(clk.posedge)
    def select():
        y.next = lanes[index]

    return instances()


def test_indexed_list_of_ports_is_refused(tmp_path):
    with pytest.raises(HierarchyError, match="list of ports lanes is indexed in a generator; pack it"):
        convert(list_ports_indexed, bit(), [word(8) for _ in range(4)], word(2), word(8), out_dir=tmp_path)


@module
def undriven_list(clk, index, y):
    """Reads a list that nothing writes."""
    table = [word(8) for _ in range(4)]

    @always(clk.posedge)
    def look_up():
        y.next = table[index]

    return instances()


def test_list_that_nothing_drives_is_refused(tmp_path):
    with pytest.raises(HierarchyError, match="list table would be memory full of zeros: nothing drives"):
        convert(undriven_list, bit(), word(2), word(8), out_dir=tmp_path)


@module
def mixed_signs(a, u, y):
    """Multiplies and adds signed and unsigned."""

    @always_comb
    def compute():
        y.next = a * u + u

    return instances()


@module
def same_signs(a, u, y):
    """The same, u made signed first."""
    wide = signed(12)

    @always_comb
    def widen():
        wide.next = u

    @always_comb
    def compute():
        y.next = a * wide + wide

    return instances()


def test_trap_of_mixed_signs_and_its_cure(tmp_path):
    inputs = {"a": "-8'sd3", "u": "4'd5"}
    trap = convert(mixed_signs, signed(8), word(4), signed(16), out_dir=tmp_path)
    cure = convert(same_signs, signed(8), word(4), signed(16), out_dir=tmp_path)
    assert evaluate(tmp_path, cure, inputs, "y", 16) == -10
    assert evaluate(tmp_path, trap, inputs, "y", 16) != -10


@module
def lost_carry(a, b, y):
    """Halves a sum whose carry has no room."""

    @always_comb
    def average():
        y.next = (a + b) >> 1

    return instances()


@module
def kept_carry(a, b, y):
    """Halves a sum that has a name, and a width."""
    total = word(9)

    @always_comb
    def add():
        total.next = a + b

    @always_comb
    def average():
        y.next = total[9:1]

    return instances()


def test_trap_of_lost_carry_and_its_cure(tmp_path):
    inputs = {"a": "8'd200", "b": "8'd100"}
    trap = convert(lost_carry, word(8), word(8), word(8), out_dir=tmp_path)
    cure = convert(kept_carry, word(8), word(8), word(8), out_dir=tmp_path)
    assert evaluate(tmp_path, cure, inputs, "y", 9) == 150
    assert evaluate(tmp_path, trap, inputs, "y", 9) != 150


@module
def floor_division(a, y):
    """Divides a signed value, which Verilog truncates and Python floors."""

    @always_comb
    def divide():
        y.next = a // 4

    return instances()


def test_trap_of_floor_division(tmp_path):
    trap = convert(floor_division, signed(8), signed(8), out_dir=tmp_path)
    assert evaluate(tmp_path, trap, {"a": "-8'sd5"}, "y", 8) == -1 != -5 // 4


@module
def constant_table(index, y):
    """Reads a tuple of int."""
    table = (3, 1, 4, 1)

    @always_comb
    def look_up():
        y.next = table[int(index)]

    return instances()


def test_tuple_of_int_is_a_rom(tmp_path):
    result = convert(constant_table, word(2), word(8), out_dir=tmp_path)
    assert evaluate(tmp_path, result, {"index": "2'd2"}, "y", 8) == 4


@module
def forgotten_output(clk, x, y):
    """Never drives y."""
    inner = Signal(intbv(0)[8:])

    @always(clk.posedge)
    def copy():
        inner.next = x

    return instances()


@module
def reads_forgotten_output(clk, x, z):
    """Uses what its child forgot to drive."""
    y = Signal(intbv(0)[8:])
    child = forgotten_output(clk, x, y)

    @always(clk.posedge)
    def copy():
        z.next = y

    return instances()


def test_output_that_a_child_forgot_is_refused_in_its_parent(tmp_path):
    with pytest.raises(HierarchyError, match="reads_forgotten_output: signal y is read but nothing drives it"):
        convert(reads_forgotten_output, bit(), word(8), word(8), out_dir=tmp_path)
