"""Universal sets of a user's own: in a build, and as a format."""

import re
from dataclasses import replace

import pytest

from twofold.golden import catalog
from twofold.golden.config import ArrayConfig, load_config

SUBSET = ArrayConfig(name="own", pe="subset", rows=4, cols=4, word_bits=3)


def test_menus_are_written_as_shifts():
    fmt = catalog.subset_format(3, menus="3 off + 2 1 0 off")
    assert fmt.menus == ((3, None), (2, 1, 0, None))
    assert fmt.universal_set == (0, 1, 2, 4, 8, 9, 10, 12)
    assert catalog.subset_format(4, menus="4 3 1 off + 4 2 0 off") == catalog.subset_format(4, 5)


@pytest.mark.parametrize("text", ["3 2", "3 + ", "3 x + 2", "1 + 2 + 3", "-1 + 2", "+"])
def test_wrong_menus_are_said(text):
    message = f"Menus must be two terms of shifts or 'off', as in '4 3 1 off + 4 2 0 off', not {text!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        catalog.subset_format(3, menus=text)
    with pytest.raises(ValueError, match=f"^{re.escape('menus: ' + message)}$"):
        replace(SUBSET, menus=text)


def test_a_build_needs_the_digits():
    message = "menus must give the levels 0 and 1, not (2, 3, 4, 5, 6, 8, 9, 10)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(SUBSET, menus="3 2 1 + 1 0 off")
    with pytest.raises(ValueError, match=r"^menus must give the levels 0 and 1, not \(2, 4, 6\)$"):
        replace(SUBSET, menus="1 off + 1 2")


def test_menus_name_the_build(tmp_path):
    own = replace(SUBSET, menus="3 off + 2 1 0 off")
    assert own.fmt == catalog.subset_format(3, menus=own.menus)
    assert own.build_hash != SUBSET.build_hash
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\npe = "subset"\nrows = 4\ncols = 4\nword_bits = 3\nmenus = "3 off + 2 1 0 off"\n',
        encoding="utf-8",
    )
    assert load_config(path) == own
