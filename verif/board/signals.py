"""Signals of the board's blocks for their conversion, and the SDRAM model around those that have SDRAM pins."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path

from myhdl import Signal, intbv

from rtl.board.board_config import BoardConfig
from rtl.board.sdram_timing import MICRON, SdramConfig
from rtl.board.ulx3s import convert_ulx3s
from rtl.common.config import ChipConfig
from rtl.convert import Converted, convert
from rtl.convert.module import ModuleDecorator

WIDTHS = {
    "data": 8,
    "rx_data": 8,
    "tx_data": 8,
    "host_address": 24,
    "host_write_data": 16,
    "host_read_data": 16,
    "request_address": 24,
    "write_index": 4,
    "write_data": 16,
    "write_strobe": 2,
    "read_data": 16,
    "command": 3,
    "bank": 2,
    "address": 13,
    "mask": 2,
    "data_out": 16,
    "data_in": 16,
    "crc": 16,
    "s_axi_awaddr": 12,
    "s_axi_wdata": 32,
    "s_axi_wstrb": 4,
    "s_axi_bresp": 2,
    "s_axi_araddr": 12,
    "s_axi_rdata": 32,
    "s_axi_rresp": 2,
    "m_axi_araddr": 40,
    "m_axi_arlen": 8,
    "m_axi_rdata": 256,
    "m_axi_rresp": 2,
    "m_axi_awaddr": 40,
    "m_axi_awlen": 8,
    "m_axi_wdata": 256,
    "m_axi_wstrb": 32,
    "m_axi_bresp": 2,
}
"""Bits of every port of these blocks that is not a single wire."""
MODEL = Path(__file__).parent / "sdram_model.v"
BOARD_BENCH = Path(__file__).parent / "board_bench.v"
PINS = {"command": 3, "bank": 2, "address": 13, "mask": 2, "data_out": 16, "data_drive": 1, "data_in": 16}
ROWS = 64  # of each bank, that the model has
MODEL_BYTES = ROWS * 2048 * 2
POWER_UP_NS = 20_000  # in simulation


def ports(block: ModuleDecorator) -> dict[str, Signal]:
    """A Signal for each argument of a block that is not annotated as a parameter."""
    arguments = inspect.signature(block.func).parameters.values()
    names = [argument.name for argument in arguments if argument.annotation is inspect.Parameter.empty]
    return {n: Signal(intbv(0)[WIDTHS[n] :]) if n in WIDTHS else Signal(bool(0)) for n in names}


def build(block: ModuleDecorator, out_dir: Path, **parameters: object) -> Converted:
    return convert(block, **ports(block), **parameters, out_dir=out_dir)


def sdram_config(clock_khz: int, cas: int = 2) -> SdramConfig:
    return SdramConfig(f"cas{cas}_{clock_khz}khz", clock_khz, cas=cas, power_up_ns=POWER_UP_NS)


def model_parameters(config: SdramConfig, clock_khz: int, rows: int = ROWS) -> str:
    """Of the model, for a part that is as slow as the controller expects, at the clock that is really there."""
    part, period = config.part, round(1e9 / clock_khz)
    times = {name: round(1000 * getattr(part, name.lower())) for name in ("T_RCD", "T_RP", "T_RAS", "T_RC")}
    times |= {name: round(1000 * getattr(part, name.lower())) for name in ("T_RFC", "T_RRD", "T_WR")}
    values = {"ROWS": rows, "ROW_BITS": (rows - 1).bit_length(), "PERIOD_PS": period, "MRD": part.t_mrd}
    values |= {f"{name}_PS": time for name, time in times.items()}
    # Every part is refreshed 8,192 times in 64 ms; the shorter interval of one datasheet is rounded.
    values["T_REFI_PS"] = round(1000 * MICRON.t_refi)
    power_up = config.part.t_power_up if config.power_up_ns is None else config.power_up_ns
    values["POWER_UP_CYCLES"] = math.ceil(power_up * 1000 / period)
    return ", ".join(f".{name}({value})" for name, value in values.items())


def with_sdram(top: Converted, config: SdramConfig, out_dir: Path) -> Converted:
    """`top` and the SDRAM model on its pins, as one module with the other ports of `top` and what the model found."""
    name = f"{top.name}_with_sdram"
    outside = [port for port in top.ports if port.name not in PINS]
    declared = [
        f"    {port.direction} wire {f'[{port.width - 1}:0] ' if port.type != 'bool' else ''}{port.name}"
        for port in outside
    ]
    declared += ["    output wire [15:0] violations", "    output wire [4:0] fault"]
    wired = [f"wire {f'[{width - 1}:0] ' if width > 1 else ''}{pin};" for pin, width in PINS.items()]
    connected = [f"    .{port.name}({port.name})" for port in top.ports]
    declared, wired, connected = ",\n".join(declared), "\n".join(wired), ",\n".join(connected)
    text = f"""// {top.name} with an SDRAM that samples half a cycle after its clock.
`timescale 1ns/1ps

module {name} (
{declared}
);

{wired}
wire data_valid;
wire sdram_clk = ~clk;
wire [15:0] sdram_out;
assign data_in = data_valid ? sdram_out : ~sdram_out;

{top.name} dut (
{connected}
);

sdram_model #({model_parameters(config, config.clock_khz)}) sdram (
    .clk(sdram_clk),
    .restart(rst),
    .command(command),
    .bank(bank),
    .address(address),
    .mask(mask),
    .data_in(data_drive ? data_out : 16'hBAD0),
    .data_out(sdram_out),
    .data_valid(data_valid),
    .violations(violations),
    .fault(fault)
);

endmodule
"""
    path = Path(out_dir) / f"{name}.v"
    path.write_text(text)
    return dataclasses.replace(top, name=name, files=[*top.files, MODEL, path], ports=outside)


def board_with_sdram(chip: ChipConfig, setup: BoardConfig, out_dir: Path, rows: int) -> Converted:
    """The whole ULX3S with the SDRAM model: board_bench.v, made for this chip."""
    top = convert_ulx3s(chip, out_dir, setup)
    name = f"board_bench_{chip.name}"
    text = BOARD_BENCH.read_text().replace("ulx3s_CHIP", top.name).replace("board_bench", name)
    path = Path(out_dir) / f"{name}.v"
    path.write_text(text.replace("SDRAM_PARAMETERS", model_parameters(setup.sdram, setup.clock_khz, rows)))
    return Converted(name, [*top.files, MODEL, path], [])
