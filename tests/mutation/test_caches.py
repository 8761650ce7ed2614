"""Kept results go before each test of a mutation run."""

from twofold.golden.config import load_config
from twofold.golden.transfers import Transfer
from twofold.mutation.caches import clear


def test_functions_and_methods_forget_what_they_kept():
    config = load_config("configs/subset_4x4.toml")
    kept = Transfer.record(config)
    assert Transfer.record(config) is kept
    clear()
    assert Transfer.record(config) is not kept
