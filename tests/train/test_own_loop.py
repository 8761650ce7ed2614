"""A user's own training loop and her own quantizer."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from twofold.golden.config import load_config
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet, InputFormat
from twofold.train.export import export
from twofold.train.hooks import AID_LR, QuantTraining
from twofold.train.loop import fit
from twofold.train.quantizers import QUANTIZERS, WeightQuantizer, build_quantizer
from twofold.train.recipe import TrainSettings, load_recipe, parse_recipe
from twofold.train.snap import snap

FORM = InputFormat((3, 6, 6), 8, True, 1 / 64)
PAGE = Path("docs/training.md").read_text(encoding="utf-8")


def network(seed=0, *, outputs=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, outputs),
    ).eval()


def images(count=64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-128, 128, (count, 3, 6, 6), generator=generator) / 64
    return x, torch.randint(0, 4, (count,), generator=generator)


def calibrated(name="lsq_w3a3"):
    quantized = convert(network(), load_recipe(f"recipes/{name}.toml"), FORM, training=True)
    calibrate(quantized, images()[0])
    return quantized


def test_the_same_steps_give_what_fit_gives():
    x, y = images()
    rule = TrainSettings(
        epochs=3, batch=16, lr=1e-3, weight_decay=1e-3, settle=1 / 3, schedule="constant", penalty=1.0, v_lr=AID_LR
    )
    ours, own = calibrated("stlq_w3a3_r10_cifar"), calibrated("stlq_w3a3_r10_cifar")
    fit(ours, DataSet("x", x, y, x, y, FORM, 4), rule)
    ours.fold()
    generator = torch.Generator().manual_seed(rule.seed)
    with QuantTraining(own, steps=12, epochs=3, settle=1 / 3) as training:
        optimizer = torch.optim.Adam(training.groups(weight_decay=1e-3), lr=1e-3)
        for _ in range(3):
            for batch in torch.randperm(64, generator=generator).split(16):
                with training.step(optimizer):
                    (F.cross_entropy(own(x[batch]), y[batch]) + training.penalty()).backward()
    assert not own.training
    for (name, one), (other_name, other) in zip(ours.state_dict().items(), own.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(one, other), name


def test_the_end_of_training():
    quantized = calibrated("stlq_w3a3_r10_cifar")
    x, y = images(16)
    quantizer = quantized.conv_layers[1].weight_quantizer
    with QuantTraining(quantized, steps=2) as training:
        optimizer = torch.optim.SGD(training.groups(), lr=1e-3)
        assert quantizer.v.requires_grad and quantized.training
        assert all(quantizer.v is not p for group in optimizer.param_groups for p in group["params"])
        start = quantizer.v.clone()
        for _ in range(2):
            with training.step(optimizer):
                (F.cross_entropy(quantized(x), y) + training.penalty()).backward()
        assert not torch.equal(quantizer.v, start)  # aids are moved, too
        with (
            pytest.raises(ValueError, match=r"^Training must take the 2 steps that it was made for, not more$"),
            training.step(),
        ):
            pass
    assert not quantizer.v.any() and not quantizer.v.requires_grad
    assert all(layer.norm is None for layer in quantized.conv_layers)
    config = load_config("configs/log_16x16.toml")
    snap(quantized, config)
    export(quantized, config)


def test_an_error_leaves_the_model_in_training():
    quantized = calibrated()
    with pytest.raises(KeyboardInterrupt), QuantTraining(quantized, steps=4):
        raise KeyboardInterrupt
    assert quantized.training and quantized.conv_layers[0].norm is not None


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"steps": 0}, "Steps must be 1 or more and epochs 1 to as many, not 0 and 1"),
        ({"steps": 3, "epochs": 4}, "Steps must be 1 or more and epochs 1 to as many, not 3 and 4"),
        ({"steps": 3, "settle": 1.0}, "Part that settles must be 0 to below 1, not 1.0"),
    ],
)
def test_impossible_trainings(numbers, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        QuantTraining(calibrated(), **numbers)


def test_a_model_that_was_not_calibrated():
    quantized = convert(network(), load_recipe("recipes/lsq_w3a3.toml"), FORM, training=True)
    with pytest.raises(ValueError, match=r"^Network 'sequential' must be calibrated before it is trained"):
        QuantTraining(quantized, steps=1)


def test_the_page_has_a_quantizer_of_fifteen_lines_that_recipes_know():
    (block,) = re.findall(r"```python\n(import torch\nfrom twofold.train.quantizers.+?)```", PAGE, re.DOTALL)
    assert len(block.strip().splitlines()) <= 15
    try:
        exec(block, {"__name__": "mine"})
        weight = {"quantizer": "fourfold"}
        recipe = parse_recipe({"name": "t", "method": "ptq", "layer": [{"match": "*", "weight": weight}]})
        quantized = convert(network(), recipe, FORM)
        calibrate(quantized, images()[0])
        layer = quantized.conv_layers[0]
        found = (layer.weight / layer.weight_quantizer.scale.view(-1, 1, 1, 1)).detach().round().unique().tolist()
        assert found == [-4, -1, 0, 1, 4]
        config = load_config("configs/log_16x16.toml")
        snap(quantized, config)
        coded = export(quantized, config).layers[0].branches[0]
        assert len(coded.codes) == 1  # one word a weight
    finally:
        QUANTIZERS.pop("fourfold", None)


def test_a_name_belongs_to_one_quantizer():
    with pytest.raises(ValueError, match=r"^Quantizer's name must be new, not 'lsq', which is that of LSQuantizer$"):

        class Mine(WeightQuantizer, name="lsq"):
            pass

    assert type(build_quantizer("lsq", (1, 1, 1, 1), bits=3)).__name__ == "LSQuantizer"


def test_the_page_has_a_loop_of_ones_own():
    (block,) = re.findall(r"```python\n(from twofold.train.hooks.+?)```", PAGE, re.DOTALL)
    x, y = images(16)
    names = {
        "quantized": calibrated(),
        "epochs": 2,
        "batches": [(x[:8], y[:8]), (x[8:], y[8:])],
        "torch": torch,
        "F": F,
    }
    exec(block, names)
    assert not names["quantized"].training
