"""Names of modules and signals: readable, unique, and legal in Verilog and SystemVerilog."""

import dataclasses
import enum
import hashlib
import re


class HierarchyError(Exception):
    """A module cannot be converted or instantiated; the message says which, why, and what to do."""


KEYWORDS = frozenset(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before
    begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class
    clocking cmos config const constraint context continue cover covergroup coverpoint cross deassign
    default defparam design disable dist do edge else end endcase endchecker endclass endclocking endconfig
    endfunction endgenerate endgroup endinterface endmodule endpackage endprimitive endprogram endproperty
    endspecify endsequence endtable endtask enum event eventually expect export extends extern final
    first_match for force foreach forever fork forkjoin function generate genvar global highz0 highz1 if iff
    ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input inside
    instance int integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype new
    nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge
    primitive priority program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
    pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg reject_on release
    repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until
    s_until_with scalared sequence shortint shortreal showcancelled signed small soft solve specify
    specparam static string strong strong0 strong1 struct super supply0 supply1 sync_accept_on
    sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri
    tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use
    uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within
    wor xnor xor
    """.split()
)
"""Reserved words of Verilog (IEEE 1364-2005) and SystemVerilog (IEEE 1800-2017)."""

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_identifier(name: str, what: str, where: str) -> None:
    """Raise HierarchyError where `name` cannot be used as an identifier in every Verilog tool."""
    if not IDENTIFIER.match(name):
        raise HierarchyError(f"{where}: {what} {name!r} is not a Verilog identifier; rename it")
    if name in KEYWORDS:
        raise HierarchyError(f"{where}: {what} {name!r} is a Verilog or SystemVerilog keyword; rename it")


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def parameter_repr(value: object, where: str) -> str:
    """A text that identifies a parameter's value and is the same in every process."""
    if isinstance(value, (list, tuple)):
        inner = ", ".join(parameter_repr(item, where) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, dict):
        pairs = (f"{parameter_repr(k, where)}: {parameter_repr(v, where)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f"{f.name}={parameter_repr(getattr(value, f.name), where)}" for f in dataclasses.fields(value))
        return f"{type(value).__qualname__}({', '.join(fields)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    if re.search(r" at 0x[0-9a-f]+", text):
        raise HierarchyError(
            f"{where} is a {type(value).__name__}, whose repr names an address: "
            f"pass an int, a str, a tuple or a frozen dataclass"
        )
    return text


def parameter_suffix(name: str, value: object, where: str) -> str:
    """What a parameter adds to its module's name: `_depth16`, `_edge` for a dataclass with that name."""
    if isinstance(value, bool):
        return f"_{name}" if value else f"_no_{name}"
    if isinstance(value, enum.Enum):
        return f"_{value.name.lower()}"
    if isinstance(value, int):
        return f"_{name}{value}" if value >= 0 else f"_{name}_minus{-value}"
    if value is None:
        return f"_no_{name}"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_]+", value):
        return f"_{value.lower()}"
    if dataclasses.is_dataclass(value) and isinstance(getattr(value, "name", None), str):
        return f"_{re.sub('[^A-Za-z0-9]+', '_', value.name).lower()}"
    if callable(value) and hasattr(value, "__name__"):
        return f"_{value.__name__}"
    return f"_{name}{short_hash(parameter_repr(value, where))}"
