"""A quantized network as ONNX in integers: the same integers as golden's at every layer, whatever the scales are.

Products are ConvInteger's, of unsigned bytes: onnxruntime's kernels for signed ones saturate on some processors. Sums,
multipliers and the one rounding are of float64 where it holds every sum exactly (Round rounds ties to even), and of
int64 where it does not.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from twofold.exchange.channels import whole_weights
from twofold.exchange.graph import GraphBuilder, Shape, activation_type
from twofold.exchange.known import check_known
from twofold.exchange.places import assembled, sliced
from twofold.golden.layers import FLOAT64_EXACT, worst_case, worst_scaled
from twofold.golden.narrow import Narrow
from twofold.golden.network import INPUT, Branch, Layer, Network, Padding, SkipTensor
from twofold.golden.parts import Part

#: What is taken off unsigned bytes that stand for signed ones.
SIGNED_ZERO = 128
#: Partial sums of weights cut into bytes may be larger than sums of whole ones.
MARGIN = 4


def exact_model(network: Network, *, outputs: Collection[str] = ()) -> ModelProto:
    """The network in ONNX: from the input's integers to the last layer's.

    Parameters
    ----------
    network
        What to write. Its scales are not needed.
    outputs
        Names of further layers whose integers are outputs, too.

    Returns
    -------
    A model with input `golden.network.INPUT` and outputs named as layers, of shape (batch, C, H, W), int8 or uint8. An
    output of the network with an order of its own is named ``LAYER/output``, of the order's shape.

    Raises
    ------
    TypeError
        If networks can hold more than is known here.
    ValueError
        If an output is no layer, or a layer's sums could exceed 64 bits, or those of one byte of its weights 32.
    """
    check_known(network, outputs)
    names = [layer.name for layer in network.layers]
    graph = GraphBuilder(network.tensors)
    for layer in network.layers:
        _write(graph, network, layer)
    heads = [layer.name for layer in network.outputs if layer.name not in network.orders]
    tensors: dict[str, tuple[type[np.generic], Shape]] = {
        name: (activation_type(tensor), tensor.shape) for name, tensor in network.tensors.items()
    }
    results = {name: tensors[name] for name in names if name in outputs or name in heads}
    for name, order in network.orders.items():
        results[graph.order(name, order, out=f"{name}/output")] = tensors[name][0], order.shape
    return graph.model(network.name or "network", {INPUT: tensors[INPUT]}, results)


def _write(graph: GraphBuilder, network: Network, layer: Layer) -> None:
    """A layer: the values of its parts before a table are put together, then looked up."""
    dtype: type[np.generic] = activation_type(layer.output) if layer.table is None else np.int64
    pieces = [(part, _Exact(graph, network, piece, part)) for part, piece in layer.pieces]
    out, own = (layer.name, True) if layer.table is None else (f"{layer.name}/value", False)
    if layer.parts:
        values = [graph.cast(one.values(), dtype, out=f"{layer.name}/part") for _, one in pieces]
        whole = assembled(graph, values, layer.parts, layer.output.shape, out=out, reserved=own)
    else:
        whole = graph.cast(pieces[0][1].values(), dtype, out=out, reserved=own)
    if layer.table is not None:
        graph.look_up(layer.table, whole, activation_type(layer.output), out=layer.name)


class _Exact:
    """A layer, or the piece of one that gives a part; `dtype` holds all its sums exactly."""

    def __init__(self, graph: GraphBuilder, network: Network, layer: Layer, part: Part) -> None:
        self.graph, self.network, self.layer, self.part = graph, network, layer, part
        worst = max(max(worst_case(network, layer)), max(worst_scaled(network, layer)))
        if worst >= 1 << 63:
            raise ValueError(f"Layer {layer.name!r}: accumulator times multiplier must be below 2**63, not {worst}")
        self.dtype = np.float64 if MARGIN * worst < FLOAT64_EXACT else np.int64

    def values(self) -> str:
        """Integers within the clip bounds."""
        layer, graph = self.layer, self.graph
        sums = [self._maximum() if layer.maximum else self._sum(branch) for branch in layer.branches]
        total = self._add(*sums, self._channels(layer.bias, "bias"))
        total = self._mul(total, self._channels(layer.multiplier, "multiplier"))
        if layer.skip is not None:
            total = self._add(total, self._skip(layer.skip))
        rounded = self._round(total) if self.dtype == np.float64 else self._round_integers(total)
        bounds = [graph.constant(np.array(bound, self.dtype), "bound") for bound in (layer.low, layer.high)]
        return graph.add("Clip", rounded, *bounds, out=self._name("clip"))

    def _skip(self, skip: SkipTensor) -> str:
        """What a skip adds within the rounding."""
        source = skip.source
        if self.network.tensors[source].shape != self.layer.output.shape:
            source = sliced(self.graph, source, self.part, out=self._name("skip"))
        wide = self.graph.cast(source, self.dtype, out=self._name("skip"))
        lsb = self._channels(np.left_shift(1, skip.shift + self.layer.right), "skip_lsb")
        return self._mul(wide, lsb)

    def _sum(self, branch: Branch) -> str:
        """Sums of a branch over its windows, of all the layer's channels."""
        source, zero = self._bytes(branch)
        groups, weight_bytes = self._weight_bytes(branch)
        zeros = [self.graph.constant(np.array(value, np.uint8), "zero") for value in (zero, SIGNED_ZERO)]
        pads = [max(0, side) for side in (*branch.begin, *branch.end)]
        parts = []
        for place, part in enumerate(weight_bytes):
            weights = self.graph.constant((part + SIGNED_ZERO).astype(np.uint8), self._name("weights"))
            sums = self.graph.add(
                "ConvInteger",
                source,
                weights,
                *zeros,
                out=self._name("sums"),
                kernel_shape=branch.kernel,
                strides=branch.stride,
                dilations=branch.dilation,
                group=groups,
                pads=pads,
            )
            sums = self.graph.cast(sums, self.dtype, out=self._name("wide"))
            parts.append(self._mul(sums, self._number(1 << 8 * place)) if place else sums)
        return self._placed(self._add(*parts), branch)

    def _bytes(self, branch: Branch) -> tuple[str, int]:
        """Unsigned bytes of a branch's source, what is taken off them; lines that negative padding leaves out are."""
        tensor, source = self.network.tensors[branch.source], branch.source
        if branch.narrow is not None:
            source = self._narrowed(source, branch.narrow, activation_type(tensor))
        if tensor.signed:
            wide = self.graph.cast(source, np.int32, out=f"{source}/int32")
            offset = self.graph.constant(np.array(SIGNED_ZERO, np.int32), "offset")
            source = self.graph.cast(
                self.graph.add("Add", wide, offset, out=f"{source}/raised"), np.uint8, out=f"{source}/uint8"
            )
        cut = [min(0, side) for side in (*branch.begin, *branch.end)]
        return self._pad(source, (cut[0], cut[1], cut[2], cut[3])), SIGNED_ZERO if tensor.signed else 0

    def _narrowed(self, source: str, narrow: Narrow, dtype: type[np.generic]) -> str:
        """The bits of a source that are read, in its own type."""
        graph = self.graph
        step = graph.constant(np.array(1 << narrow.drop, np.float32), "step")
        parts = graph.add("Div", graph.cast(source, np.float32, out=self._name("wide")), step, out=self._name("parts"))
        read = graph.narrow(parts, narrow, out=self._name("read"))
        return graph.cast(graph.add("Mul", read, step, out=self._name("read")), dtype, out=self._name("narrow"))

    def _weight_bytes(self, branch: Branch) -> tuple[int, list[NDArray[np.int64]]]:
        """Groups, and signed bytes of the weights.

        The least significant comes first; all but the first are left out where they are zero.
        """
        tensor = self.network.tensors[branch.source]
        weights = branch.weights(self.network.point_sets[branch.point_set])
        rest, groups = whole_weights(branch, weights, tensor.shape[0])
        parts: list[NDArray[np.int64]] = []
        while not parts or rest.any():
            part = ((rest + 128) & 255) - 128
            rest = (rest - part) >> 8
            parts.append(part)
            worst = int(np.abs(part).sum(axis=(1, 2, 3)).max()) * max(-tensor.low, tensor.high)
            if worst >= 1 << 31:
                raise ValueError(f"Layer {self.layer.name!r}: sums of bytes must be below 2**31, not {worst}")
        return groups, parts

    def _maximum(self) -> str:
        """Maxima of weight times activation over the windows."""
        (branch,) = self.layer.branches
        weight = int(branch.weights(self.network.point_sets[branch.point_set]).flat[0])
        tensor = self.network.tensors[branch.source]
        worst = abs(weight) * max(-tensor.low, tensor.high)
        if worst >= FLOAT64_EXACT:
            raise ValueError(f"Layer {self.layer.name!r}: maximum must be below 2**53, not {worst}")
        graph = self.graph
        wide = graph.cast(branch.source, np.float64, out=self._name("wide"))
        if branch.channels is not None:
            read = graph.constant(np.array(branch.channels), "channels")
            wide = graph.add("Gather", wide, read, out=self._name("read"), axis=1)
        times = graph.constant(np.array(weight, np.float64), "weight")
        product = graph.add("Mul", wide, times, out=self._name("product"))
        (top, left), (bottom, right) = branch.begin, branch.end
        nothing = graph.constant(np.array(-np.inf), "nothing")
        whole = self._pad(product, (top, left, bottom, right), nothing)
        most = graph.add(
            "MaxPool",
            whole,
            out=self._name("maximum"),
            kernel_shape=branch.kernel,
            strides=branch.stride,
            dilations=branch.dilation,
        )
        return most if self.dtype == np.float64 else graph.cast(most, self.dtype, out=self._name("maximum"))

    def _round(self, total: str) -> str:
        divisor = self._channels(np.left_shift(1, self.layer.right), "divisor")
        return self.graph.add(
            "Round", self.graph.add("Div", total, divisor, out=self._name("ratio")), out=self._name("round")
        )

    def _round_integers(self, total: str) -> str:
        """Ties to even in int64: one more where the remainder, plus 1 if the quotient is odd, is above half."""
        graph = self.graph
        divisor = self._channels(np.left_shift(1, self.layer.right), "divisor")
        # With no shift the remainder is 0, and with the oddness not above 1.
        half = self._channels(np.maximum(np.left_shift(1, self.layer.right) >> 1, 1), "half")
        rest = graph.add("Mod", total, divisor, out=self._name("rest"))
        whole = graph.add("Sub", total, rest, out=self._name("whole"))
        quotient = graph.add("Div", whole, divisor, out=self._name("quotient"))
        odd = graph.add("Mod", quotient, self._number(2), out=self._name("odd"))
        above = graph.add("Greater", self._add(rest, odd), half, out=self._name("above"))
        return self._add(quotient, graph.cast(above, np.int64, out=self._name("up")))

    def _placed(self, sums: str, branch: Branch) -> str:
        """Sums among zeros for the layer's other channels."""
        after = len(self.layer.bias) - branch.channel - branch.out_channels
        return self.graph.pad(sums, [0, branch.channel, 0, 0, 0, after, 0, 0], out=self._name("placed"))

    def _pad(self, value: str, sides: Padding, *fill: str) -> str:
        return self.graph.pad(value, [0, 0, *sides[:2], 0, 0, *sides[2:]], *fill, out=self._name("padded"))

    def _add(self, first: str, *others: str) -> str:
        for other in others:
            first = self.graph.add("Add", first, other, out=self._name("sum"))
        return first

    def _mul(self, left: str, right: str) -> str:
        return self.graph.add("Mul", left, right, out=self._name("product"))

    def _channels(self, values: NDArray[np.int64], what: str) -> str:
        return self.graph.constant(values.astype(self.dtype).reshape(-1, 1, 1), self._name(what))

    def _number(self, value: int) -> str:
        return self.graph.constant(np.array(value, self.dtype), "number")

    def _name(self, what: str) -> str:
        return f"{self.layer.name}/{what}"
