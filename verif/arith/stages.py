"""Arithmetic that the chip enables stage by stage, with valid bits around it, so that one bench drives it all."""

from __future__ import annotations

from myhdl import ConcatSignal, Signal, always, always_comb, concat, instances, intbv

from rtl.array import weight_bits
from rtl.array.dot_packed import dot_packed
from rtl.array.dot_split import dot_split
from rtl.array.weight_lane import weight_lane
from rtl.convert import module
from rtl.vector.best_tree import best_tree
from rtl.vector.exponent_shift import exponent_shift
from rtl.vector.exponent_to_float import exponent_to_float
from rtl.vector.function_lookup import function_lookup
from rtl.vector.noise_hash import LATENCY, noise_hash
from rtl.vector.order_key import order_key

DOT_PRODUCT_LATENCY = 5
LOOKUP_LATENCY = 2
LOOKUP_BITS = 10 + 32 + 9 + 2 + 8


def best_key_latency(count: int) -> int:
    """Clocks of best_key: two for the key, then a level of the tree each."""
    return 2 + (count - 1).bit_length()


@module
def age(clk, rst, valid_in, ages, count: int):
    """ages: bit k is valid_in of k + 1 clocks ago, `count` of them (at least 2)."""

    @always(clk.posedge)
    def shift():
        if rst:
            ages.next = 0
        else:
            ages.next = concat(ages[count - 1 :], valid_in)

    return instances()


@module
def dot_product(clk, rst, valid_in, mxfp4, activations, weights, valid_out, sums, packed: bool):
    """A row's 32 weight decoders and its leaf. activations: 32 x int8; weights: a port's 32 bytes; sums: {odd, even},
    21 bits each, odd 0 for MXINT8."""
    bits = weight_bits(packed)
    ages = Signal(intbv(0)[5:])
    formats = Signal(intbv(0)[5:])
    decoded = [Signal(intbv(0)[bits:]) for _ in range(32)]
    activations_1, activations_2 = [Signal(intbv(0)[256:]) for _ in range(2)]
    even, odd = [Signal(intbv(0, min=-(2**20), max=2**20)) for _ in range(2)]
    gathered = ConcatSignal(*reversed(decoded))
    weights_2 = Signal(intbv(0)[32 * bits :])

    aging = age(clk, rst, valid_in, ages, 5)
    lanes = [weight_lane(clk, mxfp4, weights(8 * i + 8, 8 * i), ages(0), decoded[i], packed) for i in range(32)]

    @always(clk.posedge)
    def hold():
        activations_1.next = activations
        activations_2.next = activations_1
        formats.next = concat(formats[4:], mxfp4)

    @always_comb
    def gather():
        weights_2.next = gathered

    if packed:
        leaf = dot_packed(clk, ages(1), ages(2), ages(3), formats(2), formats(3), activations_2, weights_2, even, odd)
    else:
        leaf = dot_split(clk, ages(1), ages(2), ages(3), formats(3), activations_2, weights_2, even, odd)

    @always_comb
    def give():
        valid_out.next = ages[4]
        sums.next = concat(intbv(0)[21:], even[21:])
        if formats[4]:
            sums.next = concat(odd[21:], even[21:])

    return instances()


@module
def best_key(clk, rst, valid_in, x, counted, valid_out, found, count: int):
    """found: {place, key} of the largest of `count` FP32 numbers, of the lowest place among equals."""
    levels = (count - 1).bit_length()
    ages = Signal(intbv(0)[levels + 2 :])
    enable = ConcatSignal(ages(0), valid_in)
    keys = [Signal(intbv(0)[32:]) for _ in range(count)]
    packed_keys = ConcatSignal(*reversed(keys))
    key = Signal(intbv(0)[32:])
    place = Signal(intbv(0)[levels:])

    aging = age(clk, rst, valid_in, ages, levels + 2)
    order = [order_key(clk, enable, x(32 * k + 32, 32 * k), counted(k), keys[k]) for k in range(count)]
    tree = best_tree(clk, ages(levels + 1, 1), packed_keys, key, place, count)

    @always_comb
    def give():
        valid_out.next = ages[levels + 1]
        found.next = concat(place, key)

    return instances()


@module
def lookup(clk, rst, valid_in, selector, x, first_exponent, valid_out, found):
    """found: {index, z, shift, special, exponent} of function_lookup."""
    ages = Signal(intbv(0)[2:])
    enable = Signal(intbv(0)[2:])
    index = Signal(intbv(0)[10:])
    z = Signal(intbv(0)[32:])
    shift = Signal(intbv(0)[9:])
    special = Signal(intbv(0)[2:])
    exponent = Signal(intbv(0)[8:])

    aging = age(clk, rst, valid_in, ages, 2)
    look = function_lookup(clk, enable, selector, x, x(31, 0), first_exponent, index, z, shift, special, exponent)

    @always_comb
    def give():
        enable.next = concat(ages[0], valid_in)
        valid_out.next = ages[1]
        found.next = concat(index, z, shift, special, exponent)

    return instances()


@module
def shift_exponent(clk, rst, valid_in, x, shift, special, negate, valid_out, y):
    """exponent_shift with a valid bit."""

    @always(clk.posedge)
    def track():
        valid_out.next = valid_in and not rst

    unit = exponent_shift(clk, valid_in, x, shift, special, negate, y)
    return instances()


@module
def float_exponent(clk, rst, valid_in, exponent, valid_out, y):
    """exponent_to_float with a valid bit."""
    ages = Signal(intbv(0)[2:])
    enable = Signal(intbv(0)[2:])

    aging = age(clk, rst, valid_in, ages, 2)
    unit = exponent_to_float(clk, enable, exponent, y)

    @always_comb
    def give():
        enable.next = concat(ages[0], valid_in)
        valid_out.next = ages[1]

    return instances()


@module
def hash_noise(clk, rst, valid_in, key, token, valid_out, noise):
    """noise_hash of a row's key and a token id, whose lowest bit is the lane's number."""
    ages = Signal(intbv(0)[LATENCY:])
    enable = Signal(intbv(0)[LATENCY:])
    seed, number = [Signal(intbv(0)[32:]) for _ in range(2)]

    aging = age(clk, rst, valid_in, ages, LATENCY)

    @always_comb
    def split():
        seed.next = key ^ concat(token[32:1], "0")
        number.next = concat(intbv(0)[31:], token[0])
        enable.next = concat(ages[LATENCY - 1 :], valid_in)
        valid_out.next = ages[LATENCY - 1]

    unit = noise_hash(clk, enable, seed, number, noise)
    return instances()
