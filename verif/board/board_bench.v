// The ULX3S with its SDRAM, as the host sees it: a clock, a button and two wires.
//
// A pattern: board_with_sdram() of verif/board/signals.py puts in the chip's name and SDRAM_PARAMETERS.
`timescale 1ns/1ps

module board_bench (
    input wire clk,
    input wire button_reset,
    input wire to_board,
    output wire from_board,
    output wire [7:0] led,
    output wire wifi_gpio0,
    output wire [15:0] violations,
    output wire [4:0] fault
);

wire sdram_clk, sdram_cke, sdram_csn, sdram_rasn, sdram_casn, sdram_wen;
wire [1:0] sdram_ba, sdram_dqm;
wire [12:0] sdram_a;
wire [15:0] sdram_d, data_out;
wire data_valid;

assign sdram_d = data_valid ? data_out : 16'bz;

ulx3s_CHIP board (
    .clk_25mhz(clk),
    .button_reset(button_reset),
    .ftdi_txd(to_board),
    .ftdi_rxd(from_board),
    .led(led),
    .wifi_gpio0(wifi_gpio0),
    .sdram_clk(sdram_clk),
    .sdram_cke(sdram_cke),
    .sdram_csn(sdram_csn),
    .sdram_rasn(sdram_rasn),
    .sdram_casn(sdram_casn),
    .sdram_wen(sdram_wen),
    .sdram_ba(sdram_ba),
    .sdram_a(sdram_a),
    .sdram_dqm(sdram_dqm),
    .sdram_d(sdram_d)
);

sdram_model #(SDRAM_PARAMETERS) sdram (
    .clk(sdram_clk),
    .restart(button_reset),
    .command(sdram_csn || !sdram_cke ? 3'b111 : {sdram_rasn, sdram_casn, sdram_wen}),
    .bank(sdram_ba),
    .address(sdram_a),
    .mask(sdram_dqm),
    .data_in(sdram_d),
    .data_out(data_out),
    .data_valid(data_valid),
    .violations(violations),
    .fault(fault)
);

endmodule
