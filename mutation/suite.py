"""What the C++ host makes the machine do for every fault, and what golden model and pass-level model expect."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twofold.golden import layers
from twofold.golden.config import ArrayConfig
from twofold.golden.frame import FrameError, frame
from twofold.golden.image import input_frame, read_outputs
from twofold.golden.isa import Section, Window, line_bits, line_count, section_kinds
from twofold.golden.machine import Machine, StoppedError, infer
from twofold.golden.registers import Error
from twofold.mapper.compiler import compile_network
from twofold.sim.inference import Inference
from twofold.sim.script import HostScript, SimulationError, run
from twofold.testing.damage import damaged
from twofold.testing.random_network import random_inputs, random_network
from twofold.testing.random_program import random_frame

#: What is compared of a frame or an inference: the error; where there is none also frames, cycles and passes.
Observed = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class HostTest:
    """A script of the host and what it must give.

    Parameters
    ----------
    name
        What it is.
    script
        The script.
    expected
        Outcome of every frame and inference.
    pause
        How often, out of 256 cycles, each stream pauses.
    seed
        Of the pauses.
    limit
        Most cycles of a frame or an inference.
    """

    name: str
    script: HostScript
    expected: tuple[Observed, ...]
    pause: int
    seed: int
    limit: int

    def passes(self, program: Path, plusargs: Sequence[str] = ()) -> bool:
        """Whether a machine follows the script as expected."""
        try:
            got = run(program, self.script, pause=self.pause, seed=self.seed, limit=self.limit, plusargs=plusargs)
            return tuple(map(_outcome, got)) == self.expected
        except (SimulationError, ValueError, IndexError):
            # A register that does not answer, an unknown error code, frames that never end: found, too.
            return False


class _Script:
    """A script under construction beside the model that says what it must give."""

    def __init__(self, config: ArrayConfig) -> None:
        self.machine, self.script = Machine(config), HostScript()
        self.expected: list[Observed] = []
        self.longest = 0

    def send(self, beats: Sequence[int]) -> None:
        self.script.send(beats)
        self.longest = max(self.longest, len(beats))
        try:
            self.machine.write(beats)
        except FrameError as error:
            self.expected.append((error.code,))
        else:
            self.expected.append((Error.NONE,))

    def run(self) -> None:
        self.script.run()
        try:
            ran = self.machine.run()
        except StoppedError as error:
            self.expected.append((error.code, ()))
        else:
            self.expected.append((Error.NONE, ran.frames, ran.cycles, ran.passes))
            self.longest = max(self.longest, ran.cycles + sum(map(len, ran.frames)))

    def task(self, name: str, *, pause: int, seed: int) -> HostTest:
        # Streams that pause half of the time take twice as long; four times as long counts as never.
        return HostTest(name, self.script, tuple(self.expected), pause, seed, 4 * self.longest + 4000)


def _outcome(record: Error | Inference) -> Observed:
    if isinstance(record, Error):
        return (record,)
    if record.error is not Error.NONE:
        return record.error, record.frames
    return Error.NONE, record.frames, record.cycles, record.passes


def tasks(config: ArrayConfig, *, seed: int, networks: int = 12, programs: int = 60) -> Iterator[HostTest]:
    """Tasks, the quickest to find a fault first.

    Parameters
    ----------
    config
        The build.
    seed
        Of everything random.
    networks, programs
        How many random networks and random programs in all.
    """
    yield _programs(config, seed, 2, pause=0)
    yield _network(config, seed, pause=0)
    yield _frames(config, seed, 60, pause=0)
    for number in range(1, networks):
        yield _network(config, seed + number, pause=number % 3 * 60)
    for number in range(2, programs, 6):
        yield _programs(config, seed + number, 6, pause=number % 4 * 40)
    yield _frames(config, seed + 1, 200, pause=60)


def _programs(config: ArrayConfig, seed: int, count: int, *, pause: int) -> HostTest:
    script = _Script(config)
    for number in range(seed, seed + count):
        script.send(random_frame(config, number))
        script.run()
    return script.task(f"programs {seed} to {seed + count - 1}", pause=pause, seed=seed)


def _network(config: ArrayConfig, seed: int, *, pause: int) -> HostTest:
    network = random_network(seed, config, layers=2 + seed % 3, max_side=6, name=f"random_{seed}")
    image, inputs = compile_network(network, config), random_inputs(seed, network, 3)
    golden = layers.run(network, inputs)
    script = _Script(config)
    script.send(image.beats)
    for number, x in enumerate(inputs):
        script.send(input_frame(image, x))
        script.run()
        modelled = infer(script.machine, image, x)
        sent = read_outputs(image, modelled.run.frames)
        assert script.expected[-1][1] == modelled.run.frames
        for layer, *found in zip(network.outputs, modelled.outputs, sent, strict=True):
            for tensor in found:
                np.testing.assert_array_equal(tensor, golden[layer.name][number])
    return script.task(f"network {seed}", pause=pause, seed=seed)


def _frames(config: ArrayConfig, seed: int, count: int, *, pause: int) -> HostTest:
    """Damaged frames, starts without a program, illegal programs, and a good program now and then."""
    numbers, script = random.Random(seed), _Script(config)
    script.run()
    good = random_frame(config, seed, chunks=1)
    last = section_kinds(config)[-1]
    illegal = [Window(**dict.fromkeys(Window.record(config).fields, 1)).encode(config)]
    for number in range(count):
        kind = numbers.choice((Section.FEATURE, Section.WEIGHT, Section.CHANNEL, last))
        depth, bits = line_count(config, kind), line_bits(config, kind)
        address = numbers.choice((0, depth - 2, depth - 1, numbers.randrange(depth)))
        beats = frame(config, [(kind, address, [numbers.getrandbits(bits) for _ in range(min(2, depth - address))])])
        script.send(damaged(beats, numbers, resealed=0.7))
        if number % 8 == 3:
            script.send(frame(config, [(Section.PROGRAM, 0, [*illegal, numbers.choice((0, 6, 7))])]))
            script.run()
        if not script.machine.loaded:
            script.run()
        if number % 8 == 7:
            script.send(good)
            script.run()
    script.send(frame(config, [(Section.PROGRAM, 0, illegal * config.program_depth)]))
    script.run()
    script.send(good)
    script.run()
    return script.task(f"frames {seed}", pause=pause, seed=seed)
