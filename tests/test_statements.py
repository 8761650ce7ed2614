"""Statements of the docs that have been wrong before: each against what it is about."""

import re
from pathlib import Path

TRAINING = Path("docs/training.md").read_text(encoding="utf-8")
RESULTS = Path("docs/results.md").read_text(encoding="utf-8")
HARDWARE = Path("docs/hardware.md").read_text(encoding="utf-8")


def test_every_overriding_option_is_listed():
    source = Path("train/__main__.py").read_text(encoding="utf-8")
    group = source.partition("instead of the recipe's or the data set's own settings")[2].partition("def ")[0]
    line = next(line for line in TRAINING.splitlines() if "override the recipe's" in line)
    assert re.findall(r"`(--[a-z]+)`", line) == re.findall(r'add_argument\("(--[a-z]+)"', group)


def test_the_costs_of_a_step_are_those_of_the_results():
    table = RESULTS.partition("### A training step")[2].partition("\n###")[0]
    times = [float(time) for time in re.findall(r"`\w+` \| ([\d.]+) \| [\d.]+ \|", table)]
    assert f"A step costs {min(times):.2f} to {max(times):.2f} float steps" in TRAINING


def test_what_second_words_cost_is_in_the_results():
    row = next(line for line in RESULTS.splitlines() if line.startswith("| 10 % (10.06 %)"))
    assert f"at R = 10 % by {row.split('|')[-2].strip()} in the layers" in TRAINING


def test_an_array_stands_beside_its_own_cycles():
    text = " ".join(HARDWARE.split())
    for build in ("log_16x16", "subset_16x16"):
        cycles = re.search(rf"\| ResNet-20 \| `{build}` \| [\d,]+ \| ([\d,]+) \|", RESULTS)
        area = re.search(rf"`{build}`\s+([\d,]+) LUT sites", HARDWARE)
        assert cycles and area
        assert re.search(rf"{area[1]}( LUT sites)? and {cycles[1]}( cycles an image)? \(`{build}`\)", text)


def test_batch_norm_is_not_said_to_be_folded_always():
    assert "stays folded" not in TRAINING
