"""Faults in the golden model's and the mapper's own code, made and run by mutmut in a copy of the sources."""

import json
import os
import random
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from twofold.support.output import build_folder
from twofold.support.resources import SOURCES, need_sources

#: Modules that matter: arithmetic, formats, timing and mapping.
MODULES = (
    "src/twofold/golden/rounding.py",
    "src/twofold/golden/formats.py",
    "src/twofold/golden/digit_words.py",
    "src/twofold/golden/convolution.py",
    "src/twofold/golden/products.py",
    "src/twofold/golden/requantise.py",
    "src/twofold/golden/table.py",
    "src/twofold/golden/layers.py",
    "src/twofold/golden/parts.py",
    "src/twofold/golden/phases.py",
    "src/twofold/golden/timing.py",
    "src/twofold/golden/transfer_clock.py",
    "src/twofold/golden/store_clock.py",
    "src/twofold/golden/port_use.py",
    "src/twofold/golden/transfers.py",
    "src/twofold/golden/config.py",
    "src/twofold/golden/machine.py",
    "src/twofold/golden/memories.py",
    "src/twofold/golden/outside.py",
    "src/twofold/mapper/bounds.py",
    "src/twofold/mapper/checks.py",
    "src/twofold/mapper/chunks.py",
    "src/twofold/mapper/chains.py",
    "src/twofold/mapper/folding.py",
    "src/twofold/mapper/compiler.py",
    "src/twofold/mapper/contents.py",
    "src/twofold/mapper/memory.py",
    "src/twofold/mapper/schedule.py",
    "src/twofold/mapper/tiles.py",
    "src/twofold/mapper/hazards.py",
    "src/twofold/mapper/bands.py",
    "src/twofold/mapper/residence.py",
    "src/twofold/mapper/ring.py",
    "src/twofold/mapper/tape.py",
    "src/twofold/mapper/external.py",
    "src/twofold/mapper/outside_image.py",
)
#: What their tests need: the whole package, pages that they read, and what tests share.
FOLDERS = ("src/twofold", "configs", "docs", "tests/support")
FILES = ("pyproject.toml", "tests/figures.py")
#: The tests, without those of commands, which start processes and simulators.
TESTS = ("tests/golden", "tests/mapper", "tests/testing")
LEFT_OUT = ("tests/mapper/test_fit.py", "tests/mapper/test_main.py")
#: Python with mutmut on top of the project's packages; `make mutation` sets it up.
PYTHON = build_folder("venv-mutation", "bin", "python")
#: Faults that no test can find, with the reason.
REASONS = Path(__file__).parent / "equivalent_python.toml"
#: Exit codes of mutmut: all tests pass; no test runs the code; not run.
SURVIVED, UNTESTED, UNKNOWN = 0, (5, 33), (None, 2, 34)
_SETTINGS = """
[tool.mutmut]
source_paths = ["src/twofold"]
only_mutate = {modules}
also_copy = ["configs", "docs", "tests"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "twofold.mutation.plugin"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
# Of all tests of a fault together; `twofold.mutation.plugin` ends a single one.
timeout_multiplier = 5.0
"""


@dataclass(frozen=True)
class PythonFault:
    """A fault that no test found.

    Parameters
    ----------
    name
        mutmut's.
    was, becomes
        The lines without and with it.
    reason
        Why it changes nothing, or nothing.
    """

    name: str
    was: str
    becomes: str
    reason: str


def run(folder: Path, *, count: int, seed: int, workers: int = 2) -> dict[str, object]:
    """Runs the tests of every fault chosen; goes on where an earlier run stopped, as long as its function is the same.

    Parameters
    ----------
    folder
        Where the copy goes.
    count, seed
        How many faults to draw of all that mutmut makes, and the seed of the choice; 0 for all.
    workers
        Tests side by side.

    Returns
    -------
    What the report says.

    Raises
    ------
    RuntimeError
        If mutmut is not installed, or the tests fail without a fault.
    """
    need_sources()
    python = PYTHON.absolute()
    if not python.is_file():
        raise RuntimeError(f"mutmut must be installed in {PYTHON.parent.parent}; make mutation does it")
    _copy(folder)
    command = [str(python), "-m", "mutmut", "run", "--max-children", str(workers)]
    # For the processes that tests start, in mutmut's folder; and a forked PyTorch hangs with threads of its own.
    environment = os.environ | {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    if not _codes(folder):
        # No fault has this name: mutmut makes all of them, runs the tests once without and stops.
        subprocess.run([*command, "none"], cwd=folder, env=environment, check=False)
    names = sorted(_codes(folder))
    if not names:
        raise RuntimeError(f"mutmut must make faults in {folder} and the tests must pass there without one")
    chosen = names if count in (0, len(names)) else sorted(random.Random(seed).sample(names, min(count, len(names))))
    codes = _codes(folder)
    reasons = _reasons()

    def reason(name: str) -> str:
        return reasons.get((_function(name), *_difference(folder, python, name)), "")

    # mutmut forgets the verdicts of functions that have changed; survivors without a reason are tried again: tests may
    # be new.
    waiting = [name for name in chosen if codes[name] in (*UNTESTED, *UNKNOWN)]
    waiting += [name for name in chosen if codes[name] == SURVIVED and not reason(name)]
    if waiting:
        subprocess.run([*command, *waiting], cwd=folder, env=environment, check=False)
    codes = {name: code for name, code in _codes(folder).items() if name in set(chosen)}
    if any(code in UNKNOWN for code in codes.values()):
        raise RuntimeError(
            f"mutmut must give every fault a verdict, {sum(c in UNKNOWN for c in codes.values())} lack one"
        )
    alive = []
    for name, code in codes.items():
        if code == SURVIVED or code in UNTESTED:
            alive.append(PythonFault(name, *_difference(folder, python, name), reason(name)))
    equal = sum(bool(fault.reason) for fault in alive)
    killed = len(codes) - len(alive)
    return {
        "mutants": len(codes),
        "killed": killed,
        "equivalent": equal,
        "survived": len(alive) - equal,
        "score": round(killed / max(1, len(codes) - equal), 4),
        "seed": seed,
        "made": len(names),
        "tool": "mutmut",
        "modules": dict(Counter(_function(name).rpartition(".")[0] for name in codes)),
        "not_killed": [
            {"fault": f.name, "was": f.was, "becomes": f.becomes, "verdict": "equivalent" if f.reason else "survived"}
            | ({"why": f.reason} if f.reason else {})
            for f in alive
        ],
    }


def _copy(folder: Path) -> None:
    """Brings the copy of the sources up to date; equal files are left alone, so that mutmut knows them again."""
    wanted = set(map(Path, FILES))
    for name in (*FOLDERS, *TESTS):
        # Folders of the package are links, into which a pattern does not go by itself.
        links = [path for path in (SOURCES / name).iterdir() if path.is_symlink()]
        found = [path for place in (SOURCES / name, *links) for path in place.rglob("*") if path.is_file()]
        wanted |= {path.relative_to(SOURCES) for path in found if "__pycache__" not in path.parts}
    wanted -= set(map(Path, LEFT_OUT))
    for name in ("src", "configs", "docs", "tests"):
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and path.relative_to(folder) not in wanted:
                path.unlink()
    for path in wanted:
        target = folder / path
        text = (SOURCES / path).read_bytes()
        if path.name == "pyproject.toml":
            text += _SETTINGS.format(modules=json.dumps(MODULES), tests=json.dumps(TESTS)).encode()
        if not target.is_file() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
            # Which test runs which function may have changed.
            (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    # mutmut copies tests only where they are new.
    shutil.rmtree(folder / "mutants" / "tests", ignore_errors=True)


def _codes(folder: Path) -> dict[str, int | None]:
    """Exit code of the tests by fault, None where they have not run."""
    codes: dict[str, int | None] = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        codes |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return codes


def _function(name: str) -> str:
    """``golden.rounding.rne`` from ``golden.rounding.x_rne__mutmut_1``."""
    module, _, rest = name.rpartition(".")
    function = rest.rpartition("__mutmut_")[0]
    return f"{module}.{function.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def _difference(folder: Path, python: Path, name: str) -> tuple[str, str]:
    shown = subprocess.run(
        [str(python), "-m", "mutmut", "show", name], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in shown.splitlines() if not re.match(r"---|\+\+\+", line)]
    was = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    return was, " ".join(line[1:].strip() for line in lines if line.startswith("+"))


def _reasons() -> dict[tuple[str, str, str], str]:
    if not REASONS.is_file():
        return {}
    entries = tomllib.loads(REASONS.read_text(encoding="utf-8")).get("equivalent", [])
    return {(entry["function"], entry["was"], entry["becomes"]): entry["reason"] for entry in entries}
