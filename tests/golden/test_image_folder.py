import hashlib
import json
import struct

import pytest

from tests.golden.test_image import CONFIG, LAYOUT, image
from twofold.golden import image_folder
from twofold.golden.frame import frame
from twofold.golden.isa import Section

FILES = ["channel.mem", "image.bin", "manifest.json", "program.mem", "weight.mem"]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "sub" / "image"
    image_folder.save(image(), path)
    return path


def write(folder, manifest):
    """Write a manifest with its checksum, as someone would who knows the format."""
    manifest = {key: value for key, value in manifest.items() if key != "sha256"}
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": digest}))


def edit(folder, **changes):
    write(folder, json.loads((folder / "manifest.json").read_text()) | changes)


def replace(folder, name, content):
    """Change a file and its checksum."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, files=manifest["files"] | {name: hashlib.sha256(content).hexdigest()})


def refused(folder):
    with pytest.raises(ValueError) as caught:
        image_folder.load(folder)
    return str(caught.value)


def test_load_is_the_reverse_of_save(folder):
    assert image_folder.load(folder) == image()
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["image"]


def test_a_folded_input_is_kept(folder):
    image_folder.save(image(LAYOUT), folder)
    assert image_folder.load(folder) == image(LAYOUT)
    manifest = json.loads((folder / "manifest.json").read_text())
    pairs = {"kernel": [1, 2], "stride": [1, 1], "padding": [0, 1], "dilation": [1, 1], "size": [1, 2]}
    assert manifest["input"]["layout"] == pairs
    assert manifest["memories"]["feature"]["used"] == 12
    assert "layout" not in manifest["outputs"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": [1, 0]}, "Input layout: kernel must be 1 to 2**31 - 1, not (1, 0)"),
        ({"kernel": [1, 2, 3]}, "Input layout: kernel must be a pair of integers, not (1, 2, 3)"),
        ({"size": [1.0, 2]}, "Input layout: size must be a pair of integers, not (1.0, 2)"),
        ({"padding": 1}, "padding must be a list, not 1"),
        ({"other": [1, 1]}, "InputLayout.__init__() got an unexpected keyword argument 'other'"),
    ],
)
def test_a_bad_layout_is_refused(folder, change, message):
    image_folder.save(image(LAYOUT), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, input=manifest["input"] | {"layout": manifest["input"]["layout"] | change})
    assert refused(folder) == f"{folder / 'manifest.json'}: file must describe an image, not this: {message}"


def test_a_layout_is_a_whole_table(folder):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())["input"]
    for layout in ([1, 1], None, "folded"):
        edit(folder, input=values | {"layout": layout})
        assert (
            refused(folder) == f"{path}: file must describe an image, not this: layout must be a table, not {layout!r}"
        )
    edit(folder, input=values | {"layout": {"kernel": [1, 1]}})
    assert "missing 4 required positional arguments: 'stride', 'padding', 'dilation', and 'size'" in refused(folder)


def test_a_layout_must_fit_in_feature_memory_and_is_the_inputs_alone(folder):
    image_folder.save(image(LAYOUT), folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    layout = manifest["input"]["layout"]
    edit(folder, input=manifest["input"] | {"layout": layout | {"size": [1 << 30, 1 << 30]}})
    assert refused(folder) == f"{path}: tensor must end within 1024 lines, not at {6 + (3 << 60)}"
    edit(folder, input=manifest["input"], outputs=[manifest["outputs"][0] | {"layout": layout}])
    assert refused(folder).endswith("unexpected keyword argument 'layout'")


def test_files_are_what_a_host_and_readmemh_read(folder):
    assert (folder / "weight.mem").read_text() == "01\n02\n"
    beats = image().beats
    assert (folder / "image.bin").read_bytes() == struct.pack(f"<{len(beats)}I", *beats)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["build"]["hash"] == f"{CONFIG.build_hash:08x}"
    assert manifest["memories"]["feature"] == {"used": 10, "lines": 1024}
    assert manifest["memories"]["weight"] == {"used": 2, "lines": 2048}
    assert manifest["input"] == {"address": 6, "shape": [3, 1, 2], "bits": 4, "signed": True, "scale": 0.5}
    assert manifest["layers"][0]["utilisation"] == 0.3
    assert manifest["cycles"] == 40
    assert sorted(manifest["files"]) == [name for name in FILES if name != "manifest.json"]


def test_an_older_image_is_replaced_and_anything_else_is_left_alone(folder, tmp_path):
    (folder / "points.mem").write_text("old")
    image_folder.save(image(), folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError) as caught:
        image_folder.save(image(), folder)
    assert str(caught.value) == f"{folder}: folder must be new or hold only an image, not other files"
    assert (folder / "thesis.txt").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["image"]


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_changed_file_is_found(folder, name):
    good = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    content = bytearray((folder / name).read_bytes())
    content[0] ^= 1
    (folder / name).write_bytes(content)
    bad = hashlib.sha256(content).hexdigest()
    assert refused(folder) == f"{folder / name}: checksum must be {good!r}, not {bad!r}: the file is damaged"


def test_a_changed_manifest_is_found(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"cycles": 40', '"cycles": 41'))
    message = refused(folder)
    assert message.startswith(f"{path}: checksum must be '")
    assert message.endswith("': the file is damaged")


def test_a_missing_file_is_named(folder):
    (folder / "channel.mem").unlink()
    with pytest.raises(FileNotFoundError, match=r"channel\.mem"):
        image_folder.load(folder)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        image_folder.load(folder / "nothing")


def test_other_manifests_are_refused(folder):
    path = folder / "manifest.json"
    edit(folder, version=2)
    assert refused(folder) == f"{path}: version must be 1, not 2"
    edit(folder, format="twofold-network")
    assert refused(folder) == f"{path}: format must be 'twofold-image', not 'twofold-network'"
    path.write_text("[]")
    assert refused(folder) == f"{path}: format must be 'twofold-image', not None"
    path.write_text("{")
    assert refused(folder).startswith(f"{path}: file must be JSON, not this: ")


@pytest.mark.parametrize("key", ["build", "files", "layers", "input", "outputs", "cycles", "network"])
def test_a_manifest_without_a_key_is_refused(folder, key):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest[key]
    write(folder, manifest)
    assert refused(folder) == f"{folder / 'manifest.json'}: file must describe an image, not this: {key!r}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hash": f"{CONFIG.hash_in(2):08x}"}, "machine version must be 3, not 2: map the network again"),
        ({"hash": "00000000"}, f"build hash must be '{CONFIG.build_hash:08x}', not '00000000'"),
        ({"rows": 3}, "rows must be a power of two, not 3"),
        ({"rows": "2"}, "rows must be an integer, not '2'"),
    ],
)
def test_another_build_is_refused(folder, change, message):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, build=manifest["build"] | change)
    assert refused(folder) == f"{folder / 'manifest.json'}: file must describe an image, not this: {message}"


def test_lines_must_be_numbers_that_fit(folder):
    replace(folder, "weight.mem", b"01\nxy\n")
    assert refused(folder) == f"{folder / 'weight.mem'}: line 2 must be a hexadecimal number of 6 bits, not 'xy'"
    replace(folder, "weight.mem", b"40\n02\n")
    assert refused(folder) == f"{folder / 'weight.mem'}: line 1 must be a hexadecimal number of 6 bits, not '40'"


def test_the_frame_must_be_whole_and_say_the_same(folder):
    path = folder / "image.bin"
    good = path.read_bytes()
    replace(folder, "image.bin", good[:-1])
    assert refused(folder) == f"{path}: file must be whole 32-bit beats, not {len(good) - 1} bytes"
    replace(folder, "image.bin", good[:-4])
    count = len(good) // 4 - 1
    assert refused(folder) == f"{path}: Frame must end with an END section, not after {count} beats"
    beats = frame(CONFIG, [(Section.WEIGHT, 0, [1, 3])])
    replace(folder, "image.bin", struct.pack(f"<{len(beats)}I", *beats))
    assert refused(folder) == f"{path}: frame must hold the lines of the .mem files"


def test_other_files_cannot_be_named(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, files={"image.bin": "", "program.mem": "", "../other": ""})
    message = "files must be those of an image, not ('image.bin', 'program.mem', '../other')"
    assert refused(folder) == f"{folder / 'manifest.json'}: file must describe an image, not this: {message}"
    edit(folder, files={"program.mem": manifest["files"]["program.mem"]})
    message = "files must be those of an image, not ('program.mem',)"
    assert refused(folder) == f"{folder / 'manifest.json'}: file must describe an image, not this: {message}"
