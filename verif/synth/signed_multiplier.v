// Techmap for Yosys: a small signed multiplication as rows of AND gates without sign extension (C. Baugh, B. Wooley,
// 1973), so that a sum of products becomes one carry-save tree. Yosys' own form extends every row to the full width.
(* techmap_celltype = "$mul" *)
module signed_multiplier (A, B, Y);
parameter A_SIGNED = 0;
parameter B_SIGNED = 0;
parameter A_WIDTH = 1;
parameter B_WIDTH = 1;
parameter Y_WIDTH = 1;
input [A_WIDTH-1:0] A;
input [B_WIDTH-1:0] B;
output [Y_WIDTH-1:0] Y;

wire _TECHMAP_FAIL_ = !A_SIGNED || !B_SIGNED || A_WIDTH < 3 || B_WIDTH < 3 || A_WIDTH > 8 || B_WIDTH > 8;

localparam [63:0] ONES = (64'd1 << (A_WIDTH-1)) + (64'd1 << (B_WIDTH-1)) - (64'd1 << (A_WIDTH+B_WIDTH-1));
localparam [63:0] TOP = 64'd1 << (B_WIDTH-1);
wire [(A_WIDTH+1)*Y_WIDTH-1:0] sums;
assign sums[Y_WIDTH-1:0] = ONES[Y_WIDTH-1:0];

genvar i;
generate for (i = 0; i < A_WIDTH; i = i + 1) begin: row
    localparam [63:0] FLIP = i == A_WIDTH-1 ? TOP-1 : TOP;
    wire [Y_WIDTH+B_WIDTH-1:0] bits = ({B_WIDTH{A[i]}} & B) ^ FLIP[B_WIDTH-1:0];
    wire [Y_WIDTH-1:0] placed = bits[Y_WIDTH-1:0] << i;
    assign sums[(i+1)*Y_WIDTH +: Y_WIDTH] = sums[i*Y_WIDTH +: Y_WIDTH] + placed;
end endgenerate
assign Y = sums[A_WIDTH*Y_WIDTH +: Y_WIDTH];
endmodule
