"""What costs every test: Python's search for garbage, and the C++ compiler's search for speed."""

import gc
from functools import partial

import pytest

from twofold.sim import fast, host, runner


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What collecting the tests makes, some million objects, stays: no garbage need be looked for in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def compiled_quickly():
    """Simulated machines run for a blink here: optimising them takes longer than it saves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "build", partial(host.build, optimise="-O0"))
        patch.setattr(runner, "build", partial(runner.build, optimise="-O0"))
        yield
