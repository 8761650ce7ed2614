"""Networks and trained weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from twofold.golden import layers as golden_layers
from twofold.golden.config import load_config
from twofold.mapper import compile_network
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.models import MODELS, build_model, load_weights
from twofold.train.models.mobilenet import MobileNetV1, MobileNetV2
from twofold.train.models.resnet import ResNet
from twofold.train.models.resnet_cifar import ResNetCifar
from twofold.train.models.small_vgg import SmallVGG
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

UNIFORM = parse_recipe(
    {
        "name": "u",
        "method": "ptq",
        "layer": [{"match": "*", "weight": {"quantizer": "uniform", "bits": 8}, "activation": {"bits": 8}}],
    }
)
SMALL = {
    "resnet_cifar": lambda: ResNetCifar(8),
    "resnet18": lambda: ResNet(18, 10, width=8),
    "resnet18_small": lambda: ResNet(18, 10, small=True, width=8),
    "mobilenet_v1": lambda: MobileNetV1(10, small=True, width=0.125),
    "mobilenet_v2": lambda: MobileNetV2(10, small=True, width=0.25),
    "small_vgg": lambda: SmallVGG(width=8),
}


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith(("deeplab", "see_in", "ssd_"))])
def test_networks_take_classes_and_channels(name):
    sides = {"alexnet": (63, 63), "autoencoder": (), "ds_cnn": (49, 10), "inception_v3": (75, 75)}.get(name, (32, 32))
    # On the meta device: shapes without arithmetic.
    with torch.device("meta"):
        assert build_model(name, classes=7, inputs=2).eval()(torch.zeros(2, 2, *sides)).shape == (2, 7)


def randomised(model):
    """Batch norms with statistics of their own, so that folding them shows."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", SMALL)
def test_networks_convert_export_and_map(name):
    torch.manual_seed(0)
    model = randomised(SMALL[name]())
    data_format = InputFormat((3, 32, 32), bits=8, signed=True, scale=1 / 64)
    x = torch.randint(-128, 128, (24, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    images = x.float() / 64
    quantized = convert(model, UNIFORM, data_format)
    with torch.no_grad():
        expected = model(images)
        quantized.enable(False)
        torch.testing.assert_close(quantized(images), expected, rtol=1e-3, atol=1e-4)
        quantized.enable(True)
        calibrate(quantized, images)
        config = load_config("configs/log_16x16.toml")
        snap(quantized, config)
        error = (quantized(images) - expected).square().mean().sqrt() / expected.std()
    assert error < 0.25, error
    network = export(quantized, config)
    ours = golden_layers.run(network, x[:4].numpy())
    theirs = integer.run(network, x[:4])
    assert all(np.array_equal(ours[key], theirs[key].numpy()) for key in ours) and len(ours) == len(network.layers)
    logits = torch.as_tensor(ours[network.output.name]).flatten(1) * network.output.output.scale
    near = torch.corrcoef(torch.stack([logits.flatten(), expected[:4].flatten()]))[0, 1]
    assert near > 0.9, near
    if name == "resnet_cifar":
        assert compile_network(network, config).cycles > 0


def test_option_a_shortcut_by_hand():
    model = ResNetCifar(8).eval()
    block = model.layer2[0]
    with torch.no_grad():
        for norm in (block.bn1, block.bn2):
            norm.weight.zero_()  # the branch is zero: what is left is the shortcut
        x = torch.rand(2, 16, 8, 8)
        wanted = torch.zeros(2, 32, 4, 4)
        for channel in range(16):
            for row in range(4):
                for column in range(4):
                    wanted[:, 8 + channel, row, column] = x[:, channel, 2 * row, 2 * column]
        assert torch.equal(block(x), wanted)


def test_weights_come_from_npz_and_safetensors(tmp_path):
    torch.manual_seed(0)
    source, images = randomised(ResNetCifar(8)), torch.rand(2, 3, 32, 32)
    tensors = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    np.savez(tmp_path / "w.npz", **{f"module.{key}": value.numpy() for key, value in tensors.items()})
    save_file(tensors, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        model = ResNetCifar(8).eval()
        load_weights(model, tmp_path / name)
        with torch.no_grad():
            assert torch.equal(model(images), source(images))


def test_weights_that_do_not_fit(tmp_path):
    model = nn.Linear(2, 3)
    save_file({"weight": torch.zeros(3, 2)}, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match=r"less\.safetensors: tensor 'bias' must be given, not left out$"):
        load_weights(model, tmp_path / "less.safetensors")
    save_file({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, tmp_path / "shape.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'bias' must be of shape \(3,\), not \(2,\)$"):
        load_weights(model, tmp_path / "shape.safetensors")
    np.savez(tmp_path / "more.npz", weight=np.zeros((3, 2)), bias=np.zeros(3), scale=np.zeros(1))
    with pytest.raises(ValueError, match=r"more\.npz: tensor must be one of the model's, not 'scale'$"):
        load_weights(model, tmp_path / "more.npz")
    np.savez(tmp_path / "objects.npz", weight=np.array([{}], dtype=object))
    with pytest.raises(
        ValueError,
        match=r"objects\.npz: file must be arrays of NumPy, not this: values must be numbers",
    ):
        load_weights(model, tmp_path / "objects.npz")
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    with pytest.raises(ValueError, match=r"cut\.safetensors: file must be tensors, not damaged: "):
        load_weights(model, tmp_path / "cut.safetensors")
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^Weights must be a file '\.safetensors' or '\.npz', not 'w\.pth'$"):
        load_weights(model, tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match=r"^Weights must be a file, not "):
        load_weights(model, tmp_path / "none.npz")


def test_depth_of_resnet():
    with pytest.raises(ValueError, match=r"^Depth must be 6n \+ 2, at least 8, not 18$"):
        ResNetCifar(18)
    assert len(ResNetCifar(32).layer1) == 5
