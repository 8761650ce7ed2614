"""Progressive training, the second phase, weight decay of clipping levels, and what is reported: in real trainings."""

import re
from dataclasses import replace

import pytest
import torch

from tests.train.test_export import LOG
from twofold.train import integer
from twofold.train.checkpoint import read_progress
from twofold.train.convert import convert
from twofold.train.data import DataSet, load_data
from twofold.train.export import export
from twofold.train.loop import FitOptions, _optimizers
from twofold.train.models import build_model
from twofold.train.pipelines import apply, train_quantized, trainings
from twofold.train.quantizers import build_activation
from twofold.train.recipe import TrainSettings, parse_recipe
from twofold.train.run_files import STATE


@pytest.fixture(scope="module")
def few():
    whole = load_data("digits")
    return DataSet(
        "few", whole.train_x[:128], whole.train_y[:128], whole.test_x[:100], whole.test_y[:100], whole.input, 10
    )


def sigma(train, *, bits=2, gradient_scale=1.0, levels="uniform"):
    weight = {"quantizer": "sigma", "bits": bits, "levels": levels, "learn": True, "gradient_scale": gradient_scale}
    eight = {"quantizer": "uniform", "bits": 8}
    return parse_recipe(
        {
            "name": "sigma",
            "method": "qat",
            "train": train,
            "layer": [
                {"match": "*", "weight": weight, "activation": {"quantizer": "sigma", "bits": bits}},
                {"match": "@first", "weight": eight},
                {"match": "@last", "weight": eight, "activation": {"bits": 8, "calibration": "max"}},
            ],
        }
    )


def model_of(seed=0):
    torch.manual_seed(seed)
    return build_model("demo").eval()


STAGED = {"epochs": 2, "lr": 0.01, "optimizer": "sgd", "weight_decay": 1e-4, "stages": [4, 3], "again": True}


def test_plan():
    rule = TrainSettings(**STAGED, seed=7)
    plan = trainings(rule)
    assert [bits for bits, _ in plan] == [4, 3, 0, 0]
    assert [settings.seed for _, settings in plan] == [7, 8, 9, 10]
    assert [settings.epochs - round(settings.settle * settings.epochs) for _, settings in plan] == [2, 2, 2, 0]
    assert trainings(TrainSettings()) == [(0, TrainSettings())]


def test_stages_step_down_and_the_last_training_leaves_scales_alone(few):
    seen = []
    recipe = sigma(STAGED)
    quantized = convert(model_of(), recipe, few.input)

    def report(metrics):
        layers = quantized.conv_layers
        bits = tuple(layer.weight_quantizer.bits for layer in layers)
        clips = [layer.weight_quantizer.alpha.item() for layer in layers[1:-1]]
        scales = [q.scale.detach().clone() for q in quantized.quantizers()]
        seen.append((metrics["epoch"], bits, quantized.quant_layers[1].quantizer.bits, clips, scales))

    train_quantized(quantized, model_of(), few, recipe, report=report)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [bits for _, bits, *_ in seen[::2]] == [(8, 4, 4, 8), (8, 3, 3, 8), (8, 2, 2, 8), (8, 2, 2, 8)]
    assert [bits for _, _, bits, *_ in seen[::2]] == [4, 3, 2, 2]
    # From 4 to 3 and from 3 to 2 bits alpha falls by 3/7 and 1/3, and then moves a little.
    for before, after, ratio in ((1, 2, 3 / 7), (3, 4, 1 / 3)):
        for old, new in zip(seen[before][3], seen[after][3], strict=True):
            assert new / old == pytest.approx(ratio, rel=0.2)
    assert any(not torch.equal(one, other) for one, other in zip(seen[4][4], seen[5][4], strict=True))
    assert all(torch.equal(one, other) for one, other in zip(seen[6][4], seen[7][4], strict=True))


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_stopped_training_goes_on_in_its_stage(few, tmp_path, stop):
    recipe = sigma(STAGED)
    whole = convert(model_of(), recipe, few.input)
    train_quantized(whole, model_of(), few, recipe)
    options = FitOptions(state=tmp_path / STATE)

    def report(metrics):
        if metrics["epoch"] == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_quantized(convert(model_of(), recipe, few.input), model_of(), few, recipe, report=report, options=options)
    assert read_progress(options.state)[0] == stop - 1
    resumed = convert(model_of(), recipe, few.input)
    epochs = []
    train_quantized(
        resumed,
        model_of(),
        few,
        recipe,
        report=lambda metrics: epochs.append(metrics["epoch"]),
        options=replace(options, resume=True),
    )
    assert epochs == list(range(stop, 9))
    one, other = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert [layer.weight_quantizer.bits for layer in resumed.conv_layers] == [8, 2, 2, 8]


def test_stages_need_a_quantizer_that_can_change():
    recipe = parse_recipe(
        {
            "name": "fixed",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": {"quantizer": "binary"}},
            ],
        }
    )
    model = convert(model_of(), recipe, load_data("digits").input)
    with pytest.raises(
        ValueError, match=r"^Stages must have a quantizer of weights that can change its bits, not none$"
    ):
        model.set_bits(4)


@pytest.mark.parametrize(("name", "bits"), [("lsq", (2, 4)), ("apot", (2, 4)), ("sigma", (2, 4))])
def test_quantizers_that_can_change(name, bits):
    recipe = parse_recipe(
        {
            "name": "fixed",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": {"quantizer": name, "bits": 2}, "activation": {"bits": 3}},
            ],
        }
    )
    model = convert(model_of(), recipe, load_data("digits").input)
    for least in (4, 0):
        model.set_bits(least)
        assert {layer.weight_quantizer.bits for layer in model.conv_layers} == {max(bits[0], least)}
        assert {layer.quantizer.bits for layer in model.quant_layers} == {max(3, least)}
        assert model.conv_layers[0].weight_quantizer.top == {2: 1, 4: 10 if name == "apot" else 7}[max(2, least)]


@pytest.mark.parametrize("kind", ["lsq", "sigma", "pact", "po2"])
def test_activations_keep_their_clipping_level(kind):
    """From 2 to 4 bits and back; a power of two goes from 3 * 1 to 15 * 1/4, the nearest in the logarithm."""
    quantizer = build_activation(kind, bits=2, signed=False)
    quantizer.calibrate(torch.linspace(0, 3, 1000))
    quantizer.scale.data.fill_(1.0)
    if kind == "po2":
        quantizer.power.data.fill_(0.0)
    assert quantizer.set_bits(4) and quantizer.high == 15
    assert quantizer.scale.item() == (0.25 if kind == "po2" else pytest.approx(0.2))
    assert quantizer.set_bits(0) and quantizer.high == 3
    assert quantizer.scale.item() == pytest.approx(1)
    assert not build_activation(kind, bits=2, signed=False, scale=0.5).set_bits(4)


def test_weight_decay_takes_alpha_once_a_step(few):
    """Not once an element: with no other gradient a step of rate 0.1 takes 0.1 * 0.3 of alpha away, in any layer."""
    recipe = sigma({"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.3, "momentum": 0.0})
    quantized = convert(model_of(), recipe, few.input).train()
    optimizers = _optimizers(quantized, recipe.train)
    alphas = [q.alpha for q in quantized.quantizers() if hasattr(q, "alpha")]
    assert len(alphas) == 2 + 4
    for alpha in alphas:
        alpha.data.fill_(2.0)
        alpha.grad = torch.zeros(1)
    optimizers[0].step()
    assert [alpha.item() for alpha in alphas] == pytest.approx([2 - 0.1 * 0.3 * 2] * len(alphas))


def test_pruning_is_reported_and_grows_with_the_clipping_level(few):
    found = []
    recipe = sigma({"epochs": 2, "lr": 0.05, "optimizer": "sgd"}, bits=3)
    model = convert(model_of(), recipe, few.input)
    train_quantized(model, model_of(), few, recipe, report=lambda metrics: found.append(metrics["pruned"]))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    pruned = model.metrics()["pruned"]
    assert len(found) == 2 and found[-1] == pruned
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())  # looking changes nothing
    zeros = sum(int((layer.weight == 0).sum()) for layer in model.conv_layers)
    assert pruned == zeros / sum(layer.weight.numel() for layer in model.conv_layers)
    by_clipping = []
    for factor in (0.5, 1.0, 2.0):
        for layer in model.conv_layers[1:-1]:
            quantizer = layer.weight_quantizer
            quantizer.scale.data.copy_(quantizer.scale * factor)
        by_clipping.append(model.metrics()["pruned"])
        model.load_state_dict(state)
    assert by_clipping[0] < by_clipping[1] == pruned < by_clipping[2]


def test_network_says_what_is_pruned(few):
    recipe = sigma({"epochs": 1, "lr": 0.01, "optimizer": "sgd"})
    result = apply(model_of(), few, recipe, LOG)
    network = export(result.model, LOG)
    for layer in result.model.conv_layers:
        zeros = float((layer.weight == 0).double().mean())
        assert network.meta["layers"][layer.name]["pruned"] == pytest.approx(zeros)
    assert network.meta["layers"]["linear"]["pruned"] < network.meta["layers"]["block.conv1"]["pruned"]


ATTENTION = {
    "quantizer": "attention",
    "strength": 5.0,
    "members": [
        {"quantizer": "minmax", "bits": 2},
        {"quantizer": "minmax", "bits": 4},
        {"quantizer": "minmax", "bits": 8},
    ],
}


def attention(train):
    eight = {"quantizer": "uniform", "bits": 8}
    return parse_recipe(
        {
            "name": "attention",
            "method": "qat",
            "train": train,
            "layer": [
                {"match": "*", "weight": ATTENTION, "activation": {"bits": 4}},
                {"match": "@first", "weight": eight},
                {"match": "@last", "weight": eight, "activation": {"bits": 8, "calibration": "max"}},
            ],
        }
    )


def test_attention_cools_down_to_one_quantizer_in_training(few):
    found = []
    train = {"epochs": 4, "lr": 0.01, "optimizer": "sgd", "settle": 0.0, "penalty": 1.0}
    result = apply(model_of(), few, attention(train), LOG, report=found.append)
    shares = [[line[f"attention{k}"] for k in range(3)] for line in found]
    assert all(sum(line) == pytest.approx(1) for line in shares)
    # Temperatures 17.3, 1.73, 0.23 and 0.03: from nearly equal shares to nearly one.
    assert max(shares[0]) < 0.4 and max(shares[-1]) > 0.99
    assert [max(line) for line in shares] == sorted(max(line) for line in shares)
    for layer in result.model.conv_layers[1:-1]:
        quantizer = layer.weight_quantizer
        assert int(quantizer.choice) == int(quantizer.alpha.argmax()) and quantizer.heat.item() == pytest.approx(0.03)
        assert len(layer.weight.unique()) <= 2**quantizer.chosen.bits
    network = export(result.model, LOG)
    logits = integer.run(network, few.test_integers)["linear"].flatten(1)
    reached = float((logits.argmax(1) == few.test_y).double().mean())
    assert abs(reached - result.accuracy) <= 0.05


@pytest.mark.parametrize("stages", [[3, 4], (3, 4), [4, 4], [9], [4, 1]])
def test_stages_fall(stages):
    message = f"train.stages must be falling numbers of 2 to 8 bits, not {stages!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainSettings(stages=stages)


@pytest.mark.parametrize("bits", [2.5, 3.0, True, "3"])
def test_stages_are_integers(bits):
    with pytest.raises(ValueError, match=f"^{re.escape(f'train.stages[1] must be an integer, not {bits!r}')}$"):
        TrainSettings(stages=[4, bits])
