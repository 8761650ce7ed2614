"""What several tests map to cells, once for all of them and for both of pytest's processes."""

import pytest

from twofold.golden.config import ArrayConfig
from twofold.support.once import Store
from twofold.support.output import build_folder


@pytest.fixture(scope="session")
def small():
    """A machine that is mapped in seconds."""
    depths = {"feature_depth": 64, "weight_depth": 64, "channel_depth": 64, "program_depth": 64, "acc_depth": 64}
    return ArrayConfig(name="small", pe="subset", rows=2, cols=2, word_bits=3, acc_width=16, digits=2, **depths)


@pytest.fixture(scope="session")
def mapped():
    """Where it is kept what became of it: results are made anew whenever sources, texts or tools are others."""
    return Store(build_folder("synth", "tests"))
