"""Which points the picture of accuracy against cost calls best."""

import json

from tests.figures import faults
from twofold.bench import pareto

AREAS = {"log3": {"per_mac": 2.0}, "subset4": {"per_mac": 4.0}}
ROW = {
    "network": "resnet20",
    "build": "log_16x16",
    "recipe": "a",
    "integer_accuracy": 0.9,
    "cycles": 1000,
    "float_accuracy": 0.92,
}


def test_candidates_take_their_own_cycles_or_those_of_one_word_a_weight():
    rows = [ROW, {**ROW, "network": "small_vgg_mnist"}, {**ROW, "recipe": "c", "cycles": None}]
    rows.append({**ROW, "recipe": "sq_b", "build": "subset_16x16", "cycles": None})
    found = pareto.candidates(rows, AREAS, {"subset_16x16": 500, "log_16x16": 7})
    assert [(point["recipe"], point["cycles"], point["area"]) for point in found] == [
        ("a", 1000, 512),
        ("sq_b", 500, 1024),
    ]
    assert found[0]["drop"] == 2.0


def some_points():
    builds = {"a": "log_16x16", "b": "subset_16x16", "c_cifar": "subset_16x16"}
    return [
        {"recipe": name, "build": build, "accuracy": 90.0 + cost, "drop": 2.0 / cost, "cost": cost}
        for cost, (name, build) in enumerate(builds.items(), 1)
    ]


def test_every_point_is_in_the_picture_with_its_label():
    found = some_points()
    (axes,) = pareto.picture(found, found[:1], "cost").axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("a 91.00", (1, 2.0)),
        ("c 93.00", (3, 2 / 3)),
        ("b 92.00", (2, 1.0)),
    ]


def test_nothing_in_the_picture_is_cut_or_covered():
    rows = [row for row in json.loads(pareto.RESULTS.read_text()) if row["network"] == "resnet20"]
    published = pareto.candidates(rows, AREAS, dict.fromkeys(pareto.ELEMENTS, 10**5))
    assert len(published) > 15
    for found in (some_points(), published):
        assert faults(pareto.picture(found, pareto.front(found), "array area x cycles of an inference")) == []


def test_the_front_is_what_nothing_beats():
    table = [("a", 1, 80), ("b", 2, 79), ("c", 2, 85), ("d", 3, 85), ("e", 4, 90)]
    found = [{"recipe": name, "cost": cost, "accuracy": accuracy} for name, cost, accuracy in table]
    assert [point["recipe"] for point in pareto.front(found)] == ["a", "c", "e"]
