"""PyTorch's integer mode as a further opinion for `twofold sim --reference`."""

import numpy as np
import torch
from numpy.typing import NDArray

from twofold.golden.network import Network
from twofold.train import integer


def run(network: Network, x: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Every layer's output, shape (B, C, H, W)."""
    return {name: tensor.numpy() for name, tensor in integer.run(network, torch.from_numpy(x)).items()}
