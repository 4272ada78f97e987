"""Timing of SDR SDRAM parts in nanoseconds, with sources, and the same in cycles of a clock."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SdramPart:
    """What a datasheet says of a part of 256 Mb x 16: 4 banks, 8,192 rows, 512 columns. Times in ns.

    t_ck_cas2: shortest clock with a CAS latency of 2. t_mrd is given in clocks, as all three datasheets do or allow.
    """

    name: str
    t_rcd: float  # ACTIVE to READ or WRITE
    t_rp: float  # PRECHARGE to anything else in that bank
    t_ras: float  # ACTIVE to PRECHARGE
    t_rc: float  # ACTIVE to ACTIVE, same bank
    t_rfc: float  # AUTO REFRESH to anything
    t_rrd: float  # ACTIVE to ACTIVE, another bank
    t_wr: float  # last data written to PRECHARGE
    t_mrd: int  # LOAD MODE REGISTER to anything, clocks
    t_refi: float  # average distance of refreshes
    t_power_up: float  # stable clock and power to the first command
    t_ck_cas2: float
    source: str


MICRON = SdramPart(
    "mt48lc16m16a2_75",
    t_rcd=20,
    t_rp=20,
    t_ras=44,
    t_rc=66,
    t_rfc=66,
    t_rrd=15,
    t_wr=15,
    t_mrd=2,
    t_refi=7812.5,
    t_power_up=100_000,
    t_ck_cas2=10,
    source="Micron 256Mb SDRAM, -75; RP, RCD, RAS, WR, RFC, RRD also in LiteDRAM's table of modules",
)
ALLIANCE = SdramPart(
    "as4c16m16sa_7",
    t_rcd=21,
    t_rp=21,
    t_ras=42,
    t_rc=63,
    t_rfc=63,
    t_rrd=14,
    t_wr=14,
    t_mrd=2,
    t_refi=7800,
    t_power_up=200_000,
    t_ck_cas2=10,
    source="Alliance AS4C16M16SA-C&I, rev. 3.0, table 16, -7",
)
ISSI = SdramPart(
    "is42s16160",
    t_rcd=20,
    t_rp=20,
    t_ras=44,
    t_rc=70,
    t_rfc=70,
    t_rrd=15,
    t_wr=20,
    t_mrd=2,
    t_refi=7812.5,
    t_power_up=200_000,
    t_ck_cas2=10,
    source="RP, RCD, WR and RFC from LiteDRAM's table of modules (rounded up there); RC as RFC, the others as Micron's",
)


def slowest(*parts: SdramPart) -> SdramPart:
    """A part that is as slow as the slowest in every figure: what suits it suits all."""
    times = {
        field.name: (min if field.name == "t_refi" else max)(getattr(part, field.name) for part in parts)
        for field in fields(SdramPart)
        if field.name.startswith("t_")
    }
    return SdramPart("any", **times, source=f"the slowest of {', '.join(part.name for part in parts)}")


ANY = slowest(MICRON, ALLIANCE, ISSI)
"""Boards carry one or the other, so the controller keeps to the slowest figure of each."""

ROW_BITS, BANK_BITS, COLUMN_BITS = 13, 2, 9
WORD_ADDRESS_BITS = ROW_BITS + BANK_BITS + COLUMN_BITS
MEMORY_BYTES = 2 << WORD_ADDRESS_BITS
INITIAL_REFRESHES = 8  # ISSI asks for 8, the others for 2


@dataclass(frozen=True)
class SdramConfig:
    """A part at a clock. `name` goes into the names of modules.

    clock_khz: clock of the controller and of the SDRAM. late: cycles by which data is captured later than half a
    cycle after the SDRAM gives it, for clocks whose half cycle is too short for access time and pins.
    power_up_ns: in place of the part's, to keep simulations short.
    """

    name: str
    clock_khz: int
    part: SdramPart = ANY
    cas: int = 2
    late: int = 0
    power_up_ns: float | None = None

    def __post_init__(self) -> None:
        if self.cas not in (2, 3):
            raise ValueError(f"SdramConfig.cas is {self.cas}: expected 2 or 3")
        if self.cas == 2 and self.period < self.part.t_ck_cas2:
            raise ValueError(
                f"SdramConfig: {self.clock_khz} kHz is too fast for a CAS latency of 2: expected at least "
                f"{self.part.t_ck_cas2} ns a clock, or cas=3"
            )
        if self.activate_to_column < self.cycles(self.part.t_rrd):
            raise ValueError("SdramConfig: the controller needs tRRD <= tRCD, since it counts tRCD alone")
        if self.refresh_interval < 64:
            raise ValueError(f"SdramConfig: {self.clock_khz} kHz leaves {self.refresh_interval} clocks a refresh")

    @property
    def period(self) -> float:
        """ns"""
        return 1e6 / self.clock_khz

    def cycles(self, time: float) -> int:
        """Cycles that last at least `time` ns, at least one."""
        return max(1, -int(-time // self.period))

    @property
    def activate_to_column(self) -> int:
        return self.cycles(self.part.t_rcd)

    @property
    def precharge(self) -> int:
        return self.cycles(self.part.t_rp)

    @property
    def activate_to_precharge(self) -> int:
        """tRAS, and what tRC needs beyond tRAS + tRP."""
        return max(self.cycles(self.part.t_ras), self.cycles(self.part.t_rc) - self.precharge)

    @property
    def refresh(self) -> int:
        return self.cycles(max(self.part.t_rfc, self.part.t_rc))

    @property
    def write_recovery(self) -> int:
        return self.cycles(self.part.t_wr)

    @property
    def refresh_interval(self) -> int:
        return int(self.part.t_refi // self.period)

    @property
    def power_up_intervals(self) -> int:
        """Refresh intervals that cover the time from power-up to the first command."""
        time = self.part.t_power_up if self.power_up_ns is None else self.power_up_ns
        return self.cycles(time) // self.refresh_interval + 1

    @property
    def read_latency(self) -> int:
        """Edges from the one that shows READ at the pins to the one that captures its data."""
        return self.cas + self.late

    @property
    def read_to_write(self) -> int:
        """Cycles from READ to WRITE: the SDRAM has left the data pins for half a cycle."""
        return self.cas + 1


def timing_table(clocks_mhz: tuple[int, ...] = (25, 50, 100)) -> str:
    """The table of rtl/board/README.md."""
    rows = [
        ("tRCD", "t_rcd", "activate_to_column"),
        ("tRP", "t_rp", "precharge"),
        ("tRAS, and tRC less tRP", "t_ras", "activate_to_precharge"),
        ("tRC", "t_rc", None),
        ("tRFC", "t_rfc", "refresh"),
        ("tWR", "t_wr", "write_recovery"),
        ("tRRD", "t_rrd", None),
        ("refresh interval", "t_refi", "refresh_interval"),
    ]
    parts = (MICRON, ALLIANCE, ISSI, ANY)
    heads = ["limit", *(f"{part.name}, ns" for part in parts), *(f"cycles at {mhz} MHz" for mhz in clocks_mhz)]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, field, cycles in rows:
        values = [f"{getattr(part, field):g}" for part in parts]
        for mhz in clocks_mhz:
            config = SdramConfig("", 1000 * mhz)
            values.append(str(getattr(config, cycles)) if cycles else "within others")
        lines.append(f"| {' | '.join([name, *values])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(timing_table())
