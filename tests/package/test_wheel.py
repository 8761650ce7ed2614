"""The wheel: it holds every file, and works in another folder, beside modules of the user's own of the same names."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from twofold import __version__
from twofold.golden.config import load_config
from twofold.hdl.emit import emit

ROOT = Path(__file__).parents[2]
LINKS = sorted(path.name for path in (ROOT / "src" / "twofold").iterdir() if path.is_symlink())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Without what the tests are run with.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TWOFOLD", "PIP"))}


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pip(*arguments):
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made from a copy, so that nothing is left in the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"
    copy.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", *LINKS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(copy))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An environment with the wheel; what it needs comes from the one that the tests run in, but not the project."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip("--python", str(python), "install", "--no-index", "--no-deps", str(wheel))
    own = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # Their own .pth files are not read there: an editable project is not found.
    others = [path for path in sys.path if path.endswith("site-packages")] or [sysconfig.get_path("purelib")]
    (own / "others.pth").write_text("\n".join(others) + "\n")
    return python


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of a user who has modules called as folders of the project are."""
    for name in ("train", "golden", "sim", "hdl", "support"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('This is not the module that was meant')\n")
    return tmp_path


def test_it_holds_every_file(wheel):
    files = {
        f"twofold/{path.relative_to(ROOT)}"
        for name in LINKS
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files |= {f"twofold/{name}" for name in ("__init__.py", "__main__.py", "command.py", "py.typed")}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if not re.match(r"twofold-[\d.]+\.dist-info/", name)} == files
    assert {".v", ".cpp", ".toml", ".vlt"} <= {Path(name).suffix for name in files}


def test_its_version_is_the_packages(wheel, python):
    assert wheel.name == f"twofold-{__version__}-py3-none-any.whl"
    assert "version" not in PROJECT
    script = "import importlib.metadata as m, twofold; print(m.version('twofold'), twofold.__version__)"
    assert run(str(python), "-c", script, cwd="/").split() == [__version__] * 2


def test_it_emits_verilog_beside_the_users_modules(python, elsewhere):
    out = elsewhere / "verilog"
    command = [str(python.with_name("twofold")), "emit", "--config", "log_4x4", "--out", "verilog"]
    assert run(*command, cwd=elsewhere).startswith("verilog/twofold_log_4x4.v: ")
    assert (out / "twofold_log_4x4.v").read_text() == emit(load_config(ROOT / "configs" / "log_4x4.toml"))
    assert sorted(path.name for path in elsewhere.iterdir() if path.suffix != ".py") == ["verilog"]


def test_it_is_imported_beside_the_users_modules(python, elsewhere):
    assert run(str(python), "-m", "twofold", "--version", cwd=elsewhere) == f"twofold {__version__}\n"
    script = "import twofold; print(twofold.load_config('log_4x4').name, twofold.emit.__name__, twofold.__file__)"
    *names, path = run(str(python), "-c", script, cwd=elsewhere).split()
    assert names == ["log_4x4", "emit"]
    assert Path(path).is_relative_to(python.parents[1])


def pins():
    lines = [line for file in (ROOT / "requirements").glob("*.txt") for line in file.read_text().splitlines()]
    found: dict[str, set[str]] = {}
    for line in lines:
        if "==" in line:
            name, _, version = line.partition("==")
            found.setdefault(name.lower(), set()).add(version)
    return found


def test_what_is_tested_with_is_within_the_ranges():
    pinned = pins()
    extras = PROJECT["optional-dependencies"]
    for text in (*PROJECT["dependencies"], *(text for part in extras.values() for text in part)):
        wanted = Requirement(text)
        if wanted.name != "twofold":
            assert pinned.get(wanted.name), f"{wanted.name} must be pinned"
            assert any(wanted.specifier.contains(version) for version in pinned[wanted.name]), text
