"""The site's settings: every page is in its navigation, every public name on its page, every module exists."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import twofold

DOCS = Path("docs")
SETTINGS = yaml.safe_load(Path("mkdocs.yml").read_text(encoding="utf-8"))


def leaves(entry):
    """Pages of a part of the navigation."""
    if isinstance(entry, dict):
        return [page for part in entry.values() for page in leaves(part)]
    return [page for part in entry for page in leaves(part)] if isinstance(entry, list) else [entry]


def added():
    """Pages that docs/site.py takes from the project's root: place, path."""
    tree = ast.parse((DOCS / "site.py").read_text(encoding="utf-8"))
    node = next(
        node for node in tree.body if isinstance(node, ast.AnnAssign | ast.Assign) and "PAGES" in ast.dump(node)
    )
    return ast.literal_eval(node.value)


def shown(page):
    """What the page shows out of docstrings."""
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_navigation_has_every_page_once():
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {path for path in added().values() if not Path(path).is_file()} == set()
    assert sorted(leaves(SETTINGS["nav"])) == sorted(pages | set(added()))


def test_every_public_name_is_shown_once():
    assert sorted(shown(DOCS / "api" / "index.md")) == sorted(f"twofold.{name}" for name in twofold.__all__)


@pytest.mark.parametrize("page", sorted({*(DOCS / "api").glob("*.md")} - {DOCS / "api" / "index.md"}), ids=str)
def test_every_module_that_is_shown_exists(page):
    assert shown(page)
    assert [name for name in shown(page) if find_spec(name) is None] == []


def test_what_is_broken_fails():
    """A quiet MkDocs counts no warnings, however strict."""
    (command,) = re.findall(r"mkdocs build.*", Path("Makefile").read_text(encoding="utf-8"))
    assert command == "mkdocs build --strict"
    assert set(SETTINGS["validation"]["links"].values()) | set(SETTINGS["validation"]["nav"].values()) == {"warn"}
