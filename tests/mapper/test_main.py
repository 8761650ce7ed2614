import pytest

from tests.figures import faults
from tests.mapper.small import build, pointwise
from twofold.golden import container, image_folder
from twofold.golden.causes import LOST
from twofold.mapper.__main__ import main
from twofold.mapper.compiler import compile_network
from twofold.mapper.timeline import timeline
from twofold.testing.random_network import random_network

TOML = 'name = "small"\npe = "log"\nrows = 4\ncols = 4\nword_bits = 3\nmax_side = 32\n'


@pytest.fixture
def files(tmp_path):
    container.save(pointwise(), tmp_path / "net")
    (tmp_path / "small.toml").write_text(TOML)
    return [str(tmp_path / "net"), "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path / "image")]


def test_a_network_becomes_an_image(files, tmp_path, capsys):
    assert main(files) == 0
    image = image_folder.load(tmp_path / "image")
    assert image == compile_network(pointwise(), build())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["layer", "kind", "passes", "cycles"]
    assert lines[1].split()[:4] == ["conv", "conv2d", "1", str(image.layers[0].cycles)]
    assert lines[-2].split()[:3] == ["total", "1", str(image.cycles)]
    counts = [int(count) for count in lines[-2].split()[3 : 3 + len(LOST)]]
    assert counts == list(image.lost.values()) and sum(counts) == image.cycles
    shares = [float(share) for share in lines[-1].split()[3:]]
    assert shares[0] == 100 and shares[1:] == [round(100 * count / image.cycles, 1) for count in counts]


def test_a_picture_shows_every_layer_from_its_first_cycle_to_its_last(files, tmp_path):
    assert main([*files, "--picture", str(tmp_path / "timeline.svg")]) == 0
    assert (tmp_path / "timeline.svg").read_text().startswith("<?xml")
    image = image_folder.load(tmp_path / "image")
    network = random_network(3, build(), layers=4)
    images = {"net on small": image, "another one": compile_network(network, build())}
    figure = timeline(images)
    assert faults(figure) == []
    for panel, one in zip(figure.axes, images.values(), strict=True):
        bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bars in panel.containers for bar in bars]
        layers = [bars[n :: len(one.layers)] for n in range(len(one.layers))]
        found = [(min(begin for begin, _ in parts), max(end for _, end in parts)) for parts in layers]
        ends = [sum(layer.cycles for layer in one.layers[: n + 1]) for n in range(len(one.layers))]
        assert found == list(zip([0, *ends], ends, strict=False))
        assert [label.get_text() for label in panel.get_yticklabels()] == [layer.name for layer in one.layers]


def failure(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main(arguments))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return err.removeprefix("error: ").rstrip("\n")


def test_a_network_that_does_not_fit_leaves_nothing(files, tmp_path, capsys):
    (tmp_path / "small.toml").write_text(TOML + "feature_depth = 20\n")
    message = "Network 'net' does not fit build 'small': feature memory must have 32 lines, not 20 (12 short)"
    builds = "log_4x4, log_8x8, log_16x16, resnet56_16x16, stream_log_16x16"
    made_for = f"Network 'net' was made for a build of its weight format: {builds}"
    assert failure(capsys, files) == f"{message}. {made_for}. It fits log_4x4"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "small.toml"]


def test_bad_files_and_options_are_named(files, tmp_path, capsys):
    (tmp_path / "small.toml").write_text(TOML + "wings = 2\n")
    assert failure(capsys, files).endswith("not 'wings'")
    (tmp_path / "small.toml").unlink()
    assert "small.toml" in failure(capsys, files)
    assert failure(capsys, files[:1]) == "the following arguments are required: --config, --out"
    (tmp_path / "small.toml").write_text(TOML)
    (tmp_path / "net" / "network.json").write_text("{")
    assert "network.json: file must be JSON" in failure(capsys, files)
    assert not (tmp_path / "image").exists()
