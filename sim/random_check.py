"""Random networks and programs on the C++ host: golden, model and hardware give the same integers and cycles."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.golden import layers
from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, input_frame, read_outputs
from twofold.golden.machine import Machine, Run, execute, infer
from twofold.golden.network import Network
from twofold.mapper.compiler import compile_network
from twofold.sim.compare import equal, same_tensor
from twofold.sim.fast import build_machine, patience
from twofold.sim.inference import Inference
from twofold.sim.outside import run_outside
from twofold.sim.probe import probed, read_layers
from twofold.sim.runner import BenchResult
from twofold.sim.script import HostScript, SimulationError, run
from twofold.testing.random_network import random_inputs, random_network
from twofold.testing.random_program import random_frame

Tensors = Mapping[str, NDArray[np.int64]]
#: A further opinion: every layer's output (B, C, H, W) of a network on inputs, such as `train.reference.run`.
Reference = Callable[[Network, NDArray[np.int64]], Tensors]
INPUTS = 3


def check_networks(
    config: ArrayConfig, count: int, seed: int, *, reference: Reference | None = None, program: Path | None = None
) -> Iterator[BenchResult]:
    """Runs random networks through one build, without reset between their inferences; yields a result each.

    Parameters
    ----------
    config
        The build; one Verilator build serves all networks.
    count
        Number of networks.
    seed
        Seed of the first one; the next has the next number.
    reference
        A further opinion to compare with golden.
    program
        The machine behind its host (`sim.host.build`), if not the emitted one.
    """
    for number in range(seed, seed + count):
        network = random_network(number, config, layers=2 + number % 4, name=f"random_{number}")
        yield check_network(config, network, number, reference=reference, program=program)


def check_network(
    config: ArrayConfig,
    network: Network,
    seed: int,
    *,
    image: Image | None = None,
    reference: Reference | None = None,
    program: Path | None = None,
) -> BenchResult:
    """Runs one network on random inputs and compares every layer; `image` is the network on that build, if at hand."""
    program = program or build_machine(config)
    started = time.monotonic()
    cycles, message = 0, ""
    try:
        cycles = _check(image or compile_network(network, config), program, network, seed, reference)
    except (AssertionError, ValueError, RuntimeError) as error:
        message = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - started, 3)
    return BenchResult("networks", f"{config.name} {network.name}", not message, cycles, seconds, message)


def check_reference(network: Network, seed: int, reference: Reference) -> BenchResult:
    """Compares golden's layers with a further opinion's; no hardware runs."""
    started, message = time.monotonic(), ""
    inputs = random_inputs(seed, network, INPUTS)
    try:
        _compare("reference", reference(network, inputs), layers.run(network, inputs), f"inputs of seed {seed}")
    except AssertionError as error:
        message = f"AssertionError: {error}"
    seconds = round(time.monotonic() - started, 3)
    return BenchResult("networks", f"reference of {network.name}", not message, 0, seconds, message)


def _check(image: Image, program: Path, network: Network, seed: int, reference: Reference | None) -> int:
    inputs = random_inputs(seed, network, INPUTS)
    expected = layers.run(network, inputs)
    if reference is not None:
        _compare("reference", reference(network, inputs), expected)
    if image.outside is not None:
        return _check_outside(image, program, network, seed, inputs, expected)
    probe = probed(image)
    machine = Machine(image.config)
    script = HostScript()
    for variant in (image, probe):
        script.send(variant.beats)
        for x in inputs:
            script.send(input_frame(variant, x)).run()
    records = run(program, script, pause=seed % 3 * 60, seed=seed, limit=patience(probe))
    results = [record for record in records if isinstance(record, Inference)]
    machine.write(image.beats)
    for n, (x, plain, full) in enumerate(zip(inputs, results[:INPUTS], results[INPUTS:], strict=True)):
        wanted = {name: tensor[n] for name, tensor in expected.items()}
        model = infer(machine, image, x)
        made = f"random input {n} of seed {seed}"
        _compare("model", model.tensors, wanted, made)
        _compare("hardware", read_layers(probe, full.frames), wanted, made)
        names = [layer.name for layer in network.outputs]
        sent = dict(zip(names, read_outputs(image, plain.frames), strict=True))
        _compare("output stream", sent, dict(zip(names, network.results(wanted), strict=True)), made)
        for what, predicted, result in (("image", image, plain), ("probed image", probe, full)):
            got = (result.error, result.cycles, result.passes)
            assert got == (0, predicted.cycles, predicted.passes), (
                f"{what}: error, cycles and passes must be {(0, predicted.cycles, predicted.passes)}, not {got}"
            )
        assert (model.run.cycles, model.run.passes) == (image.cycles, image.passes), "model: cycles or passes differ"
    return sum(result.cycles for result in results)


def _check_outside(
    image: Image, program: Path, network: Network, seed: int, inputs: NDArray[np.int64], expected: Tensors
) -> int:
    """With a memory outside: outputs, and layers that lie there; the model moves lines early and late."""
    runs = run_outside(image, inputs, program)
    names = [layer.name for layer in network.outputs]
    for n, (x, got) in enumerate(zip(inputs, runs, strict=True)):
        wanted = {name: tensor[n] for name, tensor in expected.items()}
        made = f"random input {n} of seed {seed}"
        _compare("model", execute(image, x, Machine(image.config, eager=bool(n % 2))).tensors, wanted, made)
        _compare("hardware", got.layers, {name: wanted[name] for name in got.layers}, made)
        sent = dict(zip(names, got.outputs, strict=True))
        _compare("outputs", sent, dict(zip(names, network.results(wanted), strict=True)), made)
        counts, right = (got.cycles, got.passes), (image.cycles, image.passes)
        assert counts == right, f"Cycles and passes must be {right}, not {counts}"
    return sum(run.cycles for run in runs)


def _compare(what: str, got: Tensors, expected: Tensors, made: str | None = None) -> None:
    assert list(got) == list(expected), f"{what}: layers must be {list(expected)}, not {list(got)}"
    for name, tensor in got.items():
        same_tensor(np.asarray(tensor), expected[name], f"{what}, layer {name}", inputs=made)


def check_programs(config: ArrayConfig, count: int, seed: int, *, program: Path | None = None) -> Iterator[BenchResult]:
    """Runs random programs (`testing.random_program`) through one build; yields a result each."""
    program, machine = program or build_machine(config), Machine(config)
    for number in range(seed, seed + count):
        started = time.monotonic()
        beats = random_frame(config, number)
        machine.write(beats)
        expected = machine.run()
        result = run(program, HostScript().send(beats).run(), pause=number % 3 * 60, seed=number)[1]
        if not isinstance(result, Inference):
            raise SimulationError(f"Machine must run the program, not report error {result.name}")
        message = ""
        try:
            _compare_programs(result, expected)
        except AssertionError as error:
            message = f"AssertionError: {error}"
        seconds = round(time.monotonic() - started, 3)
        yield BenchResult("programs", f"{config.name} program_{number}", not message, result.cycles, seconds, message)


def _compare_programs(got: Inference, expected: Run) -> None:
    assert not got.error, f"Error must be none, not {got.error.name}"
    assert len(got.frames) == len(expected.frames), f"Frames must be {len(expected.frames)}, not {len(got.frames)}"
    for number, (frame, wanted) in enumerate(zip(got.frames, expected.frames, strict=True)):
        equal(frame, wanted, f"Frame {number}, beat")
    counts, right = (got.cycles, got.passes), (expected.cycles, expected.passes)
    assert counts == right, f"Cycles and passes must be {right}, not {counts}"
