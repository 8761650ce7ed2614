"""The whole machine's benches and the C++ host, on the smallest builds of both PEs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from twofold.golden import layers
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.frame import frame
from twofold.golden.image import input_frame, read_output
from twofold.golden.isa import SECTION_HEADER, End, Output, Pass, Section, Window
from twofold.golden.order import channels_last
from twofold.golden.registers import Error
from twofold.hdl.emit import emit, top_name
from twofold.mapper.compiler import compile_network
from twofold.sim import fast, runner, settings
from twofold.sim.probe import probed, read_layers
from twofold.sim.random_check import check_network, check_networks, check_programs
from twofold.sim.script import SimulationError
from twofold.testing.random_network import random_inputs, random_network
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.recipe import parse_recipe
from twofold.train.reference import run as torch_reference

BUILDS = ("log_4x4", "subset_4x4")


@pytest.fixture(scope="module", params=BUILDS)
def config(request):
    return load_config(Path("configs") / f"{request.param}.toml")


@pytest.fixture(scope="module")
def log_config():
    return load_config("configs/log_4x4.toml")


@pytest.mark.parametrize("bench", ["machine", "host"])
@pytest.mark.parametrize("build", BUILDS)
def test_whole_machine_bench(build, bench):
    config = load_config(Path("configs") / f"{build}.toml")
    design = runner.build(emit(config), top_name(config))
    values = settings.write(config, seed=11, networks=2, programs=2, damaged=100)
    results = runner.run(design, f"twofold.sim.bench_{bench}", settings=values)
    assert len(results) >= 6
    assert {result.test: result.message for result in results if not result.passed} == {}
    assert all(result.cycles > 100 for result in results)


def test_pytorch_golden_model_and_hardware_agree(config):
    results = list(check_networks(config, 6, 107, reference=torch_reference))
    assert [result.message for result in results] == [""] * 6


def test_programs_of_no_compiler_agree(config):
    assert [result.message for result in check_programs(config, 10, 200)] == [""] * 10


WIDE = ArrayConfig(
    name="wide_log",
    pe="log",
    rows=8,
    cols=4,
    word_bits=4,
    asymmetric=True,
    requant_units=4,
    load_columns=2,
    acc_depth=16,
    tree_step=1,
    digits=2,
    acc_width=32,
    tables=1,
    table_bits=6,
)
TALL = ArrayConfig(
    name="tall_subset",
    pe="subset",
    rows=2,
    cols=8,
    word_bits=3,
    universal_set=2,
    requant_units=2,
    load_columns=4,
    acc_depth=8,
    act_bits=7,
    digits=4,
    tree_step=3,
    tables=3,
)


@pytest.mark.parametrize("odd", [WIDE, TALL], ids=lambda config: config.name)
def test_builds_of_other_shapes_agree(odd):
    results = list(check_networks(odd, 8, 300, reference=torch_reference)) + list(check_programs(odd, 8, 400))
    assert [result.message for result in results] == [""] * 16


def test_activations_by_table_agree_from_pytorch_to_hardware():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.1), nn.Conv2d(4, 3, 1), nn.Hardswish(), nn.SiLU())
    weight = {"quantizer": "uniform", "bits": 4}
    rule = {"match": "*", "weight": weight, "activation": {"bits": 7, "calibration": "max"}}
    recipe = parse_recipe({"name": "seven", "method": "ptq", "layer": [rule]})
    quantized = convert(model, recipe, InputFormat((2, 5, 6), bits=7, signed=True, scale=1 / 32))
    calibrate(quantized, torch.randn(8, 2, 5, 6))
    network = export(quantized, TALL)
    assert all(layer.table is not None for layer in network.layers)
    result = check_network(TALL, network, 3, reference=torch_reference)
    assert result.message == ""


def test_a_reference_that_differs_is_found(log_config):
    def wrong(network, x):
        tensors = torch_reference(network, x)
        name = network.layers[0].name
        tensors[name] = tensors[name].copy()
        tensors[name][0, 0, 0, 0] ^= 1
        return tensors

    (result,) = check_networks(log_config, 1, 100, reference=wrong)
    assert not result.passed
    assert "reference, layer" in result.message


def test_a_batch_equals_golden_at_every_layer(config):
    network = random_network(5, config, layers=3)
    network = replace(network, heads=tuple(layer.name for layer in network.layers[::-2]))
    network = replace(network, orders={network.output.name: channels_last(network.output.output.shape)})
    inputs = random_inputs(6, network, 7)
    image = compile_network(network, config)
    batch = fast.run_images(image, inputs, every_layer=True, pause=40)
    expected = layers.run(network, inputs)
    for wanted, tensor in zip(network.results(expected), batch.outputs, strict=True):
        np.testing.assert_array_equal(tensor, wanted)
    assert list(batch.layers) == list(expected)
    for name, tensor in batch.layers.items():
        np.testing.assert_array_equal(tensor, expected[name])
    assert batch.cycles.tolist() == [image.cycles] * 7
    assert batch.passes.tolist() == [image.passes] * 7


def test_a_batch_must_have_an_input(log_config):
    network = random_network(5, log_config, layers=1)
    image = compile_network(network, log_config)
    with pytest.raises(ValueError, match=r"^Batch must have at least one input, not 0$"):
        fast.run_images(image, random_inputs(1, network, 1)[:0])


def test_the_host_reports_what_the_machine_reports(log_config):
    program = fast.build_machine(log_config)
    network = random_network(5, log_config, layers=1)
    image, x = compile_network(network, log_config), random_inputs(1, network, 1)[0]
    illegal = [SECTION_HEADER.pack({"count": 1, "kind": 99})]
    job = fast.HostScript().run().send([1, 2, 3]).send(image.beats).send(illegal).reset().run()
    job.send(image.beats).send(input_frame(image, x)).run()
    started, magic, loaded, again, after_reset, *rest = fast.run(program, job)
    assert isinstance(started, fast.Inference) and started.error is Error.NOT_LOADED
    assert (magic, loaded, again) == (Error.MAGIC, Error.NONE, Error.MAGIC)
    assert isinstance(after_reset, fast.Inference) and after_reset.error is Error.NOT_LOADED
    assert rest[:2] == [Error.NONE, Error.NONE]
    expected = layers.run(network, x[None])[network.output.name][0]
    np.testing.assert_array_equal(read_output(image, rest[2].frames[0]), expected)


def test_a_machine_that_takes_too_long_is_an_error(log_config):
    window = Window(width=8, height=8, in_width=1, in_height=1, step_x=1, step_y=1, row_step=1)
    lines = [one.encode(log_config) for one in (window, *[Pass.zero()] * 60, End())]
    job = fast.HostScript().send(frame(log_config, [(Section.PROGRAM, 0, lines)])).run()
    program = fast.build_machine(log_config)
    message = r"^Machine must follow the script, not this: inference was not done within the cycle limit$"
    with pytest.raises(SimulationError, match=message):
        fast.run(program, job, limit=3000)
    assert fast.run(program, job, limit=5000)[1].passes == 60


def test_a_probed_image_sends_every_layer(config):
    network = random_network(9, config, layers=4)
    image = compile_network(network, config)
    probe = probed(image)
    sends = [one for one in probe.instructions if isinstance(one, Output)]
    assert len(sends) == len(network.layers)
    assert [one for one in probe.instructions if not isinstance(one, Output)] == [
        one for one in image.instructions if not isinstance(one, Output)
    ]
    with pytest.raises(ValueError, match=rf"^Output must be {len(network.layers)} frames, not 1$"):
        read_layers(probe, [()])
