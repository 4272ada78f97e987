"""From x to table index, z, exponent correction and special results."""

from __future__ import annotations

from myhdl import Signal, always, concat, instances, intbv, modbv

from rtl.common.isa import ACTIVATION_BASE, EXP2_BASE, LOG2_BASE, RECIPROCAL_BASE, RSQRT_BASE
from rtl.convert import module
from rtl.vector.control_word import Function
from rtl.vector.exponent_shift import SPECIAL_INFINITY, SPECIAL_NAN, SPECIAL_NONE, SPECIAL_ZERO
from rtl.vector.timing import EXPONENT_OFFSET

ACTIVATION = int(Function.ACTIVATION)
EXP2 = int(Function.EXP2)
RECIPROCAL = int(Function.RECIPROCAL)
RSQRT = int(Function.RSQRT)
LOG2 = int(Function.LOG2)


@module
def function_lookup(clk, enable, selector, x, x_early, first_exponent, index, z, shift, special, exponent):
    """The columns of the table 'Functions' in rtl/README.md for one x, two cycles after enable[0].

    enable (2 bits: stage 1, stage 2), selector (Function, stage 1), x (32), x_early (31: what EXP2 and ACTIVATION take
    as abs(x), before the last selection, since they have the most to do), first_exponent (8, constant in an
    instruction); index (10), z (32), shift (9, exponent correction + 256), special (2, SPECIAL_*), exponent (8, biased
    exponent of x for LOG2). It does not read the table.
    """
    selector_1 = Signal(intbv(0)[3:])
    x_1 = Signal(intbv(0)[32:])
    magnitude_1 = Signal(intbv(0)[31:])  # EXP2: abs(x), 8 integer bits and 23 of fraction
    beyond_1 = Signal(bool(0))  # EXP2: abs(x) >= 256
    nan_1 = Signal(bool(0))
    improper_1 = Signal(bool(0))  # not a finite number above zero
    code_1 = Signal(intbv(0)[4:])

    @always(clk.posedge)
    def examine():
        octave = modbv(0)[8:]
        fixed = intbv(0)[32:]
        if enable[0]:
            selector_1.next = selector
            x_1.next = x
            nan_1.next = (x[31:23] == 255) & (x[23:] != 0)
            improper_1.next = x[31] | (x[31:23] == 0) | (x[31:23] == 255)
            if selector == EXP2:
                beyond_1.next = x_early[31:23] >= 135
                # Right by 135 - exponent, which needs no subtraction: 7 less its low three bits, and 8 times 16 less
                # the others. 32 places and more leave nothing. What is known first comes first.
                fixed[:] = concat("1", x_early[23:], "00000000")
                if not x_early[23]:
                    fixed[:] = fixed >> 1
                if not x_early[24]:
                    fixed[:] = fixed >> 2
                if not x_early[25]:
                    fixed[:] = fixed >> 4
                if x_early[26]:
                    fixed[:] = fixed >> 8
                if x_early[27] ^ x_early[26]:
                    fixed[:] = fixed >> 16
                if (not x_early[30]) & (x_early[30:26] < 13):
                    fixed[:] = 0
                magnitude_1.next = fixed[31:]
            octave[:] = x_early[31:23] - first_exponent
            if x_early[31:23] < first_exponent:
                code_1.next = 0
            elif octave >= 8:
                code_1.next = 9
            else:
                code_1.next = concat("0", octave[3:]) + 1

    @always(clk.posedge)
    def decide():
        fixed = modbv(0)[32:]
        segment = intbv(0)[5:]
        half = intbv(0)[8:]
        if enable[1]:
            z.next = concat("001111111", x_1[23:])
            shift.next = EXPONENT_OFFSET
            special.next = SPECIAL_NONE
            exponent.next = x_1[31:23]
            if selector_1 == EXP2:
                fixed[:] = concat("0", magnitude_1)
                if x_1[31]:
                    fixed[:] = ~fixed + 1
                index.next = EXP2_BASE + concat("0000", fixed[23:17])
                z.next = concat("001111111", fixed[23:])
                shift.next = concat(not fixed[31], fixed[31:23])
                if nan_1:
                    special.next = SPECIAL_NAN
                elif beyond_1:
                    if x_1[31]:
                        special.next = SPECIAL_ZERO
                    else:
                        special.next = SPECIAL_INFINITY
            elif selector_1 == RECIPROCAL:
                index.next = RECIPROCAL_BASE + concat("0000", x_1[23:17])
                shift.next = 383 - concat("0", x_1[31:23])
                if improper_1:
                    special.next = SPECIAL_NAN
            elif selector_1 == RSQRT:
                # An even biased exponent is an odd power of two: it stays in z.
                half[:] = concat("0", x_1[31:24]) + concat("0000000", x_1[23])
                index.next = RSQRT_BASE + concat("000", not x_1[23], x_1[23:17])
                if x_1[23]:
                    z.next = concat("001111111", x_1[23:])
                else:
                    z.next = concat("010000000", x_1[23:])
                shift.next = 320 - concat("0", half)
                if improper_1:
                    special.next = SPECIAL_NAN
            elif selector_1 == LOG2:
                index.next = LOG2_BASE + concat("000", x_1[23:16])
                if improper_1:
                    special.next = SPECIAL_NAN
            else:
                if (code_1 != 0) & (code_1 != 9):
                    segment[:] = x_1[23:18]
                index.next = ACTIVATION_BASE + concat(code_1, x_1[31], segment)
                z.next = x_1

    return instances()
