"""A quantized network: integer words, biases and multipliers, with the scales that make them real numbers.

Everything a layer computes is one form (`design`: "acc = bias + sum(w * x)"): a *branch* is a grouped convolution of
one source tensor with integer words, and a layer is the sum, or the maximum, of its branches, requantised once.
A linear layer is a kernel as large as its input; a residual, a pooling or an addition is a depthwise branch. A residual
whose scale is a power of two times the output's may be a *skip* instead, added before the layer's one rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.golden.branch import Branch as Branch
from twofold.golden.branch import Padding as Padding
from twofold.golden.branch import Pair as Pair
from twofold.golden.branch import windows_touch as windows_touch
from twofold.golden.formats import PointSet
from twofold.golden.order import Order
from twofold.golden.parts import Part, check_parts
from twofold.golden.plain import check_flag, check_integers, check_name
from twofold.golden.table import PointwiseTable
from twofold.golden.tensor import SkipTensor as SkipTensor
from twofold.golden.tensor import Tensor as Tensor

INPUT = "input"
KINDS = ("conv2d", "linear", "maxpool", "avgpool", "add")


@dataclass(frozen=True, eq=False)
class Layer:
    """``y[c] = clip(rne((bias[c] + sum of branches) * multiplier[c] * 2**-right[c]), low, high)``.

    With a skip the sum within the rounding is ``(... ) * multiplier[c] + (skip[c] << (shift + right[c]))``. With a
    table, y is the entry of all this.

    Parameters
    ----------
    name
        Path in the user's module tree; also the name of the output tensor.
    kind
        What it was, one of `KINDS`; the arithmetic does not depend on it.
    branches
        What is added up; with `maximum` exactly one, depthwise, whose words are all the same.
    output
        Shape and format of the result.
    bias, multiplier, right : int64, shape (M,)
        In accumulator units; integers of few signed digits; bits.
    low, high
        Clip bounds within the output's format, or the table's.
    maximum
        Maximum over the window instead of the sum.
    skip
        What is added in the requantiser, or None; its shift plus every `right` is 0 to 62. Not with `maximum`.
    table
        A pointwise function behind the clip, or None; its entries are within the output's format.
    parts
        Parts of the output that are computed each by itself; empty: one of all positions. Of P parts and M channels,
        bias, multiplier and right have P * M entries, and a branch gives its part's channels: those of part p are
        p * M to p * M + M - 1. Not with `maximum`.
    """

    name: str
    kind: str
    branches: tuple[Branch, ...]
    output: Tensor
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    right: NDArray[np.int64]
    low: int
    high: int
    maximum: bool = False
    skip: SkipTensor | None = None
    table: PointwiseTable | None = None
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        where = f"Layer {self.name!r}"
        check_name("Name of a layer", self.name)
        check_integers(f"{where}: clip bounds", self.low, self.high)
        check_flag(f"{where}: maximum", self.maximum)
        if self.kind not in KINDS:
            raise ValueError(f"{where}: kind must be one of {KINDS}, not {self.kind!r}")
        if not self.branches:
            raise ValueError(f"{where}: layer must have at least one branch, not {self.branches!r}")
        channels = self.output.shape[0] * max(1, len(self.parts))
        for key in ("bias", "multiplier", "right"):
            array = getattr(self, key)
            if array.dtype != np.int64 or array.shape != (channels,):
                raise ValueError(
                    f"{where}: {key} must be int64 of shape ({channels},), not {array.dtype} of {array.shape}"
                )
        if self.multiplier.min() < 0 or self.right.min() < 0 or self.right.max() > 62:
            raise ValueError(f"{where}: multiplier must not be negative and right must be 0 to 62")
        bounds = self.output if self.table is None else self.table
        if not bounds.low <= self.low <= self.high <= bounds.high:
            raise ValueError(
                f"{where}: clip bounds must be within {bounds.low} and {bounds.high}, not {self.low!r}, {self.high!r}"
            )
        least, most = self.range
        if not self.output.low <= least <= most <= self.output.high:
            raise ValueError(
                f"{where}: entries of the table must be within {self.output.low} and {self.output.high}, "
                f"not {least} to {most}"
            )
        for branch in self.branches:
            end = branch.channel + branch.out_channels
            if branch.channel < 0 or end > channels:
                raise ValueError(f"{where}: branch must end within {channels} channels, not at {end!r}")
        if self.maximum:
            codes = self.branches[0].codes
            if (
                len(self.branches) != 1
                or self.branches[0].groups != channels
                or (codes != codes.flat[0]).any()
                or len(codes) != 1
            ):
                raise ValueError(f"{where}: maximum must have one depthwise branch of one word and one code")
        if self.skip is not None:
            self._check_skip(self.skip, where)
        if self.parts:
            self._check_parts(where)

    def _check_parts(self, where: str) -> None:
        if self.maximum:
            raise ValueError(f"{where}: maximum must have no parts, not {len(self.parts)}")
        try:
            check_parts(self.parts, self.output.shape[1:])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        channels = self.output.shape[0]
        for branch in self.branches:
            first, last = branch.channel // channels, (branch.channel + branch.out_channels - 1) // channels
            if first != last:
                raise ValueError(f"{where}: branch must be of one part, not of {first} to {last}")
        given = {branch.channel // channels for branch in self.branches}
        if len(given) < len(self.parts):
            raise ValueError(f"{where}: parts must have a branch each, not {len(given)} of {len(self.parts)}")

    def positions(self, branch: Branch) -> Pair:
        """(height, width) of the positions that a branch adds into: the output's, or those of its part."""
        return self.parts[branch.channel // self.output.shape[0]].size if self.parts else self.output.shape[1:]

    @cached_property
    def pieces(self) -> tuple[tuple[Part, "Layer"], ...]:
        """Each part and a layer that gives its positions; together they are the layer."""
        channels = self.output.shape[0]
        if not self.parts:
            return ((Part((0, 0), (1, 1), self.output.shape[1:]), self),)
        return tuple((part, self._piece(part, number * channels)) for number, part in enumerate(self.parts))

    def _piece(self, part: Part, start: int) -> "Layer":
        channels = self.output.shape[0]
        own = slice(start, start + channels)
        branches = [one for one in self.branches if start <= one.channel < start + channels]
        return replace(
            self,
            branches=tuple(replace(one, channel=one.channel - start) for one in branches),
            output=replace(self.output, shape=(channels, *part.size)),
            bias=self.bias[own],
            multiplier=self.multiplier[own],
            right=self.right[own],
            parts=(),
        )

    def _check_skip(self, skip: SkipTensor, where: str) -> None:
        if self.maximum:
            raise ValueError(f"{where}: maximum must have no skip, not {skip!r}")
        least, most = skip.shift + int(self.right.min()), skip.shift + int(self.right.max())
        if least < 0 or most > 62:
            raise ValueError(
                f"{where}: shift of the skip plus right must be 0 to 62 in every channel, not {least} to {most}"
            )

    @property
    def range(self) -> tuple[int, int]:
        """Least and largest result that there can be."""
        return (self.low, self.high) if self.table is None else self.table.range(self.low, self.high)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the tensors that the layer reads, each once."""
        names = [branch.source for branch in self.branches] + ([self.skip.source] if self.skip else [])
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, eq=False)
class Network:
    """A quantized network, layers in an order in which each one's sources come before it.

    Parameters
    ----------
    name, input, layers
        Its name, the input tensor, and what is computed.
    point_sets
        What the branches' codes index, by name.
    meta
        Strings and numbers for reports (recipe, accuracy, ratio asked).
    heads
        Names of the layers whose results are the network's outputs, in order, each once; empty: the last layer's.
    orders
        Shape and order in which a user gets an output, by its layer's name, where these are not the map's.
    """

    name: str
    input: Tensor
    layers: tuple[Layer, ...]
    point_sets: Mapping[str, PointSet]
    meta: Mapping[str, object] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    orders: Mapping[str, Order] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("Name of the network", self.name)
        for name in self.point_sets:
            check_name("Name of a point set", name)
        if not isinstance(self.meta, Mapping):
            raise TypeError(f"Meta must be a table, not {self.meta!r}")
        if not self.layers:
            raise ValueError(f"Network {self.name!r} must have at least one layer, not {self.layers!r}")
        tensors = {INPUT: self.input}
        for layer in self.layers:
            where = f"Layer {layer.name!r}"
            if layer.name in tensors:
                raise ValueError(f"{where}: name must be used once")
            for source in layer.sources:
                if source not in tensors:
                    raise ValueError(f"{where}: source must be one of {tuple(tensors)}, not {source!r}")
            if layer.skip is not None and tensors[layer.skip.source].shape != layer.output.shape:
                shape = tensors[layer.skip.source].shape
                raise ValueError(f"{where}: skip must be of the output's shape, {layer.output.shape}, not {shape}")
            for branch in layer.branches:
                if branch.point_set not in self.point_sets:
                    raise ValueError(
                        f"{where}: point set must be one of {tuple(self.point_sets)}, not {branch.point_set!r}"
                    )
                channels, height, width = tensors[branch.source].shape
                if branch.channels is None and branch.in_channels != channels:
                    raise ValueError(f"{where}: branch must take {channels} channels, not {branch.in_channels!r}")
                if branch.channels is not None and max(branch.channels) >= channels:
                    raise ValueError(
                        f"{where}: branch must read channels below {channels}, not {max(branch.channels)!r}"
                    )
                self._check_narrow(branch, tensors[branch.source], layer)
                positions = layer.positions(branch)
                if branch.output_size(height, width) != positions:
                    raise ValueError(
                        f"{where}: branch must give {positions} positions, not {branch.output_size(height, width)!r}"
                    )
                codes = 2 * self.point_sets[branch.point_set].fmt.point_count
                if int(branch.codes.max()) >= codes:
                    raise ValueError(f"{where}: code must be below {codes}, not {branch.codes.max()}")
                if layer.maximum and not branch.windows_touch(height, width):
                    raise ValueError(f"{where}: padding must leave every window an input, not {branch.padding!r}")
            tensors[layer.name] = layer.output
        names = tuple(layer.name for layer in self.layers)
        for head in self.heads:
            if head not in names or self.heads.count(head) > 1:
                raise ValueError(f"Network {self.name!r}: outputs must be layers, each once, not {self.heads!r}")
        for name, order in self.orders.items():
            if name not in [layer.name for layer in self.outputs]:
                raise ValueError(f"Network {self.name!r}: order must be of an output, not of {name!r}")
            try:
                order.check(self.tensors[name].shape)
            except ValueError as error:
                raise ValueError(f"Output {name!r}: {error}") from error

    @staticmethod
    def _check_narrow(branch: Branch, source: Tensor, layer: Layer) -> None:
        narrow = branch.narrow
        if narrow is None:
            return
        where = f"Layer {layer.name!r}: narrow read"
        if narrow.signed != source.signed or narrow.drop + narrow.bits > source.bits:
            bits = narrow.drop + narrow.bits
            raise ValueError(f"{where} must be of a tensor of its sign and of {bits} bits or more, not of {source!r}")
        if layer.maximum:
            raise ValueError(f"{where} must be of a sum, not of a maximum")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name: the input and each layer's output."""
        return {INPUT: self.input} | {layer.name: layer.output for layer in self.layers}

    @cached_property
    def outputs(self) -> tuple[Layer, ...]:
        """The layers whose results are the network's outputs, in order."""
        by_name = {layer.name: layer for layer in self.layers}
        return tuple(by_name[name] for name in self.heads) or self.layers[-1:]

    @property
    def output(self) -> Layer:
        """The only output, or the first of several."""
        return self.outputs[0]

    def results(self, tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The outputs as a user gets them, in the shape and order of the model that was converted.

        Parameters
        ----------
        tensors : dict name -> shape (..., C, H, W)
            Maps of the outputs' layers, or of all.
        """
        maps = ((layer.name, tensors[layer.name]) for layer in self.outputs)
        return tuple(self.orders[name].of(one) if name in self.orders else one for name, one in maps)
