"""Tasks: data by path, losses, metrics, and the command from end to end on a few made-up images."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.train import made_up
from twofold.golden import layers
from twofold.golden.config import load_config
from twofold.golden.container import load
from twofold.train.__main__ import main
from twofold.train.data import BY_PATH, load_data
from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, InputFormat
from twofold.train.data.camvid import camvid
from twofold.train.data.coco import bccd
from twofold.train.data.image_files import read_image
from twofold.train.data.low_light import BLACK, WHITE, amplified, camvid_dark, dark
from twofold.train.evaluation import evaluate_integers, real_outputs
from twofold.train.export import export
from twofold.train.models import MODELS
from twofold.train.pipelines import apply
from twofold.train.tasks import TASKS
from twofold.train.tasks.base import library, only
from twofold.train.tasks.segmentation import VOID

SEGMENTATION, ENHANCEMENT = TASKS["segmentation"], TASKS["enhancement"]


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    """A folder of images in the form of CamVid."""
    folder = tmp_path_factory.mktemp("camvid")
    made_up.roads(folder)
    made_up.cells(folder / "cells")
    return folder


# Data


def test_camvid_by_path(roads):
    data = load_data("camvid", roads)
    assert (data.task, data.classes, data.names[10]) == ("segmentation", 11, "bicyclist")
    assert data.train_x.shape == (4, 3, 144, 192) and data.test_y.shape == (2, 144, 192)
    wanted = np.array(read_image(roads / "train_labels" / "2.png", None))[::60, ::60]
    assert data.train_y[2, ::48, ::48].tolist() == np.where(wanted == 11, VOID, wanted).tolist()
    pixel = torch.tensor(np.array(read_image(roads / "train" / "2.png"))[0, 0] / 255)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    torch.testing.assert_close(data.train_x[[2]][0, :, 0, 0].double(), ((pixel - mean) / std).double())
    small = camvid(roads, size=(32, 16))
    assert small.input.shape == (3, 16, 32) and small.test_x.shape == (2, 3, 16, 32)


def test_camvid_that_is_damaged(roads, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^Folder must hold images \(.*\), not none: '.*train'$"):
        camvid(tmp_path)
    for sub in ("train", "train_labels"):
        (tmp_path / sub).mkdir()
    image, labels = tmp_path / "train" / "a.png", tmp_path / "train_labels" / "a.png"
    Image.new("RGB", (4, 4)).save(image)
    with pytest.raises(FileNotFoundError, match=r"^Image '.*a\.png' must have its labels in '.*a\.png', which is not"):
        camvid(tmp_path)
    Image.new("RGB", (4, 4)).save(labels)
    with pytest.raises(ValueError, match=r"labels must be one byte a pixel, not an image of mode 'RGB'$"):
        camvid(tmp_path)
    Image.new("L", (4, 4), 12).save(labels)
    with pytest.raises(ValueError, match=r"a\.png: labels must be 0 to 11, not 12$"):
        camvid(tmp_path)
    Image.new("L", (5, 4)).save(labels)
    with pytest.raises(ValueError, match=r"a\.png: labels must be of the image's size, \(4, 4\), not \(5, 4\)$"):
        camvid(tmp_path)
    labels.write_bytes(labels.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"a\.png: file must be an image, not damaged: "):
        camvid(tmp_path)


def test_darkness_keeps_one_colour_a_position():
    images = torch.zeros(1, 3, 4, 6, dtype=torch.uint8)
    images[:, 0], images[:, 1], images[:, 2, 1, 1] = 255, 128, 200
    raw = dark(images.expand(4000, -1, -1, -1), torch.Generator().manual_seed(0))
    light = (WHITE - BLACK) / 100
    wanted = torch.tensor([1, (128 / 255) ** 2.2, (128 / 255) ** 2.2, 0])[:, None, None].expand(4, 2, 3) * light
    wanted = wanted.clone()
    wanted[3, 0, 0] = (200 / 255) ** 2.2 * light
    # Shot noise of a variance as large as what is counted, 2 of the reader, and that of rounding.
    torch.testing.assert_close(raw.mean(0) - BLACK, wanted, atol=0.7, rtol=0)
    torch.testing.assert_close(raw.var(0), wanted + 4 + 1 / 12, atol=1, rtol=0.1)
    assert torch.equal(raw, raw.round())
    assert amplified(torch.tensor([0.0, BLACK, BLACK + light / 2, WHITE])).tolist() == pytest.approx([0, 0, 0.5, 1])


def test_the_same_darkness_each_time(roads):
    data, again = camvid_dark(roads), load_data("camvid_dark", roads)
    assert (data.task, data.classes, data.input.shape) == ("enhancement", 3, (4, 80, 112))
    assert data.train_x.shape == (4, 4, 80, 112) and data.train_y.shape == (4, 3, 160, 224)
    assert torch.equal(data.train_x, again.train_x) and torch.equal(data.test_x, again.test_x)
    left = np.array(read_image(roads / "test" / "1.png"))[10:170, 8:232]
    assert torch.equal(data.test_y[1], torch.from_numpy(left).permute(2, 0, 1))
    with pytest.raises(ValueError, match=r"png: image must have at least 256x160 pixels, not 240x180$"):
        camvid_dark(roads, size=(256, 160))


# Loss, changes and metrics


def of_classes(labels):
    """Scores by which each pixel is of its class."""
    return nn.functional.one_hot(labels.long().clamp(max=2), 3).permute(0, 3, 1, 2).float() * 20


def test_pixels_of_no_class_cost_nothing():
    targets = torch.tensor([[[0, 1], [2, VOID]]], dtype=torch.uint8)
    scores = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    loss = SEGMENTATION.loss(scores, targets)
    scores[..., 1, 1] = 9.0
    assert torch.equal(SEGMENTATION.loss(scores, targets), loss)
    assert SEGMENTATION.loss(of_classes(targets), targets) < 1e-6
    assert SEGMENTATION.loss(scores, torch.full_like(targets, VOID)) == 0
    assert SEGMENTATION.right(of_classes(targets), targets) == 1
    assert SEGMENTATION.right(of_classes(torch.tensor([[[0, 1], [1, 1]]])), targets) == pytest.approx(2 / 3)


def test_a_network_is_distilled_into_itself_at_least():
    scores = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    own = SEGMENTATION.distilled(scores, scores)
    assert own < SEGMENTATION.distilled(scores.flip(0), scores)


def test_images_and_labels_move_together():
    labels = torch.randint(0, 11, (6, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = labels[:, None].float().expand(-1, 2, -1, -1) + 1
    generator = torch.Generator().manual_seed(1)
    moved, after = SEGMENTATION.augmented(Augment(3, True), images, labels, generator, 6, slice(None))
    assert after.dtype == torch.uint8 and not torch.equal(after, labels)
    assert torch.equal(moved[:, 0], torch.where(after == VOID, 0.0, after.float() + 1))


def test_intersection_over_union_is_over_all_images():
    data = DataSet("x", None, None, None, None, InputFormat((3, 2, 2)), 3, task="segmentation")
    meter = SEGMENTATION.meter(data)
    # By hand. Class 0: 3 pixels in both, 4 in either; class 1: 2 and 4; class 2: 1 and 2.
    found = torch.tensor([[[0, 0], [1, 1]], [[0, 1], [2, 0]]])
    truth = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [2, VOID]]])
    for one, other in zip(found, truth, strict=True):
        meter.update(of_classes(one[None]), other[None].to(torch.uint8))
    assert meter.scores() == pytest.approx({"miou": (3 / 4 + 2 / 3 + 1) / 3, "pixel_accuracy": 6 / 7})


def test_noise_and_structure_are_means_of_the_images():
    targets = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    image = targets.float() / 255
    worse = image + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    assert float(ENHANCEMENT.loss(worse, targets)) == pytest.approx(0.055, rel=1e-4)
    assert float(ENHANCEMENT.distilled(worse, image)) == pytest.approx(0.055, rel=1e-4)
    meter = ENHANCEMENT.meter(None)
    for one in range(2):
        meter.update((image + (worse - image) * (0.5 - image).sign())[[one]], targets[[one]])
    scores = meter.scores()
    assert scores["psnr"] == pytest.approx((20 + 40) / 2, abs=1e-3)
    assert 0.9 < scores["ssim"] < 0.9999
    best = ENHANCEMENT.meter(None)
    best.update(image * 3 - 1, (image * 3 - 1).clamp(0, 1).mul(255).to(torch.uint8))
    assert best.scores()["ssim"] > 0.99
    with pytest.raises(ValueError, match=r"^Network must give outputs of shape \(3, 16, 16\), not \(4, 16, 16\)$"):
        ENHANCEMENT.loss(torch.zeros(2, 4, 16, 16), targets)


def test_outputs_of_another_shape_are_refused():
    targets = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"^Network must give outputs of shape \(3, 4, 4\), not \(3, 2, 2\)$"):
        SEGMENTATION.loss(torch.zeros(1, 3, 2, 2), targets)
    with pytest.raises(ValueError, match=r"^Network must give outputs of shape \(2, 4, 4\), not \(3, 4, 4\)$"):
        only(torch.zeros(1, 3, 4, 4), 2, (4, 4))
    with pytest.raises(ValueError, match=r"^Network must give one output, not 2$"):
        SEGMENTATION.loss([torch.zeros(1, 3, 4, 4)] * 2, targets)


def test_a_library_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"^Task 'x' must have the library nosuch for its metrics: pip install '"):
        library("nosuch.part", "x")


# The command


class Masks(nn.Sequential):
    """A map of half the sides, and bilinear upsampling."""

    def __init__(self, classes, inputs=3):
        first = nn.Conv2d(inputs, 8, 3, stride=2, padding=1)
        up = nn.Upsample(scale_factor=2, mode="bilinear")
        super().__init__(first, nn.ReLU(), nn.Conv2d(8, classes, 1), up)


class Pictures(nn.Sequential):
    """Leaky ReLU and pixel shuffle."""

    def __init__(self, classes, inputs=4):
        first = nn.Conv2d(inputs, 8, 3, padding=1)
        super().__init__(first, nn.LeakyReLU(0.2), nn.Conv2d(8, 4 * classes, 1), nn.PixelShuffle(2))


class Boxes(nn.Module):
    """Scores and offsets of two maps."""

    def __init__(self, classes, inputs=3):
        super().__init__()
        self.first = nn.Conv2d(inputs, 8, 3, stride=4, padding=1)
        self.then = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.scores = nn.ModuleList([nn.Conv2d(8, 3 * classes, 1), nn.Conv2d(8, 6 * classes, 1)])
        self.offsets = nn.ModuleList([nn.Conv2d(8, 12, 1), nn.Conv2d(8, 24, 1)])

    def forward(self, x):
        maps = [torch.relu(self.first(x))]
        maps.append(torch.relu(self.then(maps[0])))
        heads = (self.scores, self.offsets)
        return tuple([head(one) for head, one in zip(heads, maps, strict=True)] for heads in heads)


@pytest.fixture(scope="module")
def small(roads):
    """Networks and data sets of the command, so small that a step takes milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BY_PATH, "camvid", partial(camvid, size=(32, 16)))
        patch.setitem(BY_PATH, "camvid_dark", partial(camvid_dark, size=(32, 32)))
        patch.setitem(BY_PATH, "bccd", partial(bccd, size=(32, 24)))
        patch.setitem(MODELS, "ssd_lite_small", Boxes)
        patch.setitem(MODELS, "deeplab_v3plus_small", Masks)
        patch.setitem(MODELS, "see_in_the_dark_small", Pictures)
        yield roads


@pytest.mark.parametrize(
    ("task", "metrics"), [("segmentation", "miou"), ("enhancement", "psnr"), ("detection", "ap50")]
)
def test_command_line(tmp_path, capsys, small, task, metrics):
    run, quantized, out = (str(tmp_path / name) for name in ("float", "w4", "network"))
    config = tmp_path / "build.toml"
    text = Path("configs/log_16x16.toml").read_text(encoding="utf-8").replace("log_16x16", "with_tables")
    config.write_text(f"{text}tables = 1\n", encoding="utf-8")
    path = small / "cells" if task == "detection" else small
    fit = ["fit", "--task", task, "--data-path", str(path), "--out", run, "--batch", "2", "--epochs", "2"]
    assert main([*fit, "--evaluate", "2"]) == 0
    line = json.loads((tmp_path / "float" / "metrics.jsonl").read_text().splitlines()[1])
    assert metrics in line and ("train_accuracy" in line) is (task == "segmentation")
    recipe = ["--recipe", "ptq_l2_w4a8", "--config", str(config)]
    assert main(["ptq", "--task", task, "--start", run, "--out", quantized, *recipe]) == 0
    facts = json.loads((tmp_path / "w4" / "run.json").read_text())
    assert facts[f"float_{metrics}"] == json.loads((tmp_path / "float" / "run.json").read_text())[metrics]
    capsys.readouterr()
    assert main(["eval", quantized, "--config", str(config)]) == 0
    real, integers = capsys.readouterr().out.splitlines()
    assert real.startswith(f"{metrics} {facts[metrics]:.4f}, ") and real.endswith(" on 2 held-out images")
    assert float(integers.split()[2].strip(",")) == pytest.approx(facts[metrics], rel=0.2, abs=0.01)
    assert main(["export", quantized, "--task", task, "--config", str(config), "--out", out]) == 0
    assert load(out).meta[metrics] == facts[metrics]
    assert main(["plot", quantized, "--float", run, "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.width > 800
    capsys.readouterr()
    assert main(["eval", run, "--task", "classification"]) == 2
    name = TASKS[task].data
    wanted = f"error: Data {name!r} must be used with --task {task}, not 'classification'\n"
    assert capsys.readouterr().err == wanted


def test_a_missing_library_is_named_before_the_training(tmp_path, capsys, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.classification", None)
    assert main(["fit", "--task", "segmentation", "--data-path", str(small), "--out", str(tmp_path / "run")]) == 2
    wanted = "Task 'segmentation' must have the library torchmetrics for its metrics: pip install 'twofold[tasks]'"
    assert capsys.readouterr().err.splitlines() == [f"error: {wanted}"]
    assert not (tmp_path / "run").exists()


def test_networks_of_another_task_are_refused(tmp_path, capsys, small):
    given = ["fit", "--data-path", str(small), "--out", str(tmp_path / "run")]
    assert main([*given, "--data", "camvid"]) == 2
    wanted = "error: Data 'camvid' must be used with --task segmentation, not 'classification'\n"
    assert capsys.readouterr().err == wanted
    assert main([*given, "--task", "segmentation", "--network", "resnet20"]) == 2
    known = ("deeplab_v3plus_small", "deeplab_v3plus")
    wanted = f"error: Network must be one of {known} for the task 'segmentation', not 'resnet20'\n"
    assert capsys.readouterr().err == wanted


def test_integers_are_goldens(small):
    data = load_data("camvid", small)
    torch.manual_seed(0)
    model = MODELS["deeplab_v3plus_small"](classes=data.classes).eval()
    config = load_config("log_16x16")
    result = apply(model, data, "ptq_l2_w4a8", config)
    network = export(result.model, config)
    tensors = layers.run(network, data.test_integers.numpy())
    golden = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    meter = SEGMENTATION.meter(data)
    meter.update(real_outputs(result.model, network, golden), data.test_y)
    assert meter.scores() == evaluate_integers(result.model, network, data)
