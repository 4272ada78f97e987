// The Verilated chip as a C library: clock, reset, AXI4-Lite accesses and runs, with the DRAM model beside it.
//
// Python calls it through ctypes (sw/mozg/device/verilator.py). One call clocks as many cycles as it can, since a call costs
// more than a cycle. Compiled once a chip; the model class comes in as TOP_HEADER and TOP_CLASS.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include TOP_HEADER
#include ROOT_HEADER
#include "dram.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif

// A signal of the top module, made public by monitor.vlt.
#define GLUE_(module, name) module##__DOT__##name
#define GLUE(module, name) GLUE_(module, name)
#define SIGNAL(name) top->rootp->GLUE(TOP_MODULE, name)

#ifdef TIMELINE
#include "timeline.h"
#endif

namespace {

// An operand block as the vector unit writes it.
struct OperandBlock {
    uint32_t block, row, scale;
    int8_t elements[32];
};

// What the memory showed the chip in one cycle.
struct Answer {
    bool ar_ready, aw_ready, w_ready, r_valid, r_last, b_valid;
    uint8_t r_resp, b_resp;
};

struct Device {
    VerilatedContext context;
    std::unique_ptr<TOP_CLASS> top;
    std::unique_ptr<Dram> dram;
    uint32_t beat_bytes;
    uint8_t write_data[128];
    uint64_t cycles = 0;
    bool monitoring = false, recording = false, record_runs = false;
    std::vector<Answer> answers;     // of every cycle recorded
    std::vector<uint8_t> beats_read;  // the data of those with r_valid
    OperandBlock current{};
    std::vector<OperandBlock> blocks;
#ifdef TIMELINE
    Timeline timeline;
#endif
#if VM_TRACE_FST
    std::unique_ptr<VerilatedFstC> trace;
#endif

    void edge(bool level) {
        top->clk = level;
        top->eval();
#if VM_TRACE_FST
        if (trace) {
            context.timeInc(5);
            trace->dump(context.time());
        }
#endif
    }

    // One clock cycle: the memory answers what the chip showed before the edge.
    void cycle() {
#ifdef TIMELINE
        if (timeline.watching) timeline.sample(top.get(), cycles);
#endif
        Dram::Inputs in;
        in.ar_valid = top->m_axi_arvalid;
        in.ar_address = top->m_axi_araddr;
        in.ar_beats = top->m_axi_arlen + 1u;
        in.aw_valid = top->m_axi_awvalid;
        in.aw_address = top->m_axi_awaddr;
        in.aw_beats = top->m_axi_awlen + 1u;
        in.w_valid = top->m_axi_wvalid;
        in.w_last = top->m_axi_wlast;
        // By value: the edge changes it before the memory looks.
        std::memcpy(write_data, &top->m_axi_wdata[0], beat_bytes);
        in.w_data = write_data;
        in.w_strobe = top->m_axi_wstrb;
        in.r_ready = top->m_axi_rready;
        in.b_ready = top->m_axi_bready;
        // In reset the chip's outputs may still be what they were at power-up.
        if (top->rst) in.ar_valid = in.aw_valid = in.w_valid = false;
        edge(true);
        dram->step(in);
        const Answer answer{dram->ar_ready, dram->aw_ready, dram->w_ready, dram->r_valid, dram->r_last, dram->b_valid,
                            uint8_t(dram->r_resp), uint8_t(dram->b_resp)};
        show(answer, dram->r_data);
        if (recording) record(answer, dram->r_data);
        edge(false);
        cycles++;
        if (monitoring && SIGNAL(operand_write)) monitor();
    }

    // `data`: what r_valid brings, null: zeros.
    void show(const Answer &answer, const uint8_t *data) {
        top->m_axi_arready = answer.ar_ready;
        top->m_axi_awready = answer.aw_ready;
        top->m_axi_wready = answer.w_ready;
        top->m_axi_rvalid = answer.r_valid;
        top->m_axi_rlast = answer.r_last;
        top->m_axi_rresp = answer.r_resp;
        if (answer.r_valid) {
            if (data)
                std::memcpy(&top->m_axi_rdata[0], data, beat_bytes);
            else
                std::memset(&top->m_axi_rdata[0], 0, beat_bytes);
        }
        top->m_axi_bvalid = answer.b_valid;
        top->m_axi_bresp = answer.b_resp;
    }

    void record(const Answer &answer, const uint8_t *data) {
        answers.push_back(answer);
        if (!answer.r_valid) return;
        const size_t end = beats_read.size();
        beats_read.resize(end + beat_bytes);
        if (data) std::memcpy(&beats_read[end], data, beat_bytes);
    }

    void monitor() {
        const uint32_t word = SIGNAL(operand_word);
        std::memcpy(current.elements + word * LANES, &SIGNAL(operand_data), LANES);
        if (word != 32 / LANES - 1) return;
        current.block = SIGNAL(operand_block);
        current.row = SIGNAL(operand_row);
        current.scale = SIGNAL(operand_scale);
        blocks.push_back(current);
    }
};

constexpr int kBusTimeout = 10000;  // cycles that a register access may take

}  // namespace

extern "C" {

void *mozg_open(uint8_t *memory, uint64_t size, const DramConfig *config, uint32_t seed, const char *trace) {
    auto *device = new Device;
    device->context.randReset(2);
    device->context.randSeed(static_cast<int>(seed));
#if VM_TRACE_FST
    device->context.traceEverOn(true);
#endif
    device->top = std::make_unique<TOP_CLASS>(&device->context);
    device->dram = std::make_unique<Dram>(memory, size, *config);
    device->beat_bytes = config->beat_bytes;
    TOP_CLASS &top = *device->top;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = 0;
    top.s_axi_arvalid = top.s_axi_rready = 0;
    top.m_axi_rvalid = top.m_axi_bvalid = 0;
    top.m_axi_rid = top.m_axi_bid = 0;
#if VM_TRACE_FST
    if (trace && *trace) {
        device->trace = std::make_unique<VerilatedFstC>();
        top.trace(device->trace.get(), 99);
        device->trace->open(trace);
    }
#else
    (void)trace;
#endif
    top.rst = 1;
    for (int i = 0; i < 8; i++) device->cycle();
    top.rst = 0;
    device->cycle();
    return device;
}

void mozg_close(void *handle) {
    auto *device = static_cast<Device *>(handle);
    // Scopes leave the context that the thread saw last: without this, that of another device, closed or not.
    Verilated::threadContextp(&device->context);
    device->top->final();
#if VM_TRACE_FST
    if (device->trace) device->trace->close();
#endif
    delete device;
}

// Returns the AXI response, or -1 when the chip did not answer.
int mozg_write_register(void *handle, uint32_t address, uint32_t value) {
    auto *device = static_cast<Device *>(handle);
    TOP_CLASS &top = *device->top;
    top.s_axi_awaddr = address;
    top.s_axi_wdata = value;
    top.s_axi_wstrb = 15;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = 1;
    for (int i = 0; i < kBusTimeout; i++) {
        top.eval();
        const bool address_taken = top.s_axi_awvalid && top.s_axi_awready;
        const bool data_taken = top.s_axi_wvalid && top.s_axi_wready;
        const bool answered = top.s_axi_bvalid;
        const int response = top.s_axi_bresp;
        device->cycle();
        if (address_taken) top.s_axi_awvalid = 0;
        if (data_taken) top.s_axi_wvalid = 0;
        if (answered) {
            top.s_axi_bready = 0;
            return response;
        }
    }
    return -1;
}

int mozg_read_register(void *handle, uint32_t address, uint32_t *value) {
    auto *device = static_cast<Device *>(handle);
    TOP_CLASS &top = *device->top;
    top.s_axi_araddr = address;
    top.s_axi_arvalid = top.s_axi_rready = 1;
    for (int i = 0; i < kBusTimeout; i++) {
        top.eval();
        const bool address_taken = top.s_axi_arvalid && top.s_axi_arready;
        const bool answered = top.s_axi_rvalid;
        const int response = top.s_axi_rresp;
        *value = top.s_axi_rdata;
        device->cycle();
        if (address_taken) top.s_axi_arvalid = 0;
        if (answered) {
            top.s_axi_rready = 0;
            return response;
        }
    }
    return -1;
}

// Clocks until the interrupt rises or `limit` cycles have passed; returns the cycles clocked.
uint64_t mozg_run(void *handle, uint64_t limit) {
    auto *device = static_cast<Device *>(handle);
    uint64_t done = 0;
    device->recording = device->record_runs;
    while (done < limit && !device->top->irq) {
        device->cycle();
        done++;
    }
    device->recording = false;
    return done;
}

// Record what the memory shows the chip in runs from now on (forgetting what was before), or stop.
void mozg_record(void *handle, int on) {
    auto *device = static_cast<Device *>(handle);
    device->record_runs = on;
    if (!on) return;
    device->answers.clear();
    device->beats_read.clear();
}

// The bare loop that a run is compared with: clocks the chip through what the memory of `source` showed, without a memory
// model and without looking at the chip. Returns the cycles if the interrupt has risen then, else 0: another run.
uint64_t mozg_replay(void *handle, void *source) {
    auto *device = static_cast<Device *>(handle);
    const auto *recorded = static_cast<Device *>(source);
    const uint8_t *data = recorded->beats_read.data();
    TOP_CLASS &top = *device->top;
    for (const Answer &answer : recorded->answers) {
        top.clk = 1;
        top.eval();
        device->show(answer, data);
        if (answer.r_valid) data += device->beat_bytes;
        top.clk = 0;
        top.eval();
    }
    return top.irq ? recorded->answers.size() : 0;
}

uint64_t mozg_cycles(void *handle) { return static_cast<Device *>(handle)->cycles; }

// Record the operand blocks written from now on (forgetting those before), or stop.
void mozg_monitor(void *handle, int on) {
    auto *device = static_cast<Device *>(handle);
    device->monitoring = on;
    if (on) device->blocks.clear();
}

// Up to `limit` recorded blocks in the order of writing; returns how many there are.
uint64_t mozg_monitor_read(void *handle, OperandBlock *blocks, uint64_t limit) {
    const auto &recorded = static_cast<Device *>(handle)->blocks;
    for (uint64_t i = 0; i < recorded.size() && i < limit; i++) blocks[i] = recorded[i];
    return recorded.size();
}

#ifdef TIMELINE
// Record the timeline from now on, forgetting what was before.
void mozg_timeline(void *handle) { static_cast<Device *>(handle)->timeline.start(); }

// Where the records are, and how many: states, reads, writes. They stay until the next cycle.
void mozg_timeline_read(void *handle, const void **records, uint64_t *counts) {
    const Timeline &timeline = static_cast<Device *>(handle)->timeline;
    records[0] = timeline.states.data();
    records[1] = timeline.reads.data();
    records[2] = timeline.writes.data();
    counts[0] = timeline.states.size();
    counts[1] = timeline.reads.size();
    counts[2] = timeline.writes.size();
}
#endif

// Statistics of the memory model: beats read, beats written, cycles lost to refresh, row misses, turnarounds.
void mozg_memory_counters(void *handle, uint64_t *values) {
    const Dram &dram = *static_cast<Device *>(handle)->dram;
    values[0] = dram.read_beats;
    values[1] = dram.write_beats;
    values[2] = dram.refresh_stalls;
    values[3] = dram.miss_stalls;
    values[4] = dram.turn_stalls;
}
}
