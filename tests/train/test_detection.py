"""Detection: data by path, boxes, loss and average precision on made-up images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.made_up import cells
from twofold.train.data import load_data
from twofold.train.data.augment import Augment
from twofold.train.data.coco import bccd
from twofold.train.results_plot import draw_results
from twofold.train.tasks import TASKS
from twofold.train.tasks.boxes import anchors, corners, decoded, encoded, matched, overlaps, shapes, suppressed
from twofold.train.tasks.detection import read_maps, things

DETECTION = TASKS["detection"]
#: Sides of the maps of the tests' outputs.
SIDES = ((6, 8), (3, 4))


# Data


def test_boxes_by_path(tmp_path):
    table = cells(tmp_path)["train"]
    data = load_data("bccd", tmp_path)
    assert (data.task, data.classes, data.names) == ("detection", 3, ("round", "square"))
    assert data.train_x.shape == (2, 3, 120, 160) and data.test_y.shape[2] == 5
    left, top, width, height = table["annotations"][0]["bbox"]
    wanted = [1, left / 64, top / 48, (left + width) / 64, (top + height) / 48]
    assert data.train_y[0, 0].tolist() == pytest.approx(wanted)
    assert data.train_y[1, -1].tolist() == [0] * 5  # it has a box less
    assert bccd(tmp_path, size=(32, 24)).input.shape == (3, 24, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("images"), r"train\.json: key 'images' must be a list of tables, not NoneType$"),
        (lambda t: t["images"][0].pop("width"), r"train\.json: images must have .*width \(int\).*, not \{'id': 10"),
        (lambda t: t["annotations"][0].update(image_id=9), r"annotation must be of an image and a category that there"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, 3]), r"bbox must be left, top, width and height, not \[1, 2"),
        (
            lambda t: t["annotations"][0].update(bbox=[60, 2, 9, 9]),
            r"bbox must lie within the image of 64x48, not \[60",
        ),
        (lambda t: t["categories"][0].update(name="else"), r"test\.json: categories must be those of train\.json, "),
    ],
)
def test_tables_that_are_damaged(tmp_path, change, message):
    table = cells(tmp_path)["train"]
    change(table)
    (tmp_path / "train.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=message):
        bccd(tmp_path)


# Boxes


def test_boxes_of_the_maps():
    near = anchors(SIDES)
    assert near.shape == (6 * 8 * 3 + 3 * 4 * 6, 4)
    torch.testing.assert_close(near[0], torch.tensor([0.5 / 8, 0.5 / 6, 0.08, 0.08]))
    # Row 1, column 2 of the finest map, its last kind: half as wide as high.
    torch.testing.assert_close(near[(8 + 2) * 3 + 2], torch.tensor([2.5 / 8, 1.5 / 6, 0.2 * 0.5**0.5, 0.2 / 0.5**0.5]))
    assert [len(kinds) for kinds in shapes(6)] == [3, 6, 6, 6, 6, 6]
    assert shapes(6)[1][0] == pytest.approx((0.35, 0.35)) and shapes(6)[5][5] == pytest.approx((0.95**0.5,) * 2)


def test_overlaps_by_hand():
    some = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]])
    others = torch.tensor([[0.1, 0.0, 0.3, 0.2], [0.5, 0.5, 0.7, 0.9], [0.3, 0.3, 0.3, 0.3]])
    wanted = torch.tensor([[1 / 3, 0, 0], [0, 0.5, 0]])
    torch.testing.assert_close(overlaps(some, others), wanted)


def test_what_is_encoded_comes_back():
    near = anchors(SIDES)
    truths = torch.rand(len(near), 4, generator=torch.Generator().manual_seed(0)) * 0.4
    truths[:, 2:] += 0.5
    torch.testing.assert_close(decoded(encoded(truths, near), near), truths)
    torch.testing.assert_close(decoded(torch.zeros(len(near), 4), near), corners(near))


def test_every_truth_has_a_box():
    near = anchors(SIDES)
    # The second is far too thin for any box to overlap it by half.
    targets = torch.tensor([[2, 0.5, 0.5, 0.72, 0.7], [1, 0.1, 0.1, 0.11, 0.9], [0, 0, 0, 0, 0]])
    classes, boxes = matched(targets, near)
    overlap = overlaps(corners(near), targets[:2, 1:])
    assert (classes == 1).sum() == 1 and classes[overlap[:, 1].argmax()] == 1
    assert torch.equal(classes == 2, overlap[:, 0] >= 0.5) and (classes == 2).any()
    torch.testing.assert_close(boxes[classes == 2], targets[:1, 1:].expand(int((classes == 2).sum()), 4))
    assert not matched(torch.zeros(3, 5), near)[0].any()


def test_worse_boxes_of_the_same_thing_are_suppressed():
    boxes = torch.tensor([[0, 0, 0.4, 0.4], [0.01, 0, 0.41, 0.4], [0.5, 0.5, 0.9, 0.9], [0.02, 0, 0.42, 0.4]])
    assert suppressed(boxes, torch.tensor([0.5, 0.9, 0.3, 0.7]), 0.45).tolist() == [1, 2]


# Loss and metrics


def split(flat, values):
    """Maps of a tensor of all boxes, as a network gives them."""
    maps, start = [], 0
    for (high, wide), kinds in zip(SIDES, shapes(len(SIDES)), strict=True):
        count = high * wide * len(kinds)
        part = flat[:, start : start + count].reshape(len(flat), high, wide, len(kinds) * values)
        maps.append(part.permute(0, 3, 1, 2))
        start += count
    return maps


def perfect(targets, classes=3):
    """What a network gives that knows the truth."""
    near = anchors(SIDES)
    pairs = [matched(one, near) for one in targets]
    scores = torch.stack([torch.nn.functional.one_hot(label, classes).float() * 30 for label, _ in pairs])
    offsets = torch.stack([encoded(box, near) * (label > 0)[:, None] for label, box in pairs])
    return split(scores, classes), split(offsets, 4)


@pytest.fixture
def data(tmp_path):
    cells(tmp_path)
    return bccd(tmp_path, size=(32, 24))


def test_maps_are_read_as_they_are_made(data):
    scores, offsets, _ = read_maps(perfect(data.test_y))
    again = read_maps((split(scores, 3), split(offsets, 4)))
    assert torch.equal(again[0], scores) and torch.equal(again[1], offsets)
    with pytest.raises(ValueError, match=r"^Network must give a list of maps of scores and one of offsets, not "):
        read_maps(scores)
    with pytest.raises(ValueError, match=r"^Network must give maps of 3 boxes, not 4 channels$"):
        read_maps(([torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 12, 2, 2)]))


def test_the_truth_costs_nothing_and_is_found(data):
    outputs = perfect(data.test_y)
    assert DETECTION.loss(outputs, data.test_y) < 1e-5
    for found, truths in zip(DETECTION.answers(outputs), DETECTION.truths(data.test_y), strict=True):
        overlap = overlaps(truths[:, 1:5], found[:, 1:5])
        assert overlap.max(1).values.min() > 0.99
        assert torch.equal(found[overlap.argmax(1), 0], truths[:, 0])
    meter = DETECTION.meter(data)
    meter.update(outputs, data.test_y)
    assert meter.scores() == pytest.approx({"ap50": 1, "ap": 1})


def test_hard_negatives_are_three_to_one(data):
    scores, offsets = perfect(data.test_y[:1])
    before, _, near = read_maps((scores, offsets))
    count = int((matched(data.test_y[0], near)[0] > 0).sum())
    # Every box of nothing looks as much like something: three for each that is something cost log(2).
    flat = torch.where((before.argmax(2) == 0)[..., None], torch.tensor([30.0, 30.0, 0.0]), before)
    assert float(DETECTION.loss((split(flat, 3), offsets), data.test_y[:1])) == pytest.approx(3 * np.log(2), rel=1e-4)
    assert count > 0


def test_precision_falls_with_what_is_missed_and_misplaced(data):
    empty = DETECTION.meter(data)
    empty.update(perfect(torch.zeros_like(data.test_y)), data.test_y)
    assert empty.scores() == {"ap50": 0.0, "ap": 0.0}
    shifted = data.test_y.clone()
    shifted[..., [1, 3]] += 0.03 * (shifted[..., :1] > 0)
    meter = DETECTION.meter(data)
    meter.update(perfect(shifted), data.test_y)
    scores = meter.scores()
    assert scores["ap50"] == pytest.approx(1) and 0.2 < scores["ap"] < 0.95


def test_boxes_are_mirrored_with_their_image(data):
    generator = torch.Generator().manual_seed(0)
    images, targets = data.train_x[:].repeat(8, 1, 1, 1), data.train_y.repeat(8, 1, 1)
    mirrored, boxes = DETECTION.augmented(Augment(flip=True), images, targets, generator, 16, slice(None))
    heads = (mirrored != images).flatten(1).any(1)
    assert 0 < heads.sum() < 16 and torch.equal(mirrored[heads], images[heads].flip(-1))
    assert torch.equal(boxes[~heads], targets[~heads])
    wanted = targets[heads][:, 0, [0, 3, 2, 1, 4]] * torch.tensor([1.0, -1, 1, -1, 1]) + torch.tensor([0.0, 1, 0, 1, 0])
    torch.testing.assert_close(boxes[heads][:, 0], wanted)
    assert torch.equal(boxes[..., 0] > 0, targets[..., 0] > 0) and (boxes >= 0).all()
    still = DETECTION.augmented(Augment(), images, targets, generator, 16, slice(None))
    assert still[0] is images and still[1] is targets


def test_a_network_that_finds_is_distilled_into_itself_at_least(data):
    outputs = [[one / 10 for one in maps] for maps in perfect(data.test_y)]
    other = [[one.flip(0) for one in maps] for maps in outputs]
    assert DETECTION.distilled(outputs, outputs) < DETECTION.distilled(other, outputs)


def test_pictures_have_the_boxes_where_the_things_are(data):
    class Knowing(torch.nn.Module):
        def forward(self, x):
            return perfect(data.test_y)

    figure = draw_results({"a": Knowing()}, data)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["input", "a", "truth"]
    drawn = [[patch.get_bbox().extents for patch in axes.patches] for axes in figure.axes]
    assert [len(boxes) for boxes in drawn] == [0, 3, 3, 0, 2, 2]
    left, top, right, bottom = drawn[2][0]
    wanted = data.test_y[0, 0, 1:] * torch.tensor([32, 24, 32, 24]) - 0.5
    assert [left, top, right, bottom] == pytest.approx(wanted.tolist(), abs=1e-3)
    # The image is that which was given, before it was normalised.
    shown = torch.from_numpy(figure.axes[0].images[0].get_array())
    assert torch.equal(shown.permute(2, 0, 1), data.test_x.pixels[0] / 255)


def test_images_are_those_of_the_table(tmp_path, data):
    picture = np.array(Image.open(tmp_path / "train" / "1.png").resize((32, 24), Image.Resampling.BOX))
    assert torch.equal(data.train_x.pixels[1], torch.from_numpy(picture).permute(2, 0, 1))
    assert [tuple(one.shape) for one in things(perfect(data.test_y[:1]))] == [
        (int((data.test_y[0, :, 0] > 0).sum()), 6)
    ]
