"""Recipes and runs with impossible contents: they load, or give one error that begins with the path."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.mutations import SPECIAL, VALUES, check, mutations, toml_file
from train.models import build_model
from train.recipe import load_recipe
from train.run_files import _own
from train.runs import _read_facts, load_run, save_run

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("name", ["stlq_w3a4_r10", "subset_w4a8"])
def test_every_wrong_value_of_a_recipe_is_refused_or_does_no_harm(tmp_path, name):
    path = tmp_path / "a.toml"
    table = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    values = tuple(value for value in VALUES + SPECIAL if value not in (None, [None]))
    for changed in mutations(table, 5, 600, values):
        path.write_text(toml_file(changed))
        check(path, lambda: load_recipe(path))


def test_every_wrong_value_of_a_run_is_refused_or_does_no_harm(tmp_path):
    recipe = load_recipe(RECIPES / "stlq_w3a4_r10.toml")
    save_run(tmp_path, build_model("demo"), {"model": "demo", "data": "digits", "data_path": None}, recipe)
    path = tmp_path / "run.json"
    table = json.loads(path.read_text())
    table.pop("sha256")
    for changed in mutations(table, 5, 800, VALUES + SPECIAL):
        path.write_text(json.dumps(changed | {"sha256": _own(changed)}))
        check(path, lambda: _read_facts(path))


def test_weights_are_bound_to_their_facts(tmp_path):
    save_run(tmp_path, build_model("demo"), {"model": "demo", "data": "digits"})
    weights, facts = tmp_path / "model.safetensors", tmp_path / "run.json"
    load_run(tmp_path)
    data = weights.read_bytes()
    for place in (len(data) // 2, len(data) - 1):
        weights.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match=f"^{re.escape(str(weights))}: checksum must be that of run.json, "):
            load_run(tmp_path)
    weights.write_bytes(data)
    older = json.loads(facts.read_text()) | {"version": 1}
    for key in ("weights_sha256", "metrics_sha256", "sha256"):
        older.pop(key)
    facts.write_text(json.dumps(older))
    load_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "run.json"]


@pytest.mark.parametrize("key", ["lr", "momentum", "warmup"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_rates_are_finite(tmp_path, key, value):
    path = tmp_path / "a.toml"
    text = (RECIPES / "stlq_w3a4_r10.toml").read_text()
    table = tomllib.loads(text)
    table["train"] = table.get("train", {}) | {key: float(value)}
    path.write_text(toml_file(table))
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: train.{key} must be finite, not {value}"


def test_a_recipe_with_a_byte_order_mark_is_the_same(tmp_path):
    text = (RECIPES / "subset_w4a8.toml").read_text()
    path = tmp_path / "a.toml"
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_recipe(path) == load_recipe(RECIPES / "subset_w4a8.toml")


@pytest.mark.parametrize("text", [b"a = " + b"[" * 9000 + b"]" * 9000, b"\xff\xff"])
def test_a_recipe_that_cannot_be_read_is_refused(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: file must be TOML, not this: ")
