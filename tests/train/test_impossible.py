"""Recipes and runs with impossible contents: they load, or give one error that begins with the path."""

import inspect
import json
import math
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support.mutations import SPECIAL, VALUES, check, mutations, toml_file
from twofold.train.__main__ import main
from twofold.train.bases import read_recipe
from twofold.train.data import load_data
from twofold.train.models import build_model
from twofold.train.quantizers import ACTIVATIONS, QUANTIZERS, build_activation, build_quantizer
from twofold.train.recipe import load_recipe
from twofold.train.run_files import _own
from twofold.train.runs import _read_facts, load_run, save_run

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("name", ["stlq_w3a4_r10", "subset_w4a8"])
def test_every_wrong_value_of_a_recipe_is_refused_or_does_no_harm(tmp_path, name):
    path = tmp_path / "a.toml"
    table = read_recipe(RECIPES / f"{name}.toml")[0]
    values = tuple(value for value in VALUES + SPECIAL if value not in (None, [None]))
    for changed in mutations(table, 5, 600, values):
        path.write_text(toml_file(changed))
        check(path, lambda: load_recipe(path))


def every_quantizer():
    """A recipe with a rule for each quantizer, all its options written out."""
    given = {"bits": 3, "signed": False}
    rules = []
    for key, kinds in (("weight", QUANTIZERS), ("activation", ACTIVATIONS)):
        for name, kind in kinds.items():
            parameters = [p for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
            options = {p.name: given.get(p.name, p.default) for p in parameters if p.name not in ("limit", "scale")}
            options = {key: list(v) if isinstance(v, tuple) else v for key, v in options.items() if v is not None}
            if "members" in options:
                options["members"] = [{"quantizer": "minmax", "bits": 2}, {"quantizer": "binary", "learn": True}]
            rules.append({"match": "a", key: {"quantizer": name, "learn": True} | options})
    return {"name": "all", "method": "qat", "layer": rules}


def test_every_wrong_option_of_every_quantizer_is_refused_or_does_no_harm(tmp_path):
    path, table, loaded = tmp_path / "a.toml", every_quantizer(), 0
    path.write_text(toml_file(table))
    assert len(load_recipe(path).rules) == len(QUANTIZERS) + len(ACTIVATIONS)
    values = tuple(value for value in VALUES + SPECIAL if value not in (None, [None]))
    for changed in mutations(table, 5, 600, values):
        path.write_text(toml_file(changed))
        if check(path, lambda: load_recipe(path)):
            loaded += 1
            for rule in load_recipe(path).rules:
                if rule.weight is not None:
                    build_quantizer(rule.weight.quantizer, (4, 3, 3, 3), **rule.weight.options)
                if rule.activation is not None:
                    common = {"bits": rule.activation.bits, "signed": True}
                    build_activation(rule.activation.quantizer, **common, **rule.activation.options)
    assert 0 < loaded < 300


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"quantizer": "stlq", "bits": "x"}, "weight.bits must be an integer, not 'x'"),
        ({"quantizer": "stlq", "bits": 3, "ratio": math.nan}, "weight.ratio must be a finite number, not nan"),
        ({"quantizer": "stlq", "bits": 3, "tile": [8]}, "weight.tile must be a list of 2 numbers, not (8,)"),
        ({"quantizer": "stlq", "bits": -1}, "weight: Log word must be 2 to 5 bits, not -1"),
        ({"quantizer": "lsq"}, "key 'weight.bits' must be given, not left out"),
        ({"quantizer": "sawb", "bits": 2, "x": 1}, "key must be one of ('weight.bits',), not 'weight.x'"),
        ({"quantizer": "relax", "members": [1, 2]}, "weight.members must be a list of tables, not (1, 2)"),
        (
            {"quantizer": "relax", "members": [{"quantizer": "minmax", "bits": True}] * 2},
            "weight.members[0].bits must be an integer, not True",
        ),
    ],
)
def test_a_wrong_option_is_named(tmp_path, weight, message):
    path = tmp_path / "a.toml"
    path.write_text(toml_file({"name": "a", "method": "qat", "layer": [{"match": "@last", "weight": weight}]}))
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: layer '@last': {message}"


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large", "words"])
def test_weights_that_are_no_file_of_tensors_are_refused(tmp_path, capsys, kind, suffix):
    make = {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
        "large": lambda path: path.touch() or os.truncate(path, 5 << 30),
        "words": lambda path: path.write_text("words"),
    }
    path = tmp_path / f"a{suffix}"
    make[kind](path)
    assert main(["fit", "--out", str(tmp_path / "run"), "--weights", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: file must ")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar10", ["cifar10.npz"]),
        ("cifar10", [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]),
        ("mnist", ["train-images-idx3-ubyte"]),
        ("mnist", ["train-images-idx3-ubyte.gz"]),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_data_that_are_no_files_are_refused(tmp_path, name, files, kind):
    for file in files:
        path = tmp_path / file
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 5 << 30)
    (tmp_path / "train-labels-idx1-ubyte").touch()
    with pytest.raises(ValueError, match=r"file must (be a regular file|have at most)"):
        load_data(name, tmp_path)


def test_images_that_are_no_files_are_refused(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part / "a").mkdir(parents=True)
        os.mkfifo(tmp_path / part / "a" / "a.png")
    data = load_data("imagenet", tmp_path)
    with pytest.raises(ValueError, match="file must be a regular file"):
        data.train_x[:1]
    file = tmp_path / "train" / "a" / "a.png"
    file.unlink()
    Image.new("1", (9000, 9000)).save(file)
    with pytest.raises(ValueError, match="it has 9000x9000 pixels, more than 67108864"):
        data.train_x[:1]


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
    table = read_recipe(RECIPES / "stlq_w3a4_r10.toml")[0]
    table["train"] = table.get("train", {}) | {key: float(value)}
    path.write_text(toml_file(table))
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: train.{key} must be finite, not {value}"


def test_a_recipe_with_a_byte_order_mark_is_the_same(tmp_path):
    text = toml_file(read_recipe(RECIPES / "subset_w4a8.toml")[0])
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
