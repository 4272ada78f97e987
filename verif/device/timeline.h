// What `mozg trace` draws: what the engines are at, cycle by cycle, and every burst. Included by device.cpp where TIMELINE
// is defined, in a library of its own, since the signals that it looks at (timeline.vlt) cost simulation speed.
#include <cstdint>
#include <deque>
#include <vector>

#define DRAIN(name) SIGNAL(vectors__DOT__threads__DOT__drain__DOT__##name)
#define SOFTMAX(name) SIGNAL(vectors__DOT__threads__DOT__softmax__DOT__##name)
#define THREADS(name) SIGNAL(vectors__DOT__threads__DOT__##name)
#define CONTROL(name) SIGNAL(controller__DOT__##name)

// From `cycle` on; until the next record. `state`: see fields() below, and FIELDS of sw/mozg/timeline.py.
struct StateRecord {
    uint64_t cycle, state;
};

// A burst: cycles in which its address went out, its first and last beat passed, and (writes) its answer came.
struct BurstRecord {
    uint64_t address, beats, asked, first, last, answered;
};

struct Timeline {
    bool watching = false;
    std::vector<StateRecord> states;
    std::vector<BurstRecord> reads, writes;
    std::deque<BurstRecord> reading, writing, unanswered;

    void start() {
        watching = true;
        states.clear();
        reads.clear();
        writes.clear();
    }

    template <class Top>
    static uint64_t fields(Top *top) {
        uint64_t state = 0;
        int bit = 0;
        const auto add = [&](uint64_t value, int bits) {
            state |= (value & ((1ull << bits) - 1)) << bit;
            bit += bits;
        };
        add(CONTROL(cause), 4);
        add(CONTROL(steps_and_instructions__DOT__state), 4);
        add(CONTROL(dispatched), 1);
        add(SIGNAL(kv_barrier), 1);
        add(SIGNAL(vector_phase), 4);
        add(DRAIN(state), 4);
        add(DRAIN(kind), 5);
        add(THREADS(d_grant), 1);
        add(SOFTMAX(state), 4);
        add(THREADS(s_round)[0], 5);
        add(THREADS(s_grant), 1);
        add(SIGNAL(kv_start), 1);
        add(SIGNAL(kv_done), 1);
        return state;
    }

    // Before a clock edge: what the chip and its memory show.
    template <class Top>
    void sample(Top *top, uint64_t cycle) {
        const uint64_t state = fields(top);
        if (states.empty() || states.back().state != state) states.push_back({cycle, state});
        if (top->m_axi_arvalid && top->m_axi_arready)
            reading.push_back({top->m_axi_araddr, top->m_axi_arlen + 1u, cycle, 0, 0, 0});
        if (top->m_axi_awvalid && top->m_axi_awready)
            writing.push_back({top->m_axi_awaddr, top->m_axi_awlen + 1u, cycle, 0, 0, 0});
        if (top->m_axi_rvalid && top->m_axi_rready) pass(reading, reads, cycle, top->m_axi_rlast);
        if (top->m_axi_wvalid && top->m_axi_wready && !writing.empty()) {
            std::vector<BurstRecord> done;
            pass(writing, done, cycle, top->m_axi_wlast);
            unanswered.insert(unanswered.end(), done.begin(), done.end());
        }
        if (top->m_axi_bvalid && top->m_axi_bready && !unanswered.empty()) {
            unanswered.front().answered = cycle;
            writes.push_back(unanswered.front());
            unanswered.pop_front();
        }
    }

    // A beat of the oldest burst.
    static void pass(std::deque<BurstRecord> &open, std::vector<BurstRecord> &done, uint64_t cycle, bool last) {
        if (open.empty()) return;
        BurstRecord &burst = open.front();
        if (!burst.first) burst.first = cycle;
        if (!last) return;
        burst.last = cycle;
        done.push_back(burst);
        open.pop_front();
    }
};
