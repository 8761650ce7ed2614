"""Data, recipes, training, post-training and runs on disk."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from twofold.golden.config import load_config
from twofold.golden.container import load
from twofold.golden.network import INPUT
from twofold.train import integer
from twofold.train.__main__ import main
from twofold.train.convert import calibrate, convert
from twofold.train.data import DATA, DataSet, InputFormat, load_data, shift_images
from twofold.train.export import export
from twofold.train.loop import accuracy, fit
from twofold.train.models import MODELS, build_model
from twofold.train.pipelines import apply, float_model
from twofold.train.ptq import correct_bias, fit_channels, float_means, float_sums
from twofold.train.quantizers import QUANTIZERS
from twofold.train.recipe import PostSettings, TrainSettings, load_recipe, parse_recipe
from twofold.train.reconstruct import learn_block
from twofold.train.runs import load_run, save_run

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
RECIPE_8 = {"name": "w8", "method": "ptq", "layer": [{"match": "*", "weight": {"quantizer": "uniform", "bits": 8}}]}
SHORT = TrainSettings(epochs=8, batch=64, lr=1e-2, weight_decay=1e-3)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return float_model(digits, settings=SHORT)


def test_digits_are_split_once_and_evenly(digits):
    assert len(digits.train_x) == 1198 and len(digits.test_x) == 599
    assert digits.test_x.shape[1:] == (1, 8, 8)
    counts = torch.bincount(digits.test_y)
    assert counts.min() >= 58 and counts.max() <= 61
    assert torch.equal(digits.test_integers.float() / 16, digits.test_x)
    assert 0 <= digits.test_integers.min() and digits.test_integers.max() == 16
    again = load_data("digits")
    assert torch.equal(again.test_x, digits.test_x) and torch.equal(again.train_y, digits.train_y)
    both = torch.cat([digits.train_x, digits.test_x]).flatten(1)
    from sklearn.datasets import load_digits

    assert sorted(both.mul(16).long().tolist()) == sorted(load_digits().data.astype(int).tolist())


def test_shifted_images():
    image = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(64, 1, 1, 1)
    moved = shift_images(image, torch.Generator().manual_seed(0), 1)
    assert any(torch.equal(x[0], torch.tensor([[4.0, 5, 0], [7, 8, 0], [0, 0, 0]])) for x in moved)
    assert len({tuple(x.flatten().tolist()) for x in moved}) == 9


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_recipes_load(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem and recipe.source


def test_later_rules_override_what_they_state():
    recipe = parse_recipe(
        {
            "name": "r",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": {"quantizer": "uniform", "bits": 4}, "activation": {"bits": 4}},
                {"match": "block.*", "weight": {"quantizer": "stlq", "bits": 3, "tile": [8, 8]}},
                {"match": "@last", "activation": {"bits": 8}},
            ],
        }
    )
    weight, activation = recipe.settings("block.conv1", ("@conv2d", "@last"))
    assert weight.quantizer == "stlq" and weight.options == {"bits": 3, "tile": (8, 8)} and activation.bits == 8
    weight, activation = recipe.settings("stem", ("@conv2d", "@first"))
    assert weight.quantizer == "uniform" and activation.bits == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "none"}, "method must be one of ('qat', 'ptq'), not 'none'"),
        (
            {"speed": 1},
            "key must be one of ('name', 'source', 'method', 'layer', 'train', 'ptq', 'residual'), not 'speed'",
        ),
        ({"layer": [{}]}, "key 'layer.match' must be given, not left out"),
        (
            {"layer": [{"match": "@middle"}]},
            "match must be a path or one of ('@first', '@last', '@conv2d', '@linear', "
            "'@maxpool', '@avgpool', '@add'), not '@middle'",
        ),
        (
            {"layer": [{"match": "*", "weight": {"bits": 3}}]},
            "layer '*': key 'weight.quantizer' must be given, not left out",
        ),
        (
            {"layer": [{"match": "*", "weight": {"quantizer": "sq"}}]},
            f"layer '*': weight.quantizer must be one of {tuple(QUANTIZERS)}, not 'sq'",
        ),
        ({"layer": [{"match": "*", "activation": {"bits": 9}}]}, "layer '*': activation.bits must be 2 to 8, not 9"),
        (
            {"layer": [{"match": "*", "activation": {"calibration": "kl"}}]},
            "layer '*': activation.calibration must be one of ('mse', 'max'), not 'kl'",
        ),
        ({"train": {"epochs": 0}}, "train.epochs must be at least 1, not 0"),
        ({"train": {"lr": "fast"}}, "train.lr must be a number, not 'fast'"),
        ({"train": {"settle": 1.0}}, "train.settle must be 0 to below 1, not 1.0"),
        ({"train": {"distill": 2}}, "train.distill must be 0 to 1, not 2"),
        ({"train": {"optimizer": "lion"}}, "train.optimizer must be one of ('adam', 'sgd'), not 'lion'"),
        ({"ptq": {"images": 0}}, "ptq.images must be at least 1, not 0"),
        ({"ptq": {"reconstruct": 1}}, "ptq.reconstruct must be true or false, not 1"),
    ],
)
def test_recipe_errors(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_recipe({"name": "r", "method": "qat", "layer": []} | change)


def test_recipe_file_errors(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("name = ")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: file must be TOML, not this: "):
        load_recipe(path)
    path.write_text("name = 'x'\nmethod = 'qat'\n")
    message = f"{path}: key 'layer' must be given, not left out"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_recipe(path)


def test_training_is_deterministic(digits, trained):
    model, reached = trained
    again, same = float_model(digits, settings=SHORT)
    assert same == reached > 0.9
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    other, _ = float_model(digits, settings=replace(SHORT, epochs=1, seed=1))
    assert not torch.equal(other.linear.weight, model.linear.weight)


def test_training_does_not_depend_on_the_global_generator(digits):
    results = []
    for noise in (1, 2):
        torch.manual_seed(0)
        model = build_model("demo")
        torch.manual_seed(noise)
        fit(model, digits, replace(SHORT, epochs=1))
        results.append(model.linear.weight.detach())
    assert torch.equal(*results)


def test_auxiliary_values_fade_in_training(digits, trained):
    recipe = load_recipe(ROOT / "recipes" / "stlq_w3a4_r10.toml")
    metrics: list[dict[str, float]] = []
    result = apply(
        trained[0],
        digits,
        replace(recipe, train=replace(recipe.train, epochs=6, v_lr=2.0, settle=0.34)),
        load_config(ROOT / "configs" / "log_8x8.toml"),
        report=metrics.append,
    )
    shares = [m["auxiliary"] for m in metrics]
    assert shares[0] > 0.5 and shares[-1] == 0 and shares == sorted(shares, reverse=True)
    assert result.accuracy > result.float_accuracy - 0.03
    chosen, units = result.model.conv_layers[1].weight_quantizer.facts()["two_word_ratio"]
    assert chosen / units == pytest.approx(4 / 36)


@pytest.mark.parametrize(
    ("name", "build", "allowed"),
    [("subset_w4a8", "subset_8x8", 0.015), ("subset_w3a8", "subset3_8x8", 0.03)],
)
def test_post_training(digits, trained, name, build, allowed):
    config = load_config(ROOT / "configs" / f"{build}.toml")
    result = apply(trained[0], digits, ROOT / "recipes" / f"{name}.toml", config)
    assert result.accuracy >= result.float_accuracy - allowed
    network = export(result.model, config)
    logits = integer.run(network, digits.test_integers)["linear"].flatten(1)
    assert abs(float((logits.argmax(1) == digits.test_y).double().mean()) - result.accuracy) < 0.004
    for layer in (1, 2):
        points = network.point_sets[network.layers[layer].branches[0].point_set]
        assert points == result.model.conv_layers[layer].weight_quantizer.points


def calibrated(trained, digits, name="subset_w3a8"):
    model = convert(trained[0], load_recipe(ROOT / "recipes" / f"{name}.toml"), digits.input)
    images = digits.train_x[:256]
    wanted, floats = {}, {INPUT: images}
    with torch.no_grad():
        for layer in model.quant_layers:
            wanted[layer.name] = float_sums(layer, floats)
            floats[layer.name] = layer.activate(wanted[layer.name])
    calibrate(model, images)
    return model, images, wanted


def layer_error(layer, tensors, wanted):
    with torch.no_grad():
        return float(F.mse_loss(layer.compute(tensors), wanted))


def output_error(layer, tensors, target):
    with torch.no_grad():
        return float(F.mse_loss(layer.activate(layer.compute(tensors)), target))


@pytest.mark.parametrize(("rounding", "lr", "part"), [("straight", 0.01, 0.9), ("choose", 0.1, 1.0)])
def test_reconstruction_lowers_the_error_of_each_layer(digits, trained, rounding, lr, part):
    model, images, wanted = calibrated(trained, digits)
    with torch.no_grad():
        tensors = model.trace(images)
    for layer in model.conv_layers:
        before = layer_error(layer, tensors, wanted[layer.name])
        fit_channels(layer, tensors, wanted[layer.name])
        fitted = layer_error(layer, tensors, wanted[layer.name])
        assert fitted <= before * 1.0001, layer.name
        with torch.no_grad():
            gap = (layer.compute(tensors) - wanted[layer.name]).mean(dim=(0, 2, 3))
        assert gap.abs().max() < 1e-4 * wanted[layer.name].abs().max(), layer.name
        if layer.name.startswith("block"):
            target = layer.activate(wanted[layer.name])
            start = output_error(layer, tensors, target)
            settings = PostSettings(steps=100, rounding=rounding, lr=lr)
            floats = tensors | {layer.name: target}
            learn_block([layer], tensors, floats, settings, torch.Generator().manual_seed(0))
            assert output_error(layer, tensors, target) < part * start, layer.name


def test_bias_correction_makes_means_equal(digits, trained):
    model, images, wanted = calibrated(trained, digits)
    means = float_means(convert(trained[0], parse_recipe(RECIPE_8), digits.input), images)
    assert all(torch.allclose(means[name], wanted[name].mean(dim=(0, 2, 3)), atol=1e-5) for name in wanted)
    correct_bias(model, images, means)
    tensors = model.read(images)
    with torch.no_grad():
        for layer in model.quant_layers:
            if layer in model.conv_layers:
                gap = (layer.compute(tensors) - wanted[layer.name]).mean(dim=(0, 2, 3))
                assert gap.abs().max() < 1e-5, layer.name
            tensors[layer.name] = layer(tensors)


def test_runs_come_back(tmp_path, digits, trained):
    recipe = load_recipe(ROOT / "recipes" / "stlq_w3a4_r10.toml")
    config = load_config(ROOT / "configs" / "log_8x8.toml")
    result = apply(trained[0], digits, replace(recipe, train=replace(recipe.train, epochs=1)), config)
    save_run(tmp_path / "run", result.model, {"model": "demo", "data": "digits"}, recipe)
    model, _, facts = load_run(tmp_path / "run")
    assert facts["recipe"]["name"] == recipe.name
    with torch.no_grad():
        assert torch.equal(model(digits.test_x), result.model(digits.test_x))
    ours, theirs = export(model, config), export(result.model, config)
    assert all(np.array_equal(a.bias, b.bias) for a, b in zip(ours.layers, theirs.layers, strict=True))
    (tmp_path / "run" / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"model\.safetensors: checksum must be that of run\.json, "):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"version": 3}')
    with pytest.raises(ValueError, match=r"run\.json: version must be 2, not 3$"):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json: file must be JSON, not this: "):
        load_run(tmp_path / "run")


def test_names_that_do_not_exist():
    with pytest.raises(ValueError, match=rf"^Model must be one of {re.escape(str(tuple(MODELS)))}, not 'no such'$"):
        build_model("no such")
    with pytest.raises(ValueError, match=rf"^Data must be one of {re.escape(str(DATA))}, not 'svhn'$"):
        load_data("svhn")
    with pytest.raises(ValueError, match=r"^Input shape must be .*, not \(3, 4, 5, 6\)$"):
        InputFormat((3, 4, 5, 6))


def test_sgd_learns_too(digits):
    torch.manual_seed(0)
    model = build_model("demo")
    small = DataSet("some", digits.train_x[:320], digits.train_y[:320], digits.test_x, digits.test_y, digits.input, 10)
    fit(model, small, TrainSettings(epochs=10, lr=0.1, optimizer="sgd"))
    assert accuracy(model, small.train_x, small.train_y) > 0.9


def test_command_line(tmp_path, capsys):
    run, quantized, out = (str(tmp_path / name) for name in ("float", "subset", "network"))
    config = str(ROOT / "configs" / "subset_8x8.toml")
    recipe = str(ROOT / "recipes" / "subset_w4a8.toml")
    assert main(["fit", "--out", run, "--epochs", "2"]) == 0
    lines = (tmp_path / "float" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert main(["ptq", "--out", quantized, "--start", run, "--recipe", recipe, "--config", config]) == 0
    assert main(["export", quantized, "--config", config, "--out", out]) == 0
    assert load(out).meta["recipe"] == "subset_w4a8"
    capsys.readouterr()
    assert main(["eval", quantized, "--config", config]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("accuracy 0.") and second.startswith("integer accuracy 0.")
    assert main(["fit", "--out", quantized, "--recipe", recipe, "--start", run, "--config", config]) == 2
    assert capsys.readouterr().err == f"error: {recipe}: method must be 'qat', not 'ptq'\n"
    assert main(["export", run, "--config", config, "--out", out]) == 2
    assert capsys.readouterr().err == f"error: Run must be of a quantized model, not the float model in {run!r}\n"
    assert main(["eval", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: Run must have a file 'model.safetensors', not so {str(tmp_path)!r}\n"


@pytest.mark.parametrize(("capability", "said"), [("AVX2", True), ("DEFAULT", True), ("AVX512", False)])
def test_slow_bfloat16_is_said(capability, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    command = ["fit", "--epochs", "1", "--steps", "1", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main([*command, "--bf16"]) == 0
    assert ("bfloat16 is slower than float32 here" in capsys.readouterr().err) == said
    assert main(command) == 0
    assert "bfloat16" not in capsys.readouterr().err
