"""The parameters of a board: clock, line speed, memory."""

from __future__ import annotations

from dataclasses import dataclass

from rtl.board.sdram_timing import SdramConfig

OSCILLATOR_KHZ = 25_000  # of the ULX3S
VCO_KHZ = (400_000, 800_000)
PHASE_DETECTOR_KHZ = 10_000  # at least, as the datasheet's range of input clocks


@dataclass(frozen=True)
class Pll:
    """Dividers of an EHXPLLL whose feedback is its first output."""

    input_divider: int
    feedback_divider: int
    output_divider: int


@dataclass(frozen=True)
class BoardConfig:
    """`name` goes into the names of modules.

    clock_khz: of chip and SDRAM; 25,000 is the oscillator itself, others come from a PLL. baud: of the UART, whole
    clocks a bit. timeout_ms: a frame in which no byte comes for this long (up to twice) is given up. cas, late: see
    SdramConfig. sdram_phase: degrees by which the SDRAM's clock is behind, with a PLL; without, it is inverted.
    power_up_ns: for simulation, in place of the SDRAM's.
    """

    name: str
    clock_khz: int = OSCILLATOR_KHZ
    baud: int = 1_000_000
    timeout_ms: float = 50
    cas: int = 2
    late: int = 0
    sdram_phase: int = 180
    power_up_ns: float | None = None

    def __post_init__(self) -> None:
        if self.clock_khz <= 0 or self.baud <= 0:
            raise ValueError(f"BoardConfig: {self.clock_khz} kHz, {self.baud} baud: expected more than 0")
        if 1000 * self.clock_khz % self.baud:
            raise ValueError(f"BoardConfig: {self.clock_khz} kHz is no multiple of {self.baud} baud")
        if self.clock_khz != OSCILLATOR_KHZ and self.pll is None:
            raise ValueError(f"BoardConfig: no PLL makes {self.clock_khz} kHz of {OSCILLATOR_KHZ} kHz")

    @property
    def clocks_per_bit(self) -> int:
        return 1000 * self.clock_khz // self.baud

    @property
    def timeout_clocks(self) -> int:
        """A power of two."""
        return 1 << (int(self.timeout_ms * self.clock_khz) - 1).bit_length()

    @property
    def sdram(self) -> SdramConfig:
        return SdramConfig(self.name, self.clock_khz, cas=self.cas, late=self.late, power_up_ns=self.power_up_ns)

    @property
    def pll(self) -> Pll | None:
        """Dividers for clock_khz, the smallest input divider first; None for the oscillator's own clock."""
        if self.clock_khz == OSCILLATOR_KHZ:
            return None
        for input_divider in range(1, OSCILLATOR_KHZ // PHASE_DETECTOR_KHZ + 1):
            feedback, rest = divmod(self.clock_khz * input_divider, OSCILLATOR_KHZ)
            output = (VCO_KHZ[0] + VCO_KHZ[1]) // 2 // self.clock_khz
            if rest == 0 and 1 <= feedback <= 80 and VCO_KHZ[0] <= output * self.clock_khz <= VCO_KHZ[1]:
                return Pll(input_divider, feedback, output)
        return None


ULX3S = BoardConfig("ulx3s")
ULX3S_SIMULATION = BoardConfig("simulation", baud=3_125_000, timeout_ms=0.5, power_up_ns=20_000)
"""The board with 8 clocks a bit and short waits, for simulations."""
