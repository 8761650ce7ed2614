// Drives a machine through its AXI ports from a script and writes what came out; no Python in the loop.
//
// A script is 32-bit words, little-endian. SEND n, then n beats: a frame into the machine, and one word when it is taken,
// the status. RUN: start an inference and wait until it is done; status register, CYCLES, PASSES, number of output frames,
// then each frame's length and beats. RESET: two cycles of reset; what was to be sent and what has come is dropped.
// Of a machine with a memory outside: FILL address n, then n bytes (whole words): into that memory. FETCH address n: n bytes
// of it.
// Access by access, for a host that decides as it goes: READ address: AXI response, value. WRITE address, value: AXI
// response. PUSH n, then n beats: a frame that is sent as time goes on. POLL: some cycles; beats that are still to be
// sent, and whole frames that have come. TAKE: length and beats of the first of them, which must be there.
//
// Arguments: script file, result file, pause (0 to 255: out of 256, how often each stream pauses), seed, cycle limit of a
// RUN or SEND; then any number of +name=value for the design's $value$plusargs, +latency=n the memory outside (1). The files
// may be - for standard input and output: each command is then answered before the next is read.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

enum Command : uint32_t { SEND = 1, RUN = 2, RESET = 3, READ = 4, WRITE = 5, PUSH = 6, POLL = 7, TAKE = 8, FILL = 9, FETCH = 10 };
constexpr int POLL_CYCLES = 16;
enum Register : uint32_t { CONTROL = @CONTROL@, STATUS = @STATUS@, CYCLES = @CYCLES@, PASSES = @PASSES@ };

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(3);
}

#ifdef BUS_BYTES
// The memory outside: takes every address and every beat at once, and answers a burst `latency` cycles after its address (a
// write: after its last beat) or after the burst before it, a beat a cycle. `pause`: every channel pauses so often.
class Outside {
public:
    Outside(uint64_t latency, std::function<bool()> paused) : latency_(latency), paused_(paused) {}

    std::vector<uint8_t> bytes;

    void reset() {
        reads_.clear();
        writes_.clear();
        answers_.clear();
        ends_.clear();
        offered_ = answered_ = false;
    }

    // What it drives in this cycle.
    void drive(Vtop& top, uint64_t cycle) {
        top.m_axi_arready = !paused_();
        top.m_axi_awready = !paused_();
        top.m_axi_wready = !paused_();
        if (!offered_ && !reads_.empty() && reads_.front().due <= cycle && !paused_()) offered_ = true;
        top.m_axi_rvalid = offered_;
        if (offered_) {
            Burst& burst = reads_.front();
            top.m_axi_rresp = inside(burst.address) ? 0 : 2;
            if (inside(burst.address)) std::memcpy(&top.m_axi_rdata, &bytes[burst.address], BUS_BYTES);
            top.m_axi_rlast = burst.left == 0;
        }
        if (!answered_ && !answers_.empty() && answers_.front().due <= cycle && !paused_()) answered_ = true;
        top.m_axi_bvalid = answered_;
        if (answered_) top.m_axi_bresp = answers_.front().left;
    }

    // What it takes at the end of the cycle.
    void take(Vtop& top, uint64_t cycle) {
        if (top.m_axi_rvalid && top.m_axi_rready) {
            offered_ = false;
            reads_.front().address += BUS_BYTES;
            if (reads_.front().left-- == 0) reads_.pop_front();
        }
        if (top.m_axi_arvalid && top.m_axi_arready) {
            reads_.push_back({cycle + latency_, top.m_axi_araddr, top.m_axi_arlen});
        }
        if (top.m_axi_bvalid && top.m_axi_bready) {
            answered_ = false;
            answers_.pop_front();
        }
        if (top.m_axi_awvalid && top.m_axi_awready) writes_.push_back({0, top.m_axi_awaddr, top.m_axi_awlen});
        if (top.m_axi_wvalid && top.m_axi_wready) {
            ends_.emplace_back();
            std::memcpy(ends_.back().data(), &top.m_axi_wdata, BUS_BYTES);
        }
        while (!writes_.empty() && !ends_.empty()) {
            Burst& burst = writes_.front();
            if (inside(burst.address)) std::memcpy(&bytes[burst.address], ends_.front().data(), BUS_BYTES);
            wrong_ |= !inside(burst.address);
            ends_.pop_front();
            burst.address += BUS_BYTES;
            if (burst.left-- == 0) {
                answers_.push_back({cycle + latency_, 0, wrong_ ? 2u : 0u});
                wrong_ = false;
                writes_.pop_front();
            }
        }
    }

private:
    struct Burst {
        uint64_t due;
        uint64_t address;
        uint32_t left;  // beats less one; of an answer, the response
    };

    bool inside(uint64_t address) const { return address + BUS_BYTES <= bytes.size(); }

    uint64_t latency_;
    std::function<bool()> paused_;
    std::deque<Burst> reads_, writes_, answers_;
    std::deque<std::array<uint8_t, BUS_BYTES>> ends_;
    bool offered_ = false, answered_ = false, wrong_ = false;
};
#endif

class Machine {
public:
    Machine(uint32_t pause, uint64_t seed, [[maybe_unused]] uint64_t latency) : pause_(pause), state_(seed * 2 + 1) {
#ifdef BUS_BYTES
        outside = std::make_unique<Outside>(latency, [this] { return paused(); });
#endif
        reset();
    }

#ifdef BUS_BYTES
    std::unique_ptr<Outside> outside;
#endif
    uint64_t cycles = 0;
    std::deque<std::pair<uint32_t, bool>> to_send;  // beats, and whether each is the last of its frame
    std::deque<std::vector<uint32_t>> frames;
    bool frame_open = false;

    void reset() {
        to_send.clear();
        frames.clear();
        frame_open = false;
        top_.s_axis_tvalid = 0;
#ifdef BUS_BYTES
        outside->reset();
#endif
        top_.rst = 1;
        tick();
        tick();
        top_.rst = 0;
    }

    void push(const std::vector<uint32_t>& beats) {
        for (size_t n = 0; n < beats.size(); ++n) to_send.emplace_back(beats[n], n + 1 == beats.size());
    }

    // One clock cycle. Inputs change after the rising edge, handshakes are sampled before the next one.
    void tick() {
        if (!top_.s_axis_tvalid && !to_send.empty() && !paused()) {
            top_.s_axis_tvalid = 1;
            top_.s_axis_tdata = to_send.front().first;
            top_.s_axis_tlast = to_send.front().second;
        }
        top_.m_axis_tready = !paused();
#ifdef BUS_BYTES
        outside->drive(top_, cycles);
#endif
        top_.clk = 0;
        top_.eval();
#ifdef BUS_BYTES
        if (!top_.rst) outside->take(top_, cycles);
#endif
        const bool in = top_.s_axis_tvalid && top_.s_axis_tready && !top_.rst;
        const bool out = top_.m_axis_tvalid && top_.m_axis_tready && !top_.rst;
        aw_ = top_.s_axil_awvalid && top_.s_axil_awready;
        w_ = top_.s_axil_wvalid && top_.s_axil_wready;
        b_ = top_.s_axil_bvalid && top_.s_axil_bready;
        ar_ = top_.s_axil_arvalid && top_.s_axil_arready;
        r_ = top_.s_axil_rvalid && top_.s_axil_rready;
        bresp_ = top_.s_axil_bresp;
        rdata_ = top_.s_axil_rdata;
        rresp_ = top_.s_axil_rresp;
        if (out) {
            if (!frame_open) frames.emplace_back();
            frames.back().push_back(top_.m_axis_tdata);
            frame_open = !top_.m_axis_tlast;
        }
        top_.clk = 1;
        top_.eval();
        if (in) {
            to_send.pop_front();
            top_.s_axis_tvalid = 0;
        }
        ++cycles;
    }

    // Response of a write.
    uint32_t try_write(uint32_t address, uint32_t value) {
        top_.s_axil_awaddr = address;
        top_.s_axil_wdata = value;
        top_.s_axil_wstrb = 15;
        top_.s_axil_awvalid = top_.s_axil_wvalid = top_.s_axil_bready = 1;
        for (int n = 0; n < 100; ++n) {
            tick();
            if (aw_) top_.s_axil_awvalid = 0;
            if (w_) top_.s_axil_wvalid = 0;
            if (b_) {
                top_.s_axil_bready = 0;
                return bresp_;
            }
        }
        fail("write of register " + std::to_string(address) + " was not answered");
    }

    // Response of a read, and the value.
    std::pair<uint32_t, uint32_t> try_read(uint32_t address) {
        top_.s_axil_araddr = address;
        top_.s_axil_arvalid = top_.s_axil_rready = 1;
        for (int n = 0; n < 100; ++n) {
            tick();
            if (ar_) top_.s_axil_arvalid = 0;
            if (r_) {
                top_.s_axil_rready = 0;
                return {rresp_, rdata_};
            }
        }
        fail("read of register " + std::to_string(address) + " was not answered");
    }

    void write(uint32_t address, uint32_t value) {
        if (try_write(address, value)) fail("write of register " + std::to_string(address) + " was refused");
    }

    uint32_t read(uint32_t address) {
        const auto [response, value] = try_read(address);
        if (response) fail("read of register " + std::to_string(address) + " was refused");
        return value;
    }

private:
    // Random numbers that are the same everywhere: xorshift64*.
    bool paused() {
        if (!pause_) return false;
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return ((state_ * 0x2545F4914F6CDD1DULL) >> 56) < pause_;
    }

    Vtop top_;
    uint32_t pause_;
    uint64_t state_;
    bool aw_ = false, w_ = false, b_ = false, ar_ = false, r_ = false;
    uint32_t bresp_ = 0, rdata_ = 0, rresp_ = 0;
};

class Host {
public:
    Host(std::FILE* script, std::FILE* result, bool live, uint64_t limit, Machine& machine)
        : script_(script), result_(result), live_(live), limit_(limit), machine_(machine) {}

    // Obeys the next command; whether there was one.
    bool step() {
        uint32_t command;
        if (!next(command)) return false;
        end_ = machine_.cycles + limit_;
        switch (command) {
            case SEND: send(); break;
            case RUN: run(); break;
            case RESET: machine_.reset(); break;
            case READ: {
                const auto [response, value] = machine_.try_read(word());
                put(response);
                put(value);
                break;
            }
            case WRITE: {
                const uint32_t address = word();
                put(machine_.try_write(address, word()));
                break;
            }
            case PUSH: machine_.push(beats()); break;
            case POLL:
                for (int n = 0; n < POLL_CYCLES; ++n) machine_.tick();
                put(machine_.to_send.size());
                put(machine_.frames.size() - machine_.frame_open);
                break;
            case TAKE:
                if (machine_.frames.size() == machine_.frame_open) fail("no frame has come");
                put(machine_.frames.front());
                machine_.frames.pop_front();
                break;
#ifdef BUS_BYTES
            case FILL: fill(); break;
            case FETCH: fetch(); break;
#endif
            default: fail("unknown command " + std::to_string(command));
        }
        if (live_) std::fflush(result_);
        return true;
    }

private:
    bool next(uint32_t& word) { return std::fread(&word, 4, 1, script_) == 1; }

    uint32_t word() {
        uint32_t found;
        if (!next(found)) fail("script ends within a command");
        return found;
    }

    std::vector<uint32_t> beats() {
        std::vector<uint32_t> found(word());
        if (std::fread(found.data(), 4, found.size(), script_) != found.size()) fail("script ends within a frame");
        return found;
    }

    void put(uint32_t word) { std::fwrite(&word, 4, 1, result_); }

    void put(const std::vector<uint32_t>& frame) {
        put(frame.size());
        std::fwrite(frame.data(), 4, frame.size(), result_);
    }

    void send() {
        machine_.push(beats());
        while (!machine_.to_send.empty()) {
            machine_.tick();
            if (machine_.cycles > end_) fail("frame was not taken within the cycle limit");
        }
        put(machine_.read(STATUS));
    }

    void run() {
        machine_.frames.clear();
        machine_.write(CONTROL, 1);
        uint32_t status;
        do {
            status = machine_.read(STATUS);
            if (machine_.cycles > end_) fail("inference was not done within the cycle limit");
        } while (status & 1);
        if (machine_.frame_open) fail("output frame has no last beat");
        put(status);
        put(machine_.read(CYCLES));
        put(machine_.read(PASSES));
        put(machine_.frames.size());
        for (const auto& frame : machine_.frames) put(frame);
        machine_.frames.clear();
    }

#ifdef BUS_BYTES
    // Where bytes of the memory outside are, which grows if it must.
    uint8_t* place(uint32_t address, uint32_t count) {
        std::vector<uint8_t>& bytes = machine_.outside->bytes;
        if (bytes.size() < size_t(address) + count) bytes.resize(size_t(address) + count);
        return bytes.data() + address;
    }

    void fill() {
        const uint32_t address = word(), count = word();
        if (std::fread(place(address, count), 1, count, script_) != count) fail("script ends within bytes");
    }

    void fetch() {
        const uint32_t address = word(), count = word();
        std::fwrite(place(address, count), 1, count, result_);
    }
#endif

    std::FILE* script_;
    std::FILE* result_;
    bool live_;
    uint64_t limit_, end_ = 0;
    Machine& machine_;
};

std::FILE* open(const std::string& path, const char* mode, std::FILE* standard) {
    std::FILE* file = path == "-" ? standard : std::fopen(path.c_str(), mode);
    if (!file) fail("no file " + path);
    return file;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 6) fail("usage: script result pause seed limit [+name=value]");
    Verilated::commandArgs(argc, argv);
    std::FILE* result = open(argv[2], "wb", stdout);
    const std::string latency = Verilated::commandArgsPlusMatch("latency=");
    const size_t value = latency.find('=');
    Machine machine(std::strtoul(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10),
                    value == std::string::npos ? 1 : std::strtoull(latency.c_str() + value + 1, nullptr, 10));
    const uint64_t limit = std::strtoull(argv[5], nullptr, 10);
    Host host(open(argv[1], "rb", stdin), result, result == stdout, limit, machine);
    while (host.step()) {
    }
    return std::fclose(result) ? 3 : 0;
}
