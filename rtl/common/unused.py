"""A sink for bits that a configuration does not need, so that lint tells of all others."""

from myhdl import instances

from rtl.convert import module


def unused_verilog(x, width: int) -> str:
    return "wire unused = &{1'b0, x};"


@module(verilog=unused_verilog)
def unused(x, width: int):
    """Reads x (width bits), does nothing."""
    return instances()
