"""Golden model, ONNX, mapper and hardware are checked with what mypy's --strict turns on."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

STRICT = ("twofold.golden.*", "twofold.exchange.*", "twofold.mapper.*")
HARDWARE = ("twofold.hdl.*",)


@pytest.mark.parametrize(
    ("modules", "left"),
    # Amaranth has no types, so components are subclasses of what mypy does not know.
    [(STRICT, set()), (HARDWARE, {"disallow_subclassing_any"})],
)
def test_strict_modules_have_every_flag_of_strict(modules, left):
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    (strict,) = (each for each in settings["overrides"] if set(modules) <= set(each["module"]))
    text = subprocess.run([sys.executable, "-m", "mypy", "--help"], capture_output=True, text=True, check=True).stdout
    stated = re.sub(r"-\s+", "-", text.partition("enables the following flags:")[2].partition("\n  --")[0])
    flags = {flag.removeprefix("--").replace("-", "_") for flag in re.findall(r"--[a-z-]+", stated)}
    assert len(flags) > 10
    assert {flag for flag in flags if (settings | strict).get(flag) is not True} == left
