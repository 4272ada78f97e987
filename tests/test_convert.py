"""Conversion keeps hierarchy, names and bytes, and refuses what would be wrong hardware."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from myhdl import (
    ConcatSignal,
    Constant,
    Signal,
    always,
    always_comb,
    block,
    delay,
    instance,
    instances,
    intbv,
)

from rtl.convert import HierarchyError, convert, module
from rtl.convert.sources import closure

ROOT = Path(__file__).resolve().parents[1]


class Bus:
    """A stream without back-pressure."""

    def __init__(self, width: int) -> None:
        self.data = Signal(intbv(0)[width:])
        self.valid = Signal(False)


def bit() -> Signal:
    return Signal(False)


def word(width: int = 8, value: int = 0) -> Signal:
    return Signal(intbv(value)[width:])


@module
def step(clk, source, sink, width: int, increment: int = 1):
    """Adds `increment` in one cycle."""
    mask = 2**width - 1

    @always(clk.posedge)
    def add():
        sink.valid.next = source.valid
        sink.data.next = (source.data + increment) & mask

    return instances()


@module
def lane(clk, source, sink, width: int):
    """Two steps."""
    first = step(clk, source, between := Bus(width), width)
    second = step(clk, between, sink, width, increment=2)
    return first, second


@module
def machine(clk, sources, sinks, any_valid, width: int):
    """One lane for each source."""
    lanes = [lane(clk, source, sink, width) for source, sink in zip(sources, sinks, strict=True)]
    valids = ConcatSignal(*[sink.valid for sink in reversed(sinks)])

    @always_comb
    def combine():
        any_valid.next = valids != 0

    return instances()


def machine_arguments(lanes: int = 2, width: int = 8) -> tuple:
    buses = [[Bus(width) for _ in range(lanes)] for _ in range(2)]
    return bit(), *buses, bit(), width


def test_three_levels_become_one_file_a_module_children_first(tmp_path):
    result = convert(machine, *machine_arguments(), out_dir=tmp_path)
    names = [file.name for file in result.files]
    assert names == ["step_width8.v", "step_width8_increment2.v", "lane_width8.v", "machine_width8.v"]
    text = result.files[-1].read_text()
    assert "lane_width8 lanes_1 (" in text
    assert ".sink_data(sinks_1_data)" in text
    assert "between_valid" in result.files[2].read_text()
    subprocess.run(["iverilog", "-Wall", "-o", tmp_path / "a.out", *result.files], check=True)


def test_hierarchy_simulates_alike_in_myhdl_and_icarus(tmp_path):
    clk, sources, sinks, any_valid, width = machine_arguments()
    result = convert(machine, clk, sources, sinks, any_valid, width, out_dir=tmp_path)
    seen = []

    @block
    def bench():
        dut = machine(clk, sources, sinks, any_valid, width)

        @instance
        def stimulus():
            for cycle in range(20):
                for index, source in enumerate(sources):
                    source.data.next = (cycle * 37 + index * 11) % 256
                    source.valid.next = cycle % 3 == index
                yield delay(1)
                clk.next = True
                yield delay(1)
                seen.append([int(sinks[0].data), int(sinks[1].data), int(any_valid)])
                clk.next = False

        return dut, stimulus

    bench().run_sim(50, quiet=1)
    verilog = tmp_path / "bench.v"
    verilog.write_text(
        """module bench;
        reg clk = 0; reg [7:0] a, b; reg va, vb; wire [7:0] x, y; wire any_valid; integer i;
        machine_width8 dut (.clk(clk), .sources_0_data(a), .sources_0_valid(va), .sources_1_data(b),
            .sources_1_valid(vb), .sinks_0_data(x), .sinks_0_valid(), .sinks_1_data(y), .sinks_1_valid(),
            .any_valid(any_valid));
        initial for (i = 0; i < 20; i = i + 1) begin
            a = i * 37; b = i * 37 + 11; va = i % 3 == 0; vb = i % 3 == 1;
            #1 clk = 1; #1 $display("%0d %0d %0d", x, y, any_valid); clk = 0;
        end
        endmodule"""
    )
    subprocess.run(["iverilog", "-o", tmp_path / "a.out", verilog, *result.files], check=True)
    output = subprocess.run([tmp_path / "a.out"], check=True, capture_output=True, text=True).stdout
    assert len(seen) == 20
    got = [[int(value) for value in line.split()] for line in output.splitlines() if "x" not in line]
    assert got == seen[-len(got) :] and len(got) > 15


CONVERT_HERE = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_convert import convert, machine, machine_arguments
convert(machine, *machine_arguments(), out_dir={out!r})
"""


def test_bytes_do_not_depend_on_hash_seed_or_process(tmp_path):
    expected = {f.name: f.read_bytes() for f in convert(machine, *machine_arguments(), out_dir=tmp_path).files}
    for seed in ("0", "1", "2"):
        out = tmp_path / seed
        script = CONVERT_HERE.format(root=str(ROOT), tests=str(ROOT / "tests"), out=str(out))
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        assert {file.name: file.read_bytes() for file in out.glob("*.v")} == expected


def test_unchanged_modules_are_not_written_again(tmp_path, monkeypatch):
    first = convert(machine, *machine_arguments(), out_dir=tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("converted again"))
    assert convert(machine, *machine_arguments(), out_dir=tmp_path) == first
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == times


@module
def backwards(clk, source, sink, width: int):
    """Two steps, of which the second comes first by name."""
    first = step(clk, source, between := Bus(width), width, increment=2)
    second = step(clk, between, sink, width)
    return first, second


def test_order_of_files_does_not_depend_on_what_was_there(tmp_path):
    """A list in another order would be another chip to whoever hashes it, and built again."""
    arguments = bit(), Bus(8), Bus(8), 8
    assert convert(backwards, *arguments, out_dir=tmp_path) == convert(backwards, *arguments, out_dir=tmp_path)


def test_edited_verilog_is_restored(tmp_path):
    result = convert(machine, *machine_arguments(), out_dir=tmp_path)
    text = result.files[0].read_text()
    result.files[0].write_text(text + "// edited\n")
    convert(machine, *machine_arguments(), out_dir=tmp_path)
    assert result.files[0].read_text() == text


def test_changed_sources_are_converted_again(tmp_path, monkeypatch):
    convert(machine, *machine_arguments(), out_dir=tmp_path)
    forks = []
    real_fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: forks.append(1) or real_fork())
    monkeypatch.setattr("rtl.convert.converter.source_hash", lambda files: "another")
    convert(machine, *machine_arguments(), out_dir=tmp_path)
    assert forks


def test_sources_of_a_module_are_those_it_imports():
    files = {file.name for file in closure([ROOT / "rtl" / "common" / "fifo.py"])}
    assert {"fifo.py", "ram.py", "stream.py", "converter.py"} <= files
    assert "isa.py" not in files and "config.py" not in files


def test_head_comment_names_source_and_contract(tmp_path):
    text = convert(step, bit(), Bus(4), Bus(4), 4, out_dir=tmp_path).files[0].read_text()
    assert text.startswith("// Generated from ") and "test_convert.py; edit that file" in text
    assert "// Adds `increment` in one cycle.\n" in text
    assert str(ROOT) not in text


@dataclasses.dataclass(frozen=True)
class Named:
    name: str
    rows: int


@dataclasses.dataclass(frozen=True)
class Unnamed:
    rows: int


@module
def configured(clk, x, y, config, deep: bool = False, table: tuple = ()):
    """Has parameters of several kinds."""

    @always(clk.posedge)
    def copy():
        y.next = x

    return instances()


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"config": Named("edge", 4)}, "configured_edge"),
        ({"config": 3, "deep": True}, "configured_config3_deep"),
        ({"config": -3, "deep": False}, "configured_config_minus3"),
        ({"config": "fast"}, "configured_fast"),
        ({"config": None}, "configured_no_config"),
    ],
)
def test_module_names_tell_parameters(tmp_path, parameters, name):
    assert convert(configured, bit(), word(), word(), out_dir=tmp_path, **parameters).name == name


def test_module_name_of_unnamed_configuration_is_a_stable_hash(tmp_path):
    names = [convert(configured, bit(), word(), word(), Unnamed(rows), out_dir=tmp_path).name for rows in (1, 2, 1)]
    assert names[0] == names[2] != names[1]


@module
def register(clk, x, y):
    """A register without a width parameter."""

    @always(clk.posedge)
    def copy():
        y.next = x

    return instances()


@module
def two_widths(clk, a, b, c, d):
    narrow = register(clk, a, b)
    wide = register(clk, c, d)
    return instances()


@module
def two_drivers(clk, a, b, y):
    one = register(clk, a, y)
    other = register(clk, b, y)
    return instances()


@module
def driven_twice(clk, a, y):
    one = register(clk, a, y)

    @always(clk.posedge)
    def also():
        y.next = a

    return instances()


@module
def undriven_input(clk, y):
    nothing = Signal(intbv(5)[8:])
    one = register(clk, nothing, y)
    return instances()


@module
def tied_input(clk, y):
    five = Constant(intbv(5)[8:])
    one = register(clk, five, y)
    return instances()


@module
def keyword_port(clk, small, y):
    @always(clk.posedge)
    def copy():
        y.next = small

    return instances()


@module
def keyword_signal(clk, x, y):
    packed = Signal(intbv(0)[8:])

    @always(clk.posedge)
    def copy():
        packed.next = x
        y.next = packed

    return instances()


@module
def keyword_generator(clk, x, y):
    @always(clk.posedge)
    def join():
        y.next = x

    return instances()


@module
def colliding_ports(clk, bus, bus_data, y):
    @always(clk.posedge)
    def copy():
        y.next = bus.data & bus_data

    return instances()


@module
def generator_named_like_signal(clk, x, y):
    bus = Bus(8)
    one = register(clk, x, bus.data)

    @always(clk.posedge)
    def bus_data():
        y.next = bus.data

    return instances()


@module
def output_to_slice(clk, x, y):
    whole = Signal(intbv(0)[8:])
    one = register(clk, x, whole(4, 0))
    return instances()


@module
def slice_inputs(clk, x, y):
    high = register(clk, x(8, 4), y)
    return instances()


def fails(tmp_path, *call, match: str):
    with pytest.raises(HierarchyError, match=match):
        convert(*call, out_dir=tmp_path)
    assert not list(tmp_path.glob(f"{call[0].func.__name__}*.v")), "a file of a refused module was left"


def test_two_widths_under_one_name_are_refused(tmp_path):
    fails(tmp_path, two_widths, bit(), word(8), word(8), word(9), word(9), match=r"port x: width is 9.*with 8")


def test_two_signs_under_one_name_are_refused(tmp_path):
    signed = [Signal(intbv(0, min=-128, max=128)) for _ in range(2)]
    fails(tmp_path, two_widths, bit(), word(), word(), *signed, match="port x: signed is True.*with False")


def test_two_reset_values_under_one_name_are_refused(tmp_path):
    fails(
        tmp_path,
        two_widths,
        bit(),
        word(),
        word(),
        word(),
        word(8, 7),
        match="port y: initial value.*is 7.*with 0",
    )


def test_another_port_set_under_one_name_is_refused(tmp_path):
    @module
    def bigger(clk, narrow, wide, y):
        one = register(clk, narrow, y)
        other = register(clk, wide, Bus(8))
        return instances()

    fails(tmp_path, bigger, bit(), word(), Bus(8), word(), match=r"missing \['x', 'y'\], unknown \['x_data'")


def test_two_children_driving_one_signal_are_refused(tmp_path):
    fails(
        tmp_path,
        two_drivers,
        bit(),
        word(),
        word(),
        word(),
        match="output y of other drives.*y of one drives",
    )


def test_child_and_generator_driving_one_signal_are_refused(tmp_path):
    fails(tmp_path, driven_twice, bit(), word(), word(), match="multiple drivers")


def test_signal_without_driver_is_refused(tmp_path):
    fails(tmp_path, undriven_input, bit(), word(), match="signal nothing is read but nothing drives it")


def test_constant_ties_an_input(tmp_path):
    text = convert(tied_input, bit(), word(), out_dir=tmp_path).files[-1].read_text()
    assert "localparam [7:0] five = 8'd5;" in text and ".x(five)" in text


@pytest.mark.parametrize(
    ("block_function", "what"),
    [
        (keyword_port, "port 'small'"),
        (keyword_signal, "signal 'packed'"),
        (keyword_generator, "generator 'join'"),
    ],
)
def test_keywords_are_refused_as_names(tmp_path, block_function, what):
    fails(tmp_path, block_function, bit(), word(), word(), match=f"{what} is a Verilog or SystemVerilog keyword")


def test_ports_with_one_name_are_refused(tmp_path):
    fails(tmp_path, colliding_ports, bit(), Bus(8), word(), word(), match="two Signals make a port bus_data")


def test_generator_named_like_a_signal_is_refused(tmp_path):
    fails(tmp_path, generator_named_like_signal, bit(), word(), word(), match="both named 'bus_data'")


def test_output_into_a_slice_is_refused(tmp_path):
    fails(
        tmp_path,
        output_to_slice,
        bit(),
        word(4),
        word(),
        match="connected to a _SliceSignal: connect a Signal",
    )


def test_slice_as_input_is_written_in_place(tmp_path):
    text = convert(slice_inputs, bit(), word(8), word(4), out_dir=tmp_path).files[-1].read_text()
    assert ".x(x[8-1:4])" in text


def test_plain_block_at_the_top_is_refused(tmp_path):
    @block
    def plain():
        return []

    with pytest.raises(HierarchyError, match="not a @module"):
        convert(plain, out_dir=tmp_path)


def test_error_in_a_child_names_the_path_to_it(tmp_path):
    @module
    def outer(clk, small, y):
        inner = keyword_port(clk, small, y)
        return instances()

    with pytest.raises(HierarchyError, match="outer: port 'small'"):
        convert(outer, bit(), word(), word(), out_dir=tmp_path)

    @module
    def holder(clk, x, y):
        inner = keyword_port(clk, x, y)
        return instances()

    with pytest.raises(HierarchyError, match="^holder > keyword_port: port 'small'"):
        convert(holder, bit(), word(), word(), out_dir=tmp_path)


def test_parameter_without_stable_text_is_refused(tmp_path):
    with pytest.raises(HierarchyError, match="parameter config is a object, whose repr names an address"):
        convert(configured, bit(), word(), word(), object(), out_dir=tmp_path)
