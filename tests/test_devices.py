"""The driver on every device: the same requests give the same bits, and the same mistakes the same errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mozg.checkpoint import load_checkpoint
from mozg.compiler import compile_model
from mozg.device import DeviceError, open_device
from mozg.device.memory import DDR4
from mozg.driver import Driver, Row, RowError
from mozg.random_checkpoint import make_random_checkpoint
from rtl.common.config import PRESETS
from rtl.common.registers import ErrorCode, RowFlag

CHIP = PRESETS["tiny"]
DEVICES = ("model", "verilator", pytest.param("icarus", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small"
    make_random_checkpoint(path, layers=1, heads=2, width=48, context=40, vocabulary=37, seed=5)
    return compile_model(load_checkpoint(path), CHIP)


@pytest.fixture(scope="module")
def expected(image):
    """Greedy tokens of prompt 5, 6, 7 and 12 more, from the model."""
    with open_device("model", CHIP, image.memory.size) as device:
        return generate(Driver(device, image), [5, 6, 7], 12)


@pytest.fixture(params=DEVICES)
def driver(request, image):
    with open_device(request.param, CHIP, image.memory.size) as device:
        yield Driver(device, image, fill=0xFF)


def generate(driver: Driver, prompt: list[int], count: int, slot: int = 0, **options) -> list[int]:
    """Tokens after a prompt, a step each."""
    tokens = list(prompt)
    for position in range(len(prompt) + count - 1):
        sample = position >= len(prompt) - 1
        result = driver.step([Row(slot, position, tokens[position], sample=sample, **options)])
        if sample:
            tokens.append(result.tokens[0][0])
    return tokens[len(prompt) :]


def test_capabilities_are_the_configuration(driver):
    assert driver.device.read_register("cap_rows") == CHIP.rows
    assert driver.device.read_register("cap_context") == CHIP.context
    assert driver.device.read_register("id").to_bytes(4, "little") == b"MOZG"


def test_tokens_equal_the_model(driver, expected):
    assert generate(driver, [5, 6, 7], 12) == expected


def test_many_steps_in_one_run_equal_single_steps(driver, expected):
    for position, token in enumerate([5, 6]):
        driver.step([Row(0, position, token)])
    result = driver.step([Row(0, 2, 7, sample=True)], steps=12)
    assert [step[0] for step in result.tokens] == expected


def test_a_run_ends_at_a_stop_id(driver, expected):
    for position, token in enumerate([5, 6]):
        driver.step([Row(0, position, token)])
    stop = expected[4]
    first = expected.index(stop)
    result = driver.step([Row(0, 2, 7, sample=True, stop=(stop,))], steps=12)
    assert [step[0] for step in result.tokens] == expected[: first + 1]
    control = driver.device.read_register("row0_control")
    assert control >> RowFlag.STOPPED & 1 and not control >> RowFlag.ACTIVE & 1


def test_a_run_ends_when_the_context_is_full(driver, image):
    result = driver.step([Row(0, 0, 1, sample=True)], steps=image.context + 5)
    assert len(result.tokens) == image.context
    assert driver.device.read_register("row0_control") >> RowFlag.FULL & 1


def test_two_sequences_beside_each_other_equal_each_alone(driver, expected):
    other = generate(driver, [9], 6)
    both = {0: [5, 6, 7], 1: [9]}
    for position in range(8):
        rows = [
            Row(slot, position, tokens[position], sample=position >= start)
            for (slot, tokens), start in zip(both.items(), (2, 0), strict=True)
        ]
        for slot, token in enumerate(driver.step(rows).tokens[0]):
            if token is not None:
                both[slot].append(token)
    assert both[0][3:] == expected[:6]
    assert both[1][1:7] == other


def test_a_slot_that_is_not_there_is_a_row_error(driver, image):
    with pytest.raises(RowError, match="outside the KV cache"):
        driver.step([Row(image.slots, 0, 1, sample=True)])


def test_infinity_in_the_embedding_is_a_row_error_of_that_row_only(driver, image, expected):
    address = address_of(image, "token_embedding") + 3 * 64 * 4
    saved = driver.device.read_memory(address, 4)
    driver.device.write_memory(address, np.array([np.inf], dtype="<f4").view(np.uint8))
    for position, token in enumerate([5, 6]):
        driver.step([Row(0, position, token)])
    with pytest.raises(RowError, match="row 1: infinity or NaN"):
        driver.step([Row(0, 2, 7, sample=True), Row(1, 0, 3, sample=True)])
    words = driver.device.read_memory(image.regions["output"].base, 8).view("<u4")
    assert words[0] == expected[0] and words[1] == 0xFFFFFFFF
    driver.device.write_memory(address, saved)
    assert driver.step([Row(1, 0, 3, sample=True)]).tokens[0][0] is not None


def test_what_only_sampled_tokens_need_is_no_fault_of_other_rows(driver, image, expected):
    """Else a fault would hang on whether some other sequence samples in the same step."""
    address = address_of(image, f"layer{image.config.layers - 1}.mlp.out.bias")
    saved = driver.device.read_memory(address, 4)
    driver.device.write_memory(address, np.array([np.inf], dtype="<f4").view(np.uint8))
    assert driver.run([Row(0, 0, 5), Row(0, 1, 6)]).faults == [None, None]
    found = driver.run([Row(0, 0, 5), Row(1, 0, 5, sample=True)]).faults
    assert found[0] is None and "infinity or NaN" in found[1]
    driver.device.write_memory(address, saved)
    assert driver.step([Row(0, 2, 7, sample=True)]).tokens[0][0] == expected[0]


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [(0, 0x7F, ErrorCode.OPCODE), (64 + 8, 0xFF, ErrorCode.WINDOW)],
    ids=["unknown opcode", "weights outside their window"],
)
def test_a_corrupt_program_is_an_error_and_reset_recovers(driver, image, expected, offset, value, code):
    address = image.regions["program"].base + offset
    saved = driver.device.read_memory(address, 1)
    driver.device.write_memory(address, np.array([value], dtype=np.uint8))
    with pytest.raises(DeviceError, match=code.name):
        driver.step([Row(0, 0, 5)])
    driver.device.write_memory(address, saved)
    driver.device.reset()
    assert generate(driver, [5, 6, 7], 3) == expected[:3]


def test_a_program_without_end_is_an_error(driver, image):
    driver.device.write_register("program_size", image.regions["program"].size - 64)
    with pytest.raises(DeviceError, match="PROGRAM_END"):
        driver.step([Row(0, 0, 5)])


def test_a_start_without_rows_is_an_error(driver):
    driver.device.write_register("row0_control", 0)
    driver.device.run(10_000)
    with pytest.raises(DeviceError, match="NO_ROWS"):
        driver.device.check_status()


def address_of(image, tensor: str) -> int:
    return next(address for address, name in image.names.items() if name == tensor)


@pytest.mark.parametrize(
    "tensor", ["token_embedding", "layer0.mlp.out.bias", "layer0.mlp.out.weight", "lm_head.weight"]
)
def test_a_bus_read_error_is_reported_with_its_address(image, tensor):
    base = address_of(image, tensor)
    memory = replace(DDR4, error_low=base, error_high=base + 64)
    with open_device("verilator", CHIP, image.memory.size, memory=memory) as device:
        driver = Driver(device, image)
        with pytest.raises(DeviceError, match="READ_RESPONSE") as caught:
            driver.step([Row(0, 0, 0, sample=True)])
        address = int(str(caught.value).split("at address ")[1].split(",")[0], 16)
        assert address < base + 64 and base < address + CHIP.burst_beats * CHIP.bus_bytes
        # It stays so after the reset, and what does not touch the place works.
        with pytest.raises(DeviceError, match="READ_RESPONSE"):
            driver.step([Row(0, 0, 0, sample=True)])
        driver._program("setup")
        driver.step([Row(0, 0, 0)])


@pytest.mark.parametrize("region", ["kv", "output"])
def test_a_bus_write_error_is_reported_with_its_address(image, region, expected):
    base = image.regions[region].base
    memory = replace(DDR4, error_low=base, error_high=base + 64)
    with open_device("verilator", CHIP, image.memory.size, memory=memory) as device:
        # The output also gets the (empty) results of the setup program.
        with pytest.raises(DeviceError, match="WRITE_RESPONSE") as caught:
            driver = Driver(device, image)
            driver.step([Row(0, 0, 5, sample=True)])
        address = int(str(caught.value).split("at address ")[1].split(",")[0], 16)
        assert base <= address < base + 64
        if region == "kv":  # slot 1 is not at the bad address
            assert generate(driver, [5, 6, 7], 3, slot=1) == expected[:3]


def test_a_memory_that_never_answers_ends_by_the_watchdog(image):
    memory = replace(DDR4, latency=1 << 30)
    with open_device("verilator", CHIP, image.memory.size, memory=memory) as device:
        with pytest.raises(DeviceError, match="WATCHDOG"):
            Driver(device, image)


def test_two_devices_side_by_side_close_in_any_order():
    """Closing the one that was opened first hung, after the other was gone."""
    for first in (0, 1):
        devices = [open_device("verilator", CHIP, 1 << 12) for _ in range(2)]
        devices[first].close()
        assert devices[1 - first].read_register("cap_rows") == CHIP.rows
        devices[1 - first].close()


def test_power_up_state_does_not_matter(image, expected):
    for seed in (2, 77):
        with open_device("verilator", CHIP, image.memory.size, seed=seed) as device:
            assert generate(Driver(device, image, fill=seed), [5, 6, 7], 4) == expected[:4]
