"""FP32 and Microscaling arithmetic of the chip: see README.md for the number rules.

Every pipelined block takes an operation each clock; its result leaves LATENCY clocks after `valid_in`.
"""

FP32_ADD_LATENCY = 5
FP32_MUL_LATENCY = 4
FP32_FROM_INT_LATENCY = 3
MX_QUANTIZE_ELEMENT_LATENCY = 3

FP32_NAN = 0x7FC00000
