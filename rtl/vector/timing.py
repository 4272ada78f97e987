"""Ages of a beat in the lane pipeline, in cycles after the one in which its control word is accepted (cycle 0).

"At stage n" means: visible on wires during cycle n. rtl/vector/README.md shows the same as a table.
"""

from rtl.common.interfaces import ACCUMULATOR_READ_LATENCY

SOURCE_DATA = 4  # words from RAMs and accumulators, as source or for ADD1
ADD1 = 5  # operands of the adder
FUNCTION = 10  # operand of the function lookup; noise of the hash joins here
MUL1 = 14
ADD2 = 18
MUL2 = 23
ADD3 = 27
EXPONENT = 32  # operand of the function's exponent step
REDUCE = 33  # operand of reductions and of the V scale
RESULT = 34  # result: to destinations, fault detection
STAGES = RESULT + 1

RAM_STAGES = 2  # address to data, registered output
SOURCE_READ = SOURCE_DATA - RAM_STAGES
MUL2_READ = MUL2 - 1 - RAM_STAGES
ADD3_READ = ADD3 - 1 - RAM_STAGES
DRAIN = SOURCE_DATA - 1 - ACCUMULATOR_READ_LATENCY  # drain_* are driven
VALUE_SCALE_READ = REDUCE - 2 - RAM_STAGES
LATE = 29  # late fields of the control word come out of their delay
FREE_DELAY = ADD3_READ + 2  # a freed ring word may still be read so long by beats that were issued before

SUM_TREE = 26  # five levels of additions, over lanes or in time, and a register before them
SUM_BUSY = SUM_TREE + 5 - (SOURCE_DATA - 1)  # cycles after REDUCE in which a beat that reads the sum must not enter
ISSUE_DELAY = 4  # cycles in which the issue logic has no beat ready after it saw a busy flag fall
EXPONENT_OFFSET = 256  # exponent steps travel with this offset
AFTER_BEATS = FREE_DELAY + 4  # cycles after the last busy one in which something may still change in the lanes
