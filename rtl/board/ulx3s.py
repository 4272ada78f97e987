"""The top of the Radiona ULX3S: pads, clock and reset around `board`. `python -m rtl.board.ulx3s CHIP OUT` writes it.

Text, since MyHDL describes neither bidirectional pads below the top nor a vendor's PLL.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from myhdl import ResetSignal, Signal, intbv

from rtl.board.board import board
from rtl.board.board_config import OSCILLATOR_KHZ, ULX3S, BoardConfig
from rtl.board.sdram_timing import BANK_BITS, ROW_BITS
from rtl.common.config import PRESETS, ChipConfig
from rtl.convert import Converted, convert

CONSTRAINTS = Path(__file__).parent / "ulx3s.lpf"

PINS = """\
    input wire clk_25mhz,
    input wire button_reset,
    input wire ftdi_txd,
    output wire ftdi_rxd,
    output wire [7:0] led,
    output wire wifi_gpio0,
    output wire sdram_clk,
    output wire sdram_cke,
    output wire sdram_csn,
    output wire sdram_rasn,
    output wire sdram_casn,
    output wire sdram_wen,
    output wire [1:0] sdram_ba,
    output wire [12:0] sdram_a,
    output wire [1:0] sdram_dqm,
    inout wire [15:0] sdram_d"""


def clock_verilog(setup: BoardConfig) -> str:
    """Wires clk (of everything), memory_clk (at the SDRAM) and locked."""
    pll = setup.pll
    if pll is None:
        return "wire clk = clk_25mhz;\nwire memory_clk = ~clk_25mhz;\nwire locked = 1'b1;"
    # The first output is half a cycle late; the second is placed against it in steps of the VCO and eighths of them.
    half = pll.output_divider // 2
    eighths = round(8 * pll.output_divider * setup.sdram_phase / 360)
    megahertz = f"{setup.clock_khz / 1000:g}"
    return f"""\
wire clk;
wire memory_clk;
wire locked;

(* FREQUENCY_PIN_CLKI="{OSCILLATOR_KHZ / 1000:g}" *)
(* FREQUENCY_PIN_CLKOP="{megahertz}", FREQUENCY_PIN_CLKOS="{megahertz}" *)
(* ICP_CURRENT="12", LPF_RESISTOR="8", MFG_ENABLE_FILTEROPAMP="1", MFG_GMCREF_SEL="2" *)
EHXPLLL #(
    .CLKI_DIV({pll.input_divider}),
    .CLKFB_DIV({pll.feedback_divider}),
    .FEEDBK_PATH("CLKOP"),
    .CLKOP_ENABLE("ENABLED"),
    .CLKOP_DIV({pll.output_divider}),
    .CLKOP_CPHASE({half}),
    .CLKOP_FPHASE(0),
    .CLKOS_ENABLE("ENABLED"),
    .CLKOS_DIV({pll.output_divider}),
    .CLKOS_CPHASE({half + eighths // 8}),
    .CLKOS_FPHASE({eighths % 8}),
    .OUTDIVIDER_MUXA("DIVA"),
    .OUTDIVIDER_MUXB("DIVB"),
    .PLLRST_ENA("DISABLED"),
    .INTFB_WAKE("DISABLED"),
    .STDBY_ENABLE("DISABLED"),
    .DPHASE_SOURCE("DISABLED")
) pll (
    .CLKI(clk_25mhz),
    .CLKFB(clk),
    .RST(1'b0),
    .STDBY(1'b0),
    .PHASESEL0(1'b0),
    .PHASESEL1(1'b0),
    .PHASEDIR(1'b1),
    .PHASESTEP(1'b1),
    .PHASELOADREG(1'b1),
    .PLLWAKESYNC(1'b0),
    .ENCLKOP(1'b0),
    .CLKOP(clk),
    .CLKOS(memory_clk),
    .LOCK(locked)
);"""


def ulx3s_verilog(name: str, inside: str, setup: BoardConfig) -> str:
    return f"""\
// Generated from rtl/board/ulx3s.py; edit that file, not this one.
//
// Top of the Radiona ULX3S (LFE5U-85F-6BG381C): pads, clock and reset around {inside}. Pins: rtl/board/ulx3s.lpf.
// Reset: until the PLL is locked and while button_reset is pressed (both synchronised), and for 15 clocks after. The
// FPGA's configuration clears the counter, so it also holds after power-up. A register, since it goes everywhere.

`timescale 1ns/1ps

module {name} (
{PINS}
);

{clock_verilog(setup)}

reg [1:0] unfit;
reg [3:0] settled;
reg rst;
initial settled = 4'd0;
initial rst = 1'b1;

always @(posedge clk) begin: hold_reset
    unfit <= {{unfit[0], button_reset || !locked}};
    if (unfit[1])
        settled <= 4'd0;
    else if (settled != 4'd15)
        settled <= settled + 4'd1;
    rst <= settled != 4'd15;
end

wire [2:0] command;
wire [15:0] data_out;
wire data_drive;

assign sdram_clk = memory_clk;
assign sdram_cke = 1'b1;
assign sdram_csn = 1'b0;
assign {{sdram_rasn, sdram_casn, sdram_wen}} = command;
assign sdram_d = data_drive ? data_out : 16'bz;
assign wifi_gpio0 = 1'b1;

{inside} board (
    .clk(clk),
    .rst(rst),
    .rxd(ftdi_txd),
    .txd(ftdi_rxd),
    .led(led),
    .command(command),
    .bank(sdram_ba),
    .address(sdram_a),
    .mask(sdram_dqm),
    .data_out(data_out),
    .data_drive(data_drive),
    .data_in(sdram_d)
);

endmodule
"""


def convert_ulx3s(config: ChipConfig, out_dir: Path | str, setup: BoardConfig = ULX3S) -> Converted:
    """Write the Verilog of the whole board; `.name` is the top module, `.files` all of it, `.ports` is empty.

    Constraints for nextpnr: `CONSTRAINTS`.
    """
    inside = convert(
        board,
        clk=Signal(bool(0)),
        rst=ResetSignal(0, active=1, isasync=False),
        rxd=Signal(bool(0)),
        txd=Signal(bool(0)),
        led=Signal(intbv(0)[8:]),
        command=Signal(intbv(0)[3:]),
        bank=Signal(intbv(0)[BANK_BITS:]),
        address=Signal(intbv(0)[ROW_BITS:]),
        mask=Signal(intbv(0)[2:]),
        data_out=Signal(intbv(0)[16:]),
        data_drive=Signal(bool(0)),
        data_in=Signal(intbv(0)[16:]),
        config=config,
        setup=setup,
        out_dir=out_dir,
    )
    name = f"ulx3s_{config.name}"
    path = Path(out_dir) / f"{name}.v"
    text = ulx3s_verilog(name, inside.name, setup)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return dataclasses.replace(inside, name=name, files=[*inside.files, path], ports=[])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the Verilog of the ULX3S board and a list of its files.")
    parser.add_argument("chip", choices=PRESETS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--khz", type=int, default=OSCILLATOR_KHZ, help="clock; other than 25000: from a PLL")
    parser.add_argument("--baud", type=int, default=ULX3S.baud)
    options = parser.parse_args()
    if PRESETS[options.chip].bus_bits != 256:
        parser.error(f"the board takes a bus of 256 bits, {options.chip} has {PRESETS[options.chip].bus_bits}")
    try:
        setup = dataclasses.replace(ULX3S, clock_khz=options.khz, baud=options.baud)
    except ValueError as error:
        parser.error(f"no board at {options.khz} kHz and {options.baud} baud: {error}")
    top = convert_ulx3s(PRESETS[options.chip], options.out, setup)
    (options.out / "files.f").write_text("".join(f"{file}\n" for file in top.files))
    print(f"{top.name}: {len(top.files)} modules in {options.out}")


if __name__ == "__main__":
    main()
