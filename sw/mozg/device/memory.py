"""Settings of the DRAM model behind the simulated chip: verif/device/dram.h says what each does."""

from __future__ import annotations

import ctypes
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class MemoryConfig:
    """Times are cycles of the chip's clock, sizes bytes."""

    latency: int = 40
    refresh_interval: int = 3120
    refresh_cycles: int = 140
    row_bytes: int = 8192
    row_miss: int = 18
    turnaround: int = 8
    write_buffer: int = 64  # beats
    write_patience: int = 512
    error_low: int = 0  # accesses in [error_low, error_high) are answered with an error
    error_high: int = 0

    def structure(self, beat_bytes: int) -> DramStructure:
        return DramStructure(beat_bytes, *astuple(self))

    @property
    def reader_share(self) -> float:
        """Share of the raw bus that an ideal sequential reader gets."""
        return 1 - self.refresh_cycles / self.refresh_interval if self.refresh_interval else 1.0


class DramStructure(ctypes.Structure):
    """struct DramConfig of verif/device/dram.h."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in (
            "beat_bytes",
            "latency",
            "refresh_interval",
            "refresh_cycles",
            "row_bytes",
            "row_miss",
            "turnaround",
            "write_buffer",
            "write_patience",
        )
    ] + [("error_low", ctypes.c_uint64), ("error_high", ctypes.c_uint64)]


CLOCK_MHZ = 400  # the chip's clock at which the presets below are stated
CYCLE_NS = 1000 / CLOCK_MHZ


@dataclass(frozen=True)
class Figure:
    """A number of a real memory (nanoseconds or bytes), and where it comes from."""

    value: float
    source: str

    @property
    def cycles(self) -> int:
        """Cycles of the chip, rounded to nearest."""
        return round(self.value / CYCLE_NS)


@dataclass(frozen=True)
class Preset:
    """A real memory that a MemoryConfig resembles. Times in ns, row in bytes.

    The DRAM model's bus carries one beat of the chip a cycle at its peak, so the peak is the chip's bus at CLOCK_MHZ:
    25.6 GB/s for 512 bits, 12.8 GB/s for 256. `bus` says which memory has this peak.
    """

    title: str
    bus: str
    latency: Figure
    refresh_interval: Figure
    refresh: Figure
    row: Figure
    row_miss: Figure
    turnaround: Figure

    @property
    def config(self) -> MemoryConfig:
        return MemoryConfig(
            latency=self.latency.cycles,
            refresh_interval=self.refresh_interval.cycles,
            refresh_cycles=self.refresh.cycles,
            row_bytes=int(self.row.value),
            row_miss=self.row_miss.cycles,
            turnaround=self.turnaround.cycles,
        )


REAL = {
    "ddr4": Preset(
        "DDR4-3200, 8 Gb devices",
        "64 bits at 3,200 MT/s are 25.6 GB/s: `server` takes a channel, `edge` one at half the rate",
        latency=Figure(100, "assumed: CL 13.75 ns (JESD79-4, 3200AA) and a controller; measured 73 to 107 ns (Shuhai)"),
        refresh_interval=Figure(7800, "tREFI, JESD79-4"),
        refresh=Figure(350, "tRFC1 of 8 Gb, JESD79-4"),
        row=Figure(8192, "1 KB page of a x8 device (JESD79-4) x 8 devices"),
        row_miss=Figure(45.75, "tRC = tRAS 32 + tRP 13.75 ns, JESD79-4, 3200AA"),
        turnaround=Figure(20, "write to read: CWL 16 + BL/2 4 + tWTR_L 12 clocks of 0.625 ns, JESD79-4"),
    ),
    "lpddr4": Preset(
        "LPDDR4-3200, 8 Gb a channel",
        "16 bits at 3,200 MT/s are 6.4 GB/s: `edge` takes two channels side by side (one x32 part), `server` four",
        latency=Figure(120, "assumed: RL 17.5 + tDQSCK 3.5 + tRCD 18 + BL16 5 ns (JESD209-4) and a controller"),
        refresh_interval=Figure(3904, "tREFI, JESD209-4"),
        refresh=Figure(280, "tRFCab of 8 Gb a channel, JESD209-4"),
        row=Figure(
            4096, "2 KB page of a channel (JESD209-4) x 2 channels of `edge`; the 4 of `server` would have 8,192"
        ),
        row_miss=Figure(60, "tRC = tRAS 42 + tRPpb 18 ns, JESD209-4"),
        turnaround=Figure(24.4, "write to read: WL 14 + 1 + BL/2 8 + tWTR 16 clocks of 0.625 ns, JESD209-4"),
    ),
    "hbm2e": Preset(
        "HBM2E pseudo-channel, 8 Gb a channel",
        "64 bits at 3,200 MT/s are 25.6 GB/s: `server` takes a pseudo-channel, `edge` one at half the rate",
        latency=Figure(107, "page hit, measured on a HBM2 FPGA board (Shuhai, FCCM 2020)"),
        refresh_interval=Figure(3900, "tREFI, JESD235"),
        refresh=Figure(350, "tRFCab of 8 Gb a channel, JESD235, as tabled in Ramulator 2"),
        row=Figure(1024, "page of a pseudo-channel, JESD235"),
        row_miss=Figure(48, "tRC = tRAS 34 + tRP 14 ns, as in DRAMsim3's HBM2_8Gb_x128"),
        turnaround=Figure(18, "tRTW of gem5's HBM_2000_4H_1x64; write to read there: tCWL 7 + burst 2 + tWTR_L 9 ns"),
    ),
}

DDR4 = REAL["ddr4"].config
IDEAL = MemoryConfig(latency=4, refresh_interval=0, refresh_cycles=0, row_miss=0, turnaround=0)
MEMORIES = {name: preset.config for name, preset in REAL.items()} | {"ideal": IDEAL}
MEMORY_HELP = "; ".join(
    [*(f"{name}: {preset.title}" for name, preset in REAL.items()), "ideal: no refresh, no row misses"]
)


def table() -> str:
    """The presets with the arithmetic and the source of every figure, as Markdown."""
    lines = ["| preset | setting | real memory | cycles of 2.5 ns | source |", "| --- | --- | --- | --- | --- |"]
    for name, preset in REAL.items():
        lines.append(f"| `{name}` | bus | {preset.title} | a beat a cycle | {preset.bus} |")
        for setting in ("latency", "refresh_interval", "refresh", "row_miss", "turnaround"):
            figure = getattr(preset, setting)
            lines.append(f"| | {setting} | {figure.value:,.6g} ns | {figure.cycles:,} | {figure.source} |")
        lines.append(f"| | row | {preset.row.value:,} bytes | | {preset.row.source} |")
        share = f"1 - {preset.refresh.cycles} / {preset.refresh_interval.cycles:,}"
        lines.append(f"| | ideal reader | {preset.config.reader_share:.1%} of the bus | {share} | refresh alone |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
