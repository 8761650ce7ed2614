"""docs/training.md is true: its code runs, and it names every recipe, key, quantizer, option's command and network."""

import argparse
import re
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from twofold.golden.container import load
from twofold.train.__main__ import _parser
from twofold.train.data import DATA, load_data
from twofold.train.models import MODELS, build_model
from twofold.train.quantizers import ACTIVATIONS, QUANTIZERS
from twofold.train.recipe import ROLES, ActivationRule, PostSettings, Rule, TrainSettings, load_recipe
from twofold.train.supported import becomes, table

PAGE = Path("docs/training.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`\"?@?([\w*]+)\"?`", PAGE))


def test_code_runs(tmp_path):
    block = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert block.count("= ...") == 2
    assert block.count('"build/runs/mine"') == 1
    digits = load_data("digits")
    block = block.replace("model = ...", "torch.manual_seed(0)\nmodel = given").replace(
        "test_labels = ...", "test_labels = parts"
    )
    parts = (digits.train_x[:256], digits.train_y[:256], digits.test_x[:64], digits.test_y[:64])
    names: dict[str, Any] = {"given": build_model("demo").eval(), "parts": parts}
    exec(block.replace("build/runs/mine", str(tmp_path / "mine")), names)
    written = load(tmp_path / "mine")
    assert [layer.name for layer in written.layers] == [layer.name for layer in names["network"].layers]


def test_every_recipe_is_in_the_table_under_its_method():
    names = [file.stem for file in Path("recipes").glob("*.toml")]
    assert len(names) > 40
    words = [word for word in WORDS if re.search(r"_w\d", word)]
    assert [name for name in names if not any(fnmatchcase(name, word) for word in words)] == []
    assert [word for word in words if not any(fnmatchcase(name, word) for name in names)] == []


@pytest.mark.parametrize(
    "wanted",
    [
        [spec.name for spec in fields(TrainSettings)],
        [spec.name for spec in fields(PostSettings)],
        [spec.name for spec in fields(Rule)],
        [role.removeprefix("@") for role in ROLES],
        list(QUANTIZERS),
        list(ACTIVATIONS),
        list(MODELS),
        list(DATA),
    ],
)
def test_every_name_is_there(wanted):
    assert [name for name in wanted if name not in WORDS] == []


def test_table_of_networks_is_that_of_the_code():
    table = PAGE.split("| `--network` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(names) == sorted(MODELS)


def test_names_that_convert_knows_are_those_of_the_code():
    """If this fails, `python -m twofold.train.supported` prints the tables."""
    assert f"### All names\n\n{table()}\n\n" in PAGE
    assert f"\n\n{becomes()}\n\n### Constants" in PAGE


def test_every_key_of_an_activation_is_there():
    line = next(line for line in PAGE.splitlines() if line.startswith("| `activation` |"))
    assert [spec.name for spec in fields(ActivationRule) if spec.name != "options" and spec.name not in line] == []


@pytest.mark.parametrize("rule", [TrainSettings, PostSettings])
def test_defaults_are_those_of_the_code(rule):
    table: dict[str, str] = {}
    for keys, values in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|", PAGE, re.MULTILINE):
        names = re.findall(r"`(\w+)`", keys)
        given = re.split(r", (?![^\[]*\])", values)
        if len(names) == len(given):
            table |= dict(zip(names, given, strict=True))
    written = {}
    for spec in fields(rule):
        if spec.name in ("seed", "batch", "lr") and rule is TrainSettings:
            continue  # the second table has these names, too
        written[spec.name] = table[spec.name].strip("`").strip('"')
    expected = {spec.name: getattr(rule(), spec.name) for spec in fields(rule) if spec.name in written}
    for name, value in expected.items():
        if isinstance(value, bool):
            assert written[name] == str(value).lower(), name
        elif isinstance(value, tuple):
            assert written[name] == str(list(value)), name
        elif isinstance(value, str):
            assert written[name] == value, name
        else:
            assert float(written[name]) == value, name


def test_commands_are_those_of_the_command_line():
    parsers = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    table = set(re.findall(r"^\| `(\w+) (?:RUN|--out RUN)", PAGE, re.MULTILINE))
    assert table == set(parsers)
    options = set()
    for parser in parsers.values():
        options |= {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", PAGE)) - {"--nproc-per-node", "--logdir"} <= options


def test_methods_of_recipes_suit_their_commands():
    commands = re.findall(r"train (fit|ptq) .*--recipe (recipes/\w+\.toml)", PAGE.replace("\\\n", ""))
    assert len(commands) == 2
    for command, file in commands:
        assert load_recipe(file).method == {"fit": "qat", "ptq": "ptq"}[command]
