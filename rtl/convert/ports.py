"""Ports of a module: the Signals inside its arguments, flattened, named, described and copied."""

import copy
import dataclasses
import inspect
import types

from myhdl import EnumType, ResetSignal, Signal, SignalType
from myhdl._block import _Block, block_decorator
from myhdl._instance import _Instantiator
from myhdl._ShadowSignal import _ShadowSignal

from rtl.convert.names import HierarchyError

OPAQUE = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    EnumType,
    _Block,
    _Instantiator,
    block_decorator,
    str,
    int,
    float,
    bytes,
)
"""Values that hold no Signal, whatever attributes they have."""


@dataclasses.dataclass(frozen=True)
class Port:
    """One port. `bounds` and `initial` may reach the hardware as literals and reset values."""

    name: str
    type: str
    width: int
    signed: bool
    bounds: str
    reset: str
    initial: int
    direction: str = ""

    def conflict(self, other: "Port") -> str:
        """In words, how `other` (an instance's port) differs from this one (the module's); '' if it fits."""
        for what in ("width", "signed", "type", "bounds", "reset"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                return f"{what} is {theirs}, the module was converted with {mine}"
        if self.direction == "output" and self.initial != other.initial:
            return (
                f"initial value, which is the reset value of an output, is {other.initial}, "
                f"the module was converted with {self.initial}"
            )
        return ""


def describe(name: str, signal: SignalType) -> Port:
    """The port that `signal` makes under `name`."""
    if not signal._nrbits:
        raise HierarchyError(f"port {name} has no width: use intbv(value)[width:], bool or intbv(min=, max=)")
    kind = signal._type.__name__ if isinstance(signal._type, type) else "int"
    if isinstance(signal._init, bool):
        kind = "bool"
    signed = signal._min is not None and signal._min < 0
    reset = f"active {int(signal.active)}, async {signal.isasync}" if isinstance(signal, ResetSignal) else ""
    initial = signal._init
    try:
        number = int(initial)
    except (TypeError, ValueError):
        number = int(getattr(initial, "_val", 0) or 0)
    if type(initial).__name__ == "modbv":
        kind = "intbv"  # the same wire; wrapping is a matter of the assignment
    bounds = f"{signal._min} <= x < {signal._max}" if signal._min is not None else ""
    return Port(name, kind, int(signal._nrbits), signed, bounds, reset, number)


def expand(name: str, value: object, depth: int = 0) -> list[tuple[str, SignalType]]:
    """All Signals inside `value` with their flat names: `bus` with `valid` gives `bus_valid`."""
    if isinstance(value, SignalType):
        return [(name, value)]
    if depth > 8 or value is None or isinstance(value, OPAQUE):
        return []
    if isinstance(value, (list, tuple)):
        members = [(str(index), item) for index, item in enumerate(value)]
    elif isinstance(value, dict):
        members = [(str(key), item) for key, item in value.items()]
    elif hasattr(value, "__dict__"):
        members = list(vars(value).items())
    else:
        slots = getattr(type(value), "__slots__", ())
        if any(isinstance(getattr(value, slot, None), SignalType) for slot in slots):
            raise HierarchyError(f"interface {name} ({type(value).__name__}) uses __slots__: drop them")
        return []
    found = []
    for member, item in members:
        found += expand(f"{name}_{member}", item, depth + 1)
    return found


def expand_arguments(arguments: dict[str, object]) -> list[tuple[str, SignalType]]:
    return [port for name, value in arguments.items() for port in expand(name, value)]


def clone(value: object, depth: int = 0) -> object:
    """A copy of an argument with fresh Signals, so that a module does not depend on its first instance."""
    if isinstance(value, ResetSignal):
        return ResetSignal(value._init, active=value.active, isasync=value.isasync)
    if isinstance(value, SignalType):
        initial = value._init
        if isinstance(value, _ShadowSignal) and isinstance(initial, int) and value._nrbits == 1:
            initial = bool(initial)
        return Signal(copy.deepcopy(initial))
    if depth > 8 or not expand("", value):
        return value
    if isinstance(value, list):
        return [clone(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        items = [clone(item, depth + 1) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, dict):
        return {key: clone(item, depth + 1) for key, item in value.items()}
    twin = copy.copy(value)
    for member, item in list(vars(twin).items()):
        if isinstance(item, _ShadowSignal):
            raise HierarchyError(
                f"attribute {member} of interface {type(value).__name__} is a slice or concatenation of "
                f"signals: it cannot be a port; slice inside the module"
            )
        object.__setattr__(twin, member, clone(item, depth + 1))
    return twin


def settings(value: object, depth: int = 0) -> object:
    """The plain values beside the Signals of an interface, which a module may read while it is built."""
    if isinstance(value, SignalType) or depth > 8:
        return None
    if isinstance(value, (list, tuple)):
        return [settings(item, depth + 1) for item in value]
    if hasattr(value, "__dict__") and not isinstance(value, OPAQUE):
        inner = {member: settings(item, depth + 1) for member, item in vars(value).items()}
        return {"class": type(value).__qualname__, **{k: v for k, v in inner.items() if v is not None}}
    if isinstance(value, (bool, int, float, str)):
        return value
    return None


def bind(function: object, args: tuple, kwargs: dict) -> inspect.BoundArguments:
    """The arguments of a call by name, defaults applied; *args and **kwargs are refused."""
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise HierarchyError(f"module {function.__name__} takes *{parameter.name}: name every argument")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise HierarchyError(f"call of module {function.__name__}: {error}") from None
    bound.apply_defaults()
    return bound
