"""What thread D is at, as the cause of a cycle in which the array waits for it."""

from __future__ import annotations

from myhdl import Signal, always_comb, instances, intbv

from rtl.common.registers import CAUSE_BITS, CAUSE_CODE
from rtl.convert import module
from rtl.vector.passes import PHASE_CODES

FILL_DRAIN, MEMORY, SOFTMAX, KV_WRITE = (
    CAUSE_CODE[name] for name in ("fill_drain", "wait_memory", "wait_softmax", "wait_kv_write")
)


@module
def drain_phase(kind, checking, waits, lanes_rest, phase):
    """The phase of the present pass (passes.py, PHASES), or what its next round waits for.

    An instruction keeps the phase of its last pass until the next one begins. A bank that is not full is the array's
    own pipeline only when nothing else is under way in the vector unit.

    Ports: kind of the round in preparation; checking: it is prepared; waits: see drain_round; lanes_rest: no beat is
    under way, and none of thread S; phase: CAUSE_CODE.
    """
    rom = PHASE_CODES
    of_kind = Signal(intbv(0)[CAUSE_BITS:])

    @always_comb
    def look_up():
        of_kind.next = rom[int(kind)]

    @always_comb
    def decide():
        phase.next = of_kind
        if checking:
            if waits[0] and lanes_rest:
                phase.next = FILL_DRAIN
            elif waits[1]:
                phase.next = MEMORY
            elif waits[2]:
                phase.next = SOFTMAX
            elif waits[3]:
                phase.next = KV_WRITE

    return instances()
