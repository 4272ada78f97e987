"""Constants that two engines must agree on."""

ADDRESS_BITS = 40
ACCUMULATOR_READ_LATENCY = 2  # cycles from drain address to drain_data
PARAMETER_RING_A, PARAMETER_RING_B, PARAMETER_TABLE = 1, 2, 3  # parameter_tag
MINIMUM_ROUND = 6  # cycles of a round, so that running sums of a row never meet in the adder


def kv_units(rows: int) -> int:
    """KV units (a row's block, or a row's head) that the vector unit may have in flight."""
    return 8 * rows


def logits_units(rows: int) -> int:
    """Blocks of 32 logits that the vector unit may have in flight."""
    return 2 * rows
