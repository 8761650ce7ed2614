"""A layer while the user's graph is walked, and what a node of the graph stands for."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from twofold.golden.network import INPUT, Pair
from twofold.train.layers import AddLayer, ConvLayer, QuantLayer
from twofold.train.pointwise import Pointwise
from twofold.train.pool_layers import AverageLayer, MaxLayer
from twofold.train.skip import Skip
from twofold.train.windows import around


@dataclass(eq=False)
class Draft:
    """A layer under construction."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    skips: list[Skip] = field(default_factory=list)
    weight: Tensor | None = None
    bias: Tensor | None = None
    source: str = INPUT
    relu: bool = False
    nonnegative: bool = False
    limit: float | None = None
    function: Pointwise | None = None
    copies: bool = False
    geometry: dict[str, Any] = field(default_factory=dict)
    norm: nn.BatchNorm2d | None = None
    #: Where the model has the layer's value.
    node: fx.Node | None = None

    def build(self) -> QuantLayer:
        """The layer."""
        if self.weight is not None and self.bias is not None:
            return ConvLayer(
                self.name,
                self.kind,
                self.shape,
                self.source,
                self.weight,
                self.bias,
                skips=tuple(self.skips),
                relu=self.relu,
                limit=self.limit,
                function=self.function,
                norm=self.norm,
                **self.geometry,
            )
        if self.kind == "add":
            return AddLayer(
                self.name,
                self.shape,
                tuple(self.skips),
                relu=self.relu,
                nonnegative=self.nonnegative,
                limit=self.limit,
                function=self.function,
                copies=self.copies,
            )
        kind = MaxLayer if self.kind == "maxpool" else AverageLayer
        return kind(self.name, self.shape, self.source, nonnegative=self.nonnegative, **self.geometry)


@dataclass(frozen=True)
class Value:
    """What a node stands for: a draft's result (``None``: the input), perhaps flattened, strided or padded.

    Parameters
    ----------
    draft
        What gives the tensor.
    whole, shape
        (channels, height, width) of the tensor, and of what is meant of it.
    shared
        More than one operation takes it.
    flat
        Without height and width.
    stride, begin
        Every so many positions along each axis, beginning so far above and left of the tensor.
    channel
        Channels of zeros before it.
    fill
        What the padding holds: 0 or minus infinity.
    node
        Where the model has it.
    """

    draft: Draft | None
    whole: tuple[int, int, int]
    shape: tuple[int, int, int]
    shared: bool = False
    flat: bool = False
    stride: Pair = (1, 1)
    begin: Pair = (0, 0)
    channel: int = 0
    fill: float = 0.0
    node: fx.Node | None = None

    @property
    def name(self) -> str:
        return INPUT if self.draft is None else self.draft.name

    @property
    def plain(self) -> bool:
        """The whole tensor."""
        return self.unsliced and self.begin == (0, 0) and self.shape == self.whole

    @property
    def unsliced(self) -> bool:
        """The whole tensor but for padding around it, or lines left out there."""
        return self.stride == (1, 1) and self.channel == 0 and self.shape[0] == self.whole[0]

    @property
    def skip(self) -> Skip:
        padding = around(self.whole[1:], self.begin, self.shape[1:], (1, 1), self.stride)
        return Skip(self.name, self.stride, self.channel, padding)
