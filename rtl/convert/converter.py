"""Conversion: one forked process a module, children first, one .v and one .json each, incremental."""

import dataclasses
import hashlib
import inspect
import json
import os
import pickle
import re
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from types import FrameType

import myhdl
from myhdl import Constant, Signal
from myhdl._block import _Block
from myhdl._ShadowSignal import ConcatSignal, _ShadowSignal, _SliceSignal
from myhdl.conversion import _toVerilog

from rtl.convert import module as module_state
from rtl.convert.module import Instance, ModuleDecorator, VerilogText
from rtl.convert.names import HierarchyError, check_identifier, parameter_repr, parameter_suffix
from rtl.convert.ports import Port, bind, clone, describe, expand, expand_arguments, settings
from rtl.convert.sources import package_root, source_hash


@dataclasses.dataclass(frozen=True)
class Record:
    """What is remembered of a converted module; the .json beside its .v."""

    name: str
    digest: str
    function: str
    parameters: dict[str, str]
    settings: dict[str, object]
    ports: list[Port]
    children: dict[str, str]
    verilog: str

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> "Record":
        fields = json.loads(text)
        return Record(**{**fields, "ports": [Port(**port) for port in fields["ports"]]})


@dataclasses.dataclass(frozen=True)
class Converted:
    """The outcome of convert(): the top module's name, every .v needed (children first), its ports."""

    name: str
    files: list[Path]
    ports: list[Port]


def convert(block: ModuleDecorator, *args: object, out_dir: Path | str, **kwargs: object) -> Converted:
    """Convert `block(*args, **kwargs)` and every module under it into `out_dir`, one file each.

    Signals among the arguments only give the ports their widths; they are left untouched. Files whose
    sources, parameters and ports did not change are kept. Raises HierarchyError with the reason.
    """
    if not isinstance(block, ModuleDecorator):
        raise HierarchyError(f"{getattr(block, '__name__', block)} is not a @module: decorate it")
    directory = Path(out_dir)
    directory.mkdir(parents=True, exist_ok=True)
    run = Run(directory)
    return run.converted(run.obtain(block, args, kwargs, ()).name)


def find_converted(block: ModuleDecorator, *args: object, out_dir: Path | str, **kwargs: object) -> Converted | None:
    """What `convert` returns if nothing in `out_dir` has to be converted or written, else None."""
    run = Run(Path(out_dir))
    request = run.request(block, bind(block.func, args, kwargs).arguments, ())
    if run.load(request.name, request.digest) is None:
        return None
    return run.converted(request.name)


class Run:
    """One conversion run: the records of all modules that are up to date so far."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: dict[str, Record] = {}
        self.sources: dict[frozenset[str], str] = {}

    def sources_of(self, block: ModuleDecorator, arguments: dict[str, object]) -> str:
        """Hash of the files that shape a module; a block that is passed as a parameter belongs to them."""
        passed = (getattr(value, "func", value) for value in arguments.values() if callable(value))
        files = frozenset([block.srcfile, *(inspect.getsourcefile(f) for f in passed if inspect.isfunction(f))])
        if files not in self.sources:
            self.sources[files] = source_hash(Path(file) for file in files)
        return self.sources[files]

    def subtree(self, name: str) -> list[str]:
        """Names of `name` and of all modules under it, children first, each once."""
        order: list[str] = []

        def visit(current: str) -> None:
            if current not in order:
                for child in self.records[current].children:
                    visit(child)
                order.append(current)

        visit(name)
        return order

    def converted(self, name: str) -> Converted:
        """A module of this run with its files."""
        return Converted(name, [self.directory / f"{part}.v" for part in self.subtree(name)], self.records[name].ports)

    def obtain(self, block: ModuleDecorator, args: tuple, kwargs: dict, path: tuple[str, ...]) -> Record:
        """The record of the module that this call needs: known, still good on disk, or converted now."""
        bound = bind(block.func, args, kwargs)
        request = self.request(block, bound.arguments, path)
        where = " > ".join((*path, request.name))
        if request.name in path:
            raise HierarchyError(f"{where}: the module contains itself")
        record = self.records.get(request.name)
        if record is None:
            record = self.load(request.name, request.digest)
        if record is None:
            self.records.update(convert_in_fork(self, block, bound, request, path))
            record = self.records[request.name]
        check_same_module(record, request, where)
        return record

    def request(self, block: ModuleDecorator, arguments: dict[str, object], path: tuple[str, ...]) -> Record:
        """What is known of a module before it is converted, its name and its digest among that."""
        where = " > ".join((*path, block.func.__name__))
        name, parameters, ports, plain = block.func.__name__, {}, [], {}
        signature = inspect.signature(block.func)
        for argument, value in arguments.items():
            default = signature.parameters[argument].default
            signals = expand(argument, value)
            if signals:
                try:
                    ports += [describe(port, signal) for port, signal in signals]
                except HierarchyError as error:
                    raise HierarchyError(f"{where}: {error}") from None
                plain[argument] = settings(value)
                if default is None:
                    name += f"_with_{argument}"
                continue
            parameters[argument] = parameter_repr(value, f"{where}: parameter {argument}")
            if default is inspect.Parameter.empty or parameters[argument] != parameter_repr(default, where):
                name += parameter_suffix(argument, value, where)
        check_identifier(name, "module name", where)
        function = f"{block.func.__module__}.{block.func.__qualname__}"
        seen = set()
        for port in ports:
            check_identifier(port.name, "port", where)
            if port.name in seen:
                raise HierarchyError(f"{where}: two Signals make a port {port.name}; rename one")
            seen.add(port.name)
        identity = repr((self.sources_of(block, arguments), function, parameters, plain, ports))
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return Record(name, digest, function, parameters, plain, ports, {}, "")

    def load(self, name: str, digest: str = "") -> Record | None:
        """The record on disk with everything under it, when it still holds; None otherwise."""
        try:
            record = Record.from_json((self.directory / f"{name}.json").read_text())
            verilog = (self.directory / f"{name}.v").read_text()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if digest and record.digest != digest or text_hash(verilog) != record.verilog:
            return None
        for child, child_verilog in record.children.items():
            known = self.records.get(child) or self.load(child)
            if known is None or known.verilog != child_verilog:
                return None
        self.records[name] = record
        return record


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_same_module(record: Record, request: Record, where: str) -> None:
    """Raise where `request` names the module of `record` but would be another one, or wires it wrongly."""
    if record.function != request.function:
        raise HierarchyError(
            f"{where}: the name is taken by {record.function}, wanted for {request.function}; rename one"
        )
    if record.parameters != request.parameters:
        differing = [k for k, v in request.parameters.items() if record.parameters.get(k) != v]
        raise HierarchyError(f"{where}: one name for two sets of parameters ({', '.join(differing)} differ)")
    mine = {port.name: port for port in record.ports}
    theirs = {port.name: port for port in request.ports}
    if mine.keys() != theirs.keys():
        missing, extra = sorted(mine.keys() - theirs.keys()), sorted(theirs.keys() - mine.keys())
        raise HierarchyError(
            f"{where}: the ports differ from those the module was converted with: missing {missing}, unknown {extra}"
        )
    for name, port in mine.items():
        difference = port.conflict(theirs[name])
        if difference:
            raise HierarchyError(
                f"{where}: two shapes under one module name: port {name}: {difference}. "
                f"Make what differs a parameter, or connect a Signal of the same shape"
            )
    if record.settings != request.settings:
        raise HierarchyError(
            f"{where}: two shapes under one module name: attributes of an interface differ: "
            f"{request.settings}, converted with {record.settings}"
        )


def convert_in_fork(
    run: Run, block: ModuleDecorator, bound: inspect.BoundArguments, request: Record, path: tuple[str, ...]
) -> dict[str, Record]:
    """Convert one module in a process of its own; return the records that came up on the way."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            sys.setprofile(None)
            known = set(run.records)
            try:
                convert_module(run, block, bound, request, path)
                answer = {name: record for name, record in run.records.items() if name not in known}
            except HierarchyError as error:
                answer = str(error)
            except Exception as error:
                where = " > ".join((*path, request.name))
                answer = f"{where}: {type(error).__name__}: {error}"
                if not isinstance(error, (myhdl.Error,)):
                    answer += "\n" + traceback.format_exc()
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
            sys.stdout.flush()
            sys.stderr.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise HierarchyError(f"{' > '.join((*path, request.name))}: the converting process died")
    answer = pickle.loads(data)
    if isinstance(answer, str):
        raise HierarchyError(answer)
    return answer


def reset_myhdl() -> None:
    """Clear what MyHDL keeps between conversions; only ever called in a forked process."""
    from myhdl import _block, _extractHierarchy, _simulator, _traceSignals

    _block._name_set.clear()
    _block._inst_name_set.clear()
    _extractHierarchy._memInfoMap.clear()
    for known in _simulator._blocks:
        known.calls = 0
    _traceSignals._tracing = 0
    # MyHDL inspects the stack for every block and generator; the standard functions read source files for it.
    inspect.stack = lambda: frames_and_names(sys._getframe(1))
    inspect.getouterframes = frames_and_names


def frames_and_names(frame: FrameType | None) -> list[tuple]:
    """What MyHDL uses of inspect.getouterframes(): each frame and, in fourth place, the name of its function."""
    found = []
    while frame is not None:
        found.append((frame, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None, None))
        frame = frame.f_back
    return found


class Elaboration:
    """The module being converted in this process: its instances, and who drives which Signal."""

    def __init__(self, run: Run, path: tuple[str, ...]) -> None:
        self.run = run
        self.path = path
        self.where = " > ".join(path)
        self.instances: list[tuple[Instance, Record]] = []
        self.drivers: dict[int, tuple[str, Instance]] = {}
        self.conflicts: list[tuple[str, Instance, str, Instance]] = []
        self.counts: dict[str, int] = {}

    def instantiate(self, block: ModuleDecorator, args: tuple, kwargs: dict, symbols: dict) -> Instance:
        """Convert the child unless that is done, check the connections, and stand in for it."""
        record = self.run.obtain(block, args, kwargs, self.path)
        wires = dict(expand_arguments(bind(block.func, args, kwargs).arguments))
        function = block.func.__name__
        number = self.counts[function] = self.counts.get(function, -1) + 1
        instance = Instance(f"{function}_{number}", symbols, wires, lambda: instantiation(record, instance.name, wires))
        self.instances.append((instance, record))
        for port in record.ports:
            self.connect(instance, port, wires[port.name])
        return instance

    def connect(self, instance: Instance, port: Port, wire: Signal) -> None:
        wire._markUsed()
        if port.direction == "input":
            wire._markRead()
            if isinstance(wire, ConcatSignal):
                wire._driven = "wire"
            return
        target = f"{self.where}: output {port.name} of {instance.name}"
        if isinstance(wire, (_ShadowSignal, Constant)):
            raise HierarchyError(f"{target} is connected to a {type(wire).__name__}: connect a Signal")
        if id(wire) in self.drivers:
            # Told after elaboration, when instances have the names of the variables that hold them.
            self.conflicts.append((port.name, instance, *self.drivers[id(wire)]))
        self.drivers[id(wire)] = (port.name, instance)
        wire.driven = "wire"

    def check_conflicts(self) -> None:
        for port, instance, other_port, other in self.conflicts:
            raise HierarchyError(
                f"{self.where}: output {port} of {instance.name} drives a Signal that "
                f"{other_port} of {other.name} drives already; give each its own Signal"
            )


def instantiation(record: Record, name: str, wires: dict[str, Signal]) -> str:
    """The Verilog text of one instance."""
    lines = [f"    .{port.name}({wires[port.name]._name})" for port in record.ports]
    return f"{record.name} {name} (\n" + ",\n".join(lines) + "\n);"


def convert_module(
    run: Run, block: ModuleDecorator, bound: inspect.BoundArguments, request: Record, path: tuple[str, ...]
) -> None:
    """Elaborate a module on copies of its arguments, convert it, write its files (forked process)."""
    reset_myhdl()
    elaboration = Elaboration(run, (*path, request.name))
    arguments = {name: clone(value) for name, value in bound.arguments.items()}
    bound.arguments.update(arguments)
    top, local = elaborate(elaboration, block, bound)
    ports = dict(expand_arguments(arguments))
    sort_by_name(top)
    name_instances(local)
    elaboration.check_conflicts()
    if block.body is not None:
        use_body(top, block.body(**arguments), ports, elaboration.where)
    else:
        name_signals(top, ports, local)
    directions: dict[str, str] = {}

    def check(self, hierarchy, interface, signals, memories, generators) -> None:
        check_drivers(signals, memories, ports, elaboration.where)
        check_names(elaboration, signals, memories, ports, generators)
        directions.update({n: "output" if s._driven else "input" for n, s in ports.items()})

    def infer_interface() -> None:
        top.argnames = list(ports)
        top.argdict = dict(ports)

    top._inferInterface = infer_interface
    top.__doc__ = ""
    _toVerilog._ToVerilogConvertor._convert_filter = check
    with tempfile.TemporaryDirectory(dir=run.directory, prefix=f".{request.name}.") as scratch:
        converter = _toVerilog.toVerilog
        converter.name = request.name
        converter.directory = scratch
        converter.no_myhdl_header = True
        converter.no_testbench = True
        converter.timescale = "1ns/1ps"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", myhdl.ToVerilogWarning)
            converter(top)
        body = (Path(scratch) / f"{request.name}.v").read_text()
        text = finish(head_comment(block), body, ports)
        record = dataclasses.replace(
            request,
            ports=[dataclasses.replace(port, direction=directions[port.name]) for port in request.ports],
            # In the order of the record on disk, so that the list of files is the same every time.
            children=dict(sorted((child.name, child.verilog) for _, child in elaboration.instances)),
            verilog=text_hash(text),
        )
        write_if_changed(run.directory / f"{request.name}.v", text, Path(scratch))
        write_if_changed(run.directory / f"{request.name}.json", record.to_json(), Path(scratch))
    run.records[request.name] = record


def elaborate(
    elaboration: Elaboration, block: ModuleDecorator, bound: inspect.BoundArguments
) -> tuple[_Block, dict[str, object]]:
    """Build the block; also return the local variables of its function, for the names in the Verilog."""
    local: dict[str, object] = {}
    code = block.func.__code__

    def remember_locals(frame, event: str, argument: object) -> None:
        if event == "return" and frame.f_code is code:
            local.update(frame.f_locals)

    module_state.current = elaboration
    sys.setprofile(remember_locals)
    try:
        name = block.func.__name__
        top = _Block(block.func, block, name, block.srcfile, block.srcline, False, *bound.args, **bound.kwargs)
    finally:
        sys.setprofile(None)
        module_state.current = None
    return top, local


def sort_by_name(top: _Block) -> None:
    """Order sensitivity lists and resets by name; MyHDL takes them from sets, whose order changes."""
    from myhdl._always_comb import _AlwaysComb
    from myhdl._always_seq import _AlwaysSeq

    for sub in top.subs:
        if isinstance(sub, Instance):
            continue
        if isinstance(sub, _Block):
            sort_by_name(sub)
        elif isinstance(sub, _AlwaysComb):
            inputs = [sub.symdict[name] for name in sorted(sub.inputs)]
            flat = [s for item in inputs for s in (item if isinstance(item, list) else [item])]
            wanted = {id(signal) for signal in sub.senslist}
            sub.senslist = tuple(signal for signal in flat if id(signal) in wanted)
        elif isinstance(sub, _AlwaysSeq):
            outputs = [sub.symdict[name] for name in sorted(sub.outputs)]
            flat = [s for item in outputs for s in (item if isinstance(item, list) else [item])]
            wanted = {id(signal) for signal in sub.sigregs}
            sub.sigregs[:] = [signal for signal in flat if id(signal) in wanted]
            sub.varregs.sort(key=lambda register: register[0])


def walk(name: str, value: object, kind: type, depth: int = 0) -> list[tuple[str, object]]:
    """Objects of a kind in a local variable, lists and dictionaries of them included, with flat names."""
    if isinstance(value, kind):
        return [(name, value)]
    if depth > 4 or not isinstance(value, (list, tuple, dict)):
        return []
    members = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in members for found in walk(f"{name}_{key}", item, kind, depth + 1)]


def name_instances(local: dict[str, object]) -> None:
    """Name instances after the variables that hold them, unless they were named by hand."""
    for variable, value in local.items():
        for name, instance in walk(variable, value, Instance):
            if instance.name == instance.named_by_default:
                instance.name = instance.named_by_default = re.sub(r"\W", "_", name)


def name_signals(top: _Block, ports: dict[str, Signal], local: dict[str, object]) -> None:
    """Name Signals after ports, then after local variables and attributes of local interfaces.

    MyHDL only sees the variables that exist when the first child or generator is made.
    """
    in_memories = {id(s) for memory in top.memdict.values() if memory._used for s in memory.mem}
    names: dict[str, Signal] = dict(ports)
    named = {id(signal) for signal in ports.values()}
    found = [pair for variable, value in local.items() for pair in expand(variable, value)]
    # Variables that are Signals themselves come before members of structures that hold the same Signal.
    found.sort(key=lambda pair: local.get(pair[0]) is not pair[1])
    for name, signal in found:
        if id(signal) in named or id(signal) in in_memories or isinstance(signal, _SliceSignal):
            continue
        unique = name
        while unique in names:
            unique += "_"
        names[unique] = signal
        named.add(id(signal))
    for name, signal in top.sigdict.items():
        if id(signal) not in named:
            unique = name
            while unique in names:
                unique += "_"
            names[unique] = signal
    top.sigdict = names


def use_body(top: _Block, body: str, ports: dict[str, Signal], where: str) -> None:
    """Replace the Python body, which stays the simulation model, by Verilog text."""
    outputs: set[int] = set()

    def collect(part: _Block) -> None:
        for sub in part.subs:
            if isinstance(sub, _Block):
                collect(sub)
                continue
            for name in sub.outputs | sub.inouts:
                item = sub.symdict[name]
                for signal in item if isinstance(item, list) else [item]:
                    outputs.add(id(signal))

    collect(top)
    for name, signal in ports.items():
        signal._markUsed()
        if not re.search(rf"\b{name}\b", body):
            raise HierarchyError(f"{where}: port {name} does not occur in the Verilog body")
        if id(signal) in outputs:
            signal.driven = "wire" if re.search(rf"\bassign\s+{name}\b", body) else "reg"
        else:
            signal._markRead()
    top.subs = []
    top.sigdict = dict(ports)
    top.memdict = {}
    top.verilog_code = VerilogText(lambda: body)


def check_drivers(signals: list, memories: list, ports: dict[str, Signal], where: str) -> None:
    """Every wire that is read must be driven: MyHDL would write a constant, or memory full of zeros."""
    in_ports = {id(signal) for signal in ports.values()}
    for signal in signals:
        if isinstance(signal, Constant):
            if int(signal.val) < 0:
                raise HierarchyError(f"{where}: Constant {signal._name} is negative; write it in the generator")
            continue
        if not signal._used or signal._driven or not signal._read or id(signal) in in_ports:
            continue
        if isinstance(signal, ConcatSignal):
            signal._driven = "wire"
            continue
        raise HierarchyError(
            f"{where}: signal {signal._name} is read but nothing drives it; drive it, or use myhdl.Constant"
        )
    for memory in memories:
        if not memory._used or not memory._read or memory._driven:
            continue
        if any(id(s) in in_ports for s in memory.mem):
            raise HierarchyError(f"{where}: list of ports {memory.name} is indexed in a generator; pack it")
        slices = any(isinstance(signal, _ShadowSignal) for signal in memory.mem)
        undriven = [i for i, signal in enumerate(memory.mem) if not signal._driven]
        if slices or undriven:
            reason = "a list of slices cannot be indexed" if slices else f"nothing drives {undriven}"
            raise HierarchyError(f"{where}: list {memory.name} would be memory full of zeros: {reason}")


def check_names(elaboration: Elaboration, signals: list, memories: list, ports: dict, generators: list) -> None:
    """Names are identifiers, no keywords, and used once; MyHDL checks none of that."""
    where = elaboration.where
    used: dict[str, str] = {}

    def claim(name: str, what: str) -> None:
        check_identifier(name, what, where)
        if name in used:
            raise HierarchyError(f"{where}: {what} and {used[name]} are both named {name!r}; rename one")
        used[name] = what

    port_ids = {id(signal) for signal in ports.values()}
    for name in ports:
        claim(name, "port")
    for memory in memories:
        if memory._used and (memory._driven or memory._read):
            claim(memory.name, "list")
    for signal in signals:
        if signal._used and id(signal) not in port_ids and not signal._inList and signal._name:
            claim(signal._name, "signal")
    for instance, _ in elaboration.instances:
        claim(instance.name, "instance")
    for generator in generators:
        if isinstance(getattr(generator, "name", None), str):
            claim(generator.name, "generator")
    for instance, record in elaboration.instances:
        for port, wire in instance.sigdict.items():
            if wire._name is None:
                raise HierarchyError(
                    f"{where}: port {port} of {instance.name} ({record.name}) is connected to a Signal "
                    f"without a name: assign it to a variable"
                )


def head_comment(block: ModuleDecorator) -> str:
    """The comment at the head of a .v: where it comes from, and the contract of the block."""
    file = Path(block.srcfile).resolve()
    source = file.relative_to(package_root(file))
    lines = [f"Generated from {source.as_posix()}; edit that file, not this one."]
    documentation = inspect.getdoc(block.func)
    if documentation:
        lines += ["", *documentation.splitlines()]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def finish(head: str, body: str, ports: dict[str, Signal]) -> str:
    """The file as it is written: head comment, ports declared once, in the module's header."""
    body = "\n".join(line.rstrip() for line in body.splitlines()).replace("\n);\n//\n", "\n);\n", 1)
    for name in ports:
        declaration = re.compile(rf"^(input|output) ((?:signed )?(?:\[\d+:0\] )?){name};\n", re.MULTILINE)
        found = declaration.search(body)
        body = declaration.sub("", body, count=1)
        kind = "wire"
        if found[1] == "output":
            net = re.compile(rf"^(wire|reg) {re.escape(found[2])}{name};\n", re.MULTILINE)
            kind = net.search(body)[1]
            body = net.sub("", body, count=1)
        declared = f"    {found[1]} {kind} {found[2]}{name}"
        body = re.sub(rf"^    {name}(,?)$", rf"{declared}\1", body, count=1, flags=re.MULTILINE)
    body = re.sub(r"\n*endmodule", r"\n\nendmodule", body)
    return head + "\n" + re.sub(r"\n{3,}", "\n\n", body).strip("\n") + "\n"


def write_if_changed(path: Path, text: str, scratch: Path) -> None:
    """Replace a file in one step; leave it, with its time, where the text is the same."""
    try:
        if path.read_text() == text:
            return
    except OSError:
        pass
    temporary = scratch / f"{path.name}.new"
    temporary.write_text(text)
    os.replace(temporary, path)
