"""What `make test-gates` compares: a device that differs from the model in one row, one format, in sampling, in the KV
cache or in its cycles is told. Netlists themselves take minutes."""

from pathlib import Path

import pytest

from mozg.device.model import ModelDevice
from verif.synth import gates
from verif.synth.designs import Design, Module

DESIGN = Design("top", {"top": Module("top", Path("top.v"), "rtl.top.mozg.mozg", ())})


class Device(ModelDevice):
    """The model in the netlist's place: registers, memory and what a run leaves may be changed."""

    def __init__(self, chip, size, seed, built):
        super().__init__(chip, size)
        self.wrong = built if seed == 2 else {}

    def write_register(self, name, value):
        super().write_register(name, value ^ self.wrong.get(name, 0))

    def run(self, limit):
        super().run(limit)
        if "kv" in self.wrong:
            self._memory[self.machine.registers["kv_low"] + self.wrong["kv"]] = 0
        return 100 + self.wrong.get("cycles", 0)

    def counters(self):
        return {}


def checked(wrong: dict[str, int], monkeypatch) -> str:
    """check() with a netlist that is wrong in the second power-up state."""
    monkeypatch.setattr(gates, "VerilatorDevice", Device)
    monkeypatch.setattr(gates, "build_plain", lambda verilog, *_: wrong if verilog is netlist else {})
    netlist = gates.Converted("top", [], [])
    return gates.check(DESIGN, netlist, "tiny", "netlist", progress=lambda _: None)


def test_what_equals_the_model_is_told_with_its_numbers(monkeypatch):
    told = checked({}, monkeypatch)
    assert told == "netlist of tiny: 12 tokens, 370 logits, the KV cache and 600 cycles equal the RTL's"


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"row1_token": 1}, "netlist, mxint8, power-up state 2: "),
        ({"row1_seed": 3}, "tokens"),
        ({"row1_inverse_temperature": 1 << 24}, "tokens"),
        ({"kv": 32767}, "1 of 32768 bytes of the KV cache differ"),
        ({"cycles": 1}, r"\[101, 101, 101\] cycles, the RTL \[100, 100, 100\]"),
    ],
)
def test_what_differs_from_the_model_is_told(wrong, told, monkeypatch):
    with pytest.raises(gates.GateError, match=told):
        checked(wrong, monkeypatch)


def test_weights_of_one_format_alone_are_compared(monkeypatch):
    class Driver(gates.Driver):
        def __init__(self, device, image, fill):
            super().__init__(device, image, fill)
            if isinstance(device, Device) and image.weights == "mxfp4":
                weights = image.regions["weights"]
                device.write_memory(weights.base, image.memory[weights.base :][: weights.size] ^ 1)

    monkeypatch.setattr(gates, "Driver", Driver)
    with pytest.raises(gates.GateError, match="RTL, mxfp4, power-up state 1: "):
        checked({}, monkeypatch)
