"""Quantizers of the user's own on the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.train.__main__ import main
from twofold.train.imports import import_own
from twofold.train.quantizers import QUANTIZERS

PAGE = Path("docs/training.md").read_text(encoding="utf-8")
(QUANTIZER,) = re.findall(r"```python\n(import torch\nfrom twofold.train.quantizers.+?)```", PAGE, re.DOTALL)
RECIPE = """
name = "mine"
base = "ptq_l2_w4a8"
[[layer]]
match = "*"
weight = { quantizer = "fourfold" }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(QUANTIZER)
    (tmp_path / "bad.py").write_text("raise RuntimeError('two\\nlines')")
    (tmp_path / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    QUANTIZERS.pop("fourfold", None)
    sys.modules.pop("mine", None)
    sys.modules.pop("twofold_own_mine", None)


@pytest.mark.parametrize("name", ["mine.py", "./mine.py", "mine"])
def test_a_module_or_a_file_is_imported_and_its_quantizer_known(name, folder):
    before = list(sys.path)
    import_own(name)
    import_own(name)
    assert QUANTIZERS["fourfold"].__name__ == "Fourfold"
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("gone.py", FileNotFoundError, "Argument --import must be a module or a file, not 'gone.py'"),
        ("gone", ValueError, "Argument --import must be what can be imported, not 'gone': ModuleNotFoundError"),
        ("bad.py", ValueError, "Argument --import must be what can be imported, not 'bad.py': RuntimeError('two"),
        ("..", ValueError, "Argument --import must be what can be imported, not '..': "),
    ],
)
def test_what_cannot_be_imported_is_refused(name, kind, message, folder):
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        import_own(name)
    assert "twofold_own_bad" not in sys.modules


def test_a_recipe_on_the_command_line_uses_ones_own_quantizer(folder, capsys):
    assert main(["fit", "--device", "cpu", "--epochs", "1", "--steps", "1", "--out", "float"]) == 0
    command = ["ptq", "--start", "float", "--out", "own", "--recipe", "mine.toml"]
    capsys.readouterr()
    assert main(command) == 2
    without = capsys.readouterr().err
    assert "weight.quantizer must be one of" in without
    assert "'fourfold'" in without and without.count("\n") == 1
    assert main([*command, "--import", "mine.py"]) == 0
    del QUANTIZERS["fourfold"]
    assert main(["eval", "own"]) == 2
    # A process that knows nothing yet, as the user's.
    program = "from twofold.command import run; raise SystemExit(run())"
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "eval", "own", "--import", "mine"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.startswith("accuracy "), done.stderr
