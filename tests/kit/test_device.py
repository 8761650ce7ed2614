"""One class of host for a simulated machine and for PYNQ, whose objects stand over the same simulation here."""

from dataclasses import replace

import numpy as np
import pytest

from twofold.boards.device import Device, MachineError
from twofold.boards.pynq import PynqLink
from twofold.golden import layers
from twofold.golden.config import load_config
from twofold.golden.isa import End, Opcode, Output
from twofold.golden.registers import Error
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
    """What `pynq.allocate` gives; the DMA's view of it is another until it is waited for."""

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


def allocate(shape, dtype):
    return np.full(shape, 0x55555555, dtype).view(Buffer)


class Pynq(PynqLink):
    """The real link over stand-ins of PYNQ's objects."""

    def __init__(self, machine):
        super().__init__(Mmio(machine), Dma(machine), allocate, timeout=0.2)
        self.machine = machine

    def close(self):
        self.machine.close()


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
