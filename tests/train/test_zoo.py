"""Networks of the literature: keys and sizes as published, and the same integers everywhere at 4 and at 3 bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.sim.builds import DEEP
from tests.train.agreement import BUILD, agree, randomised
from twofold.golden import layers
from twofold.golden.image import input_frame
from twofold.mapper import compile_network
from twofold.sim import fast
from twofold.sim.probe import probed, read_layers
from twofold.testing.random_network import random_inputs
from twofold.train.models import build_model
from twofold.train.models.alexnet import AlexNet
from twofold.train.models.deeplab import DeepLabV3Plus
from twofold.train.models.inception import InceptionV3
from twofold.train.models.mobilenet import MobileNetV1, MobileNetV2
from twofold.train.models.resnet import ResNet
from twofold.train.models.resnet_cifar import ResNetCifar
from twofold.train.models.shufflenet import ShuffleNetV2
from twofold.train.models.small_vgg import SmallVGG
from twofold.train.models.ssd_lite import BOXES, SSDLite
from twofold.train.models.unet import SeeInTheDark
from twofold.train.recipe import parse_recipe

#: Classes, parameters and tensors of the state dict (torchvision's; for CIFAR's networks the papers' rounded numbers).
SIZES = {
    "alexnet": (1000, 61_100_840, 16),
    "inception_v3": (1000, 23_834_568, 566),
    "mobilenet_v1": (1000, 4_231_976, 164),
    "mobilenet_v2": (1000, 3_504_872, 314),
    "resnet18": (1000, 11_689_512, 122),
    "resnet34": (1000, 21_797_672, 218),
    "resnet50": (1000, 25_557_032, 320),
    "resnet20": (10, 269_722, 116),
    "resnet56": (10, 853_018, 332),
    "resnet_a": (100, 713_076, 122),
    "resnet_b": (100, 2_820_740, 122),
    "shufflenet_v2_x0_5": (1000, 1_366_792, 338),
    "shufflenet_v2_x1_0": (1000, 2_278_604, 338),
}
#: Some keys of torchvision's state dicts.
KEYS = {
    "alexnet": {
        "features.0.weight": (64, 3, 11, 11),
        "features.10.bias": (256,),
        "classifier.1.weight": (4096, 9216),
        "classifier.6.weight": (1000, 4096),
    },
    "inception_v3": {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch1x1.conv.weight": (64, 192, 1, 1),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
        "Mixed_5d.branch3x3dbl_3.bn.weight": (96,),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch3x3_2.conv.weight": (320, 192, 3, 3),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3dbl_1.conv.weight": (448, 2048, 1, 1),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "fc.weight": (1000, 2048),
    },
    "mobilenet_v2": {
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.18.1.running_mean": (1280,),
        "classifier.1.bias": (1000,),
    },
    "resnet34": {
        "conv1.weight": (64, 3, 7, 7),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.0.downsample.1.num_batches_tracked": (),
        "fc.weight": (1000, 512),
    },
    "resnet50": {
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "layer4.2.bn3.bias": (2048,),
        "fc.bias": (1000,),
    },
    "shufflenet_v2_x0_5": {
        "conv1.0.weight": (24, 3, 3, 3),
        "stage2.0.branch1.0.weight": (24, 1, 3, 3),
        "stage2.0.branch1.2.weight": (24, 24, 1, 1),
        "stage3.7.branch2.5.weight": (48, 48, 1, 1),
        "stage4.3.branch2.3.weight": (96, 1, 3, 3),
        "conv5.1.running_var": (1024,),
        "fc.weight": (1000, 1024),
    },
    "shufflenet_v2_x1_0": {"stage2.0.branch2.0.weight": (58, 24, 1, 1), "stage4.0.branch2.6.bias": (232,)},
}


@pytest.mark.parametrize("name", SIZES)
def test_keys_and_shapes_are_those_published(name):
    classes, parameters, tensors = SIZES[name]
    with torch.device("meta"):
        model = build_model(name, classes=classes)
    state = model.state_dict()
    assert (sum(p.numel() for p in model.parameters()), len(state)) == (parameters, tensors)
    keys = KEYS.get(name, {})
    assert {key: tuple(state[key].shape) for key in keys} == keys


def test_sizes_of_detection_and_enhancement():
    with torch.device("meta"):
        unet, detector = SeeInTheDark(), SSDLite(81).eval()
        image = unet(torch.zeros(1, 4, 32, 48))
        scores, offsets = detector(torch.zeros(1, 3, 320, 320))
    assert sum(p.numel() for p in unet.parameters()) == 7_760_268
    assert image.shape == (1, 3, 64, 96)
    assert sum(p.numel() for p in detector.parameters()) == pytest.approx(4.3e6, rel=0.02)  # as the paper rounds
    assert [tuple(x.shape[1:]) for x in scores] == [(n * 81, s, s) for n, s in zip(BOXES, SIDES, strict=True)]
    assert [tuple(x.shape[1:]) for x in offsets] == [(n * 4, s, s) for n, s in zip(BOXES, SIDES, strict=True)]


def test_segmentation_keeps_the_backbones_keys_and_the_images_sides():
    with torch.device("meta"):
        model, backbone = DeepLabV3Plus().eval(), MobileNetV2()
        scores = model(torch.zeros(1, 3, 64, 96))
        coarse = model.features(torch.zeros(1, 3, 64, 96))
        uneven = model(torch.zeros(1, 3, 60, 100))
    shapes, known = model.state_dict(), backbone.state_dict()
    assert scores.shape == (1, 21, 64, 96)
    assert uneven.shape == (1, 21, 60, 100)
    assert coarse.shape == (1, 320, 4, 6)
    assert sum(p.numel() for p in model.parameters()) == 5_225_717  # as 5.2 million are published
    ours = {key: value.shape for key, value in shapes.items() if key.startswith("features.")}
    theirs = {key: value.shape for key, value in known.items() if key.startswith("features.")}
    assert ours == {key: shape for key, shape in theirs.items() if not key.startswith("features.18.")}


def test_resnets_of_other_depths_are_refused():
    with pytest.raises(ValueError, match=r"^Depth must be one of \(18, 34, 50\), not 101$"):
        ResNet(101)


#: Sides of SSD-Lite's maps.
SIDES = (20, 10, 5, 3, 2, 1)
#: Reduced: model and side of the images.
SMALL = {
    "alexnet": (lambda: AlexNet(10, width=0.03), 63),
    "deeplab": (lambda: DeepLabV3Plus(3, width=0.0625, channels=4, low=3, rates=(1, 2, 3)), 32),
    "inception_v3": (lambda: InceptionV3(10, width=0.02), 75),
    "mobilenet_v1": (lambda: MobileNetV1(10, small=True, width=0.0625), 8),
    "mobilenet_v2": (lambda: MobileNetV2(10, small=True, width=0.0625, last=16), 8),
    "resnet18": (lambda: ResNet(18, 10, width=2), 8),
    "resnet34": (lambda: ResNet(34, 10, width=2), 8),
    "resnet50": (lambda: ResNet(50, 10, width=2), 8),
    "resnet_a": (lambda: ResNet(18, 10, small=True, width=2), 8),
    "resnet_cifar": (lambda: ResNetCifar(8), 8),
    "shufflenet_v2": (lambda: ShuffleNetV2(10, channels=(4, 8, 12, 16, 8), units=(2, 2, 2)), 24),
    "small_vgg": (lambda: SmallVGG(width=4), 8),
    "ssd_lite": (lambda: SSDLite(3, width=0.0625, last=16), 32),
    "unet": (lambda: SeeInTheDark(inputs=3, width=2), 16),
}
#: Wide, so that few tiles are mapped.
WIDE = replace(BUILD, name="subset", pe="subset", rows=32, cols=32, acc_depth=256, point_sets=256, tables=32)


def assert_same_on_hardware(network):
    """One image, every layer; cycles as predicted."""
    probe = probed(compile_network(network, DEEP))
    x = random_inputs(1, network, 1)
    script = fast.HostScript().send(probe.beats).send(input_frame(probe, x[0])).run()
    result = fast.run(fast.build_machine(DEEP), script, limit=fast.patience(probe))[-1]
    assert (result.error, result.cycles) == (0, probe.cycles)
    wanted = layers.run(network, x)
    for name, tensor in read_layers(probe, result.frames).items():
        np.testing.assert_array_equal(tensor, wanted[name][0], f"hardware, {name}")


@pytest.mark.parametrize("bits", [4, 3])
@pytest.mark.parametrize("name", SMALL)
def test_subset_words_give_the_same_integers_everywhere(name, bits):
    """Activations of 8 bits."""
    make, side = SMALL[name]
    torch.manual_seed(0)
    rule = {
        "match": "*",
        "weight": {"quantizer": "subset", "bits": bits, "granularity": "layer"},
        "activation": {"bits": 8, "calibration": "max"},
    }
    recipe = parse_recipe({"name": "subset", "method": "ptq", "layer": [rule]})
    _, network, image, _ = agree(
        randomised(make()), (3, side, side), config=replace(WIDE, word_bits=bits), recipe=recipe, images=4
    )
    assert image.cycles > 0
    if bits == DEEP.word_bits:
        assert_same_on_hardware(network)
    assert not any(layer.kind == "add" for layer in network.layers) or name in ("deeplab", "resnet_cifar", "unet")
