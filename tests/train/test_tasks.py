"""Tasks: data by path, losses, metrics, and the command from end to end on a few made-up images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from twofold.train.data import load_data
from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, InputFormat
from twofold.train.data.camvid import CLASSES, camvid
from twofold.train.data.low_light import BLACK, WHITE, amplified, camvid_dark, dark
from twofold.train.tasks import TASKS
from twofold.train.tasks.base import library, only
from twofold.train.tasks.segmentation import VOID

RNG = np.random.default_rng(0)
SEGMENTATION, ENHANCEMENT = TASKS["segmentation"], TASKS["enhancement"]


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    """A folder of four training and two held-out images: blocks of a colour, and the classes that go with them."""
    folder = tmp_path_factory.mktemp("camvid")
    for part, count in (("train", 4), ("test", 2)):
        for sub in (part, f"{part}_labels"):
            (folder / sub).mkdir()
        for number in range(count):
            labels = RNG.integers(0, len(CLASSES) + 1, (3, 4), dtype=np.uint8).repeat(60, 0).repeat(60, 1)
            colours = np.stack([labels * 20, 255 - labels * 20, labels * 7], -1).astype(np.uint8)
            Image.fromarray(colours).save(folder / part / f"{number}.png")
            Image.fromarray(labels).save(folder / f"{part}_labels" / f"{number}.png")
    return folder


# Data


def test_camvid_by_path(roads):
    data = load_data("camvid", roads)
    assert (data.task, data.classes, data.names[10]) == ("segmentation", 11, "bicyclist")
    assert data.train_x.shape == (4, 3, 144, 192) and data.test_y.shape == (2, 144, 192)
    wanted = np.array(Image.open(roads / "train_labels" / "2.png"))[::60, ::60]
    assert data.train_y[2, ::48, ::48].tolist() == np.where(wanted == 11, VOID, wanted).tolist()
    pixel = torch.tensor(np.array(Image.open(roads / "train" / "2.png"))[0, 0] / 255)
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
    left = np.array(Image.open(roads / "test" / "1.png"))[10:170, 8:232]
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
