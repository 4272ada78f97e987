"""What the write side must do, by the layouts of rtl/README.md, and the memory that it writes to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from rtl.common.config import BLOCK, ChipConfig


@dataclass
class Layout:
    """Where an instruction's KV cache lies; fields as in the instruction."""

    config: ChipConfig
    kv_base: int
    kv_stride: int
    layer_offset: int
    head_stride: int
    head_blocks: int
    heads: int
    value_offset: int
    value_stride: int

    def head(self, slot: int, head: int) -> int:
        return self.kv_base + slot * self.kv_stride + self.layer_offset + head * self.head_stride

    def group(self, slot: int, head: int, position: int) -> int:
        beats = 1 + 33 * self.head_blocks
        return self.head(slot, head) + position // self.config.group_tokens * beats * self.config.bus_bytes

    def key(self, slot: int, head: int, block: int, position: int, data: bytes, scale: int) -> dict[int, int]:
        lane, bus = position % self.config.group_tokens, self.config.bus_bytes
        port, beat = divmod(lane, BLOCK)
        start = self.group(slot, head, position) + (1 + 33 * block) * bus
        written = {start + lane: scale}
        written |= {start + (1 + beat) * bus + 32 * port + i: byte for i, byte in enumerate(data)}
        return written

    def value_scale(self, slot: int, head: int, position: int, scale: int) -> dict[int, int]:
        """The byte of V that KEY writes."""
        return {self.group(slot, head, position) + position % self.config.group_tokens: scale}

    def value(self, slot: int, head: int, position: int, data: bytes) -> dict[int, int]:
        ports, bus = self.config.ports, self.config.bus_bytes
        written = {}
        for channel, byte in enumerate(data):
            group, within = divmod(channel, 32 * ports)
            port, beat = divmod(within, BLOCK)
            region = self.head(slot, head) + self.value_offset + group * self.value_stride
            written[region + (position // 32 * 32 + beat) * bus + 32 * port + position % 32] = byte
        return written


@dataclass
class Slave:
    """An AXI4 write slave that remembers every byte that was written, and checks the rules on the way."""

    dut: object
    rng: random.Random
    bus: int
    gap: float = 0.4
    bad: set[int] = field(default_factory=set)
    written: dict[int, int] = field(default_factory=dict)
    bursts: list[tuple[int, int]] = field(default_factory=list)
    addressed: list[list[int]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    data: list[tuple[int, int, str]] = field(default_factory=list)
    held: dict[str, object] = field(default_factory=dict)
    response: bool = False
    beats: int = 0

    def drive(self) -> None:
        dut, rng = self.dut, self.rng
        dut.m_axi_awready.value = int(rng.random() > self.gap)
        dut.m_axi_wready.value = int(rng.random() > self.gap)
        if not self.response:
            self.response = bool(self.waiting) and rng.random() > self.gap
            dut.m_axi_bvalid.value = int(self.response)
            if self.response:
                dut.m_axi_bresp.value = 2 if self.waiting[0] in self.bad else 0
                dut.m_axi_bid.value = 0

    def stable(self, channel: str, valid: int, ready: int, payload: tuple) -> None:
        before = self.held.pop(channel, None)
        assert before is None or (valid and before == payload), f"{channel} changed while waiting"
        if valid and not ready:
            self.held[channel] = payload

    def sample(self) -> None:
        dut = self.dut
        if self.response and int(dut.m_axi_bready.value):
            self.waiting.pop(0)
            self.response = False
        valid, ready = int(dut.m_axi_awvalid.value), int(dut.m_axi_awready.value)
        if valid:
            address, beats = int(dut.m_axi_awaddr.value), int(dut.m_axi_awlen.value) + 1
            self.stable("aw", valid, ready, (address, beats))
            if ready:
                assert address % self.bus == 0
                assert address // 4096 == (address + beats * self.bus - 1) // 4096, "burst crosses 4 KB"
                assert int(dut.m_axi_awburst.value) == 1 and 1 << int(dut.m_axi_awsize.value) == self.bus
                self.bursts.append((address, beats))
                self.addressed.append([address, 0, beats])
        else:
            self.stable("aw", 0, 0, ())
        valid, ready = int(dut.m_axi_wvalid.value), int(dut.m_axi_wready.value)
        if valid:
            beat = (int(dut.m_axi_wstrb.value), int(dut.m_axi_wlast.value))
            data = str(dut.m_axi_wdata.value)  # what is not strobed may be undefined
            self.stable("w", valid, ready, (*beat, data))
            if ready:
                self.beats += 1
                self.data.append((*beat, data))
        else:
            self.stable("w", 0, 0, ())
        while self.addressed and self.data:
            burst = self.addressed[0]
            strobe, last, data = self.data.pop(0)
            address = burst[0] + burst[1] * self.bus
            for i in range(self.bus):
                if strobe >> i & 1:
                    assert address + i not in self.written, f"byte {address + i:#x} written twice"
                    self.written[address + i] = int(data[len(data) - 8 * i - 8 :][:8], 2)
            burst[1] += 1
            assert last == (burst[1] == burst[2]), "wlast in the wrong place"
            if last:
                self.waiting.append(self.addressed.pop(0)[0])

    @property
    def quiet(self) -> bool:
        return not (self.addressed or self.data or self.waiting)
