"""A plugin of pytest: each test begins without kept results, so that mutmut sees who runs which function.

What a test finds in a cache, filled while modules were imported or by a test before it, it does not run: a fault there
would count as one that no test runs.
"""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest


def clear() -> None:
    """Empty the caches of the project's functions and methods."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "twofold":
            for kept in _kept(module):
                kept.cache_clear()


def _kept(owner: ModuleType | type) -> Iterator[Any]:
    for value in list(vars(owner).values()):
        value = getattr(value, "__func__", value)
        if hasattr(value, "cache_clear"):
            yield value
        elif isinstance(value, type) and isinstance(owner, ModuleType) and value.__module__ == owner.__name__:
            yield from _kept(value)


@pytest.fixture(autouse=True)
def _without_kept_results() -> None:
    clear()
