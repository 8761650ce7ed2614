"""MLPerf Tiny's networks: their size as published, TensorFlow's padding, and the same integers everywhere."""

import pytest
import torch
from torch import nn

from tests.train.agreement import agree, randomised
from twofold.train.models import build_model
from twofold.train.models.mobilenet import InvertedResidual
from twofold.train.models.tiny import DSCNN, Autoencoder, PersonNet, ResNet8, same_pads

SEPARABLE = [  # PersonNet: positions, channels before and after of each separable convolution
    (48 * 48, 8, 16),
    (24 * 24, 16, 32),
    (24 * 24, 32, 32),
    (12 * 12, 32, 64),
    (12 * 12, 64, 64),
    (6 * 6, 64, 128),
    *5 * [(6 * 6, 128, 128)],
    (3 * 3, 128, 256),
    (3 * 3, 256, 256),
]
PERSON = 48 * 48 * 8 * 27 + sum(p * (9 * n + n * m) for p, n, m in SEPARABLE) + 256 * 2
WORDS = 25 * 5 * (64 * 40 + 4 * (64 * 9 + 64 * 64)) + 64 * 12
IMAGES = 32 * 32 * (16 * 27 + 2 * 16 * 144) + 16 * 16 * 32 * (144 + 288 + 16) + 8 * 8 * 64 * (288 + 576 + 32) + 64 * 10
SOUNDS = 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8
#: Outputs, input, parameters (those of the Keras models, running statistics included) and multiply-accumulates.
SIZES = {
    "mobilenet_v1_vww": (2, (3, 96, 96), 221_794, PERSON),
    "ds_cnn": (12, (1, 49, 10), 24_908, WORDS),
    "resnet8": (10, (3, 32, 32), 78_666, IMAGES),
    "autoencoder": (640, (640,), 269_992, SOUNDS),
}


def test_sums_by_hand_are_those_published():
    """In millions: 7.5, 2.7, 12.5, 0.26."""
    assert (PERSON, WORDS, IMAGES, SOUNDS) == (7_489_664, 2_656_768, 12_501_632, 264_192)


def macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    total = 0

    def count(module, _, output):
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(torch.zeros(1, *shape))
    return total


@pytest.mark.parametrize("name", SIZES)
def test_sizes_as_published(name):
    outputs, shape, parameters, sums = SIZES[name]
    with torch.device("meta"):
        model = build_model(name, classes=outputs, inputs=shape[0]).eval()
        assert model(torch.zeros(2, *shape)).shape == (2, outputs)
        assert macs(model, shape) == sums
    tensors = [tensor for key, tensor in model.state_dict().items() if "num_batches" not in key]
    assert sum(tensor.numel() for tensor in tensors) == parameters


def test_same_pads_by_hand():
    assert same_pads((32, 32), (3, 3), (2, 2)) == (0, 1, 0, 1)
    assert same_pads((33, 32), (3, 3), (2, 2)) == (0, 1, 1, 1)
    assert same_pads((49, 10), (10, 4), (2, 2)) == (1, 1, 4, 5)
    assert same_pads((7, 7), (3, 3), (1, 1)) == (1, 1, 1, 1)
    assert same_pads((8, 8), (1, 1), (2, 2)) == (0, 0, 0, 0)


def test_both_windows_of_the_keyword_network():
    for pool in (None, (25, 5), (24, 5)):
        with torch.device("meta"):
            assert DSCNN(pool=pool).eval()(torch.zeros(2, 1, 49, 10)).shape == (2, 12)


#: Reduced: model and input.
SMALL = {
    "person": (lambda: PersonNet(width=2), (3, 32, 32)),
    "words": (lambda: DSCNN(size=(15, 6), width=10), (1, 15, 6)),
    "words, a line not looked at": (lambda: DSCNN(size=(15, 6), width=4, pool=(7, 3)), (1, 15, 6)),
    "images": (lambda: ResNet8(width=4), (3, 12, 12)),
    "sounds": (lambda: Autoencoder(40, 40, width=12, neck=4), (40,)),
    "mobilenet_v2": (
        lambda: nn.Sequential(InvertedResidual(3, 4, 1, 1), InvertedResidual(4, 4, 1, 6), InvertedResidual(4, 9, 2, 6)),
        (3, 8, 8),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_integers_agree_everywhere(name):
    make, shape = SMALL[name]
    torch.manual_seed(0)
    model, network, _, gap = agree(randomised(make()), shape)
    assert len(network.layers) == len(model.quant_layers)  # nothing is copied
    assert not any(layer.copies for layer in model.quant_layers)
    assert gap < 1.5, gap
