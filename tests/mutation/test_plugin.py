"""What each test of a mutation run begins with, and when it ends."""

import os

import pytest

from twofold.golden.config import load_config
from twofold.golden.transfers import Transfer
from twofold.mutation import plugin


def test_functions_and_methods_forget_what_they_kept():
    config = load_config("configs/subset_4x4.toml")
    kept = Transfer.record(config)
    assert Transfer.record(config) is kept
    plugin.clear()
    assert Transfer.record(config) is not kept


def test_a_loop_ends(monkeypatch):
    monkeypatch.setattr(plugin, "LIMIT_S", 0.02)
    guard = plugin._short_and_without_kept_results.__wrapped__()
    next(guard)
    began = os.times().user
    with pytest.raises(TimeoutError, match=r"^Test must end within 0.02 CPU seconds$"):
        while os.times().user < began + 60:
            pass
    with pytest.raises(StopIteration):
        next(guard)
