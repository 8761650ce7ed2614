"""Simulation speed and array utilisation: the reports have what they promise, and numbers that can be checked."""

import json
from types import SimpleNamespace

import pytest
import torch

from twofold.bench import sim_speed, utilisation
from twofold.bench.__main__ import merge
from twofold.golden import layers
from twofold.golden.causes import LOST
from twofold.golden.config import load_config
from twofold.golden.image import Image
from twofold.testing.random_network import random_inputs
from twofold.train.models import build_model

#: Of the demo's network on 8x8 images: 3x3 convolutions of 1 and 16 channels at 4x4, and the linear layer.
MACS = 16 * 9 * 16 + 2 * 16 * 16 * 9 * 16 + 16 * 10


def test_simulation_speed(tmp_path, monkeypatch, capsys):
    """A small build, few inferences: the same integers and cycles, and those that were predicted."""
    monkeypatch.setattr(sim_speed, "REPORT", tmp_path / "sim_speed.json")
    assert sim_speed.main(["--config", "configs/log_4x4.toml", "--inputs", "2", "--repeats", "2"]) == 0
    report = json.loads(sim_speed.REPORT.read_text())
    assert set(report) == {"simulator", "cores", "sim_speed"}
    (row,) = report["sim_speed"]
    assert set(row) == {
        "build",
        "cycles",
        "predicted_cycles",
        "host_cycles_per_second",
        "cocotb_cycles_per_second",
        "speedup",
        "same",
    }
    assert row["build"] == "log_4x4" and row["same"] is True
    assert row["cycles"] == row["predicted_cycles"] > 0
    assert row["speedup"] > 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "log_4x4" in line)
    assert line.rstrip(" │").endswith(" yes")


def test_a_difference_fails(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sim_speed, "REPORT", tmp_path / "sim_speed.json")
    found = {"seconds": 1.0, "cycles": [5], "outputs": [[[[1]]]]}
    monkeypatch.setattr(sim_speed, "run_host", lambda *rest: found)
    for change, status in (({}, 0), ({"outputs": [[[[2]]]]}, 1), ({"cycles": [6]}, 1)):
        monkeypatch.setattr(sim_speed, "run_cocotb", lambda *rest, change=change: found | {"seconds": 3.0} | change)
        assert sim_speed.main(["--config", "configs/log_4x4.toml"]) == status
        assert json.loads(sim_speed.REPORT.read_text())["sim_speed"][0]["speedup"] == 3.0
    assert capsys.readouterr().out.count("NO") == 2


@pytest.mark.parametrize("build", ["log_8x8", "subset_16x16"])
def test_utilisation(build, tmp_path, monkeypatch):
    """MACs by the layers' shapes; cycles that are at least the ideal, and add up by what they went on."""
    monkeypatch.setattr(utilisation, "REPORT", tmp_path / "utilisation.json")
    assert utilisation.main(["--config", f"configs/{build}.toml", "--network", "demo"]) == 0
    assert merge(tmp_path) == tmp_path / "report.json"
    row = json.loads((tmp_path / "report.json").read_text())["utilisation"]["demo"][build]
    config = load_config(f"configs/{build}.toml")
    elements = config.rows * config.cols
    assert set(row) == {
        "macs",
        "word_macs",
        "cycles",
        "ideal_cycles",
        "busy",
        "word_busy",
        "lost",
        "layers",
    }
    assert row["macs"] == MACS and row["macs"] < row["word_macs"] < row["cycles"] * elements
    assert row["ideal_cycles"] == -(-MACS // elements)
    assert row["busy"] == round(MACS / (row["cycles"] * elements), 4)
    assert row["busy"] < row["word_busy"] < 1
    assert tuple(row["lost"]) == LOST and sum(row["lost"].values()) == row["cycles"]
    assert all(0 < part < 1 for part in row["layers"].values())


@pytest.mark.parametrize("message", ["", "AssertionError: Cycles must be 5903, not 5904"])
def test_a_network_that_differs_on_rtl_fails_the_bench(message, tmp_path, monkeypatch, capsys):
    """What runs it and compares is that of `twofold sim --network`, which has tests of its own."""
    ran = []

    def check(config, network, seed, *, image, reference):
        ran.append((config.name, network.name))
        assert image.config == config
        inputs = random_inputs(seed, network, 1)
        found = reference(network, inputs)
        assert all((found[name] == value).all() for name, value in layers.run(network, inputs).items())
        return SimpleNamespace(message=message)

    monkeypatch.setattr(utilisation, "REPORT", tmp_path / "utilisation.json")
    monkeypatch.setattr(utilisation, "check_network", check)
    options = ["--config", "configs/log_8x8.toml", "--network", "demo", "--simulate"]
    assert utilisation.main(options) == (1 if message else 0)
    assert ran == [("log_8x8", "demonet")]
    row = json.loads(utilisation.REPORT.read_text())["utilisation"]["demo"]["log_8x8"]
    assert row["simulated"] == message
    assert f"demo on log_8x8, RTL: {message or 'the same integers and cycles'}\n" in capsys.readouterr().out


def test_networks_get_the_memory_that_they_need(monkeypatch):
    """A build too small for the network is deepened, never made wider."""
    seen = []

    def compiled(network, config):
        seen.append(config)
        return real(network, config)

    real = utilisation.compile_network
    monkeypatch.setattr(utilisation, "compile_network", compiled)
    small = load_config("configs/log_8x8.toml")
    row = utilisation.measure("demo", small)
    assert (seen[0].rows, seen[0].cols, seen[0].weight_depth) == (8, 8, utilisation.DEEP["weight_depth"])
    assert isinstance(real(utilisation.quantized("demo", seen[0]), seen[0]), Image)
    assert row["cycles"] == real(utilisation.quantized("demo", seen[0]), seen[0]).cycles


@pytest.mark.parametrize("name", utilisation.NETWORKS)
def test_networks_are_measured_on_builds_that_are_shipped(name):
    case = utilisation.NETWORKS[name]
    assert {config.name for config in map(load_config, case.builds)} == set(case.builds)
    x = torch.zeros(1, *case.shape)
    assert build_model(name, classes=case.classes).eval()(x).shape == (1, case.classes)
