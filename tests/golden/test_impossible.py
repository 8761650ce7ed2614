"""Files with right checksums and wrong contents: they load, or give one error that begins with the path."""

import json
import os
import tomllib
from dataclasses import replace

import pytest

from tests.golden.test_image import image
from tests.support.mutations import SPECIAL, VALUES, check, mutations, toml_file
from twofold.golden import container, image_folder
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.order import channels_last
from twofold.testing.random_network import random_network

CONFIG = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=4)
TOML = 'name = "a"\npe = "log"\nrows = 8\ncols = 4\nword_bits = 3\nasymmetric = true\nact_bits = 8\nmenus = ""\n'
DEEP = {"list": "[" * 100_000 + "]" * 100_000, "open": "[" * 5000, "table": '{"a":' * 5000 + "1" + "}" * 5000}


def sign(module, table):
    table = {key: value for key, value in table.items() if key != "sha256"}
    return json.dumps(table | {"sha256": module._digest(table)})


def things(folder):
    network = random_network(2, CONFIG)
    orders = {network.output.name: channels_last(network.output.output.shape)}
    container.save(replace(network, orders=orders), folder / "network")
    image_folder.save(image(), folder / "image")
    return [(container, folder / "network" / "network.json"), (image_folder, folder / "image" / "manifest.json")]


@pytest.mark.parametrize("number", [0, 1], ids=["network", "image"])
def test_every_value_of_a_wrong_type_is_refused_or_does_no_harm(tmp_path, number):
    module, path = things(tmp_path)[number]
    table = json.loads(path.read_text())
    table.pop("sha256")
    loaded = 0
    for changed in mutations(table, 7, 1200):
        path.write_text(sign(module, changed))
        loaded += check(path, lambda: module.load(path.parent))
    assert loaded < 400


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda table: table.update(passes=99), "passes must be "),
        (lambda table: table["memories"]["weight"].update(used=1), "memories must be "),
        (lambda table: table["layers"][0].update(utilisation=0.9), "layers must be "),
        (lambda table: table["input"].update(address=1 << 20), "tensor must end within 1024 lines, not at "),
        (lambda table: table.update(layers=[]), "file must describe an image, not this: layers must be at least one"),
        (lambda table: table.update(cycles=0), "file must describe an image, not this: cycles must be 1 to "),
    ],
)
def test_an_image_whose_facts_contradict_each_other_is_refused(tmp_path, change, rule):
    module, path = things(tmp_path)[1]
    table = json.loads(path.read_text())
    change(table)
    path.write_text(sign(module, table))
    with pytest.raises(ValueError) as caught:
        module.load(path.parent)
    assert str(caught.value).startswith(f"{path}: {rule}")


@pytest.mark.parametrize("number", [0, 1], ids=["network", "image"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1" * 5000, *DEEP.values()])
def test_json_that_is_no_table_of_finite_numbers_is_refused(tmp_path, number, value):
    module, path = things(tmp_path)[number]
    path.write_text(path.read_text().replace("{", f'{{"extra": {value},', 1))
    with pytest.raises(ValueError, match="file must be JSON, not this: ") as caught:
        module.load(path.parent)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_wrong_value_of_a_configuration_is_refused_or_does_no_harm(tmp_path):
    path = tmp_path / "a.toml"
    table = tomllib.loads(TOML)
    values = tuple(value for value in VALUES + SPECIAL if value not in (None, [None]))
    for changed in mutations(table, 3, 800, values):
        path.write_text(toml_file(changed))
        check(path, lambda: load_config(path))


@pytest.mark.parametrize(
    ("key", "value", "most", "others"),
    [
        ("acc_depth", 65536, 18724, {"cols": 64}),
        ("feature_depth", 1 << 24, 1048576, {}),
        ("weight_depth", 1 << 22, 2796202, {}),
        ("channel_depth", 1500000, 1198372, {}),
        ("program_depth", 524289, 524288, {}),
    ],
)
def test_memories_that_would_take_minutes_are_refused(tmp_path, key, value, most, others):
    path = tmp_path / "a.toml"
    table = tomllib.loads(TOML) | others
    path.write_text(toml_file(table | {key: value}))
    with pytest.raises(ValueError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: {key} must be at most {most} for lines of this build's width, not {value}"
    path.write_text(toml_file(table | {key: most}))
    load_config(path)


def test_the_largest_array_is_64_by_64(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(toml_file(tomllib.loads(TOML) | {"rows": 64, "cols": 64}))
    assert (load_config(path).rows, load_config(path).cols) == (64, 64)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    make = {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
        "large": lambda path: path.touch() or os.truncate(path, 5 << 30),
    }
    for module, path in things(tmp_path):
        for file in path.parent.iterdir():
            data = file.read_bytes()
            file.unlink()
            make[kind](file)
            with pytest.raises(ValueError, match=r"file must (be a regular file|have at most)") as caught:
                module.load(path.parent)
            assert str(caught.value).startswith(f"{file}: ")
            file.rmdir() if kind == "folder" else file.unlink()
            file.write_bytes(data)
        module.load(path.parent)


@pytest.mark.parametrize("text", [TOML.encode("utf-8-sig"), TOML.replace("\n", "\r\n").encode("utf-8-sig")])
def test_editors_marks_and_line_ends_do_not_matter(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(TOML)
    expected = load_config(path)
    path.write_bytes(text)
    assert load_config(path) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfea = 1",
        TOML.encode() + b"x = " + b"[" * 5000 + b"]" * 5000,
        TOML.encode() + b"x = " + b"[" * 70 + b"]" * 70,
        TOML.encode() + b"acc_depth = " + b"1" * 5000,
    ],
)
def test_toml_that_cannot_be_read_is_refused(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="file must be TOML, not this: ") as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
