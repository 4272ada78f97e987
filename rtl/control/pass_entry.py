"""One pass over a KV cache: the rows that share a slot."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, instances

from rtl.convert import module


@module
def pass_entry(
    clk, clear, valid, row, slot, tokens, free_before, any_hit, hit, used, mask, pass_slot, pass_tokens, config
):
    """Collects the rows of one slot, presented one a clock: their mask, and the largest number of tokens.

    Ports: clk; clear: forgets all (no reset: a scan begins with clear). valid, row (one-hot), slot, tokens: the row
    presented. free_before: the entry before this one is used, so this one opens for a slot that no entry holds
    (any_hit low). hit: this entry holds the slot presented. used, mask, pass_slot, pass_tokens: what it holds.
    """
    opens = Signal(bool(0))

    @always_comb
    def compare():
        hit.next = used and (pass_slot == slot)
        opens.next = free_before and not used and not any_hit

    @always(clk.posedge)
    def collect():
        if clear:
            used.next = 0
            mask.next = 0
        elif valid:
            if hit:
                mask.next = mask | row
                if tokens > pass_tokens:
                    pass_tokens.next = tokens
            elif opens:
                used.next = 1
                mask.next = row
                pass_slot.next = slot
                pass_tokens.next = tokens

    return instances()
