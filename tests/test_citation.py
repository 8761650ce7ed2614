"""CITATION.cff says of the project what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import twofold


def test_citation_is_of_this_version_and_licence():
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = Path("CITATION.cff").read_text(encoding="utf-8").splitlines()
    fields = dict(match.groups() for line in lines if (match := re.fullmatch(r"([a-z-]+): (.+)", line)))
    assert fields["cff-version"] == "1.2.0"
    assert fields["version"] == twofold.__version__
    assert fields["license"] == project["license"]
    assert fields["title"].lower() == f'"twofold: {project["description"].lower()}"'


def test_the_readme_links_it():
    assert "](CITATION.cff)" in Path("README.md").read_text(encoding="utf-8")


def test_citation_names_the_authors():
    assert "authors:\n  - name: The Twofold authors\n" in Path("CITATION.cff").read_text(encoding="utf-8")
