"""From a model to integers that are the same in PyTorch's integer mode, the golden model and the machine's model."""

import numpy as np
import torch
from torch import nn

from twofold.golden import layers as golden_layers
from twofold.golden.config import ArrayConfig
from twofold.golden.machine import execute
from twofold.mapper import compile_network
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.evaluation import real_outputs
from twofold.train.export import export
from twofold.train.outputs import flattened, ordered
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

#: A build whose memories do not limit.
BUILD = ArrayConfig(
    name="log",
    pe="log",
    rows=8,
    cols=8,
    word_bits=3,
    acc_width=32,
    acc_depth=64,
    feature_depth=1 << 14,
    weight_depth=1 << 17,
    channel_depth=4096,
    program_depth=1 << 16,
    max_side=128,
    max_pass_shift=20,
)
RECIPE = parse_recipe(
    {
        "name": "eight",
        "method": "ptq",
        "layer": [
            {
                "match": "*",
                "weight": {"quantizer": "uniform", "bits": 8},
                "activation": {"bits": 8, "calibration": "max"},
            }
        ],
    }
)


def randomised(model: nn.Module) -> nn.Module:
    """The model with weights, and batch norms, that are the same in every run."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return model.eval()


def agree(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    signed: bool = True,
    config: ArrayConfig = BUILD,
    runs: int = 1,
    recipe=RECIPE,
    images: int = 16,
):
    """Convert, calibrate with so many images, export, map and run a model.

    Returns
    -------
    Quantized model, network, image, and the largest difference of the integer network's results to the float model's,
    as a part of the latter's root mean square.
    """
    form = InputFormat(shape, bits=8, signed=signed, scale=1 / 64)
    x = torch.randint(form.low, form.high + 1, (images, *shape), generator=torch.Generator().manual_seed(1))
    values = x.float() / 64
    quantized = convert(model, recipe, form)
    calibrate(quantized, values)
    snap(quantized, config)
    network = export(quantized, config)
    integers = x.reshape(len(x), *network.input.shape)
    ours, theirs = golden_layers.run(network, integers.numpy()), integer.run(network, integers)
    for layer in network.layers:
        assert np.array_equal(ours[layer.name], theirs[layer.name].numpy()), layer.name
    image = compile_network(network, config)
    for n in range(runs):
        result = execute(image, integers[n].numpy())
        for layer in network.layers:
            assert np.array_equal(result.tensors[layer.name], ours[layer.name][n]), layer.name
        for tensor, batch in zip(result.outputs, network.results(ours), strict=True):
            assert np.array_equal(tensor, batch[n])
        assert result.run.cycles == image.cycles
    with torch.no_grad():
        wanted = model(values)
    for layer, found, (_, order) in zip(network.outputs, network.results(ours), quantized.heads, strict=True):
        one = ordered(theirs[layer.name], order)
        assert layer.name not in network.orders or found.shape == one.shape
        assert np.array_equal(found.reshape(one.shape), one.numpy())
    gaps = []
    for got, one in zip(
        *(flattened(all_)[0] for all_ in (real_outputs(quantized, network, theirs), wanted)), strict=True
    ):
        assert got.shape == one.shape
        gaps.append(float((got - one).abs().max() / one.square().mean().sqrt()))
    return quantized, network, image, max(gaps)
