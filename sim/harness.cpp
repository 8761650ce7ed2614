// Drives a machine through its AXI ports from a script and writes what came out; no Python in the loop.
//
// A script is 32-bit words, little-endian. SEND n, then n beats: a frame into the machine, and one word when it is taken,
// the status. RUN: start an inference and wait until it is done; status register, CYCLES, PASSES, number of output frames,
// then each frame's length and beats. RESET: two cycles of reset; what was to be sent and what has come is dropped.
// Access by access, for a host that decides as it goes: READ address: AXI response, value. WRITE address, value: AXI
// response. PUSH n, then n beats: a frame that is sent as time goes on. POLL: some cycles; beats that are still to be
// sent, and whole frames that have come. TAKE: length and beats of the first of them, which must be there.
//
// Arguments: script file, result file, pause (0 to 255: out of 256, how often each stream pauses), seed, cycle limit of a
// RUN or SEND; then any number of +name=value for the design's $value$plusargs. The files may be - for standard input and
// output: each command is then answered before the next is read.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

enum Command : uint32_t { SEND = 1, RUN = 2, RESET = 3, READ = 4, WRITE = 5, PUSH = 6, POLL = 7, TAKE = 8 };
constexpr int POLL_CYCLES = 16;
enum Register : uint32_t { CONTROL = @CONTROL@, STATUS = @STATUS@, CYCLES = @CYCLES@, PASSES = @PASSES@ };

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(3);
}

class Machine {
public:
    Machine(uint32_t pause, uint64_t seed) : pause_(pause), state_(seed * 2 + 1) { reset(); }

    uint64_t cycles = 0;
    std::deque<std::pair<uint32_t, bool>> to_send;  // beats, and whether each is the last of its frame
    std::deque<std::vector<uint32_t>> frames;
    bool frame_open = false;

    void reset() {
        to_send.clear();
        frames.clear();
        frame_open = false;
        top_.s_axis_tvalid = 0;
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
        top_.clk = 0;
        top_.eval();
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
    Machine machine(std::strtoul(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10));
    const uint64_t limit = std::strtoull(argv[5], nullptr, 10);
    Host host(open(argv[1], "rb", stdin), result, result == stdout, limit, machine);
    while (host.step()) {
    }
    return std::fclose(result) ? 3 : 0;
}
