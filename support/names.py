"""Names that nothing else has."""

from collections.abc import Callable
from itertools import chain, count


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """The name, or else the first with a number behind it (``name_2``, ``name_3``, ...) that is not taken."""
    numbered = (f"{name}_{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if not taken(one))
