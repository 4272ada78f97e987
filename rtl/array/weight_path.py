"""What all rows share of a beat: decoded weights and weight scales."""

from myhdl import ConcatSignal, Signal, always, always_comb, instances, intbv

from rtl.array import weight_bits
from rtl.array.scale_port import scale_port
from rtl.array.weight_lane import weight_lane
from rtl.common.config import ChipConfig
from rtl.convert import module


@module
def weight_path(
    clk,
    beat_data,
    mxfp4,
    weight_1,
    mxfp4_1,
    scale_write_1,
    unit_1,
    index_1,
    beat_1,
    mxfp4_2,
    weights_2,
    weight_scales_4,
    unknown_weights_4,
    config: ChipConfig,
):
    """Register a beat, decode its weights for the leaves' multipliers, keep scale beats.

    Ports: clk; beat_data: of a beat that may be taken, mxfp4: its format if it is one of weights. A cycle later:
    weight_1: it was taken and is one, of output index_1; mxfp4_1; scale_write_1: it was, as scale beat 0 or 1 (a bit
    each); unit_1: the block has no scales; beat_1: the beat. mxfp4_2; weights_2: P x 32 decoded weights;
    weight_scales_4: a byte for each of 2 P columns, unknown_weights_4: a bit, it is 255.
    """
    ports, bits = config.ports, weight_bits(config.packed_multiplier)
    weights = [Signal(intbv(0)[bits:]) for _ in range(32 * ports)]
    scales = [Signal(intbv(0)[8:]) for _ in range(config.columns)]
    unknown = [Signal(bool(0)) for _ in range(config.columns)]

    @always(clk.posedge)
    def register():
        beat_1.next = beat_data
        mxfp4_2.next = mxfp4_1

    lanes = [
        weight_lane(clk, mxfp4, beat_data(8 * i + 8, 8 * i), weight_1, weights[i], packed=config.packed_multiplier)
        for i in range(32 * ports)
    ]
    columns = [
        scale_port(
            clk,
            scale_write_1(column % 2),
            beat_1(256 * (column // 2) + 256, 256 * (column // 2)),
            weight_1,
            unit_1,
            index_1,
            scales[column],
            unknown[column],
        )
        for column in range(config.columns)
    ]
    gathered_weights = ConcatSignal(*reversed(weights))
    gathered_scales, gathered_unknown = ConcatSignal(*reversed(scales)), ConcatSignal(*reversed(unknown))

    @always_comb
    def gather():
        weights_2.next = gathered_weights
        weight_scales_4.next = gathered_scales
        unknown_weights_4.next = gathered_unknown

    return instances()
