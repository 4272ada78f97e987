"""One FP32 lane of the vector unit."""

from __future__ import annotations

from myhdl import Constant, Signal, always, always_comb, concat, instances, intbv

from rtl.arith.fp32_add import fp32_add
from rtl.arith.fp32_mul import fp32_mul
from rtl.convert import module
from rtl.vector.control_word import Add1, Add2, Add3, Mul1, Mul2, Source
from rtl.vector.delay_line import delay_line
from rtl.vector.delay_ring import delay_ring
from rtl.vector.exponent_shift import SPECIAL_NAN, SPECIAL_NONE, SPECIAL_ZERO, exponent_shift
from rtl.vector.exponent_to_float import exponent_to_float
from rtl.vector.function_lookup import function_lookup
from rtl.vector.function_table import function_table
from rtl.vector.timing import EXPONENT_OFFSET

FROM_ACCUMULATOR, FROM_VECTOR, FROM_SCORE = int(Source.ACCUMULATOR), int(Source.VECTOR), int(Source.SCORE)
FROM_RING_A, FROM_SCALAR = int(Source.RING_A), int(Source.SCALAR)
ADD1_RING_A, ADD1_RING_B = int(Add1.RING_A), int(Add1.RING_B)
MUL1_CONSTANT, MUL1_SCALAR, MUL1_SQUARE = int(Mul1.CONSTANT_A), int(Mul1.SCALAR), int(Mul1.SQUARE)
ADD2_CONSTANT, MUL2_RING = int(Add2.CONSTANT_B), int(Mul2.RING_A)
ADD3_RING, ADD3_VECTOR, ADD3_TABLE = int(Add3.RING_B), int(Add3.VECTOR), int(Add3.TABLE)
ADD3_EXPONENT = int(Add3.EXPONENT)


@module
def lane(
    clk,
    rst,
    take,
    move_x,
    using_10,
    using_21,
    using_23,
    start,
    skip_add1,
    skip_mul1,
    skip_add2,
    skip_mul2,
    skip_add3,
    source_4,
    add1_4,
    function_10,
    hash_10,
    table_12,
    mul1_13,
    add2_17,
    mul2_22,
    add3_26,
    counted_32,
    scaled_32,
    negate_33,
    constant_a,
    constant_b,
    first_exponent,
    scalar_4,
    operand_4,
    factor_13,
    temperature_13,
    drained_4,
    vector_word,
    score_word,
    ring_a_word,
    ring_b_word,
    noise_10,
    scale_32,
    table_write,
    table_address,
    table_data,
    tap_33,
    counted_33,
    result_34,
    special_34,
):
    """source -> ADD1 -> function -> MUL1 -> ADD2 -> MUL2 -> ADD3 -> exponent -> tap -> V scale, negate -> result.

    It has no addresses and no stall: rtl/vector/timing.py says at which age of the beat each port is used; the
    number at the end of a port's name is that age. A step whose selector is 0 passes its input unchanged.

    take: beats of age 4, 13, 17, 22, 26, 31, 32, 33, one bit each; move_x: of age 10 to 12; using_10, using_21,
    using_23: beats with a function, of age 10 to 16, 21, 23 to 31. start: bit of each arithmetic step (ADD1,
    MUL1, ADD2, MUL2, ADD3) that has work now; skip_*: bit k says that a beat which skips the step is k cycles
    into it. table_12: MUL1 takes c2 * z. *_word: RAM words as they come, captured at the ages where the beat asked
    for them.
    tap_33: value for the maximum; counted_33: the same, +0 when masked, for the sum; result_34: +0 when masked;
    special_34: it is infinite or NaN.
    """
    neutral = Constant(False)
    source_5, addend_5, sum_5, y_5, x_10 = [Signal(intbv(0)[32:]) for _ in range(5)]
    chosen_10, x_13, z_12, z_13, z_22, c1_17, c0_26 = [Signal(intbv(0)[32:]) for _ in range(7)]
    c2_low_13, c2_high_13, other_13 = [Signal(intbv(0)[32:]) for _ in range(3)]
    low_2_13, high_2_13 = [Signal(False) for _ in range(2)]
    a_14, b_14, pass_14, y_14, x_18 = [Signal(intbv(0)[32:]) for _ in range(5)]
    b_18, pass_18, y_18, x_23 = [Signal(intbv(0)[32:]) for _ in range(4)]
    b_23, pass_23, y_23, x_27 = [Signal(intbv(0)[32:]) for _ in range(4)]
    b_27, pass_27, y_27, x_32, exponent_float_26 = [Signal(intbv(0)[32:]) for _ in range(5)]
    ready_10, ready_18, ready_23, ready_27, ready_32 = [Signal(False) for _ in range(5)]
    index_12, index_15, index_24 = [Signal(intbv(0)[10:]) for _ in range(3)]
    shift_12, shift_31, shift_32, shift_33 = [Signal(intbv(0)[9:]) for _ in range(4)]
    special_12, special_31, special_32, special_33 = [Signal(intbv(0)[2:]) for _ in range(4)]
    exponent_12, exponent_24 = [Signal(intbv(0)[8:]) for _ in range(2)]
    early_12, early_24 = [Signal(intbv(0)[18:]) for _ in range(2)]
    kept_12, kept_25 = [Signal(intbv(0)[11:]) for _ in range(2)]
    late_31 = Signal(intbv(0)[11:])
    read_table, hold_table = Signal(intbv(0)[3:]), Signal(intbv(0)[2:])
    counts_33 = Signal(False)

    @always(clk.posedge)
    def take_operands():
        if take[0]:
            if source_4 == FROM_ACCUMULATOR:
                source_5.next = drained_4
            elif source_4 == FROM_VECTOR:
                source_5.next = vector_word
            elif source_4 == FROM_SCORE:
                source_5.next = score_word
            elif source_4 == FROM_RING_A:
                source_5.next = ring_a_word
            elif source_4 == FROM_SCALAR:
                source_5.next = scalar_4
            if add1_4 == ADD1_RING_A:
                addend_5.next = ring_a_word
            elif add1_4 == ADD1_RING_B:
                addend_5.next = ring_b_word
            else:
                addend_5.next = concat(not operand_4[31], operand_4[31:])

    add1 = fp32_add(clk, rst, start(0), source_5, addend_5, ready_10, y_5)
    around_add1 = delay_line(clk, skip_add1, source_5, sum_5, 5, 32)

    @always_comb
    def leave_add1():
        x_10.next = y_5 if ready_10 else sum_5

    @always_comb
    def choose_noise():
        chosen_10.next = noise_10 if hash_10 else x_10

    lookup = function_lookup(
        clk,
        using_10(2, 0),
        function_10,
        chosen_10,
        x_10(31, 0),
        first_exponent,
        index_12,
        z_12,
        shift_12,
        special_12,
        exponent_12,
    )
    hold_x = delay_line(clk, move_x, chosen_10, x_13, 3, 32)
    hold_z = delay_line(clk, using_10(2), z_12, z_13, 1, 32)
    hold_z_longer = delay_ring(clk, rst, using_10(2), z_12, using_21, z_22, 10, 32)
    hold_index = delay_line(clk, using_10(5, 2), index_12, index_15, 3, 10)
    hold_early = delay_ring(clk, rst, using_10(2), early_12, using_23(0), early_24, 12, 18)
    hold_rest = delay_ring(clk, rst, using_10(2), kept_12, using_23(1), kept_25, 13, 11)
    hold_shift = delay_line(clk, using_23(8, 2), kept_25, late_31, 6, 11)

    @always_comb
    def keep():
        kept_12.next[9:] = shift_12
        kept_12.next[11:9] = special_12
        early_12.next[10:] = index_12
        early_12.next[18:10] = exponent_12

    @always_comb
    def give_back():
        index_24.next = early_24[10:]
        exponent_24.next = early_24[18:10]
        shift_31.next = late_31[9:]
        special_31.next = late_31[11:9]

    @always_comb
    def ask_table():
        read_table.next[2] = using_10[2]
        read_table.next[1] = using_10[5]
        read_table.next[0] = using_23[1]
        hold_table.next[1] = using_10[6]
        hold_table.next[0] = using_23[2]

    coefficients = function_table(
        clk,
        table_write,
        table_address,
        table_data,
        move_x(2),
        table_12,
        read_table,
        hold_table,
        index_12,
        index_15,
        index_24,
        low_2_13,
        high_2_13,
        c2_low_13,
        c2_high_13,
        c1_17,
        c0_26,
    )

    @always_comb
    def choose_other_factor():
        if mul1_13 == MUL1_CONSTANT:
            other_13.next = constant_a
        elif mul1_13 == MUL1_SCALAR:
            other_13.next = factor_13
        elif mul1_13 == MUL1_SQUARE:
            other_13.next = x_13
        else:
            other_13.next = temperature_13

    @always(clk.posedge)
    def take_factors():
        if take[1]:
            a_14.next = x_13
            b_14.next = other_13
            # c2 comes late, out of its RAM: one selection is left for it.
            if low_2_13 | high_2_13:
                a_14.next = z_13
            if low_2_13:
                b_14.next = c2_low_13
            elif high_2_13:
                b_14.next = c2_high_13

    mul1 = fp32_mul(clk, rst, start(1), a_14, b_14, ready_18, y_14)
    around_mul1 = delay_line(clk, skip_mul1, a_14, pass_14, 4, 32)

    @always_comb
    def leave_mul1():
        x_18.next = y_14 if ready_18 else pass_14

    @always(clk.posedge)
    def take_second_addend():
        if take[2]:
            if add2_17 == ADD2_CONSTANT:
                b_18.next = constant_b
            else:
                b_18.next = c1_17

    add2 = fp32_add(clk, rst, start(2), x_18, b_18, ready_23, y_18)
    around_add2 = delay_line(clk, skip_add2, x_18, pass_18, 5, 32)

    @always_comb
    def leave_add2():
        x_23.next = y_18 if ready_23 else pass_18

    @always(clk.posedge)
    def take_second_factor():
        if take[3]:
            if mul2_22 == MUL2_RING:
                b_23.next = ring_a_word
            else:
                b_23.next = z_22

    mul2 = fp32_mul(clk, rst, start(3), x_23, b_23, ready_27, y_23)
    around_mul2 = delay_line(clk, skip_mul2, x_23, pass_23, 4, 32)

    @always_comb
    def leave_mul2():
        x_27.next = y_23 if ready_27 else pass_23

    float_exponent = exponent_to_float(clk, using_23(3, 1), exponent_24, exponent_float_26)

    @always(clk.posedge)
    def take_third_addend():
        if take[4]:
            if add3_26 == ADD3_RING:
                b_27.next = ring_b_word
            elif add3_26 == ADD3_VECTOR:
                b_27.next = vector_word
            elif add3_26 == ADD3_TABLE:
                b_27.next = c0_26
            elif add3_26 == ADD3_EXPONENT:
                b_27.next = exponent_float_26
            else:
                b_27.next = score_word

    add3 = fp32_add(clk, rst, start(4), x_27, b_27, ready_32, y_27)
    around_add3 = delay_line(clk, skip_add3, x_27, pass_27, 5, 32)

    @always_comb
    def leave_add3():
        x_32.next = y_27 if ready_32 else pass_27

    @always(clk.posedge)
    def prepare_function_exponent():
        if take[5]:
            if using_23[8]:
                shift_32.next = shift_31
                special_32.next = special_31
            else:
                shift_32.next = EXPONENT_OFFSET
                special_32.next = SPECIAL_NONE

    function_exponent = exponent_shift(clk, take(6), x_32, shift_32, special_32, neutral, tap_33)

    @always(clk.posedge)
    def prepare_value_scale():
        if take[6]:
            counts_33.next = counted_32
            shift_33.next = EXPONENT_OFFSET
            special_33.next = SPECIAL_NONE
            if not counted_32:
                special_33.next = SPECIAL_ZERO
            elif scaled_32:
                # An offset of 256, less the bias of 127.
                shift_33.next = scale_32 + 129
                if scale_32 == 255:
                    special_33.next = SPECIAL_NAN

    @always_comb
    def mask_tap():
        counted_33.next = 0
        if counts_33:
            counted_33.next = tap_33

    value_exponent = exponent_shift(clk, take(7), tap_33, shift_33, special_33, negate_33, result_34)

    @always_comb
    def judge():
        special_34.next = result_34[31:23] == 255

    return instances()
