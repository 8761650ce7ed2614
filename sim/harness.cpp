// Drives a machine through its AXI ports from a script file and writes what came out; no Python in the loop.
//
// A script file is 32-bit words, little-endian: SEND n, then n beats: a frame into the machine; RUN: start an inference
// and wait until it is done; RESET: one cycle of reset. Each RUN writes a record: status register, CYCLES, PASSES,
// number of output frames, then each frame's length and beats. Each SEND writes a record of one word, the status after
// the frame.
//
// Arguments: script file, result file, pause (0 to 255: out of 256, how often each stream pauses), seed, cycle limit of a RUN or SEND;
// then any number of +name=value for the design's $value$plusargs.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

enum Command : uint32_t { SEND = 1, RUN = 2, RESET = 3 };
enum Register : uint32_t { CONTROL = @CONTROL@, STATUS = @STATUS@, CYCLES = @CYCLES@, PASSES = @PASSES@ };

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(3);
}

class Machine {
public:
    Machine(uint32_t pause, uint64_t seed) : pause_(pause), state_(seed * 2 + 1) { reset(); }

    uint64_t cycles = 0;
    std::deque<uint32_t> to_send;
    std::vector<std::vector<uint32_t>> frames;
    bool frame_open = false;

    void reset() {
        top_.rst = 1;
        tick();
        tick();
        top_.rst = 0;
    }

    // One clock cycle. Inputs change after the rising edge, handshakes are sampled before the next one.
    void tick() {
        if (!top_.s_axis_tvalid && !to_send.empty() && !paused()) {
            top_.s_axis_tvalid = 1;
            top_.s_axis_tdata = to_send.front();
            top_.s_axis_tlast = to_send.size() == 1;
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

    void write(uint32_t address, uint32_t value) {
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
                if (bresp_) fail("write of register " + std::to_string(address) + " was refused");
                return;
            }
        }
        fail("write of register " + std::to_string(address) + " was not answered");
    }

    uint32_t read(uint32_t address) {
        top_.s_axil_araddr = address;
        top_.s_axil_arvalid = top_.s_axil_rready = 1;
        for (int n = 0; n < 100; ++n) {
            tick();
            if (ar_) top_.s_axil_arvalid = 0;
            if (r_) {
                top_.s_axil_rready = 0;
                if (rresp_) fail("read of register " + std::to_string(address) + " was refused");
                return rdata_;
            }
        }
        fail("read of register " + std::to_string(address) + " was not answered");
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

std::vector<uint32_t> load(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) fail(std::string("no file ") + path);
    std::vector<uint32_t> words;
    uint32_t buffer[4096];
    size_t count;
    while ((count = std::fread(buffer, 4, 4096, file)) > 0) words.insert(words.end(), buffer, buffer + count);
    std::fclose(file);
    return words;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 6) fail("usage: script result pause seed limit [+name=value]");
    Verilated::commandArgs(argc, argv);
    const std::vector<uint32_t> script = load(argv[1]);
    std::FILE* result = std::fopen(argv[2], "wb");
    if (!result) fail(std::string("cannot write ") + argv[2]);
    const auto put = [&](uint32_t word) { std::fwrite(&word, 4, 1, result); };
    const uint64_t limit = std::strtoull(argv[5], nullptr, 10);
    Machine machine(std::strtoul(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10));

    for (size_t at = 0; at < script.size();) {
        const uint32_t command = script[at++];
        const uint64_t end = machine.cycles + limit;
        if (command == SEND) {
            const uint32_t count = script[at++];
            machine.to_send.assign(script.begin() + at, script.begin() + at + count);
            at += count;
            while (!machine.to_send.empty()) {
                machine.tick();
                if (machine.cycles > end) fail("frame was not taken within the cycle limit");
            }
            put(machine.read(STATUS));
        } else if (command == RUN) {
            machine.frames.clear();
            machine.write(CONTROL, 1);
            uint32_t status;
            do {
                status = machine.read(STATUS);
                if (machine.cycles > end) fail("inference was not done within the cycle limit");
            } while (status & 1);
            if (machine.frame_open) fail("output frame has no last beat");
            put(status);
            put(machine.read(CYCLES));
            put(machine.read(PASSES));
            put(machine.frames.size());
            for (const auto& frame : machine.frames) {
                put(frame.size());
                for (const uint32_t beat : frame) put(beat);
            }
        } else if (command == RESET) {
            machine.reset();
        } else {
            fail("unknown command " + std::to_string(command));
        }
    }
    std::fclose(result);
    std::fprintf(stdout, "%llu\n", static_cast<unsigned long long>(machine.cycles));
    return 0;
}
