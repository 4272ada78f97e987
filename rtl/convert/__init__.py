"""Conversion of MyHDL blocks to one Verilog file per module, hierarchy kept. See README.md here."""

from rtl.convert.converter import Converted, convert, find_converted
from rtl.convert.module import module
from rtl.convert.names import HierarchyError

__all__ = ["Converted", "HierarchyError", "convert", "find_converted", "module"]
