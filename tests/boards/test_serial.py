"""The machine behind its serial line, in simulation: bits in, image loaded, inference run, bytes out."""

import threading
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from twofold.boards.build import build
from twofold.boards.device import Device
from twofold.boards.host import Board
from twofold.boards.machine import SerialMachine
from twofold.boards.uart import Receiver, Transmitter, check_divisor
from twofold.golden import layers
from twofold.golden.catalog import log_points
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.mapper.compiler import compile_network
from twofold.mapper.fit import toml

DIVISOR = 4
CONFIG = ArrayConfig(
    name="serial",
    pe="log",
    rows=2,
    cols=2,
    word_bits=3,
    feature_depth=64,
    weight_depth=64,
    channel_depth=16,
    program_depth=64,
    max_side=8,
)


def small_network() -> Network:
    """A 3x3 convolution and a 1x1 one on 3 channels of 4x4: ragged in both directions of the array."""
    rng = np.random.default_rng(5)
    points = log_points(CONFIG.fmt)

    def layer(name, source, channels, inputs, kernel):
        codes = rng.integers(0, 2 * len(points.levels), (1, channels, inputs, kernel, kernel)).astype(np.uint8)
        pad = kernel // 2
        return Layer(
            name,
            kind="conv2d",
            branches=(Branch(source, "natural", codes, (0,), padding=(pad, pad)),),
            output=Tensor((channels, 4, 4), 8, False, 1.0),
            bias=rng.integers(-99, 99, channels),
            multiplier=np.full(channels, 3),
            right=np.full(channels, 4),
            low=0,
            high=255,
        )

    return Network(
        "serial",
        Tensor((3, 4, 4), 8, False, 1.0),
        (layer("first", INPUT, 3, 3, 3), layer("second", "first", 3, 3, 1)),
        {"natural": points},
    )


class Wire:
    """A line into a simulation: the host runs in a thread of its own, and time goes on while it waits for bytes."""

    def __init__(self):
        self.to_board: deque[int] = deque()
        self.from_board: deque[int] = deque()
        self.moved = threading.Condition()
        self.ended = False

    def write(self, data: bytes) -> None:
        with self.moved:
            self.to_board.extend(data)
            self.moved.notify_all()

    def close(self) -> None:
        pass

    def read(self, count: int) -> bytes:
        with self.moved:
            if not self.moved.wait_for(lambda: len(self.from_board) >= count or self.ended, timeout=120):
                raise TimeoutError("Board must answer")
            if len(self.from_board) < count:
                raise TimeoutError("Simulation ended")
            return bytes(self.from_board.popleft() for _ in range(count))


def simulate(host, *, limit=150_000):
    """Run `host(board)` against the simulated machine, bit by bit; what it returns."""
    machine = SerialMachine(CONFIG, DIVISOR)
    wire, result = Wire(), {}

    def talk():
        try:
            result["value"] = host(Board(wire))
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=talk)

    async def to_board(ctx):
        thread.start()
        for _ in range(limit):
            if not thread.is_alive():
                return
            if wire.to_board:
                byte = wire.to_board.popleft()
                for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                    ctx.set(machine.rx, bit)
                    await ctx.tick().repeat(DIVISOR)
            else:
                await ctx.tick()

    async def from_board(ctx):
        while thread.is_alive() or not thread.ident:
            if ctx.get(machine.tx):
                await ctx.tick()
                continue
            await ctx.tick().repeat(DIVISOR + DIVISOR // 2)
            byte = 0
            for n in range(8):
                byte |= ctx.get(machine.tx) << n
                await ctx.tick().repeat(DIVISOR)
            assert ctx.get(machine.tx), "Stop bit must be one"
            with wire.moved:
                wire.from_board.append(byte)
                wire.moved.notify_all()
            # Half a bit is left of the stop bit.
            await ctx.tick()

    simulator = Simulator(machine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(to_board)
    simulator.add_testbench(from_board, background=True)
    simulator.run()
    with wire.moved:
        wire.ended = True
        wire.moved.notify_all()
    thread.join()
    if "error" in result:
        raise result["error"]
    return result["value"]


def test_a_host_loads_a_network_and_gets_golden_integers():
    network = small_network()
    image = compile_network(network, CONFIG)
    x = np.random.default_rng(6).integers(0, 256, (2, 3, 4, 4))
    golden = layers.run(network, x)
    expected = [golden["second"]]
    assert len(np.unique(expected)) > 8

    def host(board):
        with Device(board) as device:
            device.load(image)
            outputs, cycles = [], []
            for one in x:
                outputs.append(device.run_all(one))
                cycles.append(device.cycles)
            return device.build, [np.stack(one) for one in zip(*outputs, strict=True)], cycles

    build, outputs, cycles = simulate(host)
    assert build == CONFIG.build_hash
    np.testing.assert_array_equal(outputs, expected)
    assert cycles == [image.cycles, image.cycles]


def test_registers_answer_errors_and_frames_theirs():
    def host(board):
        board.write("MODE", 1)
        mode = board.read("MODE")
        errors = []
        for call in (lambda: board.write("ID", 1), lambda: board.read("CONTROL")):
            with pytest.raises(ValueError) as caught:
                call()
            errors.append(str(caught.value))
        board.send([1, 2, 3])  # no frame of the machine's
        board.line.write(bytes([0, 0, 0xFF, 0x77]))  # ignored
        return mode, errors, board.read("STATUS")

    mode, errors, status = simulate(host)
    assert mode == 1
    assert errors == [
        "Register must be one that can be written, not 'ID'",
        "Register must be one that can be read, not 'CONTROL'",
    ]
    assert status == 1 << 8  # MAGIC


@pytest.mark.parametrize("divisor", [4, 5, 12])
def test_line_carries_every_byte_at_rates_a_little_off(divisor):
    transmitter, receiver = Transmitter(divisor), Receiver(divisor)
    m = Module()
    m.submodules += [transmitter, receiver]
    m.d.comb += receiver.rx.eq(transmitter.tx)
    got = []

    async def send(ctx):
        for byte in range(256):
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(12 * divisor)

    async def receive(ctx):
        async for _, _, valid, byte in ctx.tick().sample(receiver.valid, receiver.byte):
            if valid:
                got.append(byte)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_process(receive)
    simulator.run()
    assert got == list(range(256))


@pytest.mark.parametrize("divisor", [3, 4.0, True])
def test_divisor_is_checked(divisor):
    with pytest.raises(ValueError, match=r"^divisor must be an integer of at least 4 \(clock cycles a bit\), not "):
        check_divisor(divisor)


def test_a_build_with_a_memory_outside_is_refused(tmp_path):
    path = tmp_path / "outside.toml"
    path.write_text(toml(replace(CONFIG, memory="axi4")))
    with pytest.raises(ValueError, match=r"^Build of a board must have memory = 'on_chip', not 'axi4'$"):
        build("ulx3s_85f", tmp_path, config=path)
