"""A universal set of a user's own, in hardware."""

from dataclasses import replace

from twofold.golden.config import load_config
from twofold.sim.random_check import check_networks


def test_a_build_with_own_menus_runs_networks():
    config = replace(load_config("configs/subset_4x4.toml"), name="own_4x4", menus="5 3 off + 2 1 0 off", word_bits=3)
    assert config.fmt.universal_set == (0, 1, 2, 4, 8, 9, 10, 12, 32, 33, 34, 36)
    results = list(check_networks(config, 3, 40))
    assert [result.message for result in results] == [""] * 3
