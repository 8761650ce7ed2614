"""Every limit of a build, and the whole message that names it."""

import numpy as np
import pytest

from tests.mapper.small import DENSE, NATURAL, branch, build, layer, network, pointwise
from twofold.golden import catalog
from twofold.golden.formats import PointSet
from twofold.golden.isa import Window
from twofold.mapper import FitError, compile_network

FMT4 = build(word_bits=4).fmt
SUBSET_FMT = build(pe="subset").fmt


def far(**geometry):
    """A 1x1 convolution with some geometry on a 16x16 map."""
    one = branch(np.ones((1, 4, 4, 1, 1)), **geometry)
    return network([layer("conv", [one], (4, *one.output_size(16, 16)))], (4, 16, 16))


def subset(*names):
    sets = {name: PointSet(SUBSET_FMT, (0, 1, 2, level)) for name, level in zip(names, (4, 8, 16), strict=False)}
    layers = [layer(name, [branch(np.ones((1, 4, 4, 1, 1)), points=name)], (4, 4, 4)) for name in names]
    return network(layers, points=sets)


CASES = {
    "input bits": (pointwise(), {"act_bits": 6}, "Input: act_bits must be at least 8, not 6"),
    "output bits": (
        network([layer("conv", [branch(np.ones((1, 4, 4, 1, 1)))], (4, 4, 4))], bits=6),
        {"act_bits": 6},
        "Layer 'conv': act_bits must be at least 8, not 6",
    ),
    "side": (pointwise(size=(9, 4)), {"max_side": 8}, "Input: max_side must be at least 9, not 8"),
    "padding": (
        far(padding=(0, 9), stride=(1, 2)),
        {},
        "Layer 'conv': max_side must be at least 34, padding included, not 32",
    ),
    "padding of four sides": (
        far(padding=(0, 2, 0, 17), stride=(1, 2)),
        {},
        "Layer 'conv': max_side must be at least 35, padding included, not 32",
    ),
    "stride": (far(stride=(1, 16), padding=(0, 1)), {}, "Layer 'conv': stride must be at most 15, not 16"),
    "shift": (
        network([layer("conv", [branch(np.ones((1, 4, 4, 1, 1)), shifts=(9,))], (4, 4, 4))]),
        {"max_pass_shift": 8},
        "Layer 'conv': max_pass_shift must be at least 9, not 8",
    ),
    "right": (
        pointwise(right=np.full(4, 50)),
        {},
        "Layer 'conv': right shift must be at most 42, not 50",
    ),
    "digits": (
        pointwise(multiplier=np.array([1, 1, 5, 1])),
        {"digits": 1},
        "Layer 'conv': digits must be at least 2 for multiplier 5, not 1",
    ),
    "span": (
        pointwise(multiplier=np.array([1, 15, 1, 1])),
        {"digit_span": 3},
        "Layer 'conv': digit_span must be at least 4 for multiplier 15, not 3",
    ),
    "accumulator": (
        pointwise(bias=np.full(4, 1 << 13)),
        {"acc_width": 14},
        "Layer 'conv': acc_width must be at least 15, not 14",
    ),
    "sets": (subset("a", "b", "c"), {"pe": "subset", "point_sets": 2}, "point_sets must be at least 3, not 2"),
    "feature memory": (
        pointwise(channels=8),
        {"feature_depth": 40},
        "Network 'net' does not fit build 'small': feature memory must have 48 lines, not 40 (8 short)",
    ),
    "weight memory": (
        pointwise(channels=14),
        {"weight_depth": 4},
        "Network 'net' does not fit build 'small': weight memory must have 6 lines, not 4 (2 short)",
    ),
    "channel memory": (
        pointwise(channels=9),
        {"channel_depth": 4},
        "Network 'net' does not fit build 'small': channel memory must have 5 lines, not 4 (1 short)",
    ),
    "all memories": (
        pointwise(channels=9),
        {"feature_depth": 20, "weight_depth": 4, "channel_depth": 4, "program_depth": 4},
        "Network 'net' does not fit build 'small': feature memory must have 64 lines, not 20 (44 short); "
        "weight memory must have 5 lines, not 4 (1 short); channel memory must have 5 lines, not 4 (1 short); "
        "program memory must have 9 lines, not 4 (5 short)",
    ),
}


@pytest.mark.parametrize(("net", "changes", "message"), CASES.values(), ids=CASES)
def test_what_does_not_fit_is_named(net, changes, message):
    with pytest.raises(FitError) as caught:
        compile_network(net, build(**changes))
    assert str(caught.value) == message


def test_a_build_that_just_fits_is_taken():
    image = compile_network(
        pointwise(channels=9), build(feature_depth=64, weight_depth=5, channel_depth=5, program_depth=9)
    )
    assert (len(image.program), len(image.weight), len(image.channel)) == (9, 5, 5)
    narrow = compile_network(pointwise(bias=np.full(4, 1 << 13)), build(acc_width=15))
    assert narrow.acc_bits == 15


@pytest.mark.parametrize("net", [pointwise(size=(8, 4)), far(stride=(1, 15))], ids=["side", "stride"])
def test_geometry_at_the_limit_is_taken(net):
    side = max(max(net.input.shape[1:]), 8)
    assert compile_network(net, build(max_side=side)).passes > 0


def test_a_long_program_falls_back_to_the_fewest_chunks():
    net = pointwise(channels=4, size=(16, 16))
    loose = compile_network(net, build(acc_depth=256))
    shortest = compile_network(net, build(acc_depth=256, program_depth=5))
    assert len(shortest.program) == 5 < len(loose.program)
    assert loose.cycles < shortest.cycles


def test_words_for_another_format_are_refused():
    points = catalog.log_points(FMT4)
    net = network([layer("conv", [branch(np.ones((1, 4, 4, 1, 1)), points="p")], (4, 4, 4))], points={"p": points})
    with pytest.raises(ValueError) as caught:
        compile_network(net, build())
    assert str(caught.value) == f"Point set 'p' must be of the build's format, {build().fmt!r}, not {FMT4!r}"


def test_a_log_pe_has_one_point_set():
    points = PointSet(NATURAL.fmt, (0, 1, 2, 2))
    net = network([layer("conv", [branch(np.ones((1, 4, 4, 1, 1)), points="p")], (4, 4, 4))], points={"p": points})
    with pytest.raises(ValueError) as caught:
        compile_network(net, build())
    assert str(caught.value) == "Point set 'p' must be (0, 1, 2, 4) on a log PE, not (0, 1, 2, 2)"


def test_sets_that_nothing_uses_and_equal_sets_take_no_place():
    one = layer("conv", [branch(np.ones((1, 4, 4, 1, 1)), points="b")], (4, 4, 4))
    two = layer("next", [branch(np.ones((1, 4, 4, 1, 1)), points="c", source="conv")], (4, 4, 4))
    other = PointSet(SUBSET_FMT, (0, 1, 2, 4))
    net = network([one, two], points={"a": other, "b": DENSE, "c": PointSet(SUBSET_FMT, DENSE.levels)})
    image = compile_network(net, build(pe="subset", point_sets=1))
    assert len(image.points) == 4


def test_a_stride_that_takes_no_step_is_no_limit():
    """A single output along an axis: whatever the stride is, nothing moves."""
    one = far(stride=(16, 16))
    image = compile_network(one, build(acc_depth=64))
    windows = [instruction for instruction in image.instructions if isinstance(instruction, Window)]
    assert [(window.step_y, window.step_x) for window in windows] == [(1, 1)]
