"""What a model returns: tensors, alone or in tuples, lists and tables."""

from dataclasses import dataclass
from typing import Any

from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


@dataclass(frozen=True)
class Structure:
    """What tensors are in."""

    spec: TreeSpec

    def __deepcopy__(self, memo: object) -> "Structure":
        """Itself: it never changes, and PyTorch warns where a spec is copied."""
        return self


def flattened(returned: Any) -> tuple[list[Any], Structure]:
    """The leaves in order, and what they were in."""
    leaves, spec = tree_flatten(returned)
    return leaves, Structure(spec)


def gathered(leaves: list[Any], structure: Structure) -> Any:
    """The leaves in what they were in."""
    return tree_unflatten(leaves, structure.spec)
