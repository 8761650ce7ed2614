"""Networks by name, for the command line and the recipes."""

from collections.abc import Callable
from functools import partial

from torch import nn

from twofold.train.models.alexnet import AlexNet
from twofold.train.models.deeplab import DeepLabV3Plus
from twofold.train.models.demo import DemoNet
from twofold.train.models.inception import InceptionV3
from twofold.train.models.mobilenet import MobileNetV1, MobileNetV2
from twofold.train.models.resnet import ResNet
from twofold.train.models.resnet_cifar import ResNetCifar
from twofold.train.models.shufflenet import CHANNELS, ShuffleNetV2
from twofold.train.models.small_vgg import SmallVGG
from twofold.train.models.ssd_lite import SSDLite
from twofold.train.models.tiny import DSCNN, Autoencoder, PersonNet, ResNet8
from twofold.train.models.unet import SeeInTheDark
from twofold.train.models.weights import load_weights

#: Networks that `twofold train` knows by name; each takes the number of classes (outputs) and of the input's channels
#: (features).
MODELS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": AlexNet,
    "autoencoder": Autoencoder,
    "deeplab_v3plus": DeepLabV3Plus,
    "deeplab_v3plus_small": partial(DeepLabV3Plus, width=0.35, channels=48, low=16, rates=(1, 2, 4)),
    "demo": DemoNet,
    "ds_cnn": DSCNN,
    "inception_v3": InceptionV3,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v1_cifar": partial(MobileNetV1, small=True),
    "mobilenet_v1_vww": PersonNet,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v2_cifar": partial(MobileNetV2, small=True),
    "mobilenet_v2_vww": partial(MobileNetV2, width=0.35),
    "resnet8": ResNet8,
    "resnet18": partial(ResNet, 18),
    "resnet18_cifar": partial(ResNet, 18, small=True),
    "resnet34": partial(ResNet, 34),
    "resnet50": partial(ResNet, 50),
    "resnet20": partial(ResNetCifar, 20),
    "resnet32": partial(ResNetCifar, 32),
    "resnet56": partial(ResNetCifar, 56),
    "resnet_a": partial(ResNet, 18, small=True, width=16),
    "resnet_b": partial(ResNet, 18, small=True, width=32),
    "see_in_the_dark": SeeInTheDark,
    "see_in_the_dark_small": partial(SeeInTheDark, width=8),
    "shufflenet_v2_x0_5": partial(ShuffleNetV2, channels=CHANNELS[0.5]),
    "shufflenet_v2_x1_0": ShuffleNetV2,
    "small_vgg": SmallVGG,
    "small_vgg_mnist": partial(SmallVGG, inputs=1, width=16),
    "ssd_lite": SSDLite,
    "ssd_lite_small": partial(SSDLite, width=0.35, last=320),
}

__all__ = ["MODELS", "build_model", "load_weights"]


def build_model(name: str, *, classes: int = 10, inputs: int | None = None) -> nn.Module:
    """New network of that name.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input; ``None``: those that the network is made for.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {tuple(MODELS)}, not {name!r}")
    given = {} if inputs is None else {"inputs": inputs}
    return MODELS[name](classes=classes, **given)
