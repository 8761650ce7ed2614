"""docs/glossary.md: sorted, every entry a word that is used, defined once, with a page that goes deeper."""

import re
from pathlib import Path

import pytest

from tests.prose import files, prose

GLOSSARY = Path("docs/glossary.md")
ENTRIES = re.findall(r"^- \*\*(.+?)\*\*: ((?:.|\n  )+)$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
WORDS = [word for word, _ in ENTRIES]
#: What a reader of the design needs in any case.
NEEDED = (
    "activation, weight, word, term, tile, pass, QPS, universal set, two-word ratio, requantise, accumulator, lane, "
    "golden model, memory image, point set, branch, digit, operand, line, chunk, build, drain"
).split(", ")


def used(word: str, text: str) -> bool:
    """Whether a text has a word, in any number or case, maybe over a line's end."""
    pattern = r"\s+".join(map(re.escape, word.split()))
    return re.search(rf"\b{pattern}(s|es|r|d)?\b", text, re.IGNORECASE) is not None


def test_every_line_is_part_of_an_entry():
    body = GLOSSARY.read_text(encoding="utf-8")
    assert len(re.findall(r"^- ", body, re.MULTILINE)) == len(ENTRIES)


def test_entries_are_sorted_and_single():
    assert sorted(set(WORDS), key=str.lower) == WORDS


def test_needed_words_are_there():
    assert [word for word in NEEDED if word not in WORDS] == []


def test_every_word_is_used():
    text = "\n".join(prose(path) for path in files() if path not in (GLOSSARY, Path("tests/test_glossary.py")))
    assert [word for word in WORDS if not used(word, text)] == []


@pytest.mark.parametrize(("word", "text"), ENTRIES, ids=WORDS)
def test_an_entry_ends_with_the_page_that_goes_deeper(word, text):
    page = re.search(r"\. \[(\w+\.md)\]\(\1\)$", text)
    assert page, text
    assert used(word, prose(GLOSSARY.parent / page[1])), page[1]


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("point set", "resident point\n    sets of", True),
        ("requantise", "the Requantiser", True),
        ("tile", "tilework, textile", False),
        ("lane", "", False),
    ],
)
def test_what_use_is(word, text, expected):
    assert used(word, text) is expected
