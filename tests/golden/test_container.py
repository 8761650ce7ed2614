import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from twofold.golden import catalog, container
from twofold.golden.config import ArrayConfig
from twofold.golden.layers import run
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.support import folders
from twofold.testing.random_network import random_inputs, random_network

CONFIGS = [
    ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3, asymmetric=True),
    ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=4),
]
BRANCH_FIELDS = ("source", "point_set", "shifts", "stride", "padding", "dilation", "groups", "channel", "channels")


@pytest.fixture
def saved(tmp_path):
    network = random_network(0, CONFIGS[0])
    container.save(network, tmp_path / "net")
    return tmp_path / "net"


def refuses(folder, file, rule):
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder / file))}: {rule}$"):
        container.load(folder)


def rewrite(folder, change, *, resign=True):
    """Changes the structure, its checksum made right again if `resign`."""
    path = folder / "network.json"
    structure = json.loads(path.read_text(encoding="utf-8"))
    change(structure)
    if resign:
        structure.pop("sha256")
        structure["sha256"] = container._digest(structure)
    path.write_text(json.dumps(structure), encoding="utf-8")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(4))
def test_a_network_comes_back_exactly(tmp_path, config, seed):
    network = replace(
        random_network(seed, config), meta={"recipe": "a", "accuracy": 0.1 + 0.2, "ratio": None, "tags": [1, "é"]}
    )
    network = replace(network, heads=() if seed else (network.layers[1].name, network.layers[0].name))
    container.save(network, tmp_path / "net")
    back = container.load(tmp_path / "net")
    assert (back.name, back.input, back.point_sets, back.meta) == (
        network.name,
        network.input,
        network.point_sets,
        network.meta,
    )
    assert back.heads == network.heads
    assert len(back.layers) == len(network.layers)
    for ours, theirs in zip(network.layers, back.layers, strict=True):
        for key in ("name", "kind", "output", "low", "high", "maximum"):
            assert getattr(ours, key) == getattr(theirs, key)
        for key in ("bias", "multiplier", "right"):
            assert getattr(theirs, key).dtype == np.int64
            np.testing.assert_array_equal(getattr(ours, key), getattr(theirs, key))
        assert len(ours.branches) == len(theirs.branches)
        for one, other in zip(ours.branches, theirs.branches, strict=True):
            for key in BRANCH_FIELDS:
                assert getattr(one, key) == getattr(other, key)
            np.testing.assert_array_equal(one.codes, other.codes)
    x = random_inputs(seed, network, 2)
    for name, values in run(network, x).items():
        np.testing.assert_array_equal(run(back, x)[name], values)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        container.save(random_network(3, CONFIGS[1]), tmp_path / name)
    for file in ("network.json", "tensors.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_saving_replaces_a_network_and_leaves_nothing_else(saved):
    other = random_network(1, CONFIGS[1])
    container.save(other, saved)
    assert container.load(saved).point_sets == other.point_sets
    assert os.listdir(saved.parent) == ["net"]
    assert sorted(os.listdir(saved)) == ["network.json", "tensors.safetensors"]


def test_other_files_are_never_overwritten(saved):
    (saved / "notes.txt").write_text("mine", encoding="utf-8")
    message = f"{saved}: folder must be new or hold only a network, not other files"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        container.save(random_network(1, CONFIGS[0]), saved)
    with pytest.raises(ValueError, match="folder must be new"):
        container.save(random_network(1, CONFIGS[0]), saved / "notes.txt")
    assert sorted(os.listdir(saved)) == ["network.json", "notes.txt", "tensors.safetensors"]
    assert os.listdir(saved.parent) == ["net"]


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_meta_that_is_not_json_is_refused_and_nothing_written(tmp_path, value):
    network = replace(random_network(0, CONFIGS[0]), meta={"x": value})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path / 'net'))}: meta must be JSON, not this: .+$"):
        container.save(network, tmp_path / "net")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_network(saved, monkeypatch):
    before = (saved / "network.json").read_bytes()
    monkeypatch.setattr(folders, "_exchange", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        container.save(random_network(1, CONFIGS[0]), saved)
    assert (saved / "network.json").read_bytes() == before
    assert os.listdir(saved.parent) == ["net"]


@pytest.mark.parametrize("file", ["network.json", "tensors.safetensors"])
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"^{re.escape(str(saved / file))}: file of a quantized network must exist$"
    ):
        container.load(saved)


def test_truncated_files_are_refused(saved, tmp_path):
    for file, rule in (
        ("network.json", "file must be JSON, not this: .+"),
        ("tensors.safetensors", "checksum must be .+"),
    ):
        data = (saved / file).read_bytes()
        for keep in (0, 1, len(data) // 2, len(data) - 3):
            shutil.copytree(saved, tmp_path / "cut", dirs_exist_ok=True)
            (tmp_path / "cut" / file).write_bytes(data[:keep])
            refuses(tmp_path / "cut", file, rule)


def test_every_damaged_byte_of_the_tensors_is_noticed(saved):
    path = saved / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    digest = json.loads((saved / "network.json").read_text(encoding="utf-8"))["tensors_sha256"]
    for place in (0, 8, len(data) // 2, len(data) - 1):
        data[place] ^= 1
        path.write_bytes(data)
        refuses(saved, path.name, f"checksum must be '{digest}', not '[0-9a-f]{{64}}': the file is damaged")
        data[place] ^= 1
    path.write_bytes(data)
    container.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda structure: structure["layers"][0].update(low=structure["layers"][0]["low"] + 1),
        lambda structure: structure["layers"][0]["terms"][0].update(channel=0, stride=[2, 2]),
        lambda structure: structure["points"]["log"]["levels"].reverse(),
        lambda structure: structure.update(name="other"),
        lambda structure: structure.pop("sha256"),
    ],
)
def test_a_changed_structure_is_noticed(saved, change):
    rewrite(saved, change, resign=False)
    refuses(saved, "network.json", "checksum must be '[0-9a-f]{64}', not .+: the file is damaged")


@pytest.mark.parametrize("version", [4, 0, None, "1", True])
def test_other_versions_are_refused(saved, version):
    rewrite(saved, lambda structure: structure.update(version=version))
    refuses(saved, "network.json", re.escape(f"version must be one of (1, 2, 3), not {version!r}"))


def test_networks_of_the_first_version_are_read(saved):
    rewrite(saved, lambda structure: structure.update(version=1))
    assert container.load(saved).name == random_network(0, CONFIGS[0]).name


def test_padding_of_four_sides_comes_back(tmp_path):
    points = {"digits": catalog.digit_points(CONFIGS[0].fmt)}
    branch = Branch(INPUT, "digits", np.ones((1, 2, 1, 2, 2), np.uint8), (0,), padding=(0, 1, 2, -1))
    one, right = np.ones(2, np.int64), np.zeros(2, np.int64)
    layer = Layer("a", "conv2d", (branch,), Tensor((2, 5, 3), 8, True, 1.0), right, one, right, -128, 127)
    container.save(Network("n", Tensor((1, 4, 4), 8, True, 1.0), (layer,), points), tmp_path / "net")
    assert container.load(tmp_path / "net").layers[0].branches[0].padding == (0, 1, 2, -1)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[]", "format must be 'twofold-network', not None"),
        ("{}", "format must be 'twofold-network', not None"),
        ('{"format": "onnx"}', "format must be 'twofold-network', not 'onnx'"),
        ('{"format": NaN}', "file must be JSON, not this: NaN is not a number"),
        ("\x00", "file must be JSON, not this: .+"),
    ],
)
def test_foreign_files_are_refused(saved, text, rule):
    (saved / "network.json").write_text(text, encoding="utf-8")
    refuses(saved, "network.json", rule)


def test_bytes_that_are_no_text_are_refused(saved):
    (saved / "network.json").write_bytes(b"\xff\xfe")
    refuses(saved, "network.json", "file must be JSON, not this: .+")


@pytest.mark.parametrize(
    "change",
    [
        lambda structure: structure.pop("layers"),
        lambda structure: structure["layers"][0].update(kind="pool"),
        lambda structure: structure["layers"][0].update(terms=3),
        lambda structure: structure["layers"].append(structure["layers"][0]),
        lambda structure: structure["input"].update(shape=[0, 1, 1]),
        lambda structure: structure["layers"][0]["terms"][0].pop("padding"),
        lambda structure: structure["layers"][0]["terms"][0].update(extra=1),
        lambda structure: structure.update(points=[]),
        lambda structure: structure.update(layers={"a": 1}),
    ],
)
def test_a_signed_structure_that_describes_no_network_is_refused(saved, change):
    rewrite(saved, change)
    refuses(saved, "network.json", "file must describe a network, not this: .+")
