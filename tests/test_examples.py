"""Every script of examples/ runs, says what it should and is named where a reader looks for it."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

#: What each says on the way, as patterns, and the files that it leaves.
SAYS = {
    "quantize_and_verify": (
        [r"float (8|9)\d\.\d%, quantized (8|9)\d\.\d%", r"20 images simulated: 0 mismatching integers in 4 layers"],
        ["network/network.json", "image/manifest.json", "subset_4x4.v"],
    ),
    "own_training_loop": ([r"exported integers: (8|9)\d\.\d%"], ["network/network.json"]),
    "own_quantizer": (
        [r"0: 1 word\(s\) a weight, magnitudes \[0, 1, 2, 8\]", r"3: 1 word\(s\) a weight, magnitudes \[0, 1, 2, 8\]"],
        ["network/network.json", "eightfold.toml"],
    ),
    "integers_without_torch": (
        [r"as the golden model's: True", r"(\d+) cycles, (\d+) passes; predicted \1, \2", r"PyTorch loaded: False"],
        ["network/network.json"],
    ),
    "segment_shapes": (
        [r"float: mean IoU [89]\d\.\d%", r"quantized: mean IoU [89]\d\.\d%", r"integers: mean IoU [89]\d\.\d%"],
        ["network/network.json", "results.png"],
    ),
    "find_boxes": (
        [r"float: AP [6-9]\d\.\d%", r"quantized: AP [6-9]\d\.\d%", r"integers: AP [6-9]\d\.\d%"],
        ["network/network.json", "results.png"],
    ),
    "light_the_dark": (
        [r"float: 2\d\.\d dB", r"quantized: 2\d\.\d dB", r"integers: 2\d\.\d dB"],
        ["network/network.json", "results.png"],
    ),
    "read_the_timing": (
        [r"log_4x4: \d+ cycles an inference", r"log_8x8: \d+ cycles an inference", r"\n +1 +2 +12 +10\n"],
        ["timing.csv"],
    ),
}


#: Those that run in the process of the tests: they do not depend on what is loaded, and loading takes longest.
HERE = tuple(sorted(set(SAYS) - {"integers_without_torch", "own_quantizer"}))


@pytest.mark.parametrize("name", HERE)
def test_example_runs_here(tmp_path, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"examples/{name}.py", str(tmp_path)])
    runpy.run_path(f"examples/{name}.py", run_name="__main__")
    check(name, tmp_path, capsys.readouterr().out)


@pytest.mark.parametrize("name", sorted(set(SAYS) - set(HERE)))
def test_example_runs(tmp_path, name):
    command = [sys.executable, "-W", "error", f"examples/{name}.py", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check(name, tmp_path / "out", done.stdout)


def check(name, folder, text):
    patterns, files = SAYS[name]
    assert [pattern for pattern in patterns if not re.search(pattern, text)] == [], text
    assert [file for file in files if not (folder / file).is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_example_is_tried_and_linked(page):
    text = Path(page).read_text(encoding="utf-8")
    names = {path.stem for path in Path("examples").glob("*.py")}
    assert names == set(SAYS)
    assert {name for name in names if f"examples/{name}.py" not in text} == set()
