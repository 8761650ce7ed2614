"""Options of the training loop: running mean of the weights, temperature of distillation, Nesterov's momentum."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet, InputFormat
from twofold.train.loop import FitOptions, Training, accuracy, fit
from twofold.train.recipe import TrainSettings, load_recipe

FORM = InputFormat((2, 4, 4), 8, True, 1 / 64)
BASE = TrainSettings(epochs=2, batch=8, lr=0.1, optimizer="sgd", augment=False, average=0.5)


class StoppedError(Exception):
    pass


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 2, 4, 4, generator=generator), torch.randint(0, 3, (24,), generator=generator)
    return DataSet("drawn", x, y, x, y, FORM, 3)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def quantized(data):
    model = convert(network().eval(), load_recipe("lsq_w3a3"), FORM, training=True)
    calibrate(model, data.train_x)
    return model


def test_the_model_ends_with_the_means_of_its_steps(data, monkeypatch):
    means, step = {}, Training.step

    def seen(self, batch):
        found = step(self, batch)
        number = self.reached.epoch * self.steps + self.reached.step
        keep = min(0.5, (1 + number) / (10 + number))
        for key, value in self.model.state_dict().items():
            if value.is_floating_point():
                means[key] = means.get(key, start[key]) * keep + value * (1 - keep)
        return found

    monkeypatch.setattr(Training, "step", seen)
    model = network()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    fit(model, data, BASE)
    assert len(means) == 8
    for key, mean in means.items():
        assert torch.allclose(model.state_dict()[key], mean, atol=1e-6)


def test_the_means_are_evaluated(data):
    lines = []
    model = network()
    fit(model, data, BASE, report=lines.append, options=FitOptions(evaluate=1))
    assert lines[-1]["accuracy"] == accuracy(model, data.test_x, data.test_y)
    plain = network()
    fit(plain, data, replace(BASE, average=0.0), options=FitOptions(evaluate=1))
    assert not torch.equal(plain[0].weight, model[0].weight)


@pytest.mark.parametrize("make", [lambda data: network(), quantized], ids=["float", "quantized"])
def test_resumed_means_are_the_same(tmp_path, data, make):
    whole = make(data)
    fit(whole, data, BASE)

    def report(metrics):
        raise StoppedError

    options = FitOptions(state=tmp_path / "state", every=2)
    with pytest.raises(StoppedError):
        fit(make(data), data, BASE, report=report, options=options)
    model = make(data)
    fit(model, data, BASE, options=replace(options, resume=True))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize("augment", [False, True])
def test_soft_labels_have_a_temperature(data, augment):
    teacher, model = network().eval(), network()
    data = replace(data, augment=lambda images, *arguments, **options: images) if augment else data
    settings = replace(BASE, distill=0.9, temperature=4.0, augment=augment)
    batch = torch.arange(8)
    loss, _ = Training(model, data, settings, teacher).step(batch)
    with torch.no_grad():
        logits, labels = network()(data.train_x[batch]), data.train_y[batch]
        soft = (teacher(data.train_x[batch]) / 4).softmax(1)
    wanted = 0.1 * F.cross_entropy(logits, labels) + 0.9 * 16 * F.cross_entropy(logits / 4, soft)
    assert loss == pytest.approx(float(wanted), rel=1e-5)


def test_momentum_is_nesterovs(data):
    plain, nesterov = network(), network()
    fit(plain, data, replace(BASE, average=0.0))
    fit(nesterov, data, replace(BASE, average=0.0, nesterov=True))
    assert not torch.equal(plain[0].weight, nesterov[0].weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"nesterov": True, "optimizer": "adam"},
            "train.nesterov must be false but for sgd with momentum, not true for 'adam' with momentum 0.9",
        ),
        (
            {"nesterov": True, "momentum": 0.0},
            "train.nesterov must be false but for sgd with momentum, not true for 'sgd' with momentum 0.0",
        ),
        ({"temperature": 0.0}, "train.temperature must be above 0, not 0.0"),
        ({"average": 1.0}, "train.average must be 0 to below 1, not 1.0"),
    ],
)
def test_impossible_options(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(BASE, **change)
