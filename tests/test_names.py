"""One name for one thing: no class of the project has the name of another."""

import ast
from collections import defaultdict
from pathlib import Path

from tests.prose import FOLDERS


def classes(text: str) -> set[str]:
    """Public classes of a module."""
    return {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}


def test_no_two_classes_have_one_name():
    found = defaultdict(list)
    for folder in set(FOLDERS) - {"tests"}:
        for path in Path(folder).rglob("*.py"):
            for name in classes(path.read_text(encoding="utf-8")):
                found[name].append(str(path))
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_what_a_public_class_is():
    assert classes("class A: pass\nclass _B: pass\nC = dict\nif 1:\n    class D: pass") == {"A"}
