"""What a model returns: tensors, alone or in tuples, lists and tables."""

from typing import Any

from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


def flattened(returned: Any) -> tuple[list[Any], TreeSpec]:
    """The leaves in order, and what they were in."""
    return tree_flatten(returned)


def gathered(leaves: list[Any], structure: TreeSpec) -> Any:
    """The leaves in what they were in."""
    return tree_unflatten(leaves, structure)
