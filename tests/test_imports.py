"""The import order of the folders, from golden down: nothing imports what stands below it."""

import ast
import sys
from pathlib import Path

import pytest

ALL = ("golden", "mapper", "hdl", "train", "sim", "synth", "formal", "mutation", "boards", "bench", "demo")
#: What each folder may import besides itself.
MAY_IMPORT = {
    "golden": (),
    "mapper": ("golden",),
    "hdl": ("golden.formats", "golden.catalog", "golden.config", "golden.isa", "golden.files", "golden.console"),
    "train": ("golden",),
    "sim": ("golden", "mapper", "hdl", "synth.yosys"),
    "synth": ("golden", "hdl"),
    "formal": ("golden", "hdl", "synth.yosys"),
    "mutation": ("golden", "mapper", "hdl", "sim", "synth", "formal"),
    "boards": ("golden", "mapper", "hdl", "synth"),
    "bench": ALL,
    "demo": ALL,
}
STANDARD_ONLY = ("formats", "catalog", "config", "isa", "files", "console", "__init__")
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
            # `from golden import isa` names a module, `from golden.isa import Error` a thing in one.
            names |= {f"{module}.{alias.name}" for alias in node.names} if "." not in module else {module}
    return names


def wrong(folder: str, text: str) -> list[str]:
    """Imports of the project's folders that a file in `folder` must not have."""
    allowed = (folder, *MAY_IMPORT[folder])
    found = [name for name in imports(text) if name.partition(".")[0] in (*ALL, "tests")]
    return sorted(name for name in found if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed))


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
    used = {module.partition(".")[0] for module in imports(Path(f"golden/{name}.py").read_text())}
    assert used <= {*sys.stdlib_module_names, "golden"}
    inside = {module for module in imports(Path(f"golden/{name}.py").read_text()) if module.startswith("golden.")}
    assert all(module.split(".")[1] in STANDARD_ONLY for module in inside)


@pytest.mark.parametrize("folder", [folder for folder in ALL if folder not in TORCH])
def test_only_training_imports_torch(folder):
    for path in files(folder):
        assert not [name for name in imports(path.read_text()) if name.partition(".")[0] == "torch"], path


def test_every_folder_is_in_the_order():
    assert {path.parent.name for path in Path(".").glob("*/__init__.py")} - {"tests"} == set(ALL)


@pytest.mark.parametrize(
    ("folder", "text", "expected"),
    [
        ("golden", "def f():\n    import sim.fast", ["sim.fast"]),
        ("hdl", "from golden import isa, machine", ["golden.machine"]),
        ("hdl", "from golden.config import ArrayConfig\nfrom golden.layers import run", ["golden.layers"]),
        ("sim", "from train import integer", ["train.integer"]),
        ("mapper", "import golden.isa\nimport numpy", []),
    ],
)
def test_a_wrong_import_is_found(folder, text, expected):
    assert wrong(folder, text) == expected
