"""Each lint tool finds the fault that it is there for."""

import re
from pathlib import Path

from rtl.convert import Converted
from verif import benches, lint
from verif.folders import ROOT
from verif.runner import prepare_environment

TWO_DRIVERS = """module leaf (input wire clk, input wire d, output reg q);
always @(posedge clk) q <= d;
endmodule
module top (input wire clk, input wire a, input wire b, output wire q);
leaf one (.clk(clk), .d(a), .q(q));
leaf other (.clk(clk), .d(b), .q(q));
endmodule
"""

LOST_BITS = """module top (input wire [7:0] a, output wire [3:0] y);
assign y = a;
endmodule
"""


def written(tmp_path: Path, text: str) -> Converted:
    prepare_environment()
    file = tmp_path / "top.v"
    file.write_text(text)
    return Converted("top", [file], [])


def test_verilator_tells_lost_bits(tmp_path):
    assert "WIDTHTRUNC" in lint.lint_verilator(written(tmp_path, LOST_BITS))


def test_slang_tells_a_keyword_and_an_unknown_module(tmp_path):
    assert "expected" in lint.lint_slang(written(tmp_path, "module top (input wire begin);\nendmodule\n"))
    assert "unknown module 'leaf'" in lint.lint_slang(written(tmp_path, "module top;\nleaf one ();\nendmodule\n"))


def test_slang_takes_verilog_of_2005_only(tmp_path):
    assert lint.lint_slang(written(tmp_path, "module top (input logic a);\nendmodule\n"))


def test_slang_accepts_the_chip_without_a_word():
    top = benches.chip_verilog("tiny")
    assert lint.lint_slang(top) == ""


def test_every_module_says_where_it_comes_from_and_what_it_does():
    top = benches.chip_verilog("tiny")
    for file in top.files:
        text = file.read_text()
        source = re.match(r"// Generated from (rtl/\S+\.py); edit that file, not this one\.\n//\n// \w", text)
        assert source, file
        assert f"module {file.stem} (" in text and (ROOT / source[1]).exists(), file


def test_yosys_tells_a_latch(tmp_path):
    text = "module top (input wire e, input wire d, output reg q);\nalways @* if (e) q = d;\nendmodule\n"
    assert "Assertion failed" in lint.lint_yosys([(written(tmp_path, text), ["top"])])


def test_yosys_tells_two_drivers(tmp_path):
    assert "multiple conflicting drivers" in lint.lint_yosys([(written(tmp_path, TWO_DRIVERS), ["leaf", "top"])])


def test_yosys_tells_a_warning_of_the_module_that_it_is_about(tmp_path):
    text = "module top (input wire a, output wire q);\nassign b = a;\nassign q = b;\nendmodule\n"
    found = lint.lint_yosys([(written(tmp_path, text), ["top"])])
    assert found.startswith("== yosys top\n") and "implicitly declared" in found


def test_yosys_accepts_a_module_without_a_word(tmp_path):
    text = "module top (input wire a, output wire q);\nassign q = a;\nendmodule\n"
    assert lint.lint_yosys([(written(tmp_path, text), ["top"])]) == ""


def test_each_module_is_checked_once_and_none_is_left_out(tmp_path):
    def top(name: str, modules: dict[str, str]) -> Converted:
        folder = tmp_path / name
        folder.mkdir()
        for module, text in modules.items():
            (folder / f"{module}.v").write_text(text)
        return Converted(name, [folder / f"{module}.v" for module in modules], [])

    chip = top("chip", {"leaf": "1", "row": "2", "chip": "3"})
    part = top("row", {"leaf": "1", "row": "2"})
    other = top("other", {"leaf": "another", "row": "2", "other": "4"})
    assert lint.with_new_modules([chip, part, other]) == [
        (chip, ["leaf", "row", "chip"]),
        (other, ["leaf", "other"]),
    ]
