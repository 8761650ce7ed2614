"""Learned rounding: each layer's weights, bias and gain move a little until its output is nearest to the float layer's.

The quantized weights are a step function of the weights, with a straight-through gradient: a weight near a threshold
may cross it where that makes the layer's output better, which is more than rounding each to its nearest point.

Source: the reconstruction of paper 003's published code (an elementwise and a per-channel multiplier, both learned),
after Li et al., BRECQ, ICLR 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.layers import ConvLayer, Tensors

#: Images of one step.
BATCH = 128


def learn_rounding(
    layer: ConvLayer, tensors: Tensors, wanted: Tensor, *, steps: int, lr: float, generator: torch.Generator
) -> None:
    """Reconstruct one layer.

    Parameters
    ----------
    layer
        Calibrated.
    tensors
        The quantized results of the layers before it, on the calibration images.
    wanted
        The float layer's output on the same, activation included.
    steps
        Steps of Adam.
    lr
        Its rate, as a part of the root mean square of weights and outputs; cosine schedule to 0.
    generator
        Of the batches.
    """
    weight, quantizer = layer.float_weight, layer.weight_quantizer
    size = float(weight.detach().square().mean().sqrt())
    stretch = nn.Parameter(torch.zeros(len(weight)))
    optimizer = torch.optim.Adam(
        [
            {"params": [weight], "lr": lr * size},
            {"params": [layer.bias], "lr": lr * float(wanted.std())},
            {"params": [stretch], "lr": lr},
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sources = {name: tensors[name] for name in layer.sources}
    for _ in range(steps):
        batch = torch.randint(0, len(wanted), (min(BATCH, len(wanted)),), generator=generator)
        part = {name: source[batch] for name, source in sources.items()}
        y = layer.compute(part)
        y = y + layer.convolve(part) * (torch.exp(stretch) - 1).view(1, -1, 1, 1)
        F.mse_loss(layer.activate(y), wanted[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with torch.no_grad():
        quantizer.gain *= torch.exp(stretch)
