"""Bad frames, programs and register accesses: the right error code, no hang, and a good image runs after each."""

import random
from collections.abc import Sequence

import cocotb
import numpy as np

from twofold.golden import layers
from twofold.golden.config import MACHINE_VERSION
from twofold.golden.frame import FrameError, frame, parse
from twofold.golden.image import input_frame, read_outputs
from twofold.golden.isa import SECTION_HEADER, Section, Window, line_count
from twofold.golden.machine import Machine
from twofold.golden.registers import ID_VALUE, REGISTERS, Error, Status
from twofold.mapper.compiler import compile_network
from twofold.sim import settings
from twofold.sim.drivers import Host
from twofold.testing.damage import damaged, sealed
from twofold.testing.random_network import random_inputs, random_network

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=200, timeout_unit="ms")
OKAY, SLVERR = 0, 2

NETWORK = random_network(SEED, CONFIG, layers=1, max_side=4)
IMAGE = compile_network(NETWORK, CONFIG)
INPUT = random_inputs(SEED, NETWORK, 1)[0]
GOLDEN = layers.run(NETWORK, INPUT[None])
OUTPUTS = [GOLDEN[layer.name][0] for layer in NETWORK.outputs]


def check_outputs(frames: Sequence[Sequence[int]]) -> None:
    """The frames of an inference carry golden's tensors."""
    for tensor, expected in zip(read_outputs(IMAGE, frames), OUTPUTS, strict=True):
        np.testing.assert_array_equal(tensor, expected)


async def good_run(host: Host) -> None:
    """The machine takes an image and runs it right, whatever came before."""
    assert not await host.send(IMAGE.beats)
    result = await host.infer(input_frame(IMAGE, INPUT))
    assert not result.error
    assert (result.cycles, result.passes) == (IMAGE.cycles, IMAGE.passes)
    check_outputs(result.frames)


def bad_frames() -> dict[str, tuple[list[int], Error]]:
    """Frames with one fault each, and the error that they must give."""
    good = list(IMAGE.beats)
    feature = line_count(CONFIG, Section.FEATURE)
    header = SECTION_HEADER.pack({"count": 2, "kind": Section.FEATURE})
    beyond = frame(CONFIG, [(Section.FEATURE, feature - 2, [0, 0])])
    unknown = SECTION_HEADER.pack({"count": 1, "kind": 77})
    cases = {
        "magic": (sealed([good[0] ^ 1, *good[1:]]), Error.MAGIC),
        "another build": (sealed([good[0], good[1] ^ 0x100, *good[2:]]), Error.BUILD),
        "section": (sealed([*good[:2], unknown, *good[3:]]), Error.SECTION),
        "range": (sealed([*beyond[:2], header, feature - 1, *beyond[4:]]), Error.RANGE),
        "range, address alone": (sealed([*beyond[:2], header, 0xFFFFFFFF, *beyond[4:]]), Error.RANGE),
        "end with a count": (sealed([*good[:-2], good[-2] + 1, 0]), Error.SECTION),
        "checksum": ([*good[:-1], good[-1] ^ 0x80000000], Error.CHECKSUM),
        "one bit of a line": ([*good[:6], good[6] ^ 4, *good[7:]], Error.CHECKSUM),
        "trailing": ([*good, 0], Error.TRAILING),
        "one beat": ([good[0]], Error.TRUNCATED),
    }
    for length in (2, 3, 4, 5, len(good) // 2, len(good) - 2, len(good) - 1):
        cases[f"truncated to {length}"] = (good[:length], Error.TRUNCATED)
    if CONFIG.pe == "log":
        points = SECTION_HEADER.pack({"count": 1, "kind": Section.POINTS})
        cases["section of the other PE"] = (sealed([*good[:2], points, *good[3:]]), Error.SECTION)
    return cases


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def bad_frames_are_refused(dut, pause):
    """Every kind of bad frame gives its code, half an image cannot be started, and a good one runs after it."""
    host = Host(dut, pause=pause, seed=SEED)
    await host.reset()
    for name, (beats, error) in bad_frames().items():
        model = Machine(CONFIG)
        for after_input in (True, False):
            await good_run(host)
            model.write(IMAGE.beats)
            if not after_input:
                assert not await host.send(IMAGE.beats)
            got = await host.send(beats)
            assert got is error, f"{name}: {got.name} must be {error.name}"
            try:
                model.write(beats)
            except FrameError as fault:
                assert fault.code is error, f"{name}: the model says {fault.code.name}"
            status = Status.decode(await host.status())
            assert status.loaded == model.loaded, f"{name}: loaded must be {model.loaded}"
            if not model.loaded:
                result = await host.infer()
                assert result.error is Error.NOT_LOADED, name
        await host.control(2)
        assert Status.decode(await host.status()).error == Error.NONE
    await good_run(host)


@timed
async def damaged_frames_give_what_the_reader_says(dut):
    """Random damage to short frames: hardware and `golden.frame.parse` find the same first error."""
    host = Host(dut)
    await host.reset()
    numbers = random.Random(SEED)
    for number in range(SETTINGS["damaged"]):
        good = frame(CONFIG, [(Section.FEATURE, 0, [1, 2]), (Section.WEIGHT, 3, [5])])
        beats = damaged(good, numbers, resealed=0.5)
        try:
            parse(CONFIG, beats)
            expected = Error.NONE
        except FrameError as fault:
            expected = fault.code
        got = await host.send(beats)
        assert got is expected, f"{number}: {got.name} must be {expected.name} for {[hex(beat) for beat in beats]}"
    await good_run(host)


@timed
async def bad_programs_stop(dut):
    """Illegal opcodes and a program that runs off its memory stop with INSTRUCTION."""
    host = Host(dut)
    await host.reset()
    window = Window(width=1, height=1, in_width=1, in_height=1, step_x=1, step_y=1, row_step=0).encode(CONFIG)
    programs = [[window, opcode] for opcode in (0, 6, 7)] + [[window] * CONFIG.program_depth]
    for program in programs:
        assert not await host.send(frame(CONFIG, [(Section.PROGRAM, 0, program)]))
        result = await host.infer()
        assert result.error is Error.INSTRUCTION, f"opcode {program[-1] & 7}: {result.error.name}"
        assert not result.frames
        await good_run(host)


@timed
async def start_out_of_turn(dut):
    """Starting without a program or twice is an error; the inference under way is not disturbed."""
    host = Host(dut)
    await host.reset()
    assert (await host.infer()).error is Error.NOT_LOADED
    await good_run(host)
    assert not await host.send(input_frame(IMAGE, INPUT))
    host.sink.pause = True
    await host.control(1)
    await host.wait(10)
    await host.control(1)
    status = Status.decode(await host.status())
    assert (status.busy, status.error) == (1, Error.BUSY)
    await host.wait(IMAGE.cycles)
    host.sink.pause = False
    result = await host.finish()
    assert result.error is Error.BUSY
    assert result.cycles == IMAGE.cycles
    check_outputs(result.frames)
    await good_run(host)
    await host.source.send(b"".join(beat.to_bytes(4, "little") for beat in IMAGE.beats))
    await host.wait(len(IMAGE.beats) // 2)
    await host.control(1)
    assert Status.decode(await host.status()).error is Error.BUSY, "Start within a frame"
    await host.source.wait()
    await good_run(host)


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def inputs_start_by_themselves(dut, pause):
    """With MODE set, a host that only streams inputs gets all outputs in order, and an image starts nothing."""
    host = Host(dut, pause=pause, seed=SEED)
    await host.reset()
    response, _ = await host.access(REGISTERS["MODE"].address, 1)
    assert response == OKAY
    assert not await host.send(IMAGE.beats)
    assert not Status.decode(await host.status()).busy
    inputs = random_inputs(SEED, NETWORK, 4)
    golden = layers.run(NETWORK, inputs)
    for x in inputs:
        await host.source.send(b"".join(beat.to_bytes(4, "little") for beat in input_frame(IMAGE, x)))
    for number in range(len(inputs)):
        tensors = read_outputs(IMAGE, [await host.receive() for _ in IMAGE.outputs])
        for layer, tensor in zip(NETWORK.outputs, tensors, strict=True):
            np.testing.assert_array_equal(tensor, golden[layer.name][number])
    result = await host.finish()
    assert not result.frames
    assert (result.cycles, result.passes) == (IMAGE.cycles, IMAGE.passes)
    await host.access(REGISTERS["MODE"].address, 0)
    await good_run(host)


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def registers_answer(dut, pause):
    """Every byte address: registers give their value, everything else SLVERR, and nothing changes by it."""
    host = Host(dut, pause=pause, seed=SEED)
    await host.reset()
    constants = {
        "ID": ID_VALUE,
        "VERSION": MACHINE_VERSION,
        "BUILD": CONFIG.build_hash,
        "SHAPE": CONFIG.rows | CONFIG.cols << 16,
        "STATUS": 0,
        "CYCLES": 0,
        "PASSES": 0,
        "MODE": 0,
    }
    readable = {register.address: name for name, register in REGISTERS.items() if register.readable}
    writable = {register.address for register in REGISTERS.values() if register.writable}
    for address in range(0, 256, 4):
        response, value = await host.access(address)
        assert response == (OKAY if address in readable else SLVERR), f"read of {address:#x}: {response}"
        if address in readable:
            assert value == constants[readable[address]], readable[address]
        response, _ = await host.access(address, 0 if address in writable else 0xFFFFFFFF)
        assert response == (OKAY if address in writable else SLVERR), f"write of {address:#x}: {response}"
    for address, name in readable.items():
        assert await host.access(address) == (OKAY, constants[name])
    await good_run(host)
