"""Every bench, in one place: what `make sim`, `make test` and `make lint` know of.

A bench is a Python module with cocotb tests, and a function, there or elsewhere, that converts what
they test:

    def build(out_dir: Path, chip: ChipConfig, **settings) -> Converted

One module may appear several times with different settings.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from rtl.common.config import PRESETS, ChipConfig
from rtl.convert import Converted
from verif.arith.pipelines import PIPELINES
from verif.folders import BUILD, alone


@dataclass(frozen=True)
class Bench:
    """One bench.

    tests: the module with the cocotb tests. builder: "module:function" where build() is not in `tests`.
    settings: arguments of build(); the tests get them from verif.runner.settings().
    simulators, chips: what `make test` runs it with; `make sim` takes any. slow: not in `make test`.
    """

    name: str
    tests: str
    settings: dict[str, object] = field(default_factory=dict)
    simulators: tuple[str, ...] = ("icarus",)
    chips: tuple[str, ...] = ("tiny",)
    slow: bool = False
    builder: str = ""

    def verilog(self, chip: str) -> Converted:
        """What this bench tests, for one chip, converted to a folder that simulators and lint share."""
        same = (self.builder or self.tests, self.settings)
        first = next(bench.name for bench in BENCHES if (bench.builder or bench.tests, bench.settings) == same)
        directory = BUILD / "verilog" / (chip if first == WHOLE_CHIP else f"{first}_{chip}")
        with alone(directory):
            return self.build(directory, chip)

    def build(self, out_dir: Path, chip: str) -> Converted:
        """Convert what this bench tests, for one chip."""
        module, _, function = (self.builder or f"{self.tests}:build").partition(":")
        return getattr(importlib.import_module(module), function)(out_dir, configuration(chip), **self.settings)


WHOLE_CHIP = "chip"
BENCHES = (
    Bench(WHOLE_CHIP, "verif.chip.bench_chip", simulators=("icarus", "verilator")),
    Bench("fifo", "verif.common.bench_fifo", {"depth": 5}, ("icarus", "verilator")),
    Bench("fifo_distributed", "verif.common.bench_fifo", {"depth": 4, "distributed": True}),
    Bench("stream_register", "verif.common.bench_stream_register", simulators=("icarus", "verilator")),
    Bench("ram", "verif.common.bench_ram", {"depth": 24, "parts": 4}, ("icarus", "verilator")),
    Bench("ram_two_stages", "verif.common.bench_ram", {"depth": 16, "parts": 1, "read_stages": 2}),
    Bench("clock_gate", "verif.common.bench_clock_gate", {"tail": 5}, ("icarus", "verilator")),
    *(Bench(name, "verif.arith.bench_pipeline", {"block": name}, ("icarus", "verilator")) for name in PIPELINES),
    Bench("fp32_greater", "verif.arith.bench_fp32_greater", simulators=("icarus", "verilator")),
    Bench("memory_read", "verif.memory.bench_memory_read"),
    Bench(
        "memory_read_wide",
        "verif.memory.bench_memory_read",
        simulators=("verilator",),
        chips=("tiny", "edge", "server"),
    ),
    Bench("memory_read_lanes8", "verif.memory.bench_memory_read", {"lanes": 8}, ("verilator",)),
    Bench(
        "memory_read_odd",
        "verif.memory.bench_memory_read",
        {"lanes": 32, "rows": 2, "fifo_beats": 128, "burst_beats": 16, "slots": 8},
        ("verilator",),
    ),
    Bench("control", "verif.control.bench_control"),
    Bench("control_wide", "verif.control.bench_control", simulators=("verilator",), chips=("edge", "server")),
    Bench("memory_write", "verif.memory.bench_memory_write"),
    Bench(
        "memory_write_wide",
        "verif.memory.bench_memory_write",
        simulators=("verilator",),
        chips=("tiny", "edge", "server"),
    ),
    Bench("array", "verif.array.bench_array"),
    Bench("array_wide", "verif.array.bench_array", simulators=("verilator",), chips=("tiny", "edge", "server")),
    Bench("mx_quantizer", "verif.vector.bench_quantizer", simulators=("icarus", "verilator"), chips=("tiny", "edge")),
    Bench("vector_lanes", "verif.vector.bench_lanes", simulators=("verilator",), chips=("tiny", "edge")),
    Bench(
        "vector_issue",
        "verif.vector.bench_issue",
        simulators=("icarus", "verilator"),
        chips=("tiny", "edge"),
        builder="verif.vector.issue_ports:build",
    ),
    *(
        Bench(f"{block}{suffix}", f"verif.board.bench_{block}", {"clocks_per_bit": clocks}, simulators)
        for block in ("uart_rx", "uart_tx")
        for suffix, clocks, simulators in (("", 25, ("icarus", "verilator")), ("_fastest", 8, ("icarus",)))
    ),
    Bench("uart_bridge", "verif.board.bench_uart_bridge", simulators=("icarus", "verilator")),
    Bench("sdram_model", "verif.board.bench_sdram_model", simulators=("icarus", "verilator")),
    Bench("axi_sdram", "verif.board.bench_axi_sdram", {"clock_khz": 25_000}, ("icarus", "verilator")),
    Bench("axi_sdram_fast", "verif.board.bench_axi_sdram", {"clock_khz": 100_000, "cas": 3}, ("verilator",)),
    Bench("ulx3s", "verif.board.bench_ulx3s"),
)


class UnknownName(Exception):
    """A bench or chip that is not there; the message lists those that are."""


def configuration(chip: str) -> ChipConfig:
    if chip not in PRESETS:
        raise UnknownName(f"no chip {chip!r}; there are: {', '.join(sorted(PRESETS))}")
    return PRESETS[chip]


def find(name: str) -> Bench:
    for bench in BENCHES:
        if bench.name == name:
            return bench
    raise UnknownName(f"no bench {name!r}; there are: {', '.join(bench.name for bench in BENCHES)}")


def chip_verilog(chip: str) -> Converted:
    """The whole chip, converted to build/verilog/<chip>."""
    return find(WHOLE_CHIP).verilog(chip)
