"""An exported network without PyTorch: load, run in the golden model, map, run in the pass-level model.

Usage: ``python examples/integers_without_torch.py FOLDER NETWORK``, both optional; NETWORK is a folder that
``twofold.save`` or ``twofold train export`` wrote, by default one made here by hand.
"""

import sys
from pathlib import Path

import numpy as np

import twofold
from twofold.golden.catalog import log_points
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor

SIDE, CHANNELS = 6, 8


def by_hand(config: twofold.ArrayConfig) -> Network:
    """One 3x3 layer of random words: codes, integer biases, and a requantisation of 5/2**9 for every channel."""
    random = np.random.default_rng(0)
    points = log_points(config.fmt)
    codes = random.integers(0, len(points.values), (1, CHANNELS, 4, 3, 3)).astype(np.uint8)
    layer = Layer(
        name="conv",
        kind="conv2d",
        branches=(Branch(INPUT, "log", codes, shifts=(0,), padding=(1, 1)),),
        output=Tensor((CHANNELS, SIDE, SIDE), bits=8, signed=False, scale=1.0),
        bias=random.integers(-100, 100, CHANNELS),
        multiplier=np.full(CHANNELS, 5),
        right=np.full(CHANNELS, 9),
        low=0,
        high=255,
    )
    return Network("by_hand", Tensor((4, SIDE, SIDE), 8, False, 1.0), (layer,), {"log": points}, {"build": config.name})


def main(folder: Path, network_folder: Path | None) -> None:
    """The same integers three times."""
    config = twofold.load_config("log_4x4")
    if network_folder is None:
        network_folder = folder / "network"
        twofold.save(by_hand(config), network_folder)
    network = twofold.load(network_folder)
    low, high = (-128, 128) if network.input.signed else (0, 1 << network.input.bits)
    x = np.random.default_rng(1).integers(low, high, (1, *network.input.shape))

    golden = twofold.run_network(network, x)
    image = twofold.compile_network(network, config)
    done = twofold.execute(image, x[0])
    for name, tensor in done.tensors.items():
        same = bool((tensor == golden[name][0]).all())
        print(f"{name}: {tensor.size} integers, largest {tensor.max()}, as the golden model's: {same}")
    print(f"{done.run.cycles} cycles, {done.run.passes} passes; predicted {image.cycles}, {image.passes}")
    print(f"PyTorch loaded: {'torch' in sys.modules}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/integers_without_torch"),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
