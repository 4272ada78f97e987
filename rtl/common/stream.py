"""The stream interface: a payload that moves in every cycle in which valid and ready are both high."""

from myhdl import Signal, SignalType, intbv


class Stream:
    """A packed payload with valid and ready.

    The source holds payload and valid until ready; valid never waits for ready. Ready may depend on valid.
    """

    def __init__(self, width: int) -> None:
        self.payload = Signal(intbv(0)[width:])
        self.valid = Signal(False)
        self.ready = Signal(False)

    @classmethod
    def of(cls, payload: SignalType, valid: SignalType, ready: SignalType) -> "Stream":
        """A stream made of Signals that exist already."""
        stream = cls.__new__(cls)
        stream.payload, stream.valid, stream.ready = payload, valid, ready
        return stream
