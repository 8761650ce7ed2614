"""Learned rounding: the weights of a block of layers are chosen so that its output is nearest to the float block's.

Two ways. ``choose``: each weight takes one of the two points next to it; a soft choice is trained and made hard by and
by [AdaRound], per block [BRECQ], with the layer's own points as the grid. ``straight``: the weights move, with a
straight-through gradient, and may cross several points (the code of [SubsetQ] has an elementwise multiplier instead).
Both train biases and a gain a channel with them, and activation scales where asked.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.train.layers import ConvLayer, QuantLayer, Tensors
from twofold.train.quantizers import WeightQuantizer
from twofold.train.quantizers.base import per_channel
from twofold.train.recipe import PostSettings

#: Stretch of the sigmoid that makes choices (AdaRound's zeta and gamma), so that 0 and 1 are reached.
ZETA, GAMMA = 1.1, -0.1
#: Exponent of the penalty of undecided choices at first and at last, and the part of the steps before it acts.
SHARP, WARM = (20.0, 2.0), 0.2


class SoftChoice(nn.Module):
    """Stands in for a weight quantizer while it is learned which of its two neighbouring points each weight takes.

    Parameters
    ----------
    weight
        Weights before quantization.
    quantizer
        Calibrated, with a `grid`.

    Attributes
    ----------
    logit : shape of the weights
        The choice before the stretched sigmoid; begins where the soft weight is the weight itself.
    stretch : shape (M,)
        Logarithm of the channels' gains.
    """

    def __init__(self, weight: Tensor, quantizer: WeightQuantizer, grid: Tensor):
        super().__init__()
        with torch.no_grad():
            x = weight / per_channel(quantizer.scale)
            place = torch.bucketize(x, grid).clamp(1, len(grid) - 1)
            self.low, self.high = grid[place - 1], grid[place]
            part = ((x - self.low) / (self.high - self.low)).clamp(0.01, 0.99)
            logit = torch.logit((part - GAMMA) / (ZETA - GAMMA))
        self.logit = nn.Parameter(logit)
        self.stretch = nn.Parameter(torch.zeros(len(weight)))
        self.unit = quantizer.scale.detach() * quantizer.gain

    def choice(self) -> Tensor:
        """How much of the upper point each weight takes, 0 to 1."""
        return (torch.sigmoid(self.logit) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)

    def undecided(self, sharp: float) -> Tensor:
        """Penalty of choices that are neither 0 nor 1."""
        return (1 - (2 * self.choice() - 1).abs() ** sharp).sum()

    def forward(self, weight: Tensor) -> Tensor:
        points = self.low + self.choice() * (self.high - self.low)
        return points * per_channel(self.unit * torch.exp(self.stretch))

    def chosen(self) -> Tensor:
        """Integer weights (LSBs)."""
        return torch.where(self.choice() >= 0.5, self.high, self.low)


@dataclass(eq=False)
class _Learner:
    """One convolution of the block while it is learned."""

    layer: ConvLayer
    quantizer: WeightQuantizer
    soft: SoftChoice | None = None
    stretch: nn.Parameter | None = None

    @classmethod
    def of(cls, layer: ConvLayer, rounding: str) -> "_Learner":
        quantizer = layer.weight_quantizer
        grid = quantizer.grid()
        if rounding == "choose" and grid is not None:
            soft = SoftChoice(layer.float_weight.detach(), quantizer, grid)
            _put(layer, soft)
            return cls(layer, quantizer, soft)
        return cls(layer, quantizer, stretch=nn.Parameter(torch.zeros(len(layer.bias))))

    def groups(self, settings: PostSettings, spread: float) -> list[dict[str, object]]:
        """Parameters with their rates; `spread` is that of the block's output."""
        groups: list[dict[str, object]] = [{"params": [self.layer.bias], "lr": settings.scale_lr * spread}]
        if self.soft is not None:
            groups.append({"params": [self.soft.logit], "lr": settings.lr})
            groups.append({"params": [self.soft.stretch], "lr": settings.scale_lr})
        else:
            weight = self.layer.float_weight
            groups.append({"params": [weight], "lr": settings.lr * float(weight.detach().square().mean().sqrt())})
            groups.append({"params": [self.stretch], "lr": settings.scale_lr})
        return groups

    def compute(self, tensors: Tensors) -> Tensor:
        """The layer's sums."""
        y = self.layer.compute(tensors)
        if self.stretch is not None:
            y = y + self.layer.convolve(tensors) * (torch.exp(self.stretch) - 1).view(1, -1, 1, 1)
        return y

    @torch.no_grad()
    def finish(self) -> None:
        """Make the choices hard, and put the quantizer back."""
        if self.soft is not None:
            _put(self.layer, self.quantizer)
            self.layer.float_weight.copy_(self.soft.chosen() * per_channel(self.quantizer.scale))
            self.quantizer.gain *= torch.exp(self.soft.stretch)
        elif self.stretch is not None:
            if self.quantizer.grid() is not None:  # so that no weight is rounded otherwise when a scale moves a little
                scale = per_channel(self.quantizer.scale)
                self.layer.float_weight.copy_(self.quantizer.integers(self.layer.float_weight / scale) * scale)
            self.quantizer.gain *= torch.exp(self.stretch)


def learn_block(
    layers: list[QuantLayer],
    tensors: Tensors,
    floats: Tensors,
    settings: PostSettings,
    generator: torch.Generator,
    *,
    images: Tensor | None = None,
) -> None:
    """Reconstruct a block of layers.

    Parameters
    ----------
    layers
        Calibrated; the last one's output is the block's.
    tensors
        The quantized results of the layers before it, on the calibration images.
    floats
        The float results of the same layers and of the block's.
    settings
        Steps, rates, batch, way of rounding.
    generator
        Of the batches and of what is dropped.
    images
        Numbers of those to learn from; ``None``: all.
    """
    wanted = floats[layers[-1].name]
    learners = {layer.name: _Learner.of(layer, settings.rounding) for layer in layers if isinstance(layer, ConvLayer)}
    images = torch.arange(len(wanted)) if images is None else images
    spread = float(wanted.std())
    groups = [group for learner in learners.values() for group in learner.groups(settings, spread)]
    scales = _learned_scales(layers[:-1], settings)
    groups += [{"params": [scale], "lr": settings.act_lr * float(scale.detach())} for scale in scales]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    inner = {layer.name for layer in layers}
    names = {source for layer in layers for source in layer.sources} - inner
    softs = [learner.soft for learner in learners.values() if learner.soft is not None]
    for step in range(settings.steps):
        batch = images[torch.randint(0, len(images), (min(settings.batch, len(images)),), generator=generator)]
        here = {name: _drop(tensors[name][batch], floats[name][batch], settings.drop, generator) for name in names}
        for layer in layers:
            y = learners[layer.name].compute(here) if layer.name in learners else layer.compute(here)
            y = layer.activate(layer.asked(y))
            last = layer is layers[-1]
            out = y if last or layer.quantizer is None else layer.quantizer(y)
            here[layer.name] = _drop(out, y, settings.drop, generator)
        loss = F.mse_loss(y, wanted[batch]) * wanted.shape[1]
        if step >= WARM * settings.steps:
            sharp = _sharpness(step, settings.steps)
            loss = loss + settings.decide * sum(soft.undecided(sharp) for soft in softs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        for layer in layers:
            if layer.quantizer is not None:
                layer.quantizer.after_step()
    for learner in learners.values():
        learner.finish()
    for scale in scales:
        scale.requires_grad_(False)


def _drop(quantized: Tensor, real: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """The quantized values, a part of them at random replaced with the real ones."""
    if not part or quantized is real:
        return quantized
    return torch.where(torch.rand(real.shape, generator=generator) < part, real, quantized)


def _put(layer: ConvLayer, module: nn.Module) -> None:
    """Let a module make the layer's weights, in the place of its quantizer."""
    layer.parametrizations["weight"][0] = module  # type: ignore[index,assignment]


def _sharpness(step: int, steps: int) -> float:
    done = (step - WARM * steps) / max(1.0, (1 - WARM) * steps)
    return SHARP[1] + (SHARP[0] - SHARP[1]) * 0.5 * (1 + math.cos(math.pi * done))


def _learned_scales(layers: list[QuantLayer], settings: PostSettings) -> list[nn.Parameter]:
    """Scales of the activations within the block, which are trained where a rate is given."""
    if not settings.act_lr:
        return []
    found = []
    for layer in layers:
        quantizer = layer.quantizer
        # A tied scale is that of tensors outside the block, too.
        if quantizer is not None and quantizer.learn and not quantizer.fixed and quantizer.stream is None:
            quantizer.scale.requires_grad_(True)
            found.append(quantizer.scale)
    return found
