"""The @module decorator: a MyHDL block that keeps its boundary when it is converted."""

import sys
from collections.abc import Callable

from myhdl._block import _Block, _CallInfo, _uniqueify_name, block_decorator
from myhdl._extractHierarchy import _UserVerilogCode

current = None
"""The Elaboration under way in this process (rtl.convert.converter), None while simulating."""


class VerilogText(_UserVerilogCode):
    """User-defined code whose text is asked for when MyHDL writes the file, and written as it is."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], str]) -> None:
        super().__init__("", {}, "", None, "", 0)
        self.make = make

    def __str__(self) -> str:
        return f"\n{self.make()}\n"


class Instance(_Block):
    """What a module's call gives while its parent is converted: an instantiation, nothing inside.

    It deliberately does not call the constructor of _Block, which would elaborate the module.
    """

    def __init__(self, name: str, symbols: dict[str, object], ports: dict, text: Callable[[], str]) -> None:
        self.name = self.__name__ = name
        self.named_by_default = name
        self.__doc__ = None
        self.modctxt = True
        self.callername = name
        self.callinfo = _CallInfo(name, True, symbols)
        self.symdict = {}
        self.sigdict = dict(ports)
        self.memdict = {}
        self.subs = []
        self.verilog_code = VerilogText(text)
        self.vhdl_code = None


class ModuleDecorator(block_decorator):
    """A block decorator. `verilog` makes the body of the module from the block's arguments, if given."""

    def __init__(self, function: Callable, verilog: Callable[..., str] | None = None) -> None:
        super().__init__(function)
        self.body = verilog

    def __get__(self, instance, owner):
        raise TypeError(f"@module {self.func.__name__} is a method; modules are plain functions")

    def __call__(self, *args, **kwargs):
        if current is not None:
            frame = sys._getframe(1)
            while frame.f_code.co_name in ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"):
                frame = frame.f_back
            return current.instantiate(self, args, kwargs, {**frame.f_globals, **frame.f_locals})
        # As in block_decorator.__call__; a call of that would add a frame to the stack that MyHDL inspects.
        name = _uniqueify_name(self.func.__name__ + str(self.calls))
        self.calls += 1
        return _Block(self.func, self, name, self.srcfile, self.srcline, self.skipname, *args, **kwargs)


def module(function: Callable | None = None, *, verilog: Callable[..., str] | None = None):
    """Decorate a block that becomes a Verilog module of its own.

    Simulated, it is a plain MyHDL block. Converted, it is written once to its own file and instantiated
    by its parents. Arguments that hold Signals are its ports, all others are parameters and go into its
    name. With `verilog`, a function of the same arguments returns the body of the module as text, for
    what MyHDL cannot express, and the Python body is only the simulation model.
    """
    if function is None:
        return lambda decorated: ModuleDecorator(decorated, verilog)
    return ModuleDecorator(function)
