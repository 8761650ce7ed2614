"""What a model returns: tensors, alone or in tuples, lists and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from twofold.golden.network import Layer
from twofold.golden.order import Order


class Join(NamedTuple):
    """How the host makes a tensor of results: of so many, one behind the other along a dimension; one is as it is."""

    parts: int = 1
    dim: int = 0


@dataclass(frozen=True)
class Structure:
    """What tensors are in, and what each is made of; no `joins`: of one result each."""

    spec: TreeSpec
    joins: tuple[Join, ...] = ()

    def __deepcopy__(self, memo: object) -> "Structure":
        """Itself: it never changes, and PyTorch warns where a spec is copied."""
        return self


def flattened(returned: Any) -> tuple[list[Any], Structure]:
    """The leaves in order, and what they were in."""
    leaves, spec = tree_flatten(returned)
    return leaves, Structure(spec)


def gathered(leaves: list[Any], structure: Structure) -> Any:
    """The leaves in what they were in, put together first where several make one."""
    rest = iter(leaves)
    joined = [(list(islice(rest, join.parts)), join) for join in structure.joins]
    whole = [parts[0] if join.parts == 1 else torch.cat(parts, join.dim) for parts, join in joined]
    return tree_unflatten(whole or leaves, structure.spec)


def ordered(maps: Tensor, order: Order) -> Tensor:
    """Maps of shape (B, C, H, W) in an order: of shape (B, *order.shape)."""
    cut = maps.reshape(len(maps), *order.split)
    return cut.permute(0, *(1 + axis for axis in order.axes)).reshape(len(maps), *order.shape)


def written(heads: Sequence[tuple[str, Order]], layers: Sequence[Layer]) -> tuple[tuple[str, ...], dict[str, Order]]:
    """Heads and orders as an exported network has them: none where they are those of the last layer, as it is."""
    names = tuple(name for name, _ in heads)
    shapes = {layer.name: layer.output.shape for layer in layers}
    orders = {name: order for name, order in heads if order.changes(shapes[name])}
    return () if names == (layers[-1].name,) else names, orders
