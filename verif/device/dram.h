// A deterministic model of one DRAM channel behind AXI4, over a byte buffer that the caller owns.
//
// One data bus carries a beat a cycle, reads and writes both; changing direction costs `turnaround` cycles. A read
// burst's first beat comes `latency` cycles after its address at the earliest; bursts are answered in order. A burst
// that starts in another row than the one before ended in costs `row_miss` cycles, except in the next row (its
// activation is hidden behind the stream). Every `refresh_interval` cycles the bus rests for `refresh_cycles`.
// Writes are taken into a buffer of `write_buffer` beats and reach the bus when it is three quarters full, when the oldest
// has waited `write_patience` cycles, or when no read is waiting; the answer follows when the last beat of a burst was on the
// bus. Addresses outside the buffer get DECERR; the range [error_low, error_high) gets SLVERR.
#pragma once
#include <cstdint>
#include <cstring>
#include <deque>

struct DramConfig {
    uint32_t beat_bytes;
    uint32_t latency;
    uint32_t refresh_interval, refresh_cycles;
    uint32_t row_bytes, row_miss;
    uint32_t turnaround;
    uint32_t write_buffer, write_patience;
    uint64_t error_low, error_high;
};

class Dram {
  public:
    Dram(uint8_t *memory, uint64_t size, const DramConfig &config) : memory_(memory), size_(size), config_(config) {}

    // What the channels show in this cycle, decided by step() of the cycle before.
    bool ar_ready = true, aw_ready = true, w_ready = true;
    bool r_valid = false, r_last = false, b_valid = false;
    uint32_t r_resp = 0, b_resp = 0;
    const uint8_t *r_data = nullptr;  // beat_bytes bytes, null: zeros

    uint64_t read_beats = 0, write_beats = 0, refresh_stalls = 0, miss_stalls = 0, turn_stalls = 0;

    struct Inputs {
        bool ar_valid, aw_valid, w_valid, w_last, r_ready, b_ready;
        uint64_t ar_address, aw_address;
        uint32_t ar_beats, aw_beats;
        const uint8_t *w_data;
        uint64_t w_strobe;
    };

    // One rising clock edge with the inputs sampled at it.
    void step(const Inputs &in) {
        if (r_valid && in.r_ready) r_valid = false;
        if (b_valid && in.b_ready) b_valid = false;
        if (in.ar_valid && ar_ready) reads_.push_back({in.ar_address, in.ar_beats, 0, now_ + config_.latency});
        if (in.aw_valid && aw_ready) addresses_.push_back({in.aw_address, in.aw_beats, 0, 0});
        if (in.w_valid && w_ready) {
            WriteBeat beat{};
            beat.strobe = in.w_strobe;
            beat.last = in.w_last;
            beat.arrived = now_;
            std::memcpy(beat.data, in.w_data, config_.beat_bytes);
            beats_.push_back(beat);
        }
        use_bus();
        if (!b_valid && !answers_.empty()) {
            b_valid = true;
            b_resp = answers_.front();
            answers_.pop_front();
        }
        ar_ready = reads_.size() < 64;
        aw_ready = addresses_.size() < 64;
        w_ready = beats_.size() < config_.write_buffer;
        now_++;
        if (--to_refresh_ == 0) {
            to_refresh_ = config_.refresh_interval ? config_.refresh_interval : ~0u;
            refresh_left_ = config_.refresh_cycles;
        }
    }

  private:
    struct Burst {
        uint64_t address;
        uint32_t beats, done;
        uint64_t ready_at;
    };
    struct WriteBeat {
        uint8_t data[128];
        uint64_t strobe;
        uint64_t arrived;
        bool last;
    };

    void use_bus() {
        if (refresh_left_) {
            refresh_left_--;
            refresh_stalls++;
            return;
        }
        if (wait_) {
            wait_--;
            return;
        }
        const bool read_waits = !reads_.empty() && reads_.front().ready_at <= now_;
        const bool can_write = !beats_.empty() && !addresses_.empty();
        if (!can_write) {
            draining_ = false;
        } else if (!read_waits || beats_.size() * 4 >= config_.write_buffer * 3 ||
                   now_ - beats_.front().arrived >= config_.write_patience) {
            draining_ = true;
        }
        if (draining_) {
            if (turn(true)) return;
            write_beat();
        } else if (read_waits && !r_valid) {
            if (turn(false)) return;
            read_beat();
        }
    }

    bool turn(bool writing) {
        if (writing == writing_) return false;
        writing_ = writing;
        if (config_.turnaround == 0) return false;
        wait_ = config_.turnaround - 1;
        turn_stalls += config_.turnaround;
        return true;
    }

    // True while a row is being opened.
    bool open(Burst &burst) {
        if (burst.done) return false;
        const uint64_t row = burst.address / config_.row_bytes;
        const bool hit = row == row_ || row == row_ + 1;
        row_ = row;
        if (hit || config_.row_miss == 0) return false;
        wait_ = config_.row_miss - 1;
        miss_stalls += config_.row_miss;
        return true;
    }

    uint32_t response(uint64_t address) const {
        if (address + config_.beat_bytes > size_) return 3;
        return address >= config_.error_low && address < config_.error_high ? 2 : 0;
    }

    void read_beat() {
        Burst &burst = reads_.front();
        if (open(burst)) return;
        const uint64_t address = burst.address + uint64_t(burst.done) * config_.beat_bytes;
        r_resp = response(address);
        r_data = r_resp == 3 ? nullptr : memory_ + address;
        r_last = ++burst.done == burst.beats;
        r_valid = true;
        read_beats++;
        row_ = address / config_.row_bytes;
        if (r_last) reads_.pop_front();
    }

    void write_beat() {
        Burst &burst = addresses_.front();
        if (open(burst)) return;
        const WriteBeat &beat = beats_.front();
        const uint64_t address = burst.address + uint64_t(burst.done) * config_.beat_bytes;
        const uint32_t answer = response(address);
        if (answer == 0)
            for (uint32_t i = 0; i < config_.beat_bytes; i++)
                if (beat.strobe >> i & 1) memory_[address + i] = beat.data[i];
        worst_ = answer > worst_ ? answer : worst_;
        row_ = address / config_.row_bytes;
        write_beats++;
        if (++burst.done == burst.beats) {
            answers_.push_back(beat.last ? worst_ : 2);  // WLAST in the wrong place is an error as well
            worst_ = 0;
            addresses_.pop_front();
        }
        beats_.pop_front();
    }

    uint8_t *memory_;
    uint64_t size_;
    DramConfig config_;
    uint64_t now_ = 0, row_ = ~uint64_t(0) - 1;
    uint32_t wait_ = 0, refresh_left_ = 0, worst_ = 0;
    uint32_t to_refresh_ = config_.refresh_interval ? config_.refresh_interval : ~0u;
    bool writing_ = false, draining_ = false;
    std::deque<Burst> reads_, addresses_;
    std::deque<WriteBeat> beats_;
    std::deque<uint32_t> answers_;
};
