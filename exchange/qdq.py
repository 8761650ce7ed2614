"""A quantized network as ONNX in real numbers between QuantizeLinear and DequantizeLinear, as other tools read it.

Weights are integers with a scale a channel, so that the real value of an accumulator's LSB is the multiplier times the
output's LSB. Sums and scales are of float32, and where QuantizeLinear rounds, they have been rounded before: the
integers are golden's but where the exact value lies half-way between two integers or within that rounding of it. Where
scales are powers of two and sums have at most 24 bits, nothing is rounded before, and all integers are golden's.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from twofold.exchange.channels import whole_weights
from twofold.exchange.graph import GraphBuilder, Shape, activation_type
from twofold.exchange.known import check_known
from twofold.exchange.places import spread
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.golden.table import PointwiseTable

#: Name of the last layer's real values.
OUTPUT = "output"


def qdq_model(network: Network, *, outputs: Collection[str] = ()) -> ModelProto:
    """The network in ONNX: from real inputs to real outputs.

    Parameters
    ----------
    network
        What to write.
    outputs
        Names of layers whose integers are outputs, too.

    Returns
    -------
    A model with float32 input `golden.network.INPUT` and float32 output `OUTPUT`, of shape (batch, C, H, W) or that of
    the output's order; further outputs of the network are ``OUTPUT_1`` and so on. For each of `outputs` one of its
    name, int8 or uint8.

    Raises
    ------
    TypeError
        If networks can hold more than is known here.
    ValueError
        If an output is no layer, or a layer's weights, biases or scales exceed 32 bits.
    """
    check_known(network, outputs)
    names = [layer.name for layer in network.layers]
    graph = GraphBuilder([INPUT, OUTPUT, *names])
    integers = {INPUT: quantize(graph, INPUT, network.input, network.input.low, network.input.high)}
    for layer in network.layers:
        _write(graph, network, layer, integers)
    results: dict[str, tuple[type[np.generic], Shape]] = {}
    for number, last in enumerate(network.outputs):
        real = f"{OUTPUT}_{number}" if number else OUTPUT
        real = real if real not in names else f"{real}/real"
        scale = np.array(last.output.scale)
        order, dtype = network.orders.get(last.name), activation_type(last.output)
        # In real numbers onnxruntime would quantize between the moves, with zero points of the wrong type.
        given = (
            integers[last.name] if order is None else graph.order(integers[last.name], order, out=f"{real}/integers")
        )
        dequantize(graph, given, scale, dtype, out=real, reserved=True)
        results[real] = np.float32, last.output.shape if order is None else order.shape
    for layer in network.layers:
        if layer.name in outputs:
            results[layer.name] = activation_type(layer.output), layer.output.shape
    return graph.model(network.name or "network", {INPUT: (np.float32, network.input.shape)}, results)


def quantize(
    graph: GraphBuilder, value: str, form: Tensor | PointwiseTable, low: int, high: int, *, out: str = ""
) -> str:
    """Integers of real values in the format of a tensor, or of what a table is asked with; within bounds."""
    dtype, scale = activation_type(form), _float32(np.array(form.scale), value)
    if (low, high) != (np.iinfo(dtype).min, np.iinfo(dtype).max):
        bounds = [graph.constant(np.array(bound * scale, np.float32), "bound") for bound in (low, high)]
        value = graph.add("Clip", value, *bounds, out=f"{out or value}/clip")
    step, zero = graph.constant(scale, "scale"), graph.constant(np.array(0, dtype), "zero")
    return graph.add("QuantizeLinear", value, step, zero, out=out or f"{value}/integers", reserved=bool(out))


def dequantize(
    graph: GraphBuilder,
    value: str,
    scale: NDArray[np.float64],
    dtype: type[np.generic],
    *,
    out: str,
    axis: int = 0,
    reserved: bool = False,
) -> str:
    """Real values of integers of that type, with one scale or one for each index of an axis."""
    step = graph.constant(_float32(scale, out), "scale")
    along = {"axis": axis} if scale.ndim else {}
    # onnxruntime adds those that are left out, but a single one; 32 bits have none.
    zeros = [] if dtype is np.int32 else [graph.constant(np.zeros(scale.shape, dtype), "zero")]
    return graph.add("DequantizeLinear", value, step, *zeros, out=out, reserved=reserved, **along)


def _float32(scale: NDArray[np.float64], where: str) -> NDArray[np.float32]:
    """Scales of float32, none of which becomes zero, subnormal or infinite."""
    limits = np.finfo(np.float32)
    for value in (float(scale.min()), float(scale.max())):
        if not limits.tiny <= value <= limits.max:
            raise ValueError(f"Scale of {where!r} must be one of float32, not {value!r}")
    return scale.astype(np.float32)


def _write(graph: GraphBuilder, network: Network, layer: Layer, integers: dict[str, str]) -> None:
    """A layer: the sums of its parts are put among zeros and added, then quantized."""
    form = layer.output if layer.table is None else layer.table
    terms = []
    for part, piece in layer.pieces:
        real = _Real(graph, network, piece, integers)
        own = real.terms()
        if layer.parts:
            own = [spread(graph, real.add(own), part, layer.output.shape, out=f"{layer.name}/part")]
        terms += own
    if layer.skip is not None:
        scale = np.array(2.0**layer.skip.shift * form.scale)
        terms.append(real.source(layer.skip.source, scale))
    out = layer.name if layer.table is None else ""
    found = quantize(graph, real.add(terms), form, layer.low, layer.high, out=out)
    if layer.table is not None:
        index = graph.cast(found, np.int64, out=f"{layer.name}/value")
        found = graph.look_up(layer.table, index, activation_type(layer.output), out=layer.name)
    integers[layer.name] = found


class _Real:
    """A layer, or the piece of one that gives a part.

    `unit` is the real value of an accumulator's LSB; filters that are not used have none.
    """

    def __init__(self, graph: GraphBuilder, network: Network, layer: Layer, integers: dict[str, str]) -> None:
        self.graph, self.network, self.layer, self.integers = graph, network, layer, integers
        self.used = layer.multiplier > 0
        scale = np.where(self.used, layer.multiplier * 2.0**-layer.right, 1.0)
        self.unit = scale * (layer.output if layer.table is None else layer.table).scale
        self.bias = layer.bias * self.used
        if np.abs(self.bias).max() >= 1 << 31:
            raise ValueError(f"Layer {layer.name!r}: bias must be of 32 bits, not {np.abs(self.bias).max()}")

    def terms(self) -> list[str]:
        """Real values that are added up before the rounding, but for the skip."""
        layer, graph = self.layer, self.graph
        if layer.maximum:
            return [self._maximum(layer.branches[0])]
        whole = [branch.out_channels == len(self.bias) for branch in layer.branches]
        first = whole.index(True) if True in whole else None
        terms = [self._sum(branch, bias=n == first) for n, branch in enumerate(layer.branches)]
        if first is None and self.bias.any():
            real = (self.bias * self.unit).astype(np.float32).reshape(-1, 1, 1)
            terms.append(graph.constant(real, self._name("bias")))
        return terms

    def add(self, terms: list[str]) -> str:
        """Their sum."""
        total = terms[0]
        for term in terms[1:]:
            total = self.graph.add("Add", total, term, out=self._name("sum"))
        return total

    def _sum(self, branch: Branch, *, bias: bool) -> str:
        """Real sums of a branch over its windows, of all the layer's channels."""
        tensor = self.network.tensors[branch.source]
        scale = tensor.scale
        part = slice(branch.channel, branch.channel + branch.out_channels)
        cut = [min(0, side) for side in (*branch.begin, *branch.end)]
        read = self.source(branch.source, np.array(scale)) if branch.narrow is None else self._narrowed(branch)
        source = self._pad(read, [0, 0, *cut[:2], 0, 0, *cut[2:]])
        used = branch.weights(self.network.point_sets[branch.point_set]) * self.used[part, None, None, None]
        weights, groups = whole_weights(branch, used, tensor.shape[0])
        geometry: dict[str, Any] = {
            "pads": [max(0, side) for side in (*branch.begin, *branch.end)],
            "group": groups,
        }
        unit = self.unit[part] / scale
        sums = self._convolution(source, weights, unit, bias=bias, **geometry, **_window(branch))
        after = len(self.bias) - branch.channel - branch.out_channels
        return self._pad(sums, [0, branch.channel, 0, 0, 0, after, 0, 0])

    def _convolution(
        self, source: str, weights: NDArray[np.int64], scale: NDArray[np.float64], *, bias: bool, **geometry: Any
    ) -> str:
        inputs = [source, self._weights(weights, scale)]
        if bias:
            integers = self.graph.constant(self.bias.astype(np.int32), self._name("bias"))
            inputs.append(dequantize(self.graph, integers, self.unit, np.int32, out=self._name("real_bias")))
        return self.graph.add("Conv", *inputs, out=self._name("sums"), **geometry)

    def source(self, name: str, scale: NDArray[np.float64]) -> str:
        """Real values of an activation tensor."""
        dtype = activation_type(self.network.tensors[name])
        return dequantize(self.graph, self.integers[name], scale, dtype, out=self._name("source"))

    def _narrowed(self, branch: Branch) -> str:
        """Real values of the bits of a source that are read; leaving bits out is exact, as parts of 2 are."""
        graph, narrow, tensor = self.graph, branch.narrow, self.network.tensors[branch.source]
        assert narrow is not None
        parts = self.source(branch.source, np.array(2.0**-narrow.drop))
        read = graph.narrow(parts, narrow, out=self._name("read"))
        unit = graph.constant(_float32(np.array(tensor.scale * 2.0**narrow.drop), branch.source), "scale")
        return graph.add("Mul", read, unit, out=self._name("narrow"))

    def _weights(self, weights: NDArray[np.int64], scale: NDArray[np.float64]) -> str:
        """Real weights, of integers in the fewest bytes."""
        low, high = int(weights.min()), int(weights.max())
        for dtype in (np.int8, np.int16, np.int32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                integers = self.graph.constant(weights.astype(dtype), self._name("integers"))
                return dequantize(self.graph, integers, scale, dtype, out=self._name("weights"))
        raise ValueError(f"Layer {self.layer.name!r}: weights must be of 32 bits, not {max(high, -low)}")

    def _maximum(self, branch: Branch) -> str:
        """Maxima over the windows of source times weight; biases and unlike multipliers are a convolution after it."""
        weight = int(branch.weights(self.network.point_sets[branch.point_set]).flat[0])
        tensor = self.network.tensors[branch.source]
        scale = abs(weight) * self.unit * self.used
        plain = scale[0] > 0 and bool((scale == scale[0]).all()) and not self.bias.any()
        direct = plain and not tensor.signed and branch.channels is None
        lsb = np.array(scale[0] if direct else tensor.scale)
        value = self.source(branch.source, lsb)
        if weight < 0:
            value = self.graph.add("Neg", value, out=self._name("negative"))
        sides = [*branch.begin, *branch.end]
        # onnxruntime has no padding as wide as the kernel.
        if min(sides) < 0 or max(sides) >= min(branch.kernel):
            nothing = self.graph.constant(np.array(-np.inf, np.float32), "nothing")
            value, sides = self._pad(value, [0, 0, *sides[:2], 0, 0, *sides[2:]], nothing), [0, 0, 0, 0]
        most = self.graph.add("MaxPool", value, out=self._name("maximum"), pads=sides, **_window(branch))
        if direct:
            return most
        if weight > 0:
            # onnxruntime writes this itself, but wrongly where a Clip follows signed integers.
            dtype = activation_type(tensor)
            integers = quantize(self.graph, most, tensor, np.iinfo(dtype).min, np.iinfo(dtype).max)
            most = dequantize(self.graph, integers, lsb, dtype, out=self._name("maximum"))
        factors = np.abs(weight) * self.used.astype(np.int64).reshape(-1, 1, 1, 1)
        factors, groups = whole_weights(branch, factors, tensor.shape[0])
        return self._convolution(most, factors, self.unit / lsb, bias=True, group=groups)

    def _pad(self, value: str, sides: list[int], *fill: str) -> str:
        return self.graph.pad(value, sides, *fill, out=self._name("padded"))

    def _name(self, what: str) -> str:
        return f"{self.layer.name}/{what}"


def _window(branch: Branch) -> dict[str, Any]:
    return {"kernel_shape": branch.kernel, "strides": branch.stride, "dilations": branch.dilation}
