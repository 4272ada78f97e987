"""Each lint tool finds the fault that it is there for."""

from pathlib import Path

from rtl.convert import Converted
from verif import lint
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


def test_yosys_tells_two_drivers(tmp_path):
    (lint.BUILD / "lint").mkdir(parents=True, exist_ok=True)
    assert "multiple conflicting drivers" in lint.lint_yosys([written(tmp_path, TWO_DRIVERS)])
