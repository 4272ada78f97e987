"""The frames between a host and the board: constants that the bridge and the driver share."""

from __future__ import annotations

from enum import IntEnum

SYNC_REQUEST, SYNC_REPLY = 0xA5, 0x5A
HEADER_BYTES = 9  # operation, address, value; then two of CRC
CRC_BYTES = 2


class Operation(IntEnum):
    """First byte of a request. `value` of the header: what is said here."""

    READ_REGISTER = 1  # value unused; the reply carries 4 bytes
    WRITE_REGISTER = 2  # value: the data
    READ_MEMORY = 3  # value: words of 16 bits; the reply carries them
    WRITE_MEMORY = 4  # value: words of 16 bits, which follow, and their CRC
    FILL_MEMORY = 5  # value: words in the low half, the word in the high half


class ReplyStatus(IntEnum):
    """First byte of a reply after its sync byte; but for OK, no data follows."""

    OK = 0
    HEADER_CRC = 1  # nothing was done
    PAYLOAD_CRC = 2  # the block in memory holds what arrived: send it again
    OPERATION = 3  # unknown, nothing was done
    ADDRESS = 4  # odd, or outside the memory; nothing was done
    BUS = 5  # the chip refused the register access
    OVERRUN = 6  # the memory was too slow for the line: send it again
