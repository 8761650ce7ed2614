"""Citations: every key in brackets is in docs/references.md, every reference is cited, every page links its keys."""

import re
from pathlib import Path

import pytest

from tests.prose import DEFINITION, PAGES, files, prose

REFERENCES = Path("docs/references.md")
#: A key in brackets that is no index, no link to elsewhere and no code: `x[N]`, `[N](page.md)`, `[N][1]` are none.
CITATION = re.compile(r"(?<![\w\])`!])\[([A-Z][\w-]*)\](?![(\[\w])")
#: What a key is written like by mistake.
NEAR = re.compile(r"(?<![\w\])`!])\[([A-Za-z][\w -]*)\](?![(\[\w])")


def keys() -> list[str]:
    """Keys of the references, in order."""
    return re.findall(r"^### (\S+)$", REFERENCES.read_text(encoding="utf-8"), re.MULTILINE)


def wrong(text: str, known: list[str]) -> list[str]:
    """Citations in a text that are no keys, those included that only miss a key's case or hyphens."""
    letters = {re.sub(r"\W", "", key).lower() for key in known}
    near = {name for name in NEAR.findall(text) if re.sub(r"\W", "", name).lower() in letters}
    return sorted({*CITATION.findall(text), *near} - {*known})


def cited(path: Path) -> list[str]:
    """Keys that a file cites."""
    return CITATION.findall(prose(path))


def test_every_citation_has_a_reference():
    known = keys()
    found = {str(path): wrong(prose(path), known) for path in files()}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_reference_is_cited():
    elsewhere = {key for path in files() if path != REFERENCES for key in cited(path)}
    assert [key for key in keys() if key not in elsewhere] == []


def test_every_reference_says_what_it_is():
    text = REFERENCES.read_text(encoding="utf-8")
    entries = dict(re.findall(r"^### (\S+)\n\n((?:.+\n)+)", text, re.MULTILINE))
    assert list(entries) == keys() and len(set(keys())) == len(keys())
    for key, entry in entries.items():
        assert "github.com" in entry or re.search(r"\b(19|20)\d\d\b", entry), key


def test_references_are_sorted_by_key():
    sections = REFERENCES.read_text(encoding="utf-8").split("\n## ")[2:]
    for section in sections:
        names = re.findall(r"^### (\S+)$", section, re.MULTILINE)
        assert names == sorted(names, key=str.lower)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_citation_of_a_page_is_a_link(page):
    text = page.read_text(encoding="utf-8")
    start = "" if page == REFERENCES else "references.md" if page.parent == REFERENCES.parent else "docs/references.md"
    expected = {key: f"{start}#{key.lower()}" for key in cited(page)}
    assert dict(DEFINITION.findall(text)) == expected


def test_papers_have_names():
    numbered = [str(path) for path in files() if re.search(r"papers?\s+0\d\d", path.read_text(encoding="utf-8"), re.I)]
    assert numbered == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("as in [STLQ] section 3 ([SubsetQ]'s, table 1): [LQ-Nets].", []),
        ("as in [Subset-Q] and ([STQL]; [New]: 3)", ["New", "STQL", "Subset-Q"]),
        ("[stlq], [LQNets], [subset Q], [lq_nets]", ["LQNets", "stlq", "subset Q"]),
        ("codes[N], ``[N]``, [README](README.md), ![Accuracy](x.svg), [N][1], [[layer]], [0, M], [batch]", []),
    ],
)
def test_a_wrong_key_is_found(text, found):
    assert wrong(text, ["STLQ", "SubsetQ", "LQ-Nets"]) == found
