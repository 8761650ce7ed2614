"""A plugin of pytest for mutmut's runs: tests begin without kept results, and a fault that loops ends.

What a test finds in a cache, filled while modules were imported or by a test before it, it does not run: a fault there
would count as one that no test runs.
"""

import signal
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any, NoReturn

import pytest

#: CPU seconds that a test may take; the longest takes five.
LIMIT_S = 25.0


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


def _late(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"Test must end within {LIMIT_S:g} CPU seconds")


@pytest.fixture(autouse=True)
def _short_and_without_kept_results() -> Iterator[None]:
    clear()
    before = signal.signal(signal.SIGVTALRM, _late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
