"""CONTRIBUTING.md: its map is the import order, and what it names exists."""

import re
from pathlib import Path

from tests.test_imports import ALL, MAY_IMPORT

TEXT = Path("CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_map_is_the_import_order():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", TEXT.partition("## The map")[2].partition("\n## ")[0], re.M)
    assert [folder for folder, _ in rows] == list(ALL)
    stated = {folder: {*ALL} if names == "all" else {*re.findall(r"`(\w+)`", names)} for folder, names in rows}
    assert stated == {folder: {name.partition(".")[0] for name in names} for folder, names in MAY_IMPORT.items()}


def test_every_path_exists():
    paths = {name for name in re.findall(r"`([\w.-]+/[\w./-]*)`", TEXT) if "NAME" not in name and name != "build/"}
    assert len(paths) > 30
    assert {path for path in paths if not Path(path).exists()} == set()


def test_every_target_is_one():
    targets = re.findall(r"^([a-z]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"`make ([a-z]+)", TEXT))
    assert {"test", "coverage", "docs"} <= named <= set(targets)


def test_the_readme_links_it():
    assert "](CONTRIBUTING.md)" in Path("README.md").read_text(encoding="utf-8")
