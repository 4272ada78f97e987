"""The AXI4-Lite slave: what the host sees."""

from __future__ import annotations

from myhdl import Signal, always, always_comb, concat, enum, instances, intbv, modbv

from rtl.common.config import ChipConfig, bits_for
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.registers import (
    COUNTERS,
    COUNTERS_BASE,
    ID_VALUE,
    REGISTERS,
    ROW_FIELDS,
    ROW_STRIDE,
    ROWS_BASE,
    VERSION_VALUE,
)
from rtl.convert import module

HIGH = ADDRESS_BITS - 32
UNKNOWN, READ_ONLY, SETTING, ALWAYS = range(4)
"""Kinds of a word: no register; read only; written when idle; written at any time."""
ALWAYS_WRITABLE = ("control", "irq_enable", "irq_status", "watchdog")
FIRST = REGISTERS["steps"].offset // 4
"""Settings from here on are words of one register file."""
LAST = max(register.offset for register in REGISTERS.values()) // 4
CAPABILITIES = [name for name in REGISTERS if name.startswith("cap_")]


def word_kind(word: int) -> int:
    """The kind of the word at offset 4 * word, below the row table."""
    for name, register in REGISTERS.items():
        if register.offset == 4 * word:
            if register.access == "ro":
                return READ_ONLY
            return ALWAYS if name in ALWAYS_WRITABLE else SETTING
    return READ_ONLY if 0 <= 4 * word - COUNTERS_BASE < 8 * len(COUNTERS) else UNKNOWN


def row_field_kind(word: int) -> int:
    """The kind of word `word` of a row table entry."""
    for register in ROW_FIELDS.values():
        if register.offset == 4 * word:
            return READ_ONLY if register.access == "ro" else SETTING
    return UNKNOWN


def constant_words(config: ChipConfig) -> tuple[int, ...]:
    """Words from offset 0: identity, version, capabilities."""
    values = {"id": ID_VALUE, "version": VERSION_VALUE}
    values |= {name: getattr(config, name.removeprefix("cap_")) for name in CAPABILITIES}
    words = {REGISTERS[name].offset // 4: value for name, value in values.items()}
    return tuple(words.get(i, 0) for i in range(16))


def setting(name: str) -> int:
    return REGISTERS[name].offset // 4 - FIRST


def word_of(name: str) -> int:
    return REGISTERS[name].offset // 4


@module
def registers(
    clk,
    rst,
    start_request,
    reset_request,
    busy,
    done,
    failed,
    ended,
    irq,
    error_code,
    error_address,
    error_instruction,
    steps,
    steps_done,
    watchdog,
    slots_used,
    program_base,
    program_size,
    weights_base,
    weights_size,
    kv_base,
    kv_stride,
    output_base,
    output_size,
    logits_offset,
    logits_stride,
    context_limit,
    access_read,
    access_row,
    access_word,
    row_write,
    write_data,
    row_data,
    count_data,
    s_axi_awaddr,
    s_axi_awvalid,
    s_axi_awready,
    s_axi_wdata,
    s_axi_wstrb,
    s_axi_wvalid,
    s_axi_wready,
    s_axi_bresp,
    s_axi_bvalid,
    s_axi_bready,
    s_axi_araddr,
    s_axi_arvalid,
    s_axi_arready,
    s_axi_rdata,
    s_axi_rresp,
    s_axi_rvalid,
    s_axi_rready,
    config: ChipConfig,
):
    """The registers of rtl/common/registers.py on AXI4-Lite (32-bit data, 12-bit byte address, low two bits ignored).

    One access at a time, writes before reads, 7 clocks each. Answered with SLVERR and without effect: an offset
    that holds no register, a write to a read-only register, a write with some but not all byte strobes set, and,
    while busy, a write to anything but control, irq_enable, irq_status and watchdog. A write without any strobe
    does nothing. Settings reset to zero.

    Ports: clk; rst; start_request, reset_request (pulses, reset wins); busy, done, failed: status; ended: sets
    irq_status; irq: enabled and set. error_*, steps_done: read only words. steps ... context_limit: settings,
    addresses with ADDRESS_BITS bits. access_read (level during a read), access_row (6), access_word (6, the low
    part of the word address), row_write (pulse), write_data: to row table and counters, whose row_data and
    count_data come two clocks later. s_axi_*: the bus.
    """
    KINDS = tuple(word_kind(i) for i in range(256))
    FIELD_KINDS = tuple(row_field_kind(i) for i in range(ROW_STRIDE // 4))
    CONSTANTS = constant_words(config)
    WORDS = LAST - FIRST + 1
    INDEX_BITS = bits_for(WORDS)
    FIRST_INDEX = FIRST % 2**INDEX_BITS
    ROWS = config.rows
    ROWS_FIRST, ROWS_SHIFT = ROWS_BASE // 4, ROWS_BASE // ROW_STRIDE
    SLVERR = 2
    assert ROWS_FIRST == 256 and ROW_STRIDE == 64 and ROWS <= 32

    CONTROL, STATUS = word_of("control"), word_of("status")
    IRQ_ENABLE, IRQ_STATUS = word_of("irq_enable"), word_of("irq_status")
    ERROR, ERROR_LOW, ERROR_HIGH = word_of("error"), word_of("error_address_low"), word_of("error_address_high")
    ERROR_INSTRUCTION, STEPS_DONE = word_of("error_instruction"), word_of("steps_done")
    COUNTS = COUNTERS_BASE // 4
    STEPS, WATCHDOG, SLOTS_USED = setting("steps"), setting("watchdog"), setting("slots_used")
    PROGRAM_LOW, PROGRAM_HIGH, PROGRAM_SIZE = [setting(f"program_{s}") for s in ("low", "high", "size")]
    WEIGHTS_LOW, WEIGHTS_HIGH = setting("weights_low"), setting("weights_high")
    WEIGHTS_SIZE_LOW, WEIGHTS_SIZE_HIGH = setting("weights_size_low"), setting("weights_size_high")
    KV_LOW, KV_HIGH = setting("kv_low"), setting("kv_high")
    KV_STRIDE_LOW, KV_STRIDE_HIGH = setting("kv_stride_low"), setting("kv_stride_high")
    OUTPUT_LOW, OUTPUT_HIGH, OUTPUT_SIZE = [setting(f"output_{s}") for s in ("low", "high", "size")]
    LOGITS_OFFSET, LOGITS_STRIDE = setting("logits_offset"), setting("logits_stride")
    CONTEXT_LIMIT = setting("context_limit")

    state_t = enum("IDLE", "SPLIT", "FIND", "JUDGE", "ACT", "ANSWER")
    state = Signal(state_t.IDLE)
    writing = Signal(bool(0))
    word = Signal(intbv(0)[10:])
    low_word = Signal(intbv(0)[8:])
    place = Signal(intbv(0)[4:])
    row = Signal(modbv(0)[6:])
    strobes = Signal(intbv(0)[4:])
    kind, field_kind = [Signal(intbv(0)[2:]) for _ in range(2)]
    known, writable = [Signal(bool(0)) for _ in range(2)]
    is_setting = Signal(bool(0))
    constant = Signal(intbv(0)[32:])
    is_row = Signal(bool(0))
    unused_addresses = Signal(intbv(0)[24:])
    accepted = Signal(bool(0))
    store = Signal(bool(0))
    irq_enable = Signal(bool(0))
    irq_status = Signal(bool(0))
    plain, setting_value = [Signal(intbv(0)[32:]) for _ in range(2)]
    value_index = Signal(modbv(0)[INDEX_BITS:])
    values = [Signal(intbv(0)[32:]) for _ in range(WORDS)]

    @always_comb
    def take():
        s_axi_awready.next = (state == state_t.IDLE) and s_axi_awvalid and s_axi_wvalid
        s_axi_wready.next = (state == state_t.IDLE) and s_axi_awvalid and s_axi_wvalid
        s_axi_arready.next = (state == state_t.IDLE) and s_axi_arvalid and not (s_axi_awvalid and s_axi_wvalid)

    @always_comb
    def ignore():
        unused_addresses.next = concat(s_axi_awaddr, s_axi_araddr)

    @always_comb
    def split():
        low_word.next = word[8:]
        place.next = word[4:]
        access_word.next = word[6:]
        access_row.next = row
        irq.next = irq_enable and irq_status

    @always(clk.posedge)
    def classify():
        is_row.next = word >= ROWS_FIRST
        row.next = word[10:4] - ROWS_SHIFT
        is_setting.next = word < ROWS_FIRST and low_word >= FIRST and low_word <= LAST
        value_index.next = 0
        if low_word >= FIRST and low_word <= LAST:
            value_index.next = low_word[INDEX_BITS:] - FIRST_INDEX

    @always(clk.posedge)
    def look_up():
        kind.next = KINDS[int(low_word)]

    @always(clk.posedge)
    def look_up_field():
        field_kind.next = FIELD_KINDS[int(place)]

    @always(clk.posedge)
    def look_up_constant():
        constant.next = CONSTANTS[int(place)]

    @always(clk.posedge)
    def judge():
        found = intbv(0)[2:]
        found[:] = kind
        if is_row:
            found[:] = UNKNOWN
            if row < ROWS:
                found[:] = field_kind
        known.next = found != UNKNOWN
        writable.next = (strobes == 15) and ((found == ALWAYS) or (found == SETTING and not busy))

    @always_comb
    def decide():
        if writing:
            accepted.next = (strobes == 0) or writable
        else:
            accepted.next = known
        store.next = (state == state_t.ACT) and writing and writable

    @always(clk.posedge)
    def write_row():
        # A clock late: the row and its field stay until the next access.
        row_write.next = store and is_row and not rst

    @always(clk.posedge)
    def act():
        start_request.next = 0
        reset_request.next = 0
        if rst:
            irq_enable.next = 0
            irq_status.next = 0
        else:
            if store and not is_row:
                if low_word == CONTROL:
                    start_request.next = write_data[0] and not write_data[1]
                    reset_request.next = write_data[1]
                elif low_word == IRQ_ENABLE:
                    irq_enable.next = write_data[0]
                elif low_word == IRQ_STATUS:
                    if write_data[0]:
                        irq_status.next = 0
            if ended:
                irq_status.next = 1

    @always(clk.posedge)
    def keep_settings():
        if rst:
            for i in range(WORDS):
                values[i].next = 0
        elif store and is_setting:
            values[value_index].next = write_data

    @always_comb
    def tell_settings():
        steps.next = values[STEPS]
        watchdog.next = values[WATCHDOG]
        slots_used.next = values[SLOTS_USED]
        program_base.next = concat(values[PROGRAM_HIGH][HIGH:], values[PROGRAM_LOW])
        program_size.next = values[PROGRAM_SIZE]
        weights_base.next = concat(values[WEIGHTS_HIGH][HIGH:], values[WEIGHTS_LOW])
        weights_size.next = concat(values[WEIGHTS_SIZE_HIGH][HIGH:], values[WEIGHTS_SIZE_LOW])
        kv_base.next = concat(values[KV_HIGH][HIGH:], values[KV_LOW])
        kv_stride.next = concat(values[KV_STRIDE_HIGH][HIGH:], values[KV_STRIDE_LOW])
        output_base.next = concat(values[OUTPUT_HIGH][HIGH:], values[OUTPUT_LOW])
        output_size.next = values[OUTPUT_SIZE]
        logits_offset.next = values[LOGITS_OFFSET]
        logits_stride.next = values[LOGITS_STRIDE]
        context_limit.next = values[CONTEXT_LIMIT]

    @always(clk.posedge)
    def look_up_setting():
        setting_value.next = values[value_index]

    @always(clk.posedge)
    def read_plain():
        # Words below the row table that are neither settings nor counters.
        if low_word < 16:
            plain.next = constant
        elif low_word == STATUS:
            plain.next = concat(intbv(0)[29:], failed, done, busy)
        elif low_word == IRQ_ENABLE:
            plain.next = concat(intbv(0)[31:], irq_enable)
        elif low_word == IRQ_STATUS:
            plain.next = concat(intbv(0)[31:], irq_status)
        elif low_word == ERROR:
            plain.next = concat(intbv(0)[28:], error_code)
        elif low_word == ERROR_LOW:
            plain.next = error_address[32:]
        elif low_word == ERROR_HIGH:
            plain.next = concat(intbv(0)[32 - HIGH :], error_address[ADDRESS_BITS:32])
        elif low_word == ERROR_INSTRUCTION:
            plain.next = error_instruction
        elif low_word == STEPS_DONE:
            plain.next = steps_done
        else:
            plain.next = 0

    @always(clk.posedge)
    def answer():
        if rst:
            state.next = state_t.IDLE
            s_axi_bvalid.next = 0
            s_axi_rvalid.next = 0
            writing.next = 0
            access_read.next = 0
            word.next = 0
        elif state == state_t.IDLE:
            if s_axi_awready:
                writing.next = 1
                word.next = s_axi_awaddr[12:2]
                write_data.next = s_axi_wdata
                strobes.next = s_axi_wstrb
                state.next = state_t.SPLIT
            elif s_axi_arready:
                writing.next = 0
                access_read.next = 1
                word.next = s_axi_araddr[12:2]
                state.next = state_t.SPLIT
        elif state == state_t.SPLIT:
            state.next = state_t.FIND
        elif state == state_t.FIND:
            state.next = state_t.JUDGE
        elif state == state_t.JUDGE:
            state.next = state_t.ACT
        elif state == state_t.ACT:
            # Settings, row table and counters have had two clocks.
            state.next = state_t.ANSWER
            if writing:
                s_axi_bvalid.next = 1
                s_axi_bresp.next = SLVERR
                if accepted:
                    s_axi_bresp.next = 0
            else:
                s_axi_rvalid.next = 1
                s_axi_rresp.next = SLVERR
                s_axi_rdata.next = 0
                if accepted:
                    s_axi_rresp.next = 0
                    if is_row:
                        s_axi_rdata.next = row_data
                    elif low_word >= COUNTS:
                        s_axi_rdata.next = count_data
                    elif low_word >= FIRST and low_word != STEPS_DONE:
                        s_axi_rdata.next = setting_value
                    else:
                        s_axi_rdata.next = plain
        else:
            if s_axi_bready:
                s_axi_bvalid.next = 0
            if s_axi_rready:
                s_axi_rvalid.next = 0
            if (s_axi_bvalid and s_axi_bready) or (s_axi_rvalid and s_axi_rready):
                access_read.next = 0
                state.next = state_t.IDLE

    return instances()
