"""Libraries of cells and the flow that maps to them: what their files may hold, what is told and what is refused."""

import gzip
import re
import shutil
import threading
from dataclasses import replace

import pytest
import small_cells

from verif.folders import BUILD, alone
from verif.synth import asic, mapping, rams
from verif.synth.designs import Design, Module, find
from verif.synth.liberty import LibertyError, Library, parse, truth_table, verilog_expression
from verif.synth.mapping import Mapper, plain
from verif.synth.rams import Choice, Macro, Ram

FOLDER = BUILD / "test_asic"
RAM = "ram_depth64_width32_read_stages2"
RAM_PORTS = """input clk, input write_enable, input [5:0] write_address, input [31:0] write_data, input read_enable,
    input [5:0] read_address, output [31:0] read_data"""
USES_RAM = f"""module top (input clk, input write_enable, input [5:0] address, input [31:0] data, output reg [31:0] y);
wire [31:0] read_data;
{RAM} one (.clk(clk), .write_enable(write_enable), .write_address(address), .write_data(data), .read_enable(1'b1),
    .read_address(address), .read_data(read_data));
always @(posedge clk) y <= ~read_data;
endmodule
"""
RESETS = """module top (input clk, input rst, input d, output reg q);
reg engine_reset;
always @(posedge clk) engine_reset <= rst;
always @(posedge clk) q <= d & ~engine_reset;
endmodule
"""

needs_sta = pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA is not installed")


def made(name: str, text: str) -> Library:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_text(text)
    return Library(FOLDER / name)


@pytest.fixture(scope="module")
def library():
    return made("small.lib", small_cells.text())


def written(**texts: str) -> Design:
    """A design from texts, children first, `top` last."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    modules = {}
    for name, text in texts.items():
        (FOLDER / f"{name}.v").write_text(text)
        block = name.partition("_")[0] if name == RAM else name
        modules[name] = Module(name, FOLDER / f"{name}.v", f"rtl.{block}.{block}", tuple(modules))
    return Design("top", modules)


def run(design: Design, library: Library, macros: tuple[Macro, ...] = ()) -> asic.Result:
    return asic.run(design, library, list(macros), 100, gates=True, progress=lambda _: None)


@pytest.mark.parametrize(
    ("text", "verilog"),
    [
        ("!(A*B)", "(~(A & B))"),
        ("A B + C'", "((A & B) | (~C))"),
        ("A+B'C", "(A | ((~B) & C))"),
        ("!A(B^C)", "((~A) & (B ^ C))"),
        ("A ^ B C", "((A ^ B) & C)"),
        ("A & B ^ C | A", "((A & (B ^ C)) | A)"),
        ("(A+B) C", "((A | B) & C)"),
        ("(A B)' C", "((~(A & B)) & C)"),
        ("((A B)+C)'", "(~((A & B) | C))"),
        ("(!(A&B))'", "(~(~(A & B)))"),
        ("A''", "(~(~A))"),
        ("1", "1'b1"),
        ("A 0", "(A & 1'b0)"),
    ],
)
def test_functions_of_liberty_become_verilog(text, verilog):
    assert verilog_expression(text) == verilog


def test_a_truth_table_has_the_first_input_changing_fastest():
    assert truth_table(verilog_expression("A ^ B C"), ["A", "B", "C"]) == [0, 0, 0, 0, 0, 1, 1, 0]
    assert truth_table(verilog_expression("(A+B)'"), ["A", "B"]) == [1, 0, 0, 0]
    assert truth_table("IQ", ["A"]) == []


@pytest.mark.parametrize(("function", "told"), [("!(A*B", "a ) is missing"), ("A*+B", "+ where a pin was expected")])
def test_a_broken_function_is_told_with_its_cell(function, told):
    with pytest.raises(LibertyError, match=f"cell NAND2: .* is no Liberty expression: {re.escape(told)}"):
        print(made("function.lib", small_cells.text().replace("!(A*B)", function)).gate_equivalent)


def test_a_forgotten_semicolon_ends_with_its_line():
    group = parse("library (x) { a : 3 b : 4; cell (y) { area : 5 pin (A) { direction : input } } }")
    cell = group.of("cell")[0]
    assert group.attributes == {"a": "3", "b": "4"} and cell.attributes == {"area": "5"}
    assert cell.of("pin")[0].attributes == {"direction": "input"}
    with pytest.raises(LibertyError, match="no library group"):
        parse("foo (a) { }")


def test_a_gzip_file_is_told_by_its_content(library, tmp_path):
    (tmp_path / "x.lib").write_bytes(gzip.compress(library.text.encode()))
    assert Library(tmp_path / "x.lib").text == library.text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("area : 2.0;", "", "cell NAND2: no area"),
        ("capacitance : 0.002;", "", "cell NAND2: the capacitance of pin A is no number"),
        ("(1, pf)", "(1)", "capacitive_load_unit '1': expected a number and one of ff, pf"),
        ("(1, pf)", "(1, nf)", "capacitive_load_unit '1 nf': expected"),
        ('"1ns"', '"1 hour"', "time_unit '1 hour': expected a number and one of ns, ps"),
    ],
)
def test_what_a_library_lacks_is_told_in_a_line(old, new, told, capsys):
    library = made("lacks.lib", small_cells.text().replace(old, new).replace("(small)", "(lacks)"))
    assert asic.main(["fp32_from_int", "--liberty", str(library.path)]) == 1
    assert told in capsys.readouterr().err


@needs_sta
def test_units_of_a_library_do_not_change_the_clock(library):
    other = made("small_ps.lib", small_cells.in_picoseconds())
    assert (other.nanoseconds, other.femtofarads) == (0.001, 1.0)
    boxes = {Ram("a", 64, 32, 1, 2): Choice(Macro("m", 64, 32, 1.0, 2.0, 0.1), 1, 1), Ram("b", 64, 32, 1, 1): None}
    assert rams.liberty(boxes, other) == rams.liberty(boxes, library)
    design = find("fifo", "tiny")
    first, second = run(design, library), run(design, other)
    assert first.megahertz == second.megahertz and first.gate_equivalents == second.gate_equivalents


def test_a_macro_is_as_slow_as_its_tables_say(tmp_path):
    (tmp_path / "a.lib").write_text("""library (x) { time_unit : "10ps"; cell (m) { area : 9; memory () {
address_width : 5; word_width : 8; } bus (q) { timing () { timing_type : rising_edge;
cell_rise (t) { values ("100, 200", "150, 310"); } cell_fall (t) { values ("90, 1e1"); } rise_transition (t) {
values ("999"); } } } bus (d) { timing () { timing_type : setup_rising; rise_constraint (t) {
values ("-5, 20"); } } } } }""")
    macro = rams.read_macro(tmp_path / "a.lib")
    assert macro == Macro("m", 32, 8, 9.0, pytest.approx(3.1), pytest.approx(0.2))


def test_two_read_stages_are_a_register_behind_the_macro(library):
    assert library.flip_flop.name == "DFF" and library.clock_to_output == 0.1
    choice = Choice(Macro("m", 64, 32, 1.0, 2.0, 0.1), 1, 1)
    for stages, delay in ((1, 2.0), (2, 0.1)):
        assert f'cell_rise (scalar) {{ values ("{delay}")' in rams.liberty(
            {Ram("a", 64, 32, 1, stages): choice}, library
        )


@needs_sta
def test_registers_behind_macros_are_counted(library):
    design = written(**{RAM: f"module {RAM} ({RAM_PORTS});\nendmodule\n", "top": USES_RAM})
    result = run(design, library, (Macro("m", 64, 32, 100.0, 2.0, 0.1),))
    figures = {f.name: f for f in result.figures}
    assert (figures[RAM].flip_flops, figures[RAM].um2) == (32, 32 * library.flip_flop.area)
    assert result.gate_equivalents == figures[RAM].gate_equivalents + figures["top"].gate_equivalents
    assert "flip-flops 64" in asic.report(result) and "100 um2 of macros" in asic.report(result)
    assert 9 < result.slack < 9.9


def test_a_multiplier_lane_is_one_of_a_row(library):
    def text(name, *children):
        lines = [f"{child} {child}_{index} (.clk(clk));" for index, child in enumerate(children)]
        return "\n".join([f"module {name} (input clk);", *lines, "endmodule\n"])

    design = written(
        accumulator_ram=text("accumulator_ram"),
        dot_split=text("dot_split"),
        array_row=text("array_row", "dot_split", "dot_split", "accumulator_ram"),
        top=text("top", "array_row", "array_row"),
    )
    sizes = {"dot_split": 320.0, "accumulator_ram": 50.0, "array_row": 64.0, "top": 1000.0}
    figures = [asic.Figures(name, "", design.counts()[name], 2 * ge, ge, 0, None, "") for name, ge in sizes.items()]
    result = asic.Result(design, library, 10.0, figures, {}, [])
    assert asic.multiplier_lane(result) == [
        "  a multiplier lane: 11 gate equivalents (64 lanes in a row without its accumulators)"
    ]
    assert result.under("top", ("accumulator_ram",)) == 1000 + 2 * (64 + 640)
    leaf = asic.multiplier_lane(replace(result, design=design.under("dot_split")))
    assert leaf == ["  a multiplier lane: 10 gate equivalents (32 lanes in a leaf)"]
    assert asic.multiplier_lane(replace(result, design=design.under("accumulator_ram"))) == []


def test_constants_in_an_assigned_concatenation_become_single_bits():
    text = "  wire [3:0] y;\n  assign { y[3:1], y[0] } = { 2'b10, a, 1'h0 };\n"
    assert plain(text.replace("1'h0", "1'b0")).splitlines()[1:] == [
        "  assign y[3] = 1'b1;",
        "  assign y[2] = 1'b0;",
        "  assign y[1] = a ;",
        "  assign y[0]  = 1'b0;",
    ]


@needs_sta
def test_a_library_without_tie_cells_is_mapped():
    text = re.sub(r"cell \(TIE.*\n", "", small_cells.text()).replace("(small)", "(no_ties)")
    assert run(find("exponent_to_float", "tiny"), made("no_ties.lib", text)).paths


@needs_sta
def test_a_block_without_paths_has_no_clock(library):
    for block in ("unused_width16", "clock_gate"):
        result = run(find(block, "tiny"), library)
        assert result.slack is None and "no path between registers or ports" in asic.report(result)


def test_a_ram_alone_is_refused(library, capsys):
    assert asic.main(["ram_depth512_width64", "--liberty", str(library.path)]) == 1
    assert capsys.readouterr().err.startswith("error: ram_depth512_width64 is a RAM macro")


def test_a_folder_that_is_not_writable_is_told(library, capsys, monkeypatch, tmp_path):
    (tmp_path / "asic").write_text("")
    monkeypatch.setattr(mapping, "OUT", tmp_path)
    assert asic.main(["fp32_from_int", "--liberty", str(library.path)]) == 1
    assert "must be writable" in capsys.readouterr().err


def test_control_c_is_one_line(library, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(asic, "run", interrupt)
    assert asic.main(["fp32_from_int", "--liberty", str(library.path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_second_run_with_a_library_waits(library):
    mapper, waits, told = Mapper(library, 10), threading.Event(), []
    design = find("fp32_from_int", "tiny")

    def progress(line):
        told.append(line)
        waits.set()

    with alone(mapper.folder):
        second = threading.Thread(target=mapper.map, args=(design, progress))
        second.start()
        assert waits.wait(10) and second.is_alive()
    second.join()
    assert told[0] == "wait for another run with small"


@needs_sta
def test_the_sdc_alone_gives_the_slack(library):
    ends = {path.end[1] for path in run(written(top=RESETS), library).paths}
    assert ends == {"q"}  # from d, and at the port; none from the resets
    sdc, tcl = ((Mapper(library, 10).folder / "reports" / f"top.{kind}").read_text() for kind in ("sdc", "tcl"))
    assert "set_input_delay 0 -clock clk [get_ports {rst d}]" in sdc and "all_inputs" not in sdc
    assert sdc.count("set_false_path") == 2 and "set_false_path" not in tcl
