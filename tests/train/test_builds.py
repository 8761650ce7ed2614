"""Exported networks name their build; another build's error names one to take."""

import pytest
import torch

from twofold.golden import container
from twofold.golden.config import load_config
from twofold.mapper.builds import describe, made_for
from twofold.train import builds
from twofold.train.__main__ import main
from twofold.train.builds import export_for
from twofold.train.convert import calibrate, convert
from twofold.train.data import load_data
from twofold.train.models import build_model
from twofold.train.recipe import load_recipe
from twofold.train.runs import save_run


@pytest.fixture(scope="module")
def quantized():
    recipe, data = load_recipe("recipes/subset_w4a8.toml"), load_data("digits")
    torch.manual_seed(0)
    model = convert(build_model("demo").eval(), recipe, data.input)
    calibrate(model, data.train_x[:64])
    model.finish()
    return model, recipe


@pytest.fixture
def run(quantized, tmp_path):
    model, recipe = quantized
    save_run(tmp_path / "run", model, {"model": "demo", "data": "digits", "build": None}, recipe)
    return tmp_path / "run"


def test_an_exported_network_names_its_build(run, tmp_path):
    arguments = ["export", str(run), "--config", "configs/subset_16x16.toml", "--out", str(tmp_path / "net")]
    assert main(arguments) == 0
    network = container.load(tmp_path / "net")
    assert network.meta["build"] == "subset_16x16"
    builds = ["subset_16x16", "subset_4x4", "subset_8x8", "linear_16x16", "mobilenet_16x16", "stream_16x16"]
    builds.append("imagenet_16x16")
    assert [path.stem for path in made_for(network)] == builds
    assert describe(network).startswith(f"Network {network.name!r} was made for build 'subset_16x16': subset_16")


@pytest.mark.parametrize("command", ["export", "eval"])
def test_another_builds_error_names_those_to_take(command, run, tmp_path, capsys):
    out = ["--out", str(tmp_path / "net")] if command == "export" else []
    assert main([command, str(run), "--config", "configs/log_8x8.toml", *out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Weight format must be the array's" in line
    builds = "subset_4x4, subset_8x8, linear_16x16, mobilenet_16x16, stream_16x16, subset_16x16, imagenet_16x16"
    assert line.endswith(f". Build 'log_8x8' does not take the network. Take one of {builds}")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(("method", "recipe"), [("ptq", "subset_w4a8"), ("fit", "stlq_w3a4_r10")])
def test_another_build_is_refused_before_any_training(method, recipe, run, tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    save_run(tmp_path / "float", build_model("demo").eval(), {"model": "demo", "data": "digits"})
    for name in ("quantize", "train_quantized"):
        monkeypatch.setattr(f"twofold.train.pipelines.{name}", lambda *_, **__: pytest.fail("training began"))
    wrong = {"ptq": "log_8x8", "fit": "subset_8x8"}[method]
    arguments = [method, "--start", str(tmp_path / "float"), "--recipe", recipe, "--config", wrong]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()  # after the progress bar's line
    assert line.startswith("error: Layer ") and "Weight format must be the array's" in line
    taken = {"ptq": "subset_4x4, subset_8x8, linear_16x16", "fit": "log_4x4, log_8x8, log_16x16"}[method]
    assert f". Build {wrong!r} does not take the network. Take one of {taken}" in line
    assert not (tmp_path / "out").exists()


def test_without_a_build_to_take_the_error_says_so(quantized, monkeypatch):
    model, _ = quantized
    monkeypatch.setattr(builds, "_builds", lambda: [])
    with pytest.raises(ValueError, match=r"None of configs/ does: make a build of its weight format$"):
        export_for(model, load_config("configs/log_8x8.toml"))


def test_an_error_of_every_build_is_left_as_it_is(quantized):
    _, recipe = quantized
    bare = convert(build_model("demo").eval(), recipe, load_data("digits").input)
    with pytest.raises(ValueError, match=r"must be calibrated before it is exported, not just converted$"):
        export_for(bare, load_config("configs/log_8x8.toml"))
