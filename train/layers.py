"""The quantized model: layers of the exported network's form, on real numbers that sit on the integer grids."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from twofold.golden.network import INPUT, Padding, Pair
from twofold.golden.order import Order
from twofold.train.activated import Activated
from twofold.train.data import InputFormat
from twofold.train.norm import bound, forgotten, gains, normalise, offsets
from twofold.train.outputs import Structure, gathered, ordered
from twofold.train.pointwise import Function
from twofold.train.quantizers import ActivationQuantizer, WeightQuantizer
from twofold.train.quantizers.residual_stream import StreamActivation
from twofold.train.quantizers.tying import read_octaves, tie_again
from twofold.train.skip import Read, Skip, concatenated
from twofold.train.windows import pad, transpose

Tensors = dict[str, Tensor]


class QuantLayer(Activated):
    """Base of the layers.

    Parameters
    ----------
    name
        Path in the user's module tree; also names the output tensor.
    kind
        One of `golden.network.KINDS`.
    shape
        (channels, height, width) of the output.
    nonnegative
        No result is negative, so the output is unsigned.
    relu, limit, function
        See `Activated`.

    Attributes
    ----------
    copies
        Results are values of the source, and keep its format.
    """

    copies = False

    def __init__(
        self,
        name: str,
        kind: str,
        shape: tuple[int, int, int],
        *,
        relu: bool = False,
        nonnegative: bool = False,
        limit: float | None = None,
        function: Function | None = None,
    ):
        super().__init__(relu=relu, limit=limit, function=function)
        self.name, self.kind, self.shape, self.nonnegative = name, kind, shape, nonnegative

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        raise NotImplementedError

    def compute(self, tensors: Tensors) -> Tensor:
        """The result before activation and quantization."""
        raise NotImplementedError

    def forward(self, tensors: Tensors) -> Tensor:
        return self.quantize(self.compute(tensors))


class ConvLayer(QuantLayer):
    """Convolution (or linear layer) of a tensor, or of channels of several, with bias, plus residuals.

    The weights are (M, N / groups, Kh, Kw), of a transposed convolution too.

    Attributes
    ----------
    reader
        The quantizer of what is convolved, where it is of a residual stream and has more bits than are read. It is a
        module of the layer that it is the output of: set it in ``__dict__``, so that it is none of this layer's, too.
    """

    reader: StreamActivation | None

    def __init__(
        self,
        name: str,
        kind: str,
        shape: tuple[int, int, int],
        source: str | tuple[Read, ...],
        weight: Tensor,
        bias: Tensor,
        *,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        skips: tuple[Skip, ...] = (),
        relu: bool = False,
        limit: float | None = None,
        function: Function | None = None,
        norm: nn.BatchNorm2d | None = None,
        transposed: bool = False,
    ):
        nonnegative = relu if function is None else function.nonnegative
        super().__init__(name, kind, shape, relu=relu, nonnegative=nonnegative, limit=limit, function=function)
        self.reads = (Read(source),) if isinstance(source, str) else source
        self.skips = skips
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.transposed = transposed
        self.weight = nn.Parameter(weight)
        self.norm = norm
        self.__dict__["reader"] = None
        # With a batch norm, the bias is the norm's; the convolution's own would do nothing.
        self.bias = nn.Parameter(bias) if norm is None else norm.bias

    @property
    def sources(self) -> tuple[str, ...]:
        return (*(read.source for read in self.reads), *(skip.source for skip in self.skips))

    @property
    def _parametrization(self) -> ParametrizationList:
        return self.parametrizations["weight"]  # type: ignore[index,return-value]

    @property
    def weight_quantizer(self) -> WeightQuantizer:
        """The weights' parametrization."""
        return self._parametrization[0]  # type: ignore[return-value]

    @property
    def float_weight(self) -> Tensor:
        """The weights before quantization."""
        return self._parametrization.original

    def input(self, tensors: Tensors) -> Tensor:
        """What is convolved."""
        x = concatenated(self.reads, tensors)
        return x if self.reader is None else self.reader.read(x)

    @property
    def begin(self) -> Pair:
        """(top, left) padding; of a transposed convolution, lines that are left out of the result."""
        return self.padding[0], self.padding[1]

    def convolve(self, tensors: Tensors) -> Tensor:
        """The convolution alone, without bias and residuals."""
        return self._convolved(tensors, None)

    def _convolved(self, tensors: Tensors, bias: Tensor | None) -> Tensor:
        x, padding = self.input(tensors), self.padding
        if self.transposed:
            y = transpose(x, self.weight, self.stride, self.begin, self.dilation, self.groups, self.shape[1:])
            return y if bias is None else y + bias.view(1, -1, 1, 1)
        if len(padding) == 4:
            x, padding = pad(x, padding), (0, 0)
        return F.conv2d(x, self.weight, bias, self.stride, padding, self.dilation, groups=self.groups)

    def compute(self, tensors: Tensors) -> Tensor:
        if self.norm is not None:
            y = self.norm(self._several(self.convolve(tensors)))
        else:
            y = self._convolved(tensors, self.bias)
        for skip in self.skips:
            y += skip.read(tensors, self.shape[0])
        return y

    def forward(self, tensors: Tensors) -> Tensor:
        if self.norm is None or self.quantizer is None or not self.norm.training:
            return super().forward(tensors)
        y, again = normalise(self.norm, self._several(self.convolve(tensors)))
        addends = [skip.read(tensors, self.shape[0]) for skip in self.skips]
        y = self._add(y, addends)
        if again is None:
            return self.quantize(y)
        kept = [addend.detach() for addend in addends]
        with forgotten(y, lambda: self._add(again(), kept)):
            return self.quantize(y)

    def _several(self, y: Tensor) -> Tensor:
        """The values, of which batch norm needs two or more a channel in training."""
        if self.norm is not None and self.norm.training and y.numel() == y.shape[1]:
            raise ValueError(f"Layer {self.name!r}: batch norm in training must see 2 or more values a channel, not 1")
        return y

    @staticmethod
    def _add(y: Tensor, addends: list[Tensor]) -> Tensor:
        for addend in addends:
            y += addend
        return y

    @torch.no_grad()
    def fold(self) -> None:
        """Put the batch norm, if there is one, into the quantizer's gains and the bias."""
        if self.norm is not None:
            norm, self.norm = self.norm, None
            self.weight_quantizer.rescale(gains(norm), keep=True)
            self.bias = nn.Parameter(offsets(norm))


class QuantModel(nn.Module):
    """A network as a list of layers over named tensors.

    Parameters
    ----------
    layers
        In an order in which each one's sources come before it.
    input_shape
        (channels, height, width) of the input.
    input_quantizer
        Format of the input.
    heads
        Names of the outputs' layers, in order, and shape and order of one result of each.
    structure
        What the user's model returns its outputs in; ``None``: a tensor, its only one.
    name, recipe
        For reports.

    Attributes
    ----------
    calibrated
        Its scales have been chosen, not only initialised.
    given_input
        What `convert` was told of the input; ``None`` of a model that is put together by hand.
    ties
        A residual may be a shift in requantisation, where scales allow it.
    bases
        The base of each residual stream (`train.streams`).
    """

    def __init__(
        self,
        layers: list[QuantLayer],
        input_shape: tuple[int, int, int],
        input_quantizer: ActivationQuantizer,
        *,
        heads: Sequence[tuple[str, Order]],
        structure: Structure | None = None,
        name: str = "network",
        recipe: str = "",
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.input_shape, self.name, self.recipe = input_shape, name, recipe
        self.input_quantizer, self.heads, self.structure = input_quantizer, tuple(heads), structure
        self.calibrated = False
        self.given_input: InputFormat | None = None
        self.ties = False
        self.bases = nn.ParameterList()

    @property
    def input_format(self) -> InputFormat:
        """What the network takes; without a scale where that is still to be calibrated."""
        quantizer = self.input_quantizer
        scale = float(quantizer.scale) if quantizer.fixed or self.calibrated else None
        return InputFormat(self.input_shape, quantizer.bits, quantizer.signed, scale)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of every module; what has been written had been calibrated."""
        result = super().load_state_dict(*args, **kwargs)
        for base, quantizers in zip(self.bases, self.tied(), strict=True):
            read_octaves(base, list(quantizers.values()))
        self.calibrated = True
        return result

    @property
    def quant_layers(self) -> list[QuantLayer]:
        """The layers, typed."""
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def conv_layers(self) -> list[ConvLayer]:
        """The layers with weights."""
        return [layer for layer in self.quant_layers if isinstance(layer, ConvLayer)]

    def read(self, x: Tensor) -> Tensors:
        """The quantized input, by name."""
        return {INPUT: self.input_quantizer(x.reshape(len(x), *self.input_shape))}

    def trace(self, x: Tensor) -> Tensors:
        """Every tensor of the network by name."""
        tensors = self.read(x)
        for layer in self.quant_layers:
            tensors[layer.name] = layer(tensors)
        return tensors

    def forward(self, x: Tensor) -> Any:
        return self.result(self.trace(x))

    def result(self, tensors: Tensors) -> Any:
        """What the user's model returns, among all tensors: one, or as many as it has outputs, as it gives them."""
        leaves = [ordered(tensors[name], order) for name, order in self.heads]
        return leaves[0] if self.structure is None else gathered(leaves, self.structure)

    def quantizers(self) -> list[ActivationQuantizer | WeightQuantizer]:
        """Every quantizer."""
        return [m for m in self.modules() if isinstance(m, (ActivationQuantizer, WeightQuantizer))]

    def tied(self) -> list[dict[str, ActivationQuantizer]]:
        """The tied quantizers of each residual stream, by the names of the tensors, in order."""
        found: dict[int, dict[str, ActivationQuantizer]] = {id(base): {} for base in self.bases}
        own = {INPUT: self.input_quantizer} | {layer.name: layer.quantizer for layer in self.quant_layers}
        for name, quantizer in own.items():
            if quantizer is not None and quantizer.stream is not None:
                found[id(quantizer.stream.base)][name] = quantizer
        return list(found.values())

    def enable(self, on: bool = True) -> None:
        """Quantize, or compute with real numbers."""
        for quantizer in self.quantizers():
            quantizer.enabled = on

    def begin(self) -> None:
        """To be called when training begins."""
        for quantizer in self.quantizers():
            quantizer.begin()

    def set_bits(self, least: int) -> None:
        """Have quantizers with fewer bits use `least` of them; 0: all have their final bits again.

        Raises
        ------
        ValueError
            If no weight quantizer can change its bits.
        """
        changed = [quantizer for quantizer in self.quantizers() if quantizer.set_bits(least)]
        if not any(isinstance(quantizer, WeightQuantizer) for quantizer in changed):
            raise ValueError("Stages must have a quantizer of weights that can change its bits, not none")
        for base, quantizers in zip(self.bases, self.tied(), strict=True):
            tie_again(base, list(quantizers.values()))

    def on_step(self, step: int, steps: int, epoch: int) -> None:
        """To be called before each training step, numbered from 0, of `steps` in all."""
        for quantizer in self.quantizers():
            quantizer.on_step(step, steps, epoch)

    def metrics(self) -> dict[str, float]:
        """``pruned``, the part of all weights that are 0, and what the quantizers report of themselves."""
        training = self.training
        self.eval()  # so that looking changes nothing
        weights = [layer.weight.detach() for layer in self.conv_layers]
        self.train(training)
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        parts: dict[str, list[tuple[float, float]]] = {
            "pruned": [(float(zeros), float(sum(weight.numel() for weight in weights)))]
        }
        for quantizer in self.quantizers():
            for name, pair in quantizer.metrics().items():
                parts.setdefault(name, []).append(pair)
        return {
            name: sum(part for part, _ in pairs) / sum(whole for _, whole in pairs) for name, pairs in parts.items()
        }

    def penalty(self) -> Tensor:
        """Sum of the quantizers' own losses."""
        terms = [quantizer.penalty() for quantizer in self.quantizers()]
        return sum((term for term in terms if term is not None), start=torch.zeros(()))

    def after_step(self) -> None:
        """To be called after each optimizer step."""
        for quantizer in self.quantizers():
            quantizer.after_step()
        for layer in self.conv_layers:
            if layer.norm is not None:
                bound(layer.norm)

    def finish(self) -> None:
        """To be called when training ends, or its settling begins."""
        for quantizer in self.quantizers():
            quantizer.finish()

    def fold(self) -> None:
        """Fold the batch norms that training kept; nothing where there are none. Quantizers must have finished."""
        for layer in self.conv_layers:
            layer.fold()
