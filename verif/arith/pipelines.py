"""Every arithmetic block that takes an operation a clock: its ports, its latency, the operations to put to it.

The one table that the cocotb bench (bench_pipeline.py) and the MyHDL simulation (tests/test_arith_myhdl.py) share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from myhdl import Signal

from rtl.arith import FP32_ADD_LATENCY, FP32_FROM_INT_LATENCY, FP32_MUL_LATENCY, MX_QUANTIZE_ELEMENT_LATENCY
from rtl.arith.fp32_add import fp32_add
from rtl.arith.fp32_from_int import fp32_from_int
from rtl.arith.fp32_mul import fp32_mul
from rtl.arith.mx_quantize_element import mx_quantize_element
from rtl.vector.noise_hash import LATENCY as NOISE_LATENCY
from rtl.vector.sum_tree import sum_tree
from verif.arith import operations, stages
from verif.arith.ports import bit, signed, word

LANES = 4  # of the blocks whose size follows the number of lanes


@dataclass(frozen=True)
class Pipeline:
    """One block.

    block: MyHDL function with ports clk, rst, valid_in, the inputs, valid_out, then the output. inputs: name ->
    maker of its Signal. output: its name and bits. operations: (generator, count, reference) -> operands and
    results. parameters: keyword arguments of the block. count: operations of a run at full rate.
    """

    block: Callable
    latency: int
    inputs: Mapping[str, Callable[[], Signal]]
    output: tuple[str, int]
    operations: Callable[..., operations.Operations]
    parameters: Mapping[str, object] = field(default_factory=dict)
    count: int = 20_000

    def signals(self) -> list[Signal]:
        """clk, rst, valid_in, inputs, valid_out, output: what the block is called with."""
        return [bit(), bit(), bit(), *(make() for make in self.inputs.values()), bit(), word(self.output[1])]


def _words(*names: str) -> dict[str, Callable[[], Signal]]:
    return {name: lambda: word(32) for name in names}


def _dot_product(packed: bool) -> Pipeline:
    inputs = {"mxfp4": bit, "activations": lambda: word(256), "weights": lambda: word(256)}
    return Pipeline(
        stages.dot_product,
        stages.DOT_PRODUCT_LATENCY,
        inputs,
        ("sums", 42),
        operations.dot_product,
        {"packed": packed},
        5_000,
    )


PIPELINES = {
    "fp32_add": Pipeline(fp32_add, FP32_ADD_LATENCY, _words("a", "b"), ("y", 32), operations.fp32_add, {}, 100_000),
    "fp32_mul": Pipeline(fp32_mul, FP32_MUL_LATENCY, _words("a", "b"), ("y", 32), operations.fp32_mul, {}, 100_000),
    "fp32_from_int": Pipeline(
        fp32_from_int,
        FP32_FROM_INT_LATENCY,
        {"value": lambda: signed(21), "exponent": lambda: signed(11), "force_nan": bit},
        ("y", 32),
        operations.fp32_from_int,
        {},
        100_000,
    ),
    "mx_quantize_element": Pipeline(
        mx_quantize_element,
        MX_QUANTIZE_ELEMENT_LATENCY,
        {"x": lambda: word(32), "top": lambda: word(8)},
        ("element", 8),
        operations.mx_quantize_element,
        {},
        100_000,
    ),
    "dot_packed": _dot_product(packed=True),
    "dot_split": _dot_product(packed=False),
    "sum_tree": Pipeline(
        sum_tree,
        FP32_ADD_LATENCY * (LANES.bit_length() - 1),
        {"x": lambda: word(32 * LANES)},
        ("y", 32),
        operations.sum_tree,
        {"count": LANES},
    ),
    "best_key": Pipeline(
        stages.best_key,
        stages.best_key_latency(LANES),
        {"x": lambda: word(32 * LANES), "counted": lambda: word(LANES)},
        ("found", 32 + LANES.bit_length() - 1),
        operations.best_key,
        {"count": LANES},
    ),
    "function_lookup": Pipeline(
        stages.lookup,
        stages.LOOKUP_LATENCY,
        {"selector": lambda: word(3), "x": lambda: word(32), "first_exponent": lambda: word(8)},
        ("found", stages.LOOKUP_BITS),
        operations.function_lookup,
    ),
    "exponent_shift": Pipeline(
        stages.shift_exponent,
        1,
        {"x": lambda: word(32), "shift": lambda: word(9), "special": lambda: word(2), "negate": bit},
        ("y", 32),
        operations.exponent_shift,
    ),
    "exponent_to_float": Pipeline(
        stages.float_exponent, 2, {"exponent": lambda: word(8)}, ("y", 32), operations.exponent_to_float
    ),
    "noise_hash": Pipeline(
        stages.hash_noise,
        NOISE_LATENCY,
        _words("key", "token"),
        ("noise", 32),
        operations.noise_hash,
    ),
}
