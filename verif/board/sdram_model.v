// An SDR SDRAM of 4 banks x 512 columns x 16 bits that checks what its controller does.
//
// Behaviour and limits are those of the datasheets named in rtl/board/sdram_timing.py: times come in picoseconds and are
// turned into cycles here, apart from the controller's own arithmetic. A breach is counted in `violations`, its number is
// in `fault` and it is printed. Burst length 1 only, no auto precharge, no self refresh, no power down: their use is
// a breach too. Data is driven for the one cycle in which a real part guarantees it, and is garbage at all other times.
// Rows beyond ROWS are not there: an access to one is a breach. `restart` begins with power-up again, the words stay.
`timescale 1ns/1ps

module sdram_model #(
    parameter integer ROWS = 256,
    parameter integer ROW_BITS = 8,
    parameter integer PERIOD_PS = 40000,
    parameter integer T_RCD_PS = 20000,
    parameter integer T_RP_PS = 20000,
    parameter integer T_RAS_PS = 44000,
    parameter integer T_RC_PS = 66000,
    parameter integer T_RFC_PS = 66000,
    parameter integer T_RRD_PS = 15000,
    parameter integer T_WR_PS = 15000,
    parameter integer MRD = 2,
    parameter integer T_REFI_PS = 7812500,
    parameter integer POWER_UP_CYCLES = 100,
    parameter integer INITIAL_REFRESHES = 8
) (
    input wire clk,
    input wire restart,
    input wire [2:0] command,
    input wire [1:0] bank,
    input wire [12:0] address,
    input wire [1:0] mask,
    input wire [15:0] data_in,
    output wire [15:0] data_out,
    output wire data_valid,
    output reg [15:0] violations,
    output reg [4:0] fault
);

localparam integer RCD = (T_RCD_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer RP = (T_RP_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer RAS = (T_RAS_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer RC = (T_RC_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer RFC = (T_RFC_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer RRD = (T_RRD_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer WR = (T_WR_PS + PERIOD_PS - 1) / PERIOD_PS;
localparam integer REFI = T_REFI_PS / PERIOD_PS;

localparam [2:0] NOP = 3'b111, ACTIVE = 3'b011, READ = 3'b101, WRITE = 3'b100;
localparam [2:0] PRECHARGE = 3'b010, REFRESH = 3'b001, MODE = 3'b000;

// What `fault` says.
localparam [4:0] NONE = 0, TOO_EARLY = 1, NOT_INITIALISED = 2, ALREADY_OPEN = 3, T_RC = 4, T_RRD = 5, T_RP = 6, T_RFC = 7;
localparam [4:0] T_MRD = 8, NOT_OPEN = 9, T_RCD = 10, T_RAS = 11, T_WR = 12, REFRESH_OPEN = 13, REFRESH_LATE = 14;
localparam [4:0] BAD_MODE = 15, AUTO_PRECHARGE = 16, CONTENTION = 17, MASKED_READ = 18, NO_SUCH_ROW = 19, UNKNOWN = 20;

reg [15:0] memory [0:ROWS * 2048 - 1];

reg [31:0] now;
reg [3:0] is_open;
reg [ROW_BITS - 1:0] row_0, row_1, row_2, row_3;
reg [31:0] activated_0, activated_1, activated_2, activated_3;
reg [31:0] precharged_0, precharged_1, precharged_2, precharged_3;
reg [31:0] written_0, written_1, written_2, written_3;
reg [31:0] activated_any, precharged_any, refreshed, mode_set;
reg [7:0] refreshes;
reg closed_once, initialised, cas_3;
reg [31:0] interval;
reg [3:0] owed;
reg drive;

wire [ROW_BITS - 1:0] row = bank == 0 ? row_0 : bank == 1 ? row_1 : bank == 2 ? row_2 : row_3;
wire [31:0] activated = bank == 0 ? activated_0 : bank == 1 ? activated_1 : bank == 2 ? activated_2 : activated_3;
wire [31:0] precharged = bank == 0 ? precharged_0 : bank == 1 ? precharged_1 : bank == 2 ? precharged_2 : precharged_3;
wire [31:0] written = bank == 0 ? written_0 : bank == 1 ? written_1 : bank == 2 ? written_2 : written_3;
wire opened = is_open[bank];
wire everywhere = address[10];
wire ras_everywhere = (is_open[0] && now - activated_0 < RAS) || (is_open[1] && now - activated_1 < RAS)
    || (is_open[2] && now - activated_2 < RAS) || (is_open[3] && now - activated_3 < RAS);
wire wr_everywhere = (is_open[0] && now - written_0 < WR) || (is_open[1] && now - written_1 < WR)
    || (is_open[2] && now - written_2 < WR) || (is_open[3] && now - written_3 < WR);
wire column_command = command == READ || command == WRITE;
wire [ROW_BITS + 10:0] place = {row, bank, address[8:0]};

reg [4:0] found;

always @(*) begin: judge
    found = NONE;
    if (command != NOP) begin
        if (now < POWER_UP_CYCLES) found = TOO_EARLY;
        else if (now - refreshed < RFC && refreshes != 0) found = T_RFC;
        else if (now - mode_set < MRD && initialised) found = T_MRD;
        else if (!initialised && (command == ACTIVE || column_command)) found = NOT_INITIALISED;
    end
    if (found == NONE) case (command)
        NOP: if (owed > 1) found = REFRESH_LATE;
        ACTIVE:
            if (opened) found = ALREADY_OPEN;
            else if (now - precharged < RP) found = T_RP;
            else if (now - activated < RC) found = T_RC;
            else if (now - activated_any < RRD) found = T_RRD;
            else if ({19'd0, address} >= ROWS) found = NO_SUCH_ROW;
        READ, WRITE:
            if (!opened) found = NOT_OPEN;
            else if (now - activated < RCD) found = T_RCD;
            else if (everywhere) found = AUTO_PRECHARGE;
            else if (command == WRITE && drive) found = CONTENTION;
            else if (command == READ && mask != 0) found = MASKED_READ;
        PRECHARGE:
            if (everywhere ? ras_everywhere : (opened && now - activated < RAS)) found = T_RAS;
            else if (everywhere ? wr_everywhere : (opened && now - written < WR)) found = T_WR;
        REFRESH:
            if (!closed_once) found = NOT_INITIALISED;
            else if (is_open != 0) found = REFRESH_OPEN;
            else if (now - precharged_any < RP) found = T_RP;
        MODE:
            if (is_open != 0) found = REFRESH_OPEN;
            else if (now - precharged_any < RP) found = T_RP;
            else if ({24'd0, refreshes} < INITIAL_REFRESHES) found = NOT_INITIALISED;
            else if (bank != 0 || address[12:5] != 8'b0000_0001 || address[3:0] != 0) found = BAD_MODE;
        default: found = UNKNOWN;
    endcase
end

always @(posedge clk) begin: count
    now <= restart ? 0 : now + 1;
    if (restart) begin
        violations <= 0;
        fault <= NONE;
    end else if (found != NONE) begin
        violations <= violations + 1;
        fault <= found;
        $display("sdram_model: cycle %0d: command %b, bank %0d: breach %0d", now, command, bank, found);
    end
end

always @(posedge clk) begin: age
    // A refresh is owed for each interval that has passed; one may be late by less than an interval.
    if (restart || !initialised) begin
        interval <= 0;
        owed <= 0;
    end else if (interval == REFI - 1) begin
        interval <= 0;
        if (command != REFRESH && owed != 15) owed <= owed + 1;
    end else begin
        interval <= interval + 1;
        if (command == REFRESH && owed != 0) owed <= owed - 1;
    end
end

always @(posedge clk) begin: obey
    if (restart) begin
        is_open <= 0;
        activated_0 <= 0; activated_1 <= 0; activated_2 <= 0; activated_3 <= 0;
        precharged_0 <= 0; precharged_1 <= 0; precharged_2 <= 0; precharged_3 <= 0;
        written_0 <= 0; written_1 <= 0; written_2 <= 0; written_3 <= 0;
        activated_any <= 0;
        precharged_any <= 0;
        refreshed <= 0;
        refreshes <= 0;
        mode_set <= 0;
        closed_once <= 0;
        initialised <= 0;
        cas_3 <= 0;
    end else case (command)
        ACTIVE: begin
            is_open[bank] <= 1;
            activated_any <= now;
            case (bank)
                0: begin activated_0 <= now; row_0 <= address[ROW_BITS - 1:0]; end
                1: begin activated_1 <= now; row_1 <= address[ROW_BITS - 1:0]; end
                2: begin activated_2 <= now; row_2 <= address[ROW_BITS - 1:0]; end
                default: begin activated_3 <= now; row_3 <= address[ROW_BITS - 1:0]; end
            endcase
        end
        WRITE: case (bank)
            0: written_0 <= now;
            1: written_1 <= now;
            2: written_2 <= now;
            default: written_3 <= now;
        endcase
        PRECHARGE: begin
            precharged_any <= now;
            if (everywhere) begin
                is_open <= 0;
                closed_once <= 1;
            end else is_open[bank] <= 0;
            if (everywhere || bank == 0) precharged_0 <= now;
            if (everywhere || bank == 1) precharged_1 <= now;
            if (everywhere || bank == 2) precharged_2 <= now;
            if (everywhere || bank == 3) precharged_3 <= now;
        end
        REFRESH: begin
            refreshed <= now;
            if (refreshes != 255) refreshes <= refreshes + 1;
        end
        MODE: begin
            mode_set <= now;
            initialised <= 1;
            cas_3 <= address[4];
        end
        default: ;
    endcase
end

// Data: written with the command, read CAS latency later.
reg [15:0] first, second, third;
reg first_valid, second_valid;

always @(posedge clk) begin: move
    if (command == WRITE && opened && !restart) begin
        if (!mask[0]) memory[place][7:0] <= data_in[7:0];
        if (!mask[1]) memory[place][15:8] <= data_in[15:8];
    end
    first <= memory[place];
    first_valid <= command == READ && opened;
    second <= first;
    second_valid <= first_valid;
    third <= cas_3 ? second : first;
    drive <= cas_3 ? second_valid : first_valid;
end

assign data_valid = drive;
assign data_out = drive ? third : {now[6:0], 9'h0AD};

endmodule
