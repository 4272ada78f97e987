"""Keys of the sampling noise, one a row."""

from __future__ import annotations

from myhdl import ConcatSignal, Constant, Signal, always, always_comb, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.convert import module
from rtl.vector.mix_step import STEPS, mix_step
from rtl.vector.pick import pick
from rtl.vector.sampled_token import sampled_token


@module
def row_key(clk, rst, row_greedy, row_position, row_seed, keys, config: ChipConfig):
    """keys (R * 32) = mix(mix(seed) ^ position) of every row, renewed again and again, 16 cycles a row.

    So a key is right 16 * (R + 1) + 1 cycles after its row's seed and position have changed, and all rows share one
    mixer. It rests while every row is greedy.
    """
    rows = config.rows
    row_bits, position_bits = bits_for(rows), bits_for(config.context)
    phase = Signal(modbv(0)[4:])
    row = Signal(intbv(0)[row_bits:])
    working, take, write = [Signal(False) for _ in range(3)]
    seed, mixer_in, mixed = [Signal(intbv(0)[32:]) for _ in range(3)]
    position = Signal(intbv(0)[position_bits:])
    between = [Signal(intbv(0)[32:]) for _ in range(STEPS - 1)]
    position_word = ConcatSignal(Constant(intbv(0)[32 - position_bits :]), position)
    held = [Signal(intbv(0)[32:]) for _ in range(rows)]
    held_packed = ConcatSignal(*reversed(held)) if rows > 1 else held[0]
    # As an int it is written with 33 bits.
    all_greedy = (1 << rows) - 1 if rows < 32 else Constant(intbv((1 << rows) - 1)[rows:])

    @always(clk.posedge)
    def count():
        if rst:
            phase.next = 0
            row.next = 0
        elif working:
            phase.next = phase + 1
            if phase == 15:
                if row == rows - 1:
                    row.next = 0
                else:
                    row.next = row + 1

    @always(clk.posedge)
    def rest():
        working.next = row_greedy != all_greedy

    @always_comb
    def control():
        take.next = (phase == 0) & working
        # Phase 1 to 6: the seed is mixed; 7 to 12: with the position.
        mixer_in.next = seed
        if phase == 7:
            mixer_in.next = mixed ^ position_word
        write.next = phase == 13
        keys.next = held_packed

    choose_seed = pick(clk, take, row_seed, row, seed, rows, 32)
    choose_position = pick(clk, take, row_position, row, position, rows, position_bits)
    wires = [mixer_in, *between, mixed]
    steps = [mix_step(clk, working, wires[k], wires[k + 1], k) for k in range(STEPS)]
    keep = [sampled_token(clk, write, row, mixed, held[k], k) for k in range(rows)]
    return instances()
