"""The software's speed: every part has its rows, of networks and builds small enough for a test."""

import json

import numpy as np
import pytest

from twofold.bench import software
from twofold.bench.tools.resnet50 import resnet50
from twofold.golden import layers
from twofold.golden.config import load_config
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import Batch
from twofold.testing.random_network import random_network

CONFIG = load_config("log_4x4")


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(software, "REPORT", tmp_path / "software.json")
    network = random_network(3, CONFIG, layers=3)
    image = compile_network(network, CONFIG)
    monkeypatch.setattr(software, "resnet20", lambda config: (network, image))
    asked = []
    monkeypatch.setattr(software, "build_machine", lambda config, threads: asked.append(threads) or threads)

    def run(image, inputs, *, workers, program):
        asked.append((workers, program))
        outputs, counts = layers.run(network, inputs)[network.output.name], np.full(len(inputs), image.cycles)
        return Batch(outputs, {}, counts + late[program], 0 * counts)

    late = {1: 0, 2: 0}
    monkeypatch.setattr(software, "run_images", run)
    return network, image, asked, late


def read():
    return json.loads(software.REPORT.read_text())["software"]


def test_the_machine_and_its_model(small):
    _, image, asked, late = small
    assert software.main(["--part", "rtl", "model", "--images", "5"]) == 0
    rows = read()
    assert list(rows) == ["RTL, 1 thread", "RTL, 2 threads", "RTL, 2 processes", "pass-level model"]
    assert asked == [1, (1, 1), 2, (1, 2), 1, (2, 1)]
    for name in list(rows)[:3]:
        row = rows[name]
        assert row["same"] is True and row["images"] == 5
        assert row["cycles_per_second"] / row["images_per_minute"] == pytest.approx(image.cycles / 60, rel=0.01)
    assert rows["pass-level model"]["images"] == 4 and rows["pass-level model"]["images_per_second"] > 0
    late[2] = 1
    assert software.main(["--part", "rtl", "--images", "5"]) == 1
    assert [row["same"] for row in read().values()] == [True, False, True]


def test_the_mapper_and_the_writing_of_verilog():
    (row,) = software.measure_mapper(CONFIG, width=4, side=32, classes=7).values()
    network = resnet50(CONFIG, width=4, side=32, classes=7)
    dense = [branch.codes.size for layer in network.layers for branch in layer.branches if branch.groups == 1]
    assert row["weights"] == sum(dense) and row["program_lines"] > 1000
    assert row["seconds"] > 0 and row["peak_megabytes"] > 30
    rows = software.measure_emission(CONFIG, (2,))
    assert set(rows) == {"Verilog, 2x2"} and 0.05 < rows["Verilog, 2x2"]["megabytes"] < 1


def test_the_large_network_is_of_resnet_50s_size():
    shapes = {}
    network = resnet50(CONFIG)
    for layer in network.layers:
        shapes[layer.name] = layer.output.shape
    dense = [branch.codes.size for layer in network.layers for branch in layer.branches if branch.groups == 1]
    assert len(dense) == 54 and sum(dense) == 25_502_912  # weights of convolutions and the linear layer, as published
    assert (shapes["stage3.2.three"], shapes["pool"], shapes["linear"]) == ((2048, 7, 7), (2048, 1, 1), (1000, 1, 1))
