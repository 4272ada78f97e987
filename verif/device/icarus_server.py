"""The whole chip in Icarus as a server: a cocotb test that obeys commands from a socket.

sw/mozg/device/icarus.py is the client. A command is a JSON line: {"write": [offset, value]}, {"read": offset},
{"run": limit} or {"close": true}; the answer is a JSON line with "value", or "error". The memory is a file that both
sides map. Simulation time passes only within a command.
"""

from __future__ import annotations

import json
import os
import socket

import cocotb
import numpy as np

from verif.device.chip_agent import read_register, run_until_interrupt, start, write_register

SOCKET = "MOZG_ICARUS_SOCKET"
MEMORY = "MOZG_ICARUS_MEMORY"


async def obey(dut, command: dict) -> dict:
    """One command."""
    if "write" in command:
        response = await write_register(dut, *command["write"])
        return {"error": response} if response else {"value": 0}
    if "read" in command:
        response, value = await read_register(dut, command["read"])
        return {"error": response} if response else {"value": value}
    return {"value": await run_until_interrupt(dut, command["run"])}


@cocotb.test()
async def serve(dut) -> None:
    await start(dut, np.memmap(os.environ[MEMORY], dtype=np.uint8, mode="r+"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.environ[SOCKET])
        stream = client.makefile("rw")
        for line in stream:
            command = json.loads(line)
            if "close" in command:
                break
            stream.write(json.dumps(await obey(dut, command)) + "\n")
            stream.flush()
