"""The read side of the memory engine."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.common.config import ChipConfig
from rtl.common.fifo import fifo
from rtl.common.instruction_register import instruction_register
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.isa import INSTRUCTION_BITS
from rtl.common.registers import ErrorCode
from rtl.common.stream import Stream
from rtl.common.stream_register import stream_register
from rtl.convert import module
from rtl.memory.beat_unpack import beat_unpack
from rtl.memory.burst_splitter import burst_splitter
from rtl.memory.descriptor import LENGTH_BITS, PARAMETER_BEATS, Descriptor
from rtl.memory.instruction_fetch import instruction_fetch
from rtl.memory.read_port import read_port
from rtl.memory.weight_stream import weight_stream


@module
def memory_read(
    clk,
    rst,
    freeze,
    program_base,
    program_size,
    weights_base,
    weights_size,
    kv_base,
    kv_stride,
    row_active,
    row_token,
    row_position,
    any_sample,
    pass_count,
    pass_slot,
    pass_tokens,
    kv_done,
    fetch_start,
    fetch_end,
    idle,
    bus_quiet_read,
    read_beat,
    kv_barrier,
    parameter_wait,
    error_valid,
    error_code,
    error_address,
    instruction,
    instruction_valid,
    instruction_ready,
    fetch_instruction,
    fetch_valid,
    fetch_ready,
    beat_data,
    beat_valid,
    beat_ready,
    parameter_data,
    parameter_tag,
    parameter_valid,
    parameter_ready,
    m_axi_arid,
    m_axi_araddr,
    m_axi_arlen,
    m_axi_arsize,
    m_axi_arburst,
    m_axi_arcache,
    m_axi_arprot,
    m_axi_arvalid,
    m_axi_arready,
    m_axi_rid,
    m_axi_rdata,
    m_axi_rresp,
    m_axi_rlast,
    m_axi_rvalid,
    m_axi_rready,
    config: ChipConfig,
):
    """All that the chip reads: weights and caches for the array, parameters for the vector unit, the program.

    queue (2) -> weight_stream -> burst_splitter -> read_port -> data FIFO -> array
                               instruction_fetch -^                 `-> (FIFO) -> beat_unpack -> vector

    Configuration, rows and passes are stable while an instruction is inside. Formats, window classes,
    fetch_*, kv_done: rtl/README.md and the blocks below. Beats of all destinations leave the data FIFO in the
    order of the instructions; where a beat holds several words, parameters have PARAMETER_BEATS of their own
    behind it, so that the gearbox does not hold the array up.

    freeze: no new burst; beats that still arrive are dropped. bus_quiet_read: no burst outstanding (after
    freeze it stays so until rst). error_*: held until rst; the first counts, and acts like freeze.
    Both act a clock later.
    idle: no instruction queued or at work, no beat outstanding or inside; the prefetch of the program and the
    word at an output are not looked at, except that a parameter word not yet taken is seen.
    read_beat: a beat was accepted from the bus. kv_barrier: nothing comes, since ATTEND waits for writes of K or V.
    parameter_wait: nothing comes to the array, since parameters before it wait for the vector unit.
    """
    width = config.bus_bits
    RESPONSE, WINDOW = int(ErrorCode.READ_RESPONSE), int(ErrorCode.WINDOW)

    halt = Signal(False)
    window_error = Signal(False)
    window_address = Signal(intbv(0)[ADDRESS_BITS:])
    response_error = Signal(False)
    response_address = Signal(intbv(0)[ADDRESS_BITS:])

    queue_in = Stream.of(instruction, instruction_valid, instruction_ready)
    queued = Stream(INSTRUCTION_BITS)
    queue = instruction_register(clk, rst, any_sample, queue_in, queued)

    stream_idle = Signal(False)
    barred = Signal(False)
    stretch = Descriptor()
    stream = weight_stream(
        clk,
        rst,
        halt,
        weights_base,
        weights_size,
        kv_base,
        kv_stride,
        row_active,
        row_token,
        row_position,
        pass_count,
        pass_slot,
        pass_tokens,
        kv_done,
        stream_idle,
        barred,
        queued.payload,
        queued.valid,
        queued.ready,
        stretch.address,
        stretch.beats,
        stretch.tag,
        stretch.low,
        stretch.limit,
        stretch.bad,
        stretch.valid,
        stretch.ready,
        config=config,
    )

    splitter_idle = Signal(False)
    burst_address = Signal(intbv(0)[ADDRESS_BITS:])
    burst_length = Signal(intbv(0)[LENGTH_BITS:])
    burst_tag = Signal(intbv(0)[2:])
    burst_valid = Signal(False)
    burst_ready = Signal(False)
    splitter = burst_splitter(
        clk,
        rst,
        halt,
        window_error,
        window_address,
        splitter_idle,
        stretch.address,
        stretch.beats,
        stretch.tag,
        stretch.low,
        stretch.limit,
        stretch.bad,
        stretch.valid,
        stretch.ready,
        burst_address,
        burst_length,
        burst_tag,
        burst_valid,
        burst_ready,
        config=config,
    )

    unreserved = Signal(False)
    request_address = Signal(intbv(0)[ADDRESS_BITS:])
    request_valid = Signal(False)
    request_ready = Signal(False)
    beat = Signal(intbv(0)[width:])
    arrived_tag = Signal(intbv(0)[2:])
    arrived_valid = Signal(False)
    arrived_fetch = Signal(False)
    beat_taken = Signal(False)
    port = read_port(
        clk,
        rst,
        halt,
        bus_quiet_read,
        unreserved,
        read_beat,
        response_error,
        response_address,
        burst_address,
        burst_length,
        burst_tag,
        burst_valid,
        burst_ready,
        request_address,
        request_valid,
        request_ready,
        beat,
        arrived_tag,
        arrived_valid,
        beat_taken,
        arrived_fetch,
        m_axi_arid,
        m_axi_araddr,
        m_axi_arlen,
        m_axi_arsize,
        m_axi_arburst,
        m_axi_arcache,
        m_axi_arprot,
        m_axi_arvalid,
        m_axi_arready,
        m_axi_rid,
        m_axi_rdata,
        m_axi_rresp,
        m_axi_rlast,
        m_axi_rvalid,
        m_axi_rready,
        config=config,
    )

    fetch = instruction_fetch(
        clk,
        rst,
        program_base,
        program_size,
        fetch_start,
        fetch_end,
        beat,
        arrived_fetch,
        fetch_instruction,
        fetch_valid,
        fetch_ready,
        request_address,
        request_valid,
        request_ready,
        config=config,
    )

    unused_ready = Signal(False)  # room is reserved before a burst goes out
    stored_in = Stream.of(Signal(intbv(0)[width + 2 :]), Signal(False), unused_ready)
    kept = Stream(width + 2)
    stored = Stream(width + 2)
    unused_count = Signal(intbv(0)[config.fifo_beats.bit_length() :])
    store = fifo(clk, rst, stored_in, kept, unused_count, depth=config.fifo_beats, width=width + 2)
    # The tag steers the array: it must not wait for a RAM, nor the RAM for the array.
    kept_register = stream_register(clk, rst, kept, stored, width=width + 2)
    to_gearbox = Stream(width + 2)

    @always_comb
    def keep():
        stored_in.payload.next = concat(arrived_tag, beat)
        stored_in.valid.next = arrived_valid

    @always(clk.posedge)
    def give_back():
        beat_taken.next = stored.valid and stored.ready and not rst

    @always_comb
    def route():
        beat_data.next = stored.payload[width:]
        to_gearbox.payload.next = stored.payload
        if stored.payload[width + 2 : width] == 0:
            beat_valid.next = stored.valid
            to_gearbox.valid.next = False
            stored.ready.next = beat_ready
        else:
            beat_valid.next = False
            to_gearbox.valid.next = stored.valid
            stored.ready.next = to_gearbox.ready

    slow_gearbox = 32 * config.lanes < width
    if slow_gearbox:
        parameters = Stream(width + 2)
        parameters_count = Signal(intbv(0)[PARAMETER_BEATS.bit_length() :])
        parameters_store = fifo(
            clk, rst, to_gearbox, parameters, parameters_count, depth=PARAMETER_BEATS, width=width + 2
        )
    else:
        parameters = to_gearbox
    parameters_beat = Signal(intbv(0)[width:])
    parameters_tag = Signal(intbv(0)[2:])
    gearbox = beat_unpack(
        clk,
        rst,
        parameters_beat,
        parameters_tag,
        parameters.valid,
        parameters.ready,
        parameter_data,
        parameter_tag,
        parameter_valid,
        parameter_ready,
        config=config,
    )

    @always_comb
    def split_tag():
        parameters_beat.next = parameters.payload[width:]
        parameters_tag.next = parameters.payload[width + 2 : width]

    gearbox_busy = Signal(False)
    if slow_gearbox:

        @always_comb
        def look_inside():
            gearbox_busy.next = parameter_valid or (parameters_count != 0)

    else:

        @always_comb
        def look_inside():
            gearbox_busy.next = parameter_valid

    @always(clk.posedge)
    def stop():
        halt.next = (freeze or response_error or window_error) and not rst

    @always_comb
    def report():
        idle.next = (not queued.valid) and stream_idle and splitter_idle and unreserved and not gearbox_busy
        error_valid.next = response_error or window_error
        kv_barrier.next = barred and splitter_idle and unreserved
        parameter_wait.next = to_gearbox.valid and parameter_valid and not (to_gearbox.ready or parameter_ready)
        if response_error:
            error_code.next = RESPONSE
            error_address.next = response_address
        else:
            error_code.next = WINDOW
            error_address.next = window_address

    return instances()
