"""The whole machine with a memory outside: a network larger than the chip, errors of the bus, lists without an end."""

import random
from dataclasses import replace

import cocotb
import numpy as np
from numpy.typing import NDArray

from twofold.golden import layers
from twofold.golden.image import Image, PlacedTensor, read_outputs
from twofold.golden.isa import Section
from twofold.golden.network import Network
from twofold.golden.outside import transfer_list
from twofold.golden.outside_tensors import read_outside, write_input
from twofold.golden.registers import Error, Status, registers
from twofold.golden.transfers import Transfer, entry_beats
from twofold.hdl.transfer_list import BASE_BITS
from twofold.mapper.checks import FitError
from twofold.mapper.compiler import compile_network
from twofold.sim import settings
from twofold.sim.axi_memory import SIZE, AxiMemory
from twofold.sim.compare import same_tensor
from twofold.sim.drivers import Host
from twofold.sim.inference import Inference
from twofold.testing.random_network import random_network

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
PAGE = 4096
BYTES = CONFIG.bus_bits // 8
REGISTERS = registers(CONFIG)
#: So that the bench is quick.
MOST_CYCLES = 4000
timed = cocotb.test(timeout_time=100, timeout_unit="ms")


class OutsideMachine:
    """A machine and its memory, which holds an image from a page on."""

    def __init__(self, dut, image: Image, pause: float):
        self.image = image
        self.host = Host(dut, pause=pause, seed=SEED)
        self.memory = AxiMemory(dut, "m_axi")
        self.memory.pause(pause, SEED)

    async def begin(self, numbers: random.Random) -> None:
        """Reset, and the image on a random page."""
        await self.host.reset()
        page = numbers.getrandbits(BASE_BITS)
        self.offset = page * PAGE % SIZE
        self.memory.fill(numbers)
        assert self.image.outside is not None
        self.write(0, self.image.outside.content)
        assert not await self.host.send(self.image.beats)
        for number in (*(numbers.getrandbits(BASE_BITS) for _ in range(6)), page):
            response, _ = await self.host.access(REGISTERS["MEMORY"].address, number * PAGE + numbers.randrange(PAGE))
            assert response == 0
            assert await self.read("MEMORY") == number * PAGE

    async def read(self, name: str) -> int:
        return (await self.host.access(REGISTERS[name].address))[1]

    def write(self, place: int, content: bytes) -> None:
        """From byte `place` of the image's memory on."""
        whole = np.frombuffer(bytes(self.memory.ram.read(0, SIZE)), dtype=np.uint8).copy()
        whole[(self.offset + place + np.arange(len(content))) % SIZE] = np.frombuffer(content, dtype=np.uint8)
        self.memory.ram.write(0, whole.tobytes())

    def content(self) -> NDArray[np.uint8]:
        """Of the image's memory."""
        whole = np.frombuffer(bytes(self.memory.ram.read(0, SIZE)), dtype=np.uint8)
        return np.roll(whole, -self.offset)

    def tensor(self, placed: PlacedTensor) -> NDArray[np.int64]:
        """What lies outside."""
        return read_outside(CONFIG, self.content(), placed)

    async def infer(self, x: NDArray[np.int64]) -> Inference:
        """An input, which lies outside."""
        content = self.content().copy()
        write_input(self.image, content, x)
        self.write(0, content.tobytes())
        return await self.host.infer()


class LargeNetwork:
    """A network of which the input and an output of a layer lie outside, and what must come of inputs."""

    def __init__(self):
        self.network, self.image = next(filter(None, map(self._draw, range(SEED, SEED + 100))))
        shape = (2, *self.network.input.shape)
        self.inputs = np.random.default_rng(SEED).integers(
            self.network.input.low, self.network.input.high + 1, size=shape
        )
        self.expected = layers.run(self.network, self.inputs)

    @staticmethod
    def _draw(seed: int) -> tuple[Network, Image] | None:
        """A network that is as large as it must be, or none."""
        deep = {"feature_depth": 1 << 14, "weight_depth": 1 << 12, "channel_depth": 2048, "program_depth": 1 << 15}
        network = random_network(seed, replace(CONFIG, memory="on_chip", **deep), layers=3, max_side=8)
        try:
            image = compile_network(network, CONFIG)
        except FitError:
            return None
        stored = [layer.output for layer in image.layers if layer.output.outside]
        # Every lane of a line is stored.
        outside = image.input.outside and any(placed.tensor.shape[0] >= CONFIG.rows for placed in stored)
        fits = image.cycles < MOST_CYCLES and image.outside is not None and image.outside.size < SIZE
        return (network, image) if outside and fits and len(image.program) > CONFIG.program_depth else None

    async def check(self, chip: OutsideMachine, n: int) -> None:
        result = await chip.infer(self.inputs[n])
        assert result.status & 0xFF07 == 0b110, f"Status is {result.status:#x}"
        assert result.passes == self.image.passes
        assert await chip.read("STALLS") < result.cycles
        for layer in self.image.layers:
            if layer.output.outside:
                same_tensor(chip.tensor(layer.output), self.expected[layer.name][n], f"layer {layer.name}, input {n}")
        sent = iter(read_outputs(self.image, result.frames))
        for output, placed in zip(self.network.outputs, self.image.outputs, strict=True):
            tensor = chip.tensor(placed) if placed.outside else next(sent)
            same_tensor(tensor, self.expected[output.name][n], f"output {output.name}, input {n}")


@timed
@cocotb.parametrize(pause=[0.0, 0.3])
async def networks_larger_than_the_chip_equal_golden(dut, pause):
    case = LargeNetwork()
    chip = OutsideMachine(dut, case.image, pause)
    await chip.begin(random.Random(SEED))
    for n in range(1 if pause else 2):
        await case.check(chip, n)


@timed
async def errors_end_the_inference_only(dut):
    """The bus refuses a place anywhere, or the list waits for drains that never come; the next inference is right."""
    case, numbers = LargeNetwork(), random.Random(SEED)
    chip = OutsideMachine(dut, case.image, 0.1)
    await chip.begin(numbers)
    stores = next(layer.output.address for layer in case.image.layers if layer.output.outside) * BYTES
    moved = [0, *(entry.memory * BYTES for entry in transfer_list(CONFIG, chip.content()))]
    for place in (*numbers.sample(moved, 2), stores):
        first = (chip.offset + place) % SIZE
        chip.memory.bad = range(first, first + 512)
        result = await chip.infer(case.inputs[0])
        assert Status.decode(result.status) == Status(busy=False, done=False, loaded=True, error=Error.BUS), place
    chip.memory.bad = range(0)
    await case.check(chip, 1)
    late = Transfer(kind=Section.WEIGHT, after=1).encode(CONFIG).to_bytes(entry_beats(CONFIG) * BYTES, "little")
    chip.write(0, late)
    result = await chip.host.infer()
    assert Status.decode(result.status).error is Error.INSTRUCTION
