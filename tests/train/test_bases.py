"""Recipes on recipes: what a file takes over from its base, what it may not name, and that ours state things once."""

import os
from pathlib import Path

import pytest

from twofold.support import resources
from twofold.support.tables import read_toml
from twofold.train.bases import MOST, merged, read_recipe
from twofold.train.recipe import ActivationRule, Rule, TrainSettings, WeightRule, load_recipe

BASE = """
name = "base"
source = "a book"
method = "qat"
[[layer]]
match = "*"
weight = { quantizer = "uniform", bits = 4 }
activation = { bits = 8 }
[[layer]]
match = "@first"
weight = { quantizer = "uniform", bits = 8 }
[train]
epochs = 3
lr = 0.5
"""
OWN = """
name = "own"
base = "base.toml"
[[layer]]
match = "head"
activation = { bits = 3 }
[[layer]]
match = "*"
weight = { quantizer = "ternary" }
[train]
lr = 0.25
[ptq]
images = 9
"""


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{next(iter(texts))}.toml"


def test_a_file_states_what_differs_from_its_base(tmp_path):
    recipe = load_recipe(write(tmp_path, own=OWN, base=BASE))
    assert (recipe.name, recipe.source, recipe.method) == ("own", "a book", "qat")
    assert recipe.train == TrainSettings(epochs=3, lr=0.25)
    assert recipe.ptq.images == 9
    assert recipe.rules == (
        Rule("*", WeightRule("ternary"), ActivationRule(bits=8)),
        Rule("@first", WeightRule("uniform", options={"bits": 8})),
        Rule("head", None, ActivationRule(bits=3)),
    )


def test_bases_are_named_relative_to_the_file_that_names_them(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path, base=BASE)
    write(tmp_path / "a", middle='base = "../base.toml"\n[train]\nepochs = 7\n')
    path = write(tmp_path / "a" / "b", own=OWN.replace("base.toml", "../middle.toml"))
    monkeypatch.chdir(tmp_path / "a")
    assert load_recipe(path).train == TrainSettings(epochs=7, lr=0.25)
    assert [file.name for file in read_recipe(path)[1]] == ["own.toml", "middle.toml", "base.toml"]


def test_a_recipe_that_comes_with_the_package_is_a_base_by_its_name(tmp_path):
    path = write(tmp_path, mine='name = "mine"\nbase = "lsq_w2a2"\n[train]\nepochs = 1\n')
    mine, theirs = load_recipe(path), load_recipe("lsq_w2a2")
    assert mine.rules == theirs.rules and mine.source == theirs.source
    assert (mine.train.epochs, mine.train.weight_decay) == (1, theirs.train.weight_decay)


def test_of_several_bases_later_ones_have_their_way(tmp_path):
    files = {"one": BASE, "two": "[train]\nepochs = 9\n", "own": 'name = "own"\nbase = ["one.toml", "two.toml"]\n'}
    write(tmp_path, **files)
    recipe = load_recipe(tmp_path / "own.toml")
    assert recipe.train == TrainSettings(epochs=9, lr=0.5) and [rule.match for rule in recipe.rules] == ["*", "@first"]
    assert [file.stem for file in read_recipe(tmp_path / "own.toml")[1]] == ["own", "one", "two"]
    write(tmp_path, own='name = "own"\nbase = ["two.toml", "one.toml"]\n')
    assert load_recipe(tmp_path / "own.toml").train.epochs == 3


def test_rules_of_one_file_stay_as_they_are():
    twice = [{"match": "*", "weight": 1}, {"match": "*", "activation": 2}]
    assert merged({}, {"layer": twice})["layer"] == twice
    table = merged({"layer": twice}, {"layer": [{"match": "*", "weight": 3}]})
    assert table["layer"] == [{"match": "*", "weight": 1}, {"match": "*", "activation": 2, "weight": 3}]
    assert twice == [{"match": "*", "weight": 1}, {"match": "*", "activation": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = 3", "{own}: base must be a string or a list of them, not 3"),
        ('base = "gone.toml"', "{own}: base must be a file that is there, not '{folder}/gone.toml'"),
        ('base = "own.toml"', "{own}: base must not lead back to a file, not {own} -> {own}"),
        ('base = "other.toml"', "{own}: base must not lead back to a file, not {own} -> {other} -> {own}"),
        ('name = "own"\nbase = "odd.toml"', "{own} on {odd}: train.epochs must be at least 1, not 0"),
        ('base = "base.toml"', "{own} on {base}: key 'name' must be given, not left out"),
        ('name = "own"\nbase = "base.toml"\ntrain = 1', "{own} on {base}: train must be a table, not 1"),
        ('name = "own"\nbase = "base.toml"\nlayer = 1', "{own} on {base}: layer must be a list, not 1"),
    ],
)
def test_impossible_bases_are_refused_in_one_line(text, message, tmp_path):
    files = {"own": text, "other": 'base = "own.toml"', "odd": BASE.replace("epochs = 3", "epochs = 0"), "base": BASE}
    write(tmp_path, **files)
    with pytest.raises(ValueError) as error:
        load_recipe(tmp_path / "own.toml")
    assert str(error.value) == message.format(folder=tmp_path, **{name: tmp_path / f"{name}.toml" for name in files})


def test_an_unknown_name_is_refused_with_the_names_there_are(tmp_path):
    path = write(tmp_path, own='base = "ends"')  # a base that is no recipe
    with pytest.raises(
        ValueError, match=r"own.toml: base must be a TOML file or one of \('apot_w3a3', .*\), not 'ends'$"
    ):
        load_recipe(path)


def test_files_have_a_limit(tmp_path):
    for n in range(MOST):
        write(tmp_path, **{f"r{n}": f'name = "r"\nbase = "r{n + 1}.toml"\n'})
    write(tmp_path, **{f"r{MOST}": BASE})
    assert load_recipe(tmp_path / "r1.toml").train.epochs == 3
    with pytest.raises(
        ValueError, match=f"r0.toml: files must be at most {MOST}, not .*r0.toml -> .* -> .*r{MOST}.toml$"
    ):
        load_recipe(tmp_path / "r0.toml")


def test_a_link_to_itself_is_a_cycle(tmp_path):
    path = write(tmp_path, own='base = "link.toml"')
    os.symlink(path, tmp_path / "link.toml")
    with pytest.raises(ValueError, match="must not lead back"):
        load_recipe(path)


def stated(table):
    """Every statement of a recipe's tables by where it stands."""
    found = {key: value for key, value in table.items() if not isinstance(value, (dict, list))}
    found |= {(key, inner): value for key in ("train", "ptq") for inner, value in table.get(key, {}).items()}
    return found | {
        (rule["match"], key): rule[key] for rule in table.get("layer", []) for key in rule if key != "match"
    }


@pytest.mark.parametrize("path", sorted(Path("recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_no_recipe_repeats_what_its_base_states(path):
    own = read_toml(path)
    bases = own.pop("base", [])
    table = {}
    for base in [bases] if isinstance(bases, str) else bases:
        table = merged(table, read_recipe(path.parent / base)[0])
    own, base = stated(own), stated(table)
    assert own and {key for key, value in own.items() if base.get(key) == value} == set()


def test_bases_alone_are_no_recipes():
    bases = {path.resolve() for path in Path("recipes/base").glob("*.toml")}
    recipes = {path.resolve() for path in resources.shipped("recipes")}
    used = {file.resolve() for path in recipes for file in read_recipe(path)[1]}
    assert not bases & recipes and bases | recipes == used
