"""The whole machine through its AXI ports: every layer, exact cycles, nothing left over between inferences."""

import random

import cocotb
import numpy as np

from twofold.golden import layers
from twofold.golden.image import Image, input_frame, read_outputs
from twofold.golden.machine import Machine, infer
from twofold.golden.network import Network
from twofold.mapper.compiler import compile_network
from twofold.sim import settings
from twofold.sim.compare import equal, same_tensor
from twofold.sim.drivers import Host
from twofold.sim.inference import Inference
from twofold.sim.probe import probed, read_layers
from twofold.testing.random_network import random_inputs, random_network
from twofold.testing.random_program import random_frame

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=1000, timeout_unit="ms")


def random_case(seed: int, inputs: int) -> tuple[Network, Image, np.ndarray]:
    """A random network, its image, and inputs of shape (B, C, H, W)."""
    network = random_network(seed, CONFIG, layers=3, max_side=6)
    return network, compile_network(network, CONFIG), random_inputs(seed, network, inputs)


def sent(network: Network, image: Image, result: Inference) -> dict[str, np.ndarray]:
    """The output tensors by the names of their layers."""
    return dict(zip((one.name for one in network.outputs), read_outputs(image, result.frames), strict=True))


def check_counters(image: Image, result: Inference) -> None:
    """Done without error, in the predicted cycles and passes."""
    assert result.status & 0xFF07 == 0b110, f"Status is {result.status:#x}"
    counts, predicted = (result.cycles, result.passes), (image.cycles, image.passes)
    assert counts == predicted, f"Cycles and passes must be {predicted}, not {counts}"


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def every_layer_equals_golden_and_model(dut, pause):
    """Random networks, one after the other without reset; golden, model and hardware agree at every layer."""
    host = Host(dut, pause=pause, seed=SEED)
    await host.reset()
    for number in range(SETTINGS["networks"]):
        network, image, inputs = random_case(SEED + number, 2)
        expected = layers.run(network, inputs)
        probe, machine = probed(image), Machine(CONFIG)
        for variant in (image, probe):
            assert not await host.send(variant.beats)
            machine.write(variant.beats)
            for n, x in enumerate(inputs):
                result = await host.infer(input_frame(variant, x))
                check_counters(variant, result)
                if variant is image:
                    model = infer(machine, variant, x)
                    assert (model.run.cycles, model.run.passes) == (result.cycles, result.passes)
                    tensors = sent(network, image, result)
                    compare = model.tensors
                else:
                    tensors = compare = read_layers(variant, result.frames)
                for name in tensors:
                    same_tensor(tensors[name], expected[name][n], f"Network {SEED + number}, input {n}, layer {name}")
                for name in compare:
                    same_tensor(compare[name], expected[name][n], f"Network {SEED + number}, input {n}, layer {name}")


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def random_programs_equal_model(dut, pause):
    """Programs that no compiler emits: every beat of the output stream, cycles and passes equal the model's."""
    host = Host(dut, pause=pause, seed=SEED)
    await host.reset()
    machine = Machine(CONFIG)
    for number in range(SETTINGS["programs"]):
        beats = random_frame(CONFIG, SEED + number, chunks=6)
        machine.write(beats)
        expected = machine.run()
        assert not await host.send(beats)
        result = await host.infer()
        assert not result.error
        assert (result.cycles, result.passes) == (expected.cycles, expected.passes), f"program {SEED + number}"
        equal(result.frames, expected.frames, f"Program {SEED + number}, frame")


@timed
async def inferences_leave_nothing_behind(dut):
    """An input gives the same output and cycles after reset, after another input, and after another network.

    Lanes of lines that no channel has are whatever was there before.
    """
    host = Host(dut)
    numbers = random.Random(SEED)
    cases = [random_case(SEED + n, 2) for n in range(2)]
    first = {}
    for number, (_, image, inputs) in enumerate(cases):
        for n, x in enumerate(inputs):
            await host.reset()
            assert not await host.send(image.beats)
            first[number, n] = read_outputs(image, (await host.infer(input_frame(image, x))).frames)
    for _ in range(4):
        number = numbers.randrange(2)
        _, image, inputs = cases[number]
        assert not await host.send(image.beats)
        for n in (0, 1, 0):
            result = await host.infer(input_frame(image, inputs[n]))
            check_counters(image, result)
            for tensor, right in zip(read_outputs(image, result.frames), first[number, n], strict=True):
                same_tensor(tensor, right, f"network {SEED + number}, input {n}")


@timed
async def output_waits_for_the_host(dut):
    """A host that takes nothing for long stops the output, not the counters, and loses no beat."""
    network, image, inputs = random_case(SEED, 1)
    host = Host(dut)
    await host.reset()
    assert not await host.send(image.beats)
    assert not await host.send(input_frame(image, inputs[0]))
    host.sink.pause = True
    await host.control(1)
    await host.wait(image.cycles + 500)
    assert (await host.status()) & 1, "Machine must be busy while its output is not taken"
    host.sink.pause = False
    result = await host.finish()
    check_counters(image, result)
    expected = layers.run(network, inputs)
    for name, tensor in sent(network, image, result).items():
        same_tensor(tensor, expected[name][0], f"Output {name!r}")
