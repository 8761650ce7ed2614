"""What collecting the tests makes, some million objects, stays: no garbage need be looked for in it again and again."""

import gc

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
