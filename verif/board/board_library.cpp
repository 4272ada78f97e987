// The Verilated board as a C library: a host's serial port in front of it, clocked as far as its bytes need.
//
// Python calls it through ctypes (verif/board/simulated_port.py). Compiled with CLOCKS_PER_BIT.
#include <cstdint>
#include <deque>
#include <memory>

#include "Vboard.h"
#include "verilated.h"

namespace {

struct Board {
    VerilatedContext context;
    std::unique_ptr<Vboard> top;
    uint64_t cycles = 0;
    // From the board: the place in a byte, counted in clocks from its start bit; -1 between bytes.
    int place = -1;
    unsigned byte = 0;
    std::deque<uint8_t> received;

    void cycle() {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
        cycles++;
        listen();
    }

    void listen() {
        if (place < 0) {
            if (top->from_board) return;
            place = 0;
        }
        const int bit = place / CLOCKS_PER_BIT;
        if (place % CLOCKS_PER_BIT == CLOCKS_PER_BIT / 2) {
            if (bit >= 1 && bit <= 8) byte = byte >> 1 | static_cast<unsigned>(top->from_board) << 7;
            if (bit == 9) {
                if (top->from_board) received.push_back(static_cast<uint8_t>(byte));
                place = -2;
            }
        }
        place++;
    }

    void bit(bool level) {
        top->to_board = level;
        for (int i = 0; i < CLOCKS_PER_BIT; i++) cycle();
    }
};

}  // namespace

extern "C" {

void *board_open(int seed) {
    auto *board = new Board;
    board->context.randReset(2);
    board->context.randSeed(seed);
    board->top = std::make_unique<Vboard>(&board->context);
    board->top->to_board = 1;
    board->top->button_reset = 1;
    for (int i = 0; i < 8; i++) board->cycle();
    board->top->button_reset = 0;
    for (int i = 0; i < 64; i++) board->cycle();
    board->received.clear();
    board->place = -1;
    return board;
}

void board_close(void *handle) {
    auto *board = static_cast<Board *>(handle);
    board->top->final();
    delete board;
}

void board_write(void *handle, const uint8_t *bytes, uint64_t count) {
    auto *board = static_cast<Board *>(handle);
    for (uint64_t i = 0; i < count; i++) {
        board->bit(false);
        for (int bit = 0; bit < 8; bit++) board->bit(bytes[i] >> bit & 1);
        board->bit(true);
    }
}

// Clocks until `count` bytes are there or `limit` cycles have passed; returns how many it gives.
uint64_t board_read(void *handle, uint8_t *bytes, uint64_t count, uint64_t limit) {
    auto *board = static_cast<Board *>(handle);
    for (uint64_t i = 0; i < limit && board->received.size() < count; i++) board->cycle();
    uint64_t given = 0;
    for (; given < count && !board->received.empty(); given++) {
        bytes[given] = board->received.front();
        board->received.pop_front();
    }
    return given;
}

uint64_t board_cycles(void *handle) { return static_cast<Board *>(handle)->cycles; }

// Breaches of the SDRAM's rules since the start, and the last one's number.
int board_violations(void *handle, int *fault) {
    auto *board = static_cast<Board *>(handle);
    *fault = board->top->fault;
    return board->top->violations;
}

int board_leds(void *handle) { return static_cast<Board *>(handle)->top->led; }
}
