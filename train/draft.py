"""A layer while the user's graph is walked, and what a node of the graph stands for."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from twofold.golden.network import INPUT, Pair
from twofold.train.layers import AddLayer, ConvLayer, PoolLayer, QuantLayer, Skip


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
    geometry: dict[str, Any] = field(default_factory=dict)
    norm: nn.BatchNorm2d | None = None
    #: Where the model has the layer's value.
    node: fx.Node | None = None

    def build(self) -> QuantLayer:
        """The layer."""
        if self.weight is not None and self.bias is not None:
            return ConvLayer(
                self.name, self.kind, self.shape, self.source, self.weight, self.bias,
                skips=tuple(self.skips), relu=self.relu, limit=self.limit, norm=self.norm, **self.geometry,
            )  # fmt: skip
        if self.kind == "add":
            return AddLayer(
                self.name, self.shape, tuple(self.skips), relu=self.relu,
                nonnegative=self.nonnegative, limit=self.limit,
            )  # fmt: skip
        return PoolLayer(
            self.name, self.kind, self.shape, self.source, nonnegative=self.nonnegative, **self.geometry
        )  # fmt: skip


@dataclass(frozen=True)
class Value:
    """What a node stands for: a draft's result (``None``: the input), perhaps flattened, strided or padded."""

    draft: Draft | None
    shape: tuple[int, int, int]
    shared: bool = False
    flat: bool = False
    stride: Pair = (1, 1)
    channel: int = 0

    @property
    def name(self) -> str:
        return INPUT if self.draft is None else self.draft.name

    @property
    def plain(self) -> bool:
        return self.stride == (1, 1) and self.channel == 0 and (self.draft is None or self.shape == self.draft.shape)

    @property
    def skip(self) -> Skip:
        return Skip(self.name, self.stride, self.channel)
