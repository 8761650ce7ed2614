"""What the proofs take for granted, and the steps between them: see docs/verification.md."""

from types import SimpleNamespace

import numpy as np
import pytest

from twofold.formal.builds import formats, shipped
from twofold.formal.window import fits
from twofold.golden.catalog import log_points
from twofold.golden.formats import PointSet
from twofold.golden.isa import Channel, Drain, Pass, Window
from twofold.golden.products import product_bases
from twofold.golden.requantise import wrap
from twofold.golden.rounding import rne
from twofold.mapper import compile_network
from twofold.testing.random_network import random_network

BUILDS = shipped()


@pytest.mark.parametrize("name", ["log_4x4", "subset_4x4", "log_16x16"])
def test_compiled_programs_meet_the_assumptions(name):
    config = BUILDS[name]
    lines = Pass.record(config)["address"].high
    seen = chains = 0
    for seed in range(20):
        image = compile_network(random_network(seed, config, layers=3, name="n"), config)
        window = Window.zero()
        for one in image.instructions:
            if isinstance(one, Window):
                window = one
            elif isinstance(one, Pass):
                seen += 1
                assert fits(config, window, one.x, one.y, one.chain)
                assert not one.chain or window.positions >= config.min_pass
                chains += one.chain
                assert window.row_step == (window.step_y * window.in_width) & lines
                base = (one.address - one.y * window.in_width - one.x) & lines
                assert base + window.in_height * window.in_width <= config.feature_depth
            elif isinstance(one, Drain):
                assert window.width >= 1 and window.height >= 1
                assert window.width * window.height <= config.acc_depth
                assert one.lane % config.requant_units == 0
                assert one.low <= one.high
    assert seen > 50 and chains > 5


def test_a_pass_that_does_not_fit_is_seen():
    config = BUILDS["log_4x4"]
    window = SimpleNamespace(width=9, height=7, step_x=1, step_y=1)
    last = (1 << (config.coord_bits - 1)) - 9
    assert fits(config, window, last, 0, 0) and fits(config, window, last - 2, 0, 1)
    assert not fits(config, SimpleNamespace(**{**vars(window), "height": 8}), 0, 0, 0)
    assert not fits(config, SimpleNamespace(**{**vars(window), "width": 0}), 0, 0, 0)
    assert not fits(config, SimpleNamespace(**{**vars(window), "step_x": 0}), 0, 0, 1)
    assert not fits(config, window, last + 1, 0, 0)
    assert not fits(config, window, last - 1, 0, 1)


@pytest.mark.parametrize("step", [1, 2, 5, 15])
def test_a_position_comes_again_after_min_pass_cycles_or_later(step):
    """Whatever kinds two passes in a row are of, in a chunk that may have chains."""
    config = BUILDS["log_4x4"]
    for width, height in ((4, 1), (1, 4), (2, 2), (5, 3)):
        window = Window.zero(width=width, height=height, step_x=step)
        place = {
            chain: [
                i * window.streamed(chain) // height + (2 + j * step if chain else j)
                for i in range(height)
                for j in range(width)
            ]
            for chain in (0, 1)
        }
        for first in (0, 1):
            begin = max(window.streamed(first), config.min_pass)
            for second in (0, 1):
                gaps = [begin + after - before for before, after in zip(place[first], place[second], strict=True)]
                assert min(gaps) >= config.min_pass


@pytest.mark.parametrize("name", formats())
def test_rows_of_every_level_build_it(name):
    """The subset decoder is proven for any rows; these are the rows that stand for the levels."""
    fmt = formats()[name].fmt
    for level in fmt.universal_set:
        row = PointSet(fmt, (level,) * fmt.point_count).rows[0] if fmt.spare is None else fmt.picks[level]
        shifts = [menu[pick] for menu, pick in zip(fmt.menus, row, strict=True)]
        assert sum(1 << shift for shift in shifts if shift is not None) == level


@pytest.mark.parametrize("name", ["log_4x4", "subset_4x4"])
def test_the_proven_constant_of_a_product_is_the_compilers(name):
    """The PE is proven to add ``product_max``, less ``operand_max`` times a positive level."""
    config = BUILDS[name]
    levels = log_points(config.fmt) if config.pe == "log" else PointSet(config.fmt, config.fmt.universal_set[:8])
    positive = [config.product_max - level * config.operand_max for level in levels.levels]
    expected = positive + [config.product_max] * config.fmt.point_count
    assert product_bases(config, np.array(levels.values)).tolist() == expected


def test_the_requantisers_stages_together_are_the_golden_formula():
    """Each stage is proven; here they are put together as they stand in the pipeline."""
    config = BUILDS["log_4x4"]
    rng = np.random.default_rng(7)
    record = Channel.record(config)
    for _ in range(3000):
        values = {name: int(rng.integers(0, 1 << width)) for name, width in record.widths.items() if name != "bias"}
        values |= {f"shift{n}": int(rng.integers(0, config.digit_span + 1)) for n in range(config.digits)}
        values["right"] = int(rng.integers(0, config.scaled_bits + 1))
        half = 1 << (config.acc_width - 1)
        acc, bias = (int(v) for v in rng.integers(-half, half, 2))
        channel = Channel.decode(config, record.pack(values | {"bias": bias}))
        low, high = sorted(int(v) for v in rng.integers(-128, 256, 2))
        biased = int(wrap(np.int64(acc + bias), config.acc_width))
        total = 0
        for n in range(config.digits):
            factor = (-1 if values[f"minus{n}"] else 1) * (1 << values[f"shift{n}"]) if values[f"on{n}"] else 0
            total = int(wrap(np.int64(total + biased * factor), config.scaled_bits))
        y = total >> values["right"]
        distance = 2 * (total - (y << values["right"]))
        unit = 1 << values["right"]
        # The nearest; of two as near the even one.
        y += distance > unit or (distance == unit and y % 2 == 1)
        assert 2 * abs(total - (y << values["right"])) <= unit
        golden = rne(np.array([biased * channel.multiplier]), values["right"])
        assert min(max(y, low), high) == int(np.clip(golden, low, high)[0])
