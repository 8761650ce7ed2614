"""Whether a lowered network computes what the user's model computes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from twofold.train.data import InputFormat
from twofold.train.layers import QuantLayer, QuantModel
from twofold.train.outputs import flattened

#: Images of the comparison; not the traced number, so that a size that depends on it shows.
IMAGES = 3
#: Difference allowed, as a part of the root mean square: of float32 in another order, and where batch norms are kept,
#: whose smallest factors are raised (`train.norm.LEAST_GAIN`).
TOLERANCE, TOLERANCE_KEPT = 1e-3, 3e-2


def random_inputs(input: InputFormat, images: int = IMAGES) -> Tensor:
    """Random inputs over the whole range of the format, always the same; shape (images, *input.shape)."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(input.low, input.high + 1, (images, *input.shape), generator=generator)
    return values * (input.scale or 1 / input.high)


def check_finite(layers: Iterable[QuantLayer]) -> None:
    """Refuse weights and biases that are NaN or infinite, by the layer's name."""
    for layer in layers:
        for key, tensor in layer.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                wrong = float(tensor[~torch.isfinite(tensor)].flatten()[0])
                raise ValueError(f"Layer {layer.name!r}: {key.rpartition('.')[2]} must be finite, not {wrong!r}")


@dataclass(frozen=True)
class Place:
    """Where a graph has a layer's value: a node, and which of its channels are the layer's; None: all, in order."""

    node: fx.Node
    channels: tuple[int, ...] | None = None


class Reference(fx.Interpreter):
    """What the model gave, and every tensor of its graph as it was when it was computed.

    Parameters
    ----------
    traced
        Graph of the model.
    inputs, wanted
        Inputs and what the model itself gave for them.
    door
        What has traced it.
    """

    def __init__(self, traced: fx.GraphModule, inputs: Tensor, wanted: Any, door: str):
        super().__init__(traced)
        self.door = door
        self.inputs, self.wanted = inputs, wanted
        self.values: dict[fx.Node, Tensor] = {}
        with torch.no_grad():
            try:
                self.result = self.run(inputs.clone())
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(
                    f"Model must take any number of inputs, not fail with {len(inputs)}: {reason}"
                ) from error

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.values[n] = result.clone()
        return result

    def check_trace(self) -> None:
        """Refuse a model that is not what was traced of it."""
        leaves = list(zip(flattened(self.result)[0], flattened(self.wanted)[0], strict=True))
        if not all(torch.isfinite(wanted).all() for _, wanted in leaves):
            raise ValueError("Model must give finite results on random inputs of its format, not infinite ones or NaN")
        what = f"Model must be what {self.door} traces of it"
        for result, wanted in leaves:
            if result.shape != wanted.shape:
                raise ValueError(f"{what}, not give {tuple(wanted.shape)} for {tuple(result.shape)}")
            gap = _gap(result, wanted)
            if not gap <= TOLERANCE:
                raise ValueError(
                    f"{what}, not differ from it by {gap:.3g} of its root mean square: "
                    "forward must not depend on values, hidden state or chance"
                )


@torch.no_grad()
def check_same(quantized: QuantModel, there: Reference, places: dict[str, Place], *, kept: bool) -> None:
    """Compare the lowered network, quantizers off, with the model.

    Parameters
    ----------
    quantized
        The lowered network.
    there
        The model.
    places
        Where the graph has each layer's value; layers that it has nowhere are not compared.
    kept
        Batch norms are kept.

    Raises
    ------
    ValueError
        Naming the first layer that differs.
    """
    there.check_trace()
    quantized.enable(False)
    tensors = quantized.trace(there.inputs)
    quantized.enable()
    for layer in quantized.quant_layers:
        if layer.name not in places:
            continue
        ours, place = tensors[layer.name], places[layer.name]
        theirs = there.values[place.node]
        if place.channels is not None:
            theirs = theirs.reshape(len(theirs), -1, layer.shape[1] * layer.shape[2])[:, list(place.channels)]
        what = f"Layer {layer.name!r} must compute what the model computes"
        if ours.numel() != theirs.numel():
            raise ValueError(f"{what}, of shape {tuple(theirs.shape[1:])}, not {tuple(ours.shape[1:])}")
        gap = _gap(ours.flatten(), theirs.flatten())
        if not gap <= (TOLERANCE_KEPT if kept else TOLERANCE):
            raise ValueError(f"{what}, not differ by {gap:.3g} of its root mean square")
    for output, wanted in zip(*(flattened(one)[0] for one in (quantized.result(tensors), there.wanted)), strict=True):
        if output.shape != wanted.shape:
            raise ValueError(f"Model must give results of shape {tuple(wanted.shape)}, not {tuple(output.shape)}")
        gap = _gap(output, wanted)
        if not gap <= (TOLERANCE_KEPT if kept else TOLERANCE):
            raise ValueError(
                f"Model must give what the converted network gives, not differ by {gap:.3g} of its root mean square"
            )


def _gap(ours: Tensor, theirs: Tensor) -> float:
    """Root mean square of the difference, as a part of the other's."""
    rms = float(theirs.double().square().mean().sqrt())
    return float((ours - theirs).double().square().mean().sqrt()) / max(rms, 1e-6)
