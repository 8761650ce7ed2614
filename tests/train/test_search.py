"""The search for point sets, against exhaustive enumeration of every assignment."""

import re
from itertools import combinations

import numpy as np
import pytest

from twofold.golden import catalog
from twofold.golden.formats import WeightFormat
from twofold.train.quantizers import search_channels
from twofold.train.quantizers.search import objective, search_points, smallest
from twofold.train.quantizers.search_channels import _Intervals, distinct_subsets
from twofold.train.quantizers.search_rows import SortedRow, chord_bounds
from twofold.train.quantizers.search_tensor import PathSearch, path_search

SMALL = WeightFormat(menus=((2, 1, None), (0, None)), index_bits=1)  # universal set 0 to 5; two points
NO_ZERO = WeightFormat(menus=((3, 1), (2, 0)), index_bits=1)  # 3, 6, 9, 12
FORMATS = {"small": SMALL, "no zero": NO_ZERO, "2": catalog.subset_format(2), "3": catalog.subset_format(3)}


def best_of_every_assignment(w, h, subsets):
    """Least error of each point set, shape (sets, points): (sets,).

    Assignments change at the scales w / mid only, so each is visited between two.
    """
    mids = (subsets[:, 1:] + subsets[:, :-1]) / 2
    breaks = np.sort((w[w > 0][None, :, None] / mids[:, None, :]).reshape(len(subsets), -1), axis=1)
    scales = np.concatenate([breaks[:, :1] / 2, (breaks[:, 1:] + breaks[:, :-1]) / 2, breaks[:, -1:] * 2], axis=1)
    best = np.full(len(subsets), np.inf)
    for scale in scales.T:
        place = ((w / scale[:, None])[:, :, None] > mids[:, None, :]).sum(axis=2)
        q = np.take_along_axis(subsets, place, axis=1)
        linear, square = (h * w * q).sum(axis=1), (h * q * q).sum(axis=1)
        best = np.minimum(best, (h * w * w).sum() - linear**2 / np.where(square > 0, square, np.inf))
    return best


def exhaustive(rows, weights, fmt):
    """Least error over every subset, every assignment of every row."""
    every = [subset for subset in combinations(fmt.universal_set, fmt.point_count) if subset[-1] > 0]
    subsets = np.array(every, dtype=float)
    found = [best_of_every_assignment(w, h, subsets) for w, h in zip(np.abs(rows), weights, strict=True)]
    return sum(found).min()


def draw(seed, shape):
    rng = np.random.default_rng(seed)
    kind = seed % 4
    weights = [rng.laplace, rng.normal, rng.uniform, rng.standard_cauchy][kind](size=shape)
    importance = rng.exponential(size=shape) * (rng.random(shape) > 0.2) if seed % 3 else np.ones(shape)
    if seed % 5 == 0:
        weights[:, ::4] = 0
    return weights, importance


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(8))
def test_one_scale_is_the_global_optimum(name, seed):
    fmt = FORMATS[name]
    weights, importance = draw(seed, (2, 5 if name == "3" else 12))
    found = search_points(weights, fmt, by_channel=False, importance=importance)
    least = exhaustive(weights.reshape(1, -1), importance.reshape(1, -1), fmt)
    energy = (importance * weights**2).sum()
    assert found.error <= least * (1 + 1e-9) + 1e-12 * energy
    assert found.lower <= least + 1e-12 * energy
    assert found.lower >= found.error * (1 - 1e-9) - 1e-12 * energy
    assert found.scales.shape == (1,)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(8))
def test_a_scale_a_channel_is_the_global_optimum(name, seed):
    fmt = FORMATS[name]
    weights, importance = draw(seed, (3, 4 if name == "3" else 9))
    found = search_points(weights, fmt, importance=importance)
    least = exhaustive(weights, importance, fmt)
    energy = (importance * weights**2).sum()
    assert found.error <= least * (1 + 1e-9) + 1e-12 * energy
    assert found.lower <= least + 1e-12 * energy
    assert found.lower >= found.error * (1 - 1e-9) - 1e-12 * energy


@pytest.mark.parametrize("by_channel", [False, True])
def test_four_bits_are_no_worse_than_any_subset_on_a_fine_grid(by_channel):
    weights, fmt = np.random.default_rng(3).laplace(size=(4, 60)), catalog.subset_format(4)
    found = search_points(weights, fmt, by_channel=by_channel)
    rows = np.abs(weights if by_channel else weights.reshape(1, -1))
    chosen = distinct_subsets(fmt.universal_set, 8)[np.random.default_rng(4).integers(0, 6390, 60)]
    subsets = np.array(fmt.universal_set)[chosen].astype(float)
    totals = sum(best_of_every_assignment(row, np.ones_like(row), subsets) for row in rows)
    assert (found.error <= totals * (1 + 1e-9)).all()


def test_four_bits_are_the_global_optimum_of_all_6390_subsets():
    fmt = catalog.subset_format(4)
    subsets = np.array(fmt.universal_set, dtype=float)[distinct_subsets(fmt.universal_set, 8)]
    rng = np.random.default_rng(0)
    weights, importance = rng.laplace(size=(2, 11)), rng.exponential(size=(2, 11))
    rows = [best_of_every_assignment(np.abs(w), h, subsets) for w, h in zip(weights, importance, strict=True)]
    for found, least in [
        (search_points(weights, fmt, importance=importance), sum(rows).min()),
        (search_points(weights[:1], fmt, importance=importance[:1], by_channel=False), rows[0].min()),
    ]:
        assert found.error == pytest.approx(least, rel=1e-9, abs=1e-12)
        assert found.lower <= least + 1e-12 and found.lower >= least * (1 - 2e-9) - 1e-12


@pytest.mark.parametrize("bits, every, distinct", [(2, 105, 47), (3, 1365, 1125), (4, 6435, 6390)])
def test_subsets_that_differ_in_scale_only_count_once(bits, every, distinct):
    fmt = catalog.subset_format(bits)
    assert len(list(combinations(fmt.universal_set, fmt.point_count))) == every
    assert len(distinct_subsets(fmt.universal_set, fmt.point_count)) == distinct


def test_the_smallest_of_equal_subsets():
    levels = catalog.subset_format(2).universal_set
    assert smallest((8, 32), levels) == ((1, 4), 8.0)
    assert smallest((6, 18), levels) == ((1, 3), 6.0)
    assert smallest((18, 20), levels) == ((18, 20), 1.0)  # 10 is no level
    assert smallest((0, 24), levels) == ((0, 1), 24.0)
    assert smallest((9, 32), levels) == ((9, 32), 1.0)


def test_the_best_path_is_the_best_subset():
    rng = np.random.default_rng(0)
    fmt = catalog.subset_format(3)
    row = SortedRow.of(rng.laplace(size=200), rng.random(200))
    paths = path_search(fmt.universal_set, 4)
    t = np.geomspace(0.3, 60, 40)
    g, subsets = paths.values(row, t)
    every = np.array(list(combinations(paths.levels, 4)))
    values = np.stack([row.values(np.full(len(every), x), every) for x in t])
    assert g == pytest.approx(values.min(axis=1), rel=1e-9)
    assert row.values(t, paths.levels[subsets]) == pytest.approx(g, rel=1e-9)
    # And values are those of the definition.
    h = np.diff(row.counts)
    direct = [
        (h * (np.abs(row.ordered[:, None] * x - paths.levels[s]).min(axis=1) ** 2)).sum() / x**2
        for x, s in zip(t, subsets, strict=True)
    ]
    assert row.errors(t, g) == pytest.approx(np.array(direct), rel=1e-9)


def test_bounds_hold_within_and_beyond_the_span():
    rng = np.random.default_rng(1)
    for trial in range(30):
        row = SortedRow.of(rng.standard_cauchy(size=40) if trial % 2 else rng.laplace(size=40), rng.random(40))
        points = np.sort(rng.choice(catalog.subset_format(3).universal_set, 4, replace=False)).astype(float)
        first, end = row.span(np.array(catalog.subset_format(3).universal_set, dtype=float))
        t = np.geomspace(first / 50, end * 50, 2000)
        errors = row.errors(t, row.values(t, np.broadcast_to(points, (2000, 4))))
        within = (t >= first) & (t <= end)
        assert errors[within].min() <= errors[~within].min() * (1 + 1e-3)
        t, errors = t[within], errors[within]
        for low, high in [(0, 100), (200, 600), (0, 700), (650, 651), (400, 401)]:
            ends = t[[low, high]]
            g = row.values(ends, np.broadcast_to(points, (2, 4)))
            bound = chord_bounds(row.energy, ends[:1], ends[1:], g[:1], g[1:])[0]
            assert bound <= errors[low : high + 1].min() + 1e-9 * row.energy


def test_bounds_hold_where_some_magnitudes_are_far_below_the_others():
    rng = np.random.default_rng(2)
    levels = np.array(catalog.subset_format(3).universal_set, dtype=float)
    for _ in range(20):
        weights = rng.laplace(size=40) * 10.0 ** -rng.choice([0, 5, 30], 40)
        row = SortedRow.of(weights, rng.random(40))
        points = np.sort(rng.choice(levels, 4, replace=False))
        first, end = row.span(levels)
        assert end < 1e6 * first
        t = np.geomspace(first / 50, end * 50, 2000)
        errors = row.errors(t, row.values(t, np.broadcast_to(points, (2000, 4))))
        within = (t >= first) & (t <= end)
        assert errors[within].min() <= errors[~within].min() * (1 + 1e-3)


#: Filters of one weight that counts, beside others.
ALONE = {
    "that do not count": lambda rng: (rng.normal(size=(6, 8)), np.zeros((6, 8))),
    "that hardly count": lambda rng: (rng.normal(size=(6, 8)), np.full((6, 8), 1e-30)),
    "that are small": lambda rng: (rng.normal(size=(6, 8)) * 1e-12, np.ones((6, 8))),
    "that are next to nothing": lambda rng: (rng.normal(size=(6, 8)) * 1e-35, np.ones((6, 8))),
    "of the same size": lambda rng: (np.ones((6, 8)), np.ones((6, 8))),
}


@pytest.mark.parametrize("kind", ALONE)
@pytest.mark.parametrize("rows", [1, 6])
def test_filters_that_every_point_set_is_exact_for_keep_few_intervals(monkeypatch, kind, rows):
    """As depthwise filters have them on maps of one position."""
    kept, values, keep = [0], PathSearch.values, _Intervals._keep

    def counted(self, row, t):
        kept.append(len(t))
        return values(self, row, t)

    def counted_keep(self, *parts):
        keep(self, *parts)
        kept.append(len(self.subset))

    monkeypatch.setattr(PathSearch, "values", counted)
    monkeypatch.setattr(_Intervals, "_keep", counted_keep)
    others, importance = ALONE[kind](np.random.default_rng(0))
    lone = np.random.default_rng(1).normal(size=(6, 1)) + 2 if kind != "of the same size" else np.ones((6, 1))
    weights, h = np.hstack((lone, others))[:rows], np.hstack((np.ones((6, 1)), importance))[:rows]
    found = search_points(weights, catalog.subset_format(4), importance=h)
    energy = float((h * weights**2).sum())
    assert found.error <= 1e-13 * energy and found.lower >= -1e-13 * energy
    assert max(kept) < 60_000


def test_subsets_are_decided_in_parts_where_they_are_many(monkeypatch):
    weights, importance = draw(5, (6, 9))
    whole = search_points(weights, catalog.subset_format(4), importance=importance)
    sizes, make = [], _Intervals.__init__

    def counted(self, row, t, g, tolerance):
        sizes.append(len(g) * len(t))
        make(self, row, t, g, tolerance)

    monkeypatch.setattr(_Intervals, "__init__", counted)
    monkeypatch.setattr(search_channels, "MOST_NUMBERS", 100_000)
    parts = search_points(weights, catalog.subset_format(4), importance=importance)
    assert parts.levels == whole.levels and parts.error == whole.error
    assert np.array_equal(parts.scales, whole.scales)
    assert len(sizes) > 12 and max(sizes) < 20_000


def test_dead_channels_and_dead_layers():
    fmt = catalog.subset_format(3)
    weights = np.random.default_rng(0).laplace(size=(3, 30))
    weights[1] = 0
    found = search_points(weights, fmt)
    assert found.scales[1] == 0 and (found.scales[[0, 2]] > 0).all()
    assert found.error == pytest.approx(search_points(weights[[0, 2]], fmt).error, rel=1e-12)
    nothing = search_points(np.zeros((2, 5)), fmt)
    assert nothing.error == 0 and nothing.scales.tolist() == [0, 0] and len(nothing.levels) == 4


def test_scale_of_weights_and_importance_does_not_matter():
    fmt, weights = catalog.subset_format(4), np.random.default_rng(5).laplace(size=(3, 50))
    one = search_points(weights, fmt)
    other = search_points(weights * 1e-9, fmt, importance=np.full(50, 1e6))
    assert other.levels == one.levels
    assert other.scales == pytest.approx(one.scales * 1e-9) and other.error == pytest.approx(one.error * 1e-12)
    for extreme in (1e-150, 1e150):
        far = search_points(weights * extreme, fmt)
        assert far.levels == one.levels and far.scales == pytest.approx(one.scales * extreme)


def test_weights_are_left_as_they_are():
    weights = np.random.default_rng(5).laplace(size=(3, 50))
    before = weights.copy()
    search_points(weights, catalog.subset_format(3))
    assert (weights == before).all()


def test_more_points_than_levels_repeat_the_last():
    fmt = WeightFormat(menus=((1, 0),), index_bits=2)
    found = search_points(np.array([[1.0, 2.0, -2.0]]), fmt)
    assert found.levels == (1, 2, 2, 2) and found.error < 1e-12


def test_objective_by_hand():
    # 1, 5 and 9 at scale 2 on {1, 3}: values 2 and 6; errors 1, 1, 9, the last one weighted with 2.
    assert objective(np.array([[1.0, -5.0, 9.0]]), (1, 3), np.array([2.0]), np.array([[1.0, 1.0, 2.0]])) == 20


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"weights": np.ones(3)}, "Weights must be of shape (M, ...) and not empty, not (3,)"),
        ({"weights": np.ones((0, 3))}, "Weights must be of shape (M, ...) and not empty, not (0, 3)"),
        ({"weights": np.full((2, 2), np.nan)}, "Weights must be finite, not nan"),
        ({"importance": np.array([-1.0, 1.0])}, "Importance must be finite and at least 0, not -1.0"),
        ({"importance": np.ones(3)}, "Importance must be broadcastable to (2, 2), not of shape (3,)"),
        ({"tolerance": 1.0}, "Tolerance must be 0 to below 1, not 1.0"),
    ],
)
def test_what_is_refused(changes, message):
    arguments = {"weights": np.ones((2, 2)), "fmt": catalog.subset_format(2)} | changes
    weights, fmt = arguments.pop("weights"), arguments.pop("fmt")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        search_points(weights, fmt, **arguments)
