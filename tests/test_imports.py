"""The import order of the folders, from support down: nothing imports what stands below it."""

import ast
import sys
from pathlib import Path

import pytest

ALL = tuple("support golden exchange mapper hdl train synth testing sim formal mutation boards kit bench demo".split())
#: Folders of data.
DATA = ("configs", "recipes")
#: What each folder may import besides itself.
MAY_IMPORT = {
    "support": (),
    "golden": ("support",),
    "exchange": ("support", "golden"),
    "mapper": ("support", "golden"),
    "hdl": (
        "golden.formats",
        "golden.catalog",
        "golden.config",
        "golden.fields",
        "golden.isa",
        "golden.registers",
        "golden.transfers",
        "support",
    ),
    "train": ("support", "golden", "exchange"),
    "synth": ("support", "golden", "hdl"),
    "testing": ("support", "golden", "mapper"),
    "sim": ("support", "golden", "mapper", "hdl", "synth.yosys", "testing"),
    "formal": ("support", "golden", "hdl", "synth.yosys"),
    "mutation": ("support", "golden", "mapper", "hdl", "synth", "testing", "sim", "formal"),
    "boards": ("support", "golden", "mapper", "hdl", "synth"),
    "kit": ("support", "golden", "mapper", "hdl", "testing", "sim", "boards"),
    "bench": ALL,
    "demo": ALL,
}
STANDARD_ONLY = ("formats", "catalog", "config", "fields", "isa", "registers", "__init__")
#: What a file of support imports besides, where it is asked for.
OPTIONAL = {"support/cluster.py": "distributed"}
TORCH = ("train", "bench", "demo")


def imports(text: str) -> set[str]:
    """Full names of everything that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "Imports must be absolute"
            module = node.module or ""
            # `from twofold.golden import isa` names a module, `from twofold.golden.isa import Error` a thing in one.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module.count(".") < 2 else {module}
    return names


def of_the_project(text: str) -> set[str]:
    """Those of the project's folders, without ``twofold.``; the public names, which are of all folders, with it."""
    found = {name.removeprefix("twofold.") for name in imports(text) if name.partition(".")[0] in ("twofold", "tests")}
    return {name if name.partition(".")[0] in (*ALL, "tests") else f"twofold.{name}" for name in found}


def wrong(folder: str, text: str) -> list[str]:
    """Imports of the project's folders that a file in `folder` must not have."""
    allowed = (folder, *MAY_IMPORT[folder])
    return sorted(
        name for name in of_the_project(text) if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)
    )


def files(folder: str) -> list[Path]:
    found = sorted(Path(folder).rglob("*.py"))
    assert found, f"{folder} must have modules"
    return found


@pytest.mark.parametrize("folder", ALL)
def test_folders_import_only_what_stands_above(folder):
    assert {str(path): wrong(folder, path.read_text()) for path in files(folder)} == {
        str(path): [] for path in files(folder)
    }


@pytest.mark.parametrize("name", STANDARD_ONLY)
def test_definitions_need_the_standard_library_only(name):
    text = Path(f"golden/{name}.py").read_text()
    assert {module.partition(".")[0] for module in imports(text)} <= {*sys.stdlib_module_names, "twofold"}
    assert {module.partition(".")[0] for module in of_the_project(text)} <= {"golden", "support"}
    inside = {module for module in of_the_project(text) if module.startswith("golden.")}
    assert all(module.split(".")[1] in STANDARD_ONLY for module in inside)


def test_support_needs_the_standard_library_only():
    for path in files("support"):
        used = {module.partition(".")[0] for module in imports(path.read_text())}
        assert used <= {*sys.stdlib_module_names, "twofold", OPTIONAL.get(str(path))}, path
        assert {module.partition(".")[0] for module in of_the_project(path.read_text())} <= {"support"}


@pytest.mark.parametrize("folder", [folder for folder in ALL if folder not in TORCH])
def test_only_training_imports_torch(folder):
    for path in files(folder):
        assert not [name for name in imports(path.read_text()) if name.partition(".")[0] == "torch"], path


def test_every_folder_is_in_the_order():
    assert {path.parent.name for path in Path(".").glob("*/__init__.py")} - {"tests"} == set(ALL)


def test_every_folder_is_in_the_package():
    links = {path.name: path.readlink() for path in Path("src/twofold").iterdir() if path.is_symlink()}
    assert links == {name: Path("../..") / name for name in (*ALL, *DATA)}


def test_folders_are_imported_as_parts_of_the_package():
    paths = [path for folder in (*ALL, "tests", "src/twofold") for path in files(folder)]
    assert {str(path): name for path in paths for name in imports(path.read_text()) if name.split(".")[0] in ALL} == {}


@pytest.mark.parametrize(
    ("folder", "text", "expected"),
    [
        ("golden", "def f():\n    import twofold.sim.fast", ["sim.fast"]),
        ("hdl", "from twofold.golden import isa, machine", ["golden.machine"]),
        (
            "hdl",
            "from twofold.golden.config import ArrayConfig\nfrom twofold.golden.layers import run",
            ["golden.layers"],
        ),
        ("sim", "from twofold.train import integer", ["train.integer"]),
        ("golden", "from twofold.testing.random_network import random_network", ["testing.random_network"]),
        ("mapper", "import twofold.golden.isa\nimport numpy", []),
        ("golden", "from twofold import convert", ["twofold.convert"]),
        ("mapper", "from tests import reference", ["tests.reference"]),
    ],
)
def test_a_wrong_import_is_found(folder, text, expected):
    assert wrong(folder, text) == expected
