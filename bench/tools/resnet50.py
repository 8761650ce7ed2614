"""A network of ResNet-50's shape with random words, for what needs size and not sense: 25.5 M weights."""

import numpy as np

from twofold.golden import catalog
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor

#: Blocks and channels (in units of the width) of each stage.
STAGES = ((3, 1), (4, 2), (6, 4), (3, 8))


def resnet50(config: ArrayConfig, *, width: int = 64, side: int = 224, classes: int = 1000) -> Network:
    """One word a weight, 4-bit activations; the first layer's stride takes the place of the maximum after it.

    Parameters
    ----------
    config
        A build with log PEs.
    width, side, classes
        Channels of the first layer, height and width of the input, outputs; smaller ones make a smaller network.
    """
    rng = np.random.default_rng(0)
    points = catalog.log_points(config.fmt)
    layers: list[Layer] = []

    def conv(source: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> Branch:
        codes = rng.integers(0, 2 * config.fmt.point_count, (1, outputs, inputs, kernel, kernel), dtype=np.uint8)
        return Branch(source, "log", codes, (0,), stride=(stride, stride), padding=(kernel // 2, kernel // 2))

    def constant(source: str, channels: int, kernel: int = 1) -> Branch:
        codes = np.full((1, channels, 1, kernel, kernel), points.encode(1), dtype=np.uint8)
        return Branch(source, "log", codes, (0,), stride=(kernel, kernel), groups=channels)

    def add(name: str, kind: str, branches: tuple[Branch, ...], side: int) -> str:
        channels = branches[0].out_channels
        ones = np.ones(channels, dtype=np.int64)
        tensor = Tensor((channels, side, side), 4, False, 1.0)
        layers.append(Layer(name, kind, branches, tensor, 0 * ones, ones, 4 * ones, tensor.low, tensor.high))
        return name

    side //= 4
    here, inputs = add("first", "conv2d", (conv(INPUT, 3, width, 7, 4),), side), width
    for stage, (blocks, factor) in enumerate(STAGES):
        for block in range(blocks):
            name, narrow, stride = f"stage{stage}.{block}", width * factor, 2 if stage and not block else 1
            one = add(f"{name}.one", "conv2d", (conv(here, inputs, narrow),), side)
            side //= stride
            two = add(f"{name}.two", "conv2d", (conv(one, narrow, narrow, 3, stride),), side)
            skip = conv(here, inputs, 4 * narrow, 1, stride) if not block else constant(here, inputs)
            inputs = 4 * narrow
            here = add(f"{name}.three", "conv2d", (conv(two, narrow, inputs), skip), side)
    here = add("pool", "avgpool", (constant(here, inputs, side),), 1)
    add("linear", "linear", (conv(here, inputs, classes),), 1)
    shape = Tensor((3, 4 * layers[0].output.shape[1], 4 * layers[0].output.shape[1]), 8, True, 1.0)
    return Network("resnet50", shape, tuple(layers), {"log": points})
