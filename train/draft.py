"""A layer while the user's graph is walked, and what a node of the graph stands for."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from twofold.golden.network import INPUT, Pair
from twofold.train.add_layer import AddLayer
from twofold.train.layers import ConvLayer, QuantLayer
from twofold.train.picks import Pick, Picks
from twofold.train.pointwise import Function
from twofold.train.pool_layers import AverageLayer, MaxLayer
from twofold.train.resize import BilinearLayer, ResizeLayer
from twofold.train.scale_layer import ScaleLayer
from twofold.train.skip import Read, Skip
from twofold.train.windows import around

#: Kinds of layers that look at positions of one source, channel by channel; nothing is fused into them.
MOVING = {"maxpool": MaxLayer, "avgpool": AverageLayer, "resize": ResizeLayer, "bilinear": BilinearLayer}


@dataclass(eq=False)
class Draft:
    """A layer under construction."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    skips: list[Skip] = field(default_factory=list)
    weight: Tensor | None = None
    gain: Tensor | None = None
    bias: Tensor | None = None
    reads: tuple[Read, ...] = (Read(INPUT),)
    relu: bool = False
    nonnegative: bool = False
    limit: float | None = None
    function: Function | None = None
    copies: bool = False
    geometry: dict[str, Any] = field(default_factory=dict)
    norm: nn.BatchNorm2d | None = None
    #: Where the model has the layer's value, and which of the channels there are the layer's; None: all, in order.
    node: fx.Node | None = None
    spots: tuple[int, ...] | None = None

    def build(self) -> QuantLayer:
        """The layer."""
        if self.weight is not None and self.bias is not None:
            return ConvLayer(
                self.name,
                self.kind,
                self.shape,
                self.reads,
                self.weight,
                self.bias,
                skips=tuple(self.skips),
                relu=self.relu,
                limit=self.limit,
                function=self.function,
                norm=self.norm,
                **self.geometry,
            )
        if self.gain is not None and self.bias is not None:
            return ScaleLayer(
                self.name,
                self.shape,
                self.reads,
                self.gain,
                self.bias,
                relu=self.relu,
                nonnegative=self.nonnegative,
                limit=self.limit,
                function=self.function,
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
        return MOVING[self.kind](self.name, self.shape, self.reads[0], nonnegative=self.nonnegative, **self.geometry)


@dataclass(frozen=True)
class Value:
    """What a node stands for: channels of drafts' results, perhaps flattened, strided or padded.

    Parameters
    ----------
    picks
        The channels.
    size, shape
        (height, width) of the tensors, and (channels, height, width) of what is meant of them.
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
    split
        Sizes of the axes that the model has instead of one of channels; empty: one.
    """

    picks: Picks
    size: Pair
    shape: tuple[int, int, int]
    shared: bool = False
    flat: bool = False
    stride: Pair = (1, 1)
    begin: Pair = (0, 0)
    channel: int = 0
    fill: float = 0.0
    node: fx.Node | None = None
    split: tuple[int, ...] = ()

    @classmethod
    def of(cls, draft: Draft | None, shape: tuple[int, int, int], **others: Any) -> "Value":
        """The whole result of a draft, or (``None``) the input."""
        return cls((Pick.of(draft, shape[0]),), shape[1:], shape, **others)

    @property
    def draft(self) -> Draft | None:
        """What gives all channels; ``None`` where it is the input or more than one."""
        return self.picks[0].draft if len(self.picks) == 1 else None

    @property
    def channels(self) -> int:
        """Channels of tensors; without those of zeros."""
        return sum(len(pick.channels) for pick in self.picks)

    @property
    def plain(self) -> bool:
        """A whole tensor."""
        return self.still and len(self.picks) == 1 and self.picks[0].whole

    @property
    def still(self) -> bool:
        """All positions of its channels."""
        return self.unsliced and self.begin == (0, 0) and self.shape[1:] == self.size

    @property
    def unsliced(self) -> bool:
        """All positions of its channels but for padding around them, or lines left out there."""
        return self.stride == (1, 1) and self.channel == 0 and self.shape[0] == self.channels

    @property
    def skips(self) -> list[Skip]:
        """What a layer adds that adds it, a tensor each."""
        padding = around(self.size, self.begin, self.shape[1:], (1, 1), self.stride)
        skips, place = [], self.channel
        for pick in self.picks:
            skips.append(Skip(pick.name, self.stride, place, padding, pick.read.channels))
            place += len(pick.channels)
        return skips
