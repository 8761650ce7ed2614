"""One class of host for a simulated machine and for PYNQ, whose objects stand over the same simulation here."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.outside import OUTSIDE, OUTSIDE_SEEDS, outside_network
from twofold.boards.device import Device, MachineError
from twofold.boards.pynq import PynqLink
from twofold.golden import layers
from twofold.golden.config import MACHINE_VERSION, load_config
from twofold.golden.isa import End, Opcode, Output
from twofold.golden.order import Order
from twofold.golden.registers import ID_VALUE, Error
from twofold.mapper.compiler import compile_network
from twofold.sim.live import LiveMachine
from twofold.testing.random_network import random_inputs, random_network

CONFIG = load_config("configs/log_4x4.toml")
NETWORK = random_network(7, CONFIG, layers=3, max_side=6)
IMAGE = compile_network(NETWORK, CONFIG)
INPUTS = random_inputs(3, NETWORK, 4)


class Mmio:
    """`pynq.MMIO`."""

    def __init__(self, machine):
        self.machine = machine

    def read(self, offset):
        response, value = self.machine.access(offset)
        assert not response, "bus error"
        return value

    def write(self, offset, value):
        assert not self.machine.access(offset, value)[0], "bus error"


class Buffer(np.ndarray):
    """What `pynq.allocate` gives; what the DMA and the machine see of it is another until it is told.

    `machine` and `heap`, where this one's memory outside begins, are of buffers there. A part knows its own place.
    """

    machine = None

    def __array_finalize__(self, whole):
        if isinstance(whole, Buffer) and whole.machine is not None:
            self.machine, self.heap = whole.machine, whole.heap
            self.device_address = whole.device_address + self.ctypes.data - whole.ctypes.data

    def flush(self):
        self.machine.fill(self.device_address - self.heap, self.tobytes())

    def invalidate(self):
        self[:] = np.frombuffer(self.machine.fetch(self.device_address - self.heap, len(self)), np.uint8)

    def freebuffer(self):
        self.freed = True


class SendChannel:
    def __init__(self, machine):
        self.machine = machine

    def transfer(self, buffer):
        self.machine.push([int(beat) for beat in buffer])

    @property
    def idle(self):
        return not self.machine.poll()[0]

    def wait(self):
        assert self.idle


class ReceiveChannel:
    def __init__(self, machine):
        self.machine, self.buffer, self.frame = machine, None, None

    def transfer(self, buffer):
        self.buffer = buffer

    @property
    def idle(self):
        if self.frame is None and self.machine.poll()[1]:
            self.frame = self.machine.take()
        return self.frame is not None

    def wait(self):
        self.buffer[:] = self.frame
        self.frame = None

    def stop(self):
        self.buffer = None

    def start(self):
        assert self.buffer is None


class Dma:
    """`pynq.lib.dma.DMA`."""

    def __init__(self, machine):
        self.sendchannel, self.recvchannel = SendChannel(machine), ReceiveChannel(machine)


class Pynq(PynqLink):
    """The real link over stand-ins of PYNQ's objects."""

    def __init__(self, machine):
        super().__init__(Mmio(machine), Dma(machine), self._allocate, timeout=0.2)
        self.machine, self.buffers = machine, []

    def _allocate(self, shape, dtype):
        buffer = np.full(shape, 0x55, dtype).view(Buffer)
        if dtype is np.uint8:
            buffer.machine, buffer.heap = self.machine, self.machine.reserve(buffer.nbytes + 48)
            buffer.device_address = buffer.heap + 48
        self.buffers.append(buffer)
        return buffer

    def close(self):
        super().close()
        self.machine.close()
        assert all(buffer.freed for buffer in self.buffers)


@pytest.fixture(params=["simulation", "pynq"])
def link(request):
    with LiveMachine(CONFIG, pause=60) as machine:
        yield machine if request.param == "simulation" else Pynq(machine)


def test_outputs_and_cycles_are_goldens(link):
    expected = layers.run(NETWORK, INPUTS)[NETWORK.output.name]
    with Device(link) as device:
        device.load(IMAGE)
        for x, y in zip(INPUTS, expected, strict=True):
            np.testing.assert_array_equal(device.run(x), y)
            assert (device.cycles, device.passes) == (IMAGE.cycles, IMAGE.passes)
        assert (device.status.done, device.build) == (True, CONFIG.build_hash)


def test_errors_are_said_and_the_next_inference_runs(link):
    device = Device(link)
    with pytest.raises(ValueError, match=r"^Image must be loaded before an inference, none is$"):
        device.run(INPUTS[0])
    other = replace(IMAGE, config=replace(CONFIG, acc_width=30))
    with pytest.raises(ValueError, match=rf"^Build of the machine must be \w{{8}}, not '{CONFIG.build_hash:08x}'$"):
        device.load(other)
    # A program that ends ill after some time, without an output.
    assert [type(one) for one in IMAGE.instructions[-2:]] == [Output, End]
    device.load(replace(IMAGE, program=(*IMAGE.program[:-2], int(Opcode.ILLEGAL))))
    with pytest.raises(MachineError, match=r"^Machine must report no error, not INSTRUCTION: illegal opcode, or "):
        device.run(INPUTS[0])
    damaged = replace(IMAGE)
    damaged.__dict__["beats"] = [*IMAGE.beats[:-1], IMAGE.beats[-1] ^ 1]
    with pytest.raises(MachineError) as caught:
        device.load(damaged)
    assert caught.value.code is Error.CHECKSUM
    with pytest.raises(ValueError, match=r"^Image must be loaded before an inference, none is$"):
        device.run(INPUTS[0])
    device.load(IMAGE)
    np.testing.assert_array_equal(device.run(INPUTS[1]), layers.run(NETWORK, INPUTS[1:2])[NETWORK.output.name][0])


def test_accesses_that_the_machine_refuses(link):
    for access in (lambda: link.read("CONTROL"), lambda: Device(link).link.read("CONTROL")):
        with pytest.raises(ValueError, match=r"^Register must be one that can be read, not 'CONTROL'$"):
            access()
    with pytest.raises(ValueError, match=r"^Register must be one that can be written, not 'ID'$"):
        link.write("ID", 1)


@cache
def outside_case(seed):
    """A network that does not fit the chip, its image, two inputs and golden's outputs, channels last."""
    network = outside_network(seed)
    shapes = {layer.name: layer.output.shape for layer in network.outputs}
    network = replace(
        network, orders={name: Order((c, h, w), (1, 2, 0), (h, w, c)) for name, (c, h, w) in shapes.items()}
    )
    inputs = random_inputs(seed, network, 2)
    found = layers.run(network, inputs)
    return compile_network(network, OUTSIDE), inputs, [np.moveaxis(found[name], 1, -1) for name in shapes]


@pytest.fixture(params=["simulation", "pynq"])
def outside_link(request):
    with LiveMachine(OUTSIDE) as machine:
        yield machine if request.param == "simulation" else Pynq(machine)


def run_outside(device, image, inputs, expected):
    device.load(image)
    for n, x in enumerate(inputs):
        for found, right in zip(device.run_all(x), expected, strict=True):
            np.testing.assert_array_equal(found, right[n])
        assert (device.cycles, device.passes) == (image.cycles, image.passes)
        assert 0 < device.stalls < image.cycles


def test_networks_larger_than_the_chip(outside_link):
    """Inputs and outputs on the chip and outside, in turns; a bus that answers errors, and recovery."""
    cases = [outside_case(seed) for seed in OUTSIDE_SEEDS]
    assert {image.input.outside for image, *_ in cases} == {False, True}
    assert {one.outside for image, *_ in cases for one in image.outputs} == {False, True}
    assert any(len(image.outputs) > 1 for image, *_ in cases)
    with Device(outside_link) as device:
        for case in cases:
            run_outside(device, *case)
        outside_link.write("MEMORY", 0x40000000)
        for _ in range(2):
            with pytest.raises(MachineError, match=r"^Machine must report no error, not BUS: the memory outside "):
                device.run(case[1][0])
        run_outside(device, *case)


def test_links_without_a_memory_outside_and_machines_without_one(link):
    registers = {"ID": ID_VALUE, "VERSION": MACHINE_VERSION, "BUILD": OUTSIDE.build_hash, "STATUS": 0}
    serial = SimpleNamespace(
        read=registers.__getitem__, write=lambda name, value: None, close=lambda: None, send=None, receive=None
    )
    message = "^Link must reach the memory outside of the build, not be a SimpleNamespace$"
    with pytest.raises(ValueError, match=message):
        Device(serial).load(outside_case(OUTSIDE_SEEDS[0])[0])
    with pytest.raises(ValueError, match=r"^Register must be one that can be read, not 'STALLS'$"):
        Device(link).stalls  # noqa: B018


def test_a_buffer_beyond_the_machines_addresses_is_given_back():
    far = Buffer((8192,), np.uint8)
    far.device_address = (1 << 32) - 8192
    pynq = PynqLink(None, None, lambda shape, dtype: far)
    assert pynq.reserve(4096) == far.device_address
    far.device_address += 1
    with pytest.raises(ValueError, match=r"^Buffer must end below 0x100000000, not at 0x100000001$"):
        pynq.reserve(4097)
    assert far.freed


class Other:
    """Something else at a link."""

    closed = False

    def read(self, register):
        return 7

    def close(self):
        self.closed = True


def test_what_is_no_machine_is_refused():
    link = Other()
    with pytest.raises(ValueError, match=r"^ID of the machine must be 0x32464c44, not 0x7$"):
        Device(link)
    assert link.closed
