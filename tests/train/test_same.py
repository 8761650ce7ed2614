"""The converted network is the user's network: models as strangers bring them."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from twofold.golden.config import ArrayConfig
from twofold.golden.layers import run as run_golden
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

FORM = InputFormat((3, 6, 6), bits=8, signed=True, scale=1 / 64)
BUILD = ArrayConfig(name="t", pe="subset", rows=4, cols=4, word_bits=4, acc_width=40, max_pass_shift=31)


def recipe(weight=None):
    weight = weight or {"quantizer": "uniform", "bits": 8}
    return parse_recipe(
        {"name": "t", "method": "qat", "layer": [{"match": "*", "weight": weight, "activation": {"bits": 8}}]}
    )


def conv(inputs=3, outputs=4, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Calls(nn.Module):
    """Layers `a`, `b` and `last`, and a forward of one's own."""

    def __init__(self, forward, channels=4, features=4):
        super().__init__()
        self.a, self.b, self.last = conv(3, channels), conv(channels, channels), nn.Linear(features, 5)
        self.way = forward
        self.relu = nn.ReLU(inplace=True)
        self.same = nn.Sequential(nn.Identity(), nn.Dropout())

    def forward(self, x):
        return self.way(self, x)


def preactivation(m, x):
    x = m.a(x)
    return m.b(m.relu(x)) + x


def through_aliases(m, x):
    x = m.a(x)
    y = m.same(x)
    F.relu_(y)
    return m.b(y) + x


def in_place_addition(m, x):
    x = m.a(x)
    y = x
    y += m.b(x)
    return y + x


def functional(m, x):
    x = m.a(x)
    y = F.relu(x, inplace=True)
    z = m.b(y)
    return F.relu6(z, True) + x + z


def method(m, x):
    x = m.a(x)
    y = m.b(x.relu_())
    return y.add_(x) + y


def input_itself(m, x):
    torch.relu_(x)
    return m.b(m.a(x)) + m.a(x)


def twice(m, x):
    x = m.a(x)
    y = m.relu(x)
    y += m.b(x)
    return m.relu(y) + x


IN_PLACE = (preactivation, through_aliases, in_place_addition, functional, method, input_itself, twice)


def same(model, form=FORM, training=False):
    """The converted network, seen to compute what the model does on inputs that convert has not seen."""
    x = torch.randint(form.low, form.high + 1, (5, *form.shape), generator=torch.Generator().manual_seed(7)) / 64
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = convert(model, recipe(), form, training=training)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the model changed"
    result.enable(False)
    with torch.no_grad():
        wanted = copy.deepcopy(model).eval()(x.clone()) if not has_history(model) else model.eval()(x.clone())
        found = result(x)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
    return result


def has_history(model):
    return any(not v.is_leaf for m in model.modules() for v in vars(m).values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("forward", IN_PLACE, ids=lambda f: f.__name__)
def test_operations_in_place(forward):
    torch.manual_seed(1)
    same(Calls(forward))


SIZES = {
    "size": lambda m, x: m.last(F.avg_pool2d(y := m.a(x), y.size()[2:]).flatten(1)),
    "shape": lambda m, x: m.last(F.avg_pool2d(y := m.a(x), kernel_size=y.shape[2:]).view(y.size(0), -1)),
    "one": lambda m, x: m.last(F.max_pool2d(y := m.a(x), y.shape[-1]).reshape(y.shape[0], y.size(1))),
    "two": lambda m, x: F.max_pool2d(y := m.a(x), (y.size(2), y.size(3) // 2)),
}


@pytest.mark.parametrize("name", SIZES)
def test_kernels_of_the_size_of_the_tensor(name):
    same(Calls(SIZES[name]))


ENDS = {
    "flatten": nn.Sequential(conv(), nn.Flatten()),
    "map of one position": nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1)),
    "map": nn.Sequential(conv(), nn.ReLU()),
    "flattened map of one position": nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
}


@pytest.mark.parametrize("name", ENDS)
def test_results_keep_their_shape(name):
    same(ENDS[name])


def test_a_layer_alone():
    assert [layer.name for layer in same(conv()).quant_layers] == ["conv2d"]
    same(nn.Linear(7, 3), InputFormat((7,), bits=8, signed=True, scale=1 / 64))


def hooked(where, hook, kind="register_forward_hook", **options):
    model = nn.Sequential(conv(), nn.Sequential(conv(4, 4), nn.ReLU()))
    getattr(model.get_submodule(where), kind)(hook, **options)
    return model


HOOKS = {
    "of a layer": lambda: hooked("0", lambda m, a, y: torch.relu(y)),
    "of a block": lambda: hooked("1", lambda m, a, y: y + a[0]),
    "before a layer": lambda: hooked("1.0", lambda m, a: (torch.relu(a[0]),), "register_forward_pre_hook"),
    "before a layer, no tuple": lambda: hooked("1.0", lambda m, a: torch.relu(a[0]), "register_forward_pre_hook"),
    "with keywords": lambda: hooked("0", lambda m, a, k, y: torch.relu(y), with_kwargs=True),
    "that looks": lambda: hooked("0", lambda m, a, y: print(float(y.mean()))),
    "that looks before": lambda: hooked("1.0", lambda m, a: print(a[0].shape), "register_forward_pre_hook"),
}


@pytest.mark.parametrize("name", HOOKS)
def test_forward_hooks(name):
    torch.manual_seed(2)
    same(HOOKS[name]())


def test_a_hook_of_what_is_not_supported_is_named():
    with pytest.raises(ValueError, match=r"^Operation in 'the model itself' must be one of .*, not 'sin' "):
        convert(hooked("0", lambda m, a, y: y.sin()), recipe(), FORM)


def reparametrised(change):
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 4))
    change(model)
    return model


CHANGES = {
    "pruning": lambda m: prune.l1_unstructured(m[0], "weight", 0.5),
    "pruned filters": lambda m: prune.ln_structured(m[2], "weight", 0.5, n=2, dim=0),
    "pruned bias": lambda m: prune.l1_unstructured(m[0], "bias", 0.5),
    "weight_norm": lambda m: parametrizations.weight_norm(m[0]),
    "spectral_norm": lambda m: parametrizations.spectral_norm(m[2]),
    "spectral_norm of old": lambda m: spectral_norm(m[2]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_reparametrised_weights(name):
    same(reparametrised(CHANGES[name]).eval())


def test_weight_norm_of_old():
    with pytest.warns(FutureWarning):
        model = reparametrised(lambda m: weight_norm(m[0]))
    same(model)


WRAPPED = {
    "DataParallel": lambda: nn.DataParallel(nn.Sequential(conv(), nn.ReLU())),
    "average": lambda: torch.optim.swa_utils.AveragedModel(nn.Sequential(conv(), nn.ReLU())),
    "within": lambda: nn.Sequential(nn.DataParallel(conv()), nn.ReLU()),
    "compiled": lambda: torch.compile(nn.Sequential(conv(), nn.ReLU())),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_models_by_their_inner_one(name):
    model = WRAPPED[name]()
    before = [type(module) for module in model.modules()]
    layers = convert(model, recipe(), FORM).quant_layers
    assert [type(module) for module in model.modules()] == before
    assert [layer.name for layer in layers] == ["0"] and layers[0].relu


def test_torchscript_is_refused():
    with pytest.warns(DeprecationWarning):
        model = torch.jit.trace(conv(), torch.zeros(1, 3, 6, 6))
    with pytest.raises(ValueError, match=r"^Model must be the module before torch\.jit, not TopLevelTracedModule$"):
        convert(model, recipe(), FORM)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_point_formats_are_computed_in_float32(kind):
    torch.manual_seed(3)
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 4)).to(kind)
    ours, theirs = convert(model, recipe(), FORM), convert(copy.deepcopy(model).float(), recipe(), FORM)
    x = torch.rand(2, 3, 6, 6)
    assert torch.equal(ours(x), theirs(x)) and next(model.parameters()).dtype is kind


def test_chance_is_refused():
    model = Calls(lambda m, x: F.dropout(m.b(m.a(x))))
    with pytest.raises(ValueError, match=r"^Model must be what torch\.fx traces of it, not differ from it by "):
        convert(model, recipe(), FORM)


def test_a_wrong_lowering_is_found_and_the_layer_named(monkeypatch):
    from twofold.train.lower import Lowering

    def broken(self, node, norm):
        return self._alias(node)

    monkeypatch.setattr(Lowering, "_norm", broken)
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 4), nn.BatchNorm2d(4), nn.ReLU())
    nn.init.uniform_(model[3].running_mean, 1, 2)
    with pytest.raises(ValueError, match=r"^Layer '2' must compute what the model computes, not differ by "):
        convert(model, recipe(), FORM)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["0.weight", "0.bias", "1.running_var"])
def test_weights_that_are_no_numbers_are_refused(key, value, training):
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    model.state_dict()[key].flatten()[1] = value
    if key == "1.running_var" and value == float("inf"):
        return  # its channel is 0, exactly
    with pytest.raises(ValueError, match=r"^Layer '0': [a-z_]+ must be finite, not (nan|inf|-inf)$"):
        convert(model, recipe(), FORM, training=training)


def test_a_diverged_network_is_not_exported():
    quantized = convert(nn.Sequential(conv()), recipe(), FORM)
    calibrate(quantized, torch.rand(4, 3, 6, 6))
    with torch.no_grad():
        quantized.conv_layers[0].float_weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"^Layer '0': original must be finite, not nan$"):
        export(quantized, BUILD)


@pytest.mark.parametrize("names", [("digits", "digits_2"), ("digits_2", "digits"), ("input", "a"), ("a", "add")])
def test_names_of_the_users_never_collide_with_ours(names):
    torch.manual_seed(4)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            for name in names:
                self.add_module(name, conv(3, 3))
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            y = getattr(self, names[0])(x)
            return self.pool(getattr(self, names[1])(y) + x)

    result = convert(Named(), recipe({"quantizer": "subset", "bits": 4}), FORM)
    images = torch.randint(-128, 128, (8, 3, 6, 6)) / 64
    calibrate(result, images)
    result.finish()
    snap(result, BUILD)
    network = export(result, BUILD)
    values = torch.round(images / network.input.scale).long()
    ours, golden = integer.run(network, values), run_golden(network, values.numpy())
    last = network.output.name
    assert np.array_equal(ours[last].numpy(), golden[last])
    reals = ours[last] * network.output.output.scale
    with torch.no_grad():
        assert float((reals - result(images)).square().mean().sqrt() / result(images).square().mean().sqrt()) < 0.1


def test_batch_norm_sees_more_than_one_value_a_channel():
    model = nn.Sequential(nn.Conv2d(3, 4, 6), nn.BatchNorm2d(4))
    table = {"name": "t", "method": "qat", "train": {"batch_norm": "keep"}}
    table["layer"] = [{"match": "*", "weight": {"quantizer": "lsq", "bits": 4}}]
    quantized = convert(model, parse_recipe(table), FORM, training=True)
    message = "Layer '0': batch norm in training must see 2 or more values a channel, not 1"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        calibrate(quantized, torch.rand(1, 3, 6, 6))
    calibrate(quantized, torch.rand(2, 3, 6, 6))
    quantized.train()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantized(torch.rand(1, 3, 6, 6))


@pytest.mark.parametrize(
    "weight",
    [
        {"quantizer": "subset", "bits": 4},
        {"quantizer": "subset", "bits": 2},
        {"quantizer": "binary"},
        {"quantizer": "binary", "granularity": "channel"},
        {"quantizer": "ternary"},
        {"quantizer": "sawb", "bits": 2},
        {"quantizer": "minmax", "bits": 2},
        {"quantizer": "lsq", "bits": 3},
        {"quantizer": "uniform", "bits": 8},
    ],
    ids=str,
)
def test_an_emptied_layer_gives_its_bias(weight):
    torch.manual_seed(5)
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 4))
    nn.init.zeros_(model[2].weight)
    quantized = convert(model, recipe(weight), FORM)
    images = torch.randint(-128, 128, (8, 3, 6, 6)) / 64
    calibrate(quantized, images)
    quantized.finish()
    build = BUILD if weight.get("bits") != 2 or weight["quantizer"] != "subset" else replace(BUILD, word_bits=2)
    snap(quantized, build)
    network = export(quantized, build)
    output = network.output.output
    found = integer.run(network, torch.round(images / network.input.scale).long())["2"] * output.scale
    wanted = model[2].bias.detach().view(1, -1, 1, 1).expand_as(found)
    held = wanted.clamp(output.low * output.scale, output.high * output.scale)
    assert float((found - held).abs().max()) <= 0.51 * output.scale
