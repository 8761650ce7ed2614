"""Inputs of few channels, folded: the same integers, in fewer passes, where it is faster and fits."""

import numpy as np
import pytest

from tests.mapper import networks
from tests.mapper.small import DENSE, branch, build, layer, network
from twofold.golden import layers
from twofold.golden.config import load_config
from twofold.golden.image import input_frame
from twofold.golden.input_layout import InputLayout
from twofold.golden.isa import Section
from twofold.golden.machine import execute
from twofold.mapper import FitError, compile_network
from twofold.mapper.fit import try_build
from twofold.mapper.folding import stored_ways
from twofold.testing.random_network import random_network

ROWS = 4


def convolution(size=(6, 7), channels=1, outputs=4, kernel=(3, 3), points="natural", groups=1, read=None, **geometry):
    """One convolution of random codes over the input; signed, so that its sums are of both signs."""
    inputs = channels if read is None else len(read)
    codes = np.random.default_rng(5).integers(0, 8, (2, outputs, inputs // groups, *kernel))
    one = branch(codes, points=points, shifts=(0, 3), groups=groups, channels=read, **geometry)
    result = layer("conv", [one], (outputs, *one.output_size(*size)), right=np.full(outputs, 5))
    sets = {"dense": DENSE} if points == "dense" else None
    return network([result], (channels, *size), sets, signed=True)


def image_of(net, **changes):
    """The image, and that the model runs it as golden and prediction say."""
    image = compile_network(net, build(**changes))
    x = np.random.default_rng(1).integers(net.input.low, net.input.high + 1, net.input.shape)
    result = execute(image, x)
    expected = layers.run(net, x[None])
    for name, values in expected.items():
        np.testing.assert_array_equal(result.tensors[name], values[0], err_msg=name)
    assert (result.run.cycles, result.run.passes) == (image.cycles, image.passes)
    return image


def kernels(net):
    """Kernel positions that each way to fold the input puts in the lanes."""
    return [way.layout.kernel for way in stored_ways(net, ROWS)[1:]]


GEOMETRIES = {
    "plain": {},
    "padding": {"padding": (1, 1)},
    "four sides": {"padding": (2, 0, 1, 3)},
    "lines left out": {"padding": (-1, 2, 0, -2)},
    "stride": {"stride": (2, 3), "padding": (1, 1)},
    "dilation": {"dilation": (2, 1), "padding": (1, 0)},
    "all": {"stride": (2, 1), "dilation": (1, 3), "padding": (0, 2, 3, 1)},
    "one row": {"kernel": (6, 3), "stride": (4, 2)},
    "linear": {"kernel": (6, 7)},
    "groups": {"channels": 2, "groups": 2, "padding": (1, 1)},
    "one of two channels": {"channels": 2, "read": (1,), "padding": (1, 1)},
    "channels in another order": {"channels": 2, "read": (1, 0), "groups": 2, "stride": (1, 2)},
    "grouped, no zero": {"channels": 2, "groups": 2, "points": "dense"},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_way_to_store_gives_the_same_integers(name):
    net = convolution(**GEOMETRIES[name])
    x = np.random.default_rng(2).integers(-128, 128, (3, *net.input.shape))
    expected = layers.run(net, x)["conv"]
    assert len(np.unique(expected)) >= 5
    ways = stored_ways(net, ROWS)
    assert [way.layout is None for way in ways] == [True, False, False, False][: len(ways)]
    assert len(ways) == 4
    for way in ways[1:]:
        folded = np.stack([way.layout.fold(one) for one in x])
        np.testing.assert_array_equal(layers.run(way.network, folded)["conv"], expected)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_folded_network_runs_as_golden_says(name):
    net = convolution(**GEOMETRIES[name])
    image = image_of(net, pe="subset" if "no zero" in name else "log", requant_units=4)
    assert image.input.layout is not None
    assert image.layers[0].macs == int(np.prod(net.layers[0].branches[0].codes[0].shape)) * int(
        np.prod(net.layers[0].output.shape[1:])
    )


def test_what_is_stored_and_how_many_passes_it_takes():
    # 18 channels in 5 groups of 4 lanes, 2 words each, instead of 9 kernel positions; 30 positions are two chunks.
    image = image_of(convolution(channels=2, padding=(1, 1, 0, 0)), requant_units=4)
    assert image.input.layout == InputLayout((3, 3), (1, 1), (1, 1), (1, 1), (5, 6))
    assert image.input.tensor.shape == (2, 6, 7)
    assert (image.passes, image.input.lines(image.config)) == (2 * 10, 5 * 30)
    assert len(input_frame(image, np.zeros((2, 6, 7), dtype=np.int64))) == 2 + 2 + 150 + 2


def test_without_room_in_feature_memory_less_is_folded():
    # The output takes 30 lines, the input 5 * 30 = 150, with columns of the kernel only 2 * 6 * 6 = 72, with rows only
    # 2 * 5 * 7 = 70 (as fast, so it is taken), as it is 42.
    net = convolution(channels=2, padding=(1, 1, 0, 0))
    found = {}
    for depth in (180, 179, 99):
        image = image_of(net, requant_units=4, feature_depth=depth)
        found[depth] = image.input.layout and image.input.layout.kernel, image.used_lines(Section.FEATURE), image.passes
    # A second chunk of 18 passes would save fewer cycles than it takes instructions.
    assert found == {180: ((3, 3), 180, 2 * 10), 179: ((3, 1), 100, 2 * 12), 99: (None, 72, 18)}
    with pytest.raises(FitError) as caught:
        compile_network(net, build(requant_units=4, feature_depth=71))
    message = "Network 'net' does not fit build 'small': feature memory must have 72 lines, not 71 (1 short)"
    assert str(caught.value) == message


def test_deeper_memories_of_another_kind_do_not_fold_more():
    net = convolution(channels=2, padding=(1, 1, 0, 0))
    fitted = try_build(net, build(requant_units=4, feature_depth=179, weight_depth=4))
    assert not fitted.fits and "weight memory must have " in fitted.reason
    assert fitted.smallest is not None and fitted.smallest.feature_depth == 100


def test_a_strided_input_may_fit_only_when_folded():
    # 16 * 16 lines as it is; 2 * 8 * 8 of windows of 2x2, 8 channels on 4 lanes.
    net = convolution(size=(16, 16), channels=2, kernel=(2, 2), stride=(2, 2))
    assert image_of(net, feature_depth=192).used_lines(Section.FEATURE) == 192
    with pytest.raises(FitError, match=r"feature memory must have 192 lines, not 191 \(1 short\)"):
        compile_network(net, build(feature_depth=191))


def test_lanes_that_are_full_are_left_alone():
    for full in ({"channels": 4}, {"channels": 8}, {"kernel": (1, 1), "stride": (2, 2)}):
        assert kernels(convolution(**full)) == []
    assert kernels(convolution(kernel=(1, 3))) == [(1, 3), (1, 3)]


def two_readers(**second):
    """A convolution and another branch that read the input, and a layer on top."""
    one = branch(np.ones((1, 4, 1, 3, 3)), padding=(1, 1))
    other = branch(np.full((1, 4, 1, *second.pop("kernel", (3, 3))), 2), **{"padding": (1, 1)} | second)
    first = layer("first", [one, other], (4, 6, 6))
    return network([first, layer("top", [branch(np.ones((1, 4, 4, 1, 1)), source="first")], (4, 6, 6))], (1, 6, 6))


def test_readers_must_agree():
    # Three columns take 3 passes of 3 channels, all nine positions 3 of 4 channels at most: the smaller way.
    assert kernels(two_readers()) == [(1, 3), (3, 1), (3, 3)]
    assert image_of(two_readers()).input.layout.kernel == (1, 3)
    # Of other rows, but the same columns.
    taller = two_readers(kernel=(5, 3), padding=(2, 1))
    assert kernels(taller) == [(1, 3)]
    assert image_of(taller).input.layout.kernel == (1, 3)
    residual = two_readers(kernel=(1, 1), padding=(0, 0))
    assert image_of(residual).input.layout is None
    for other in ({"dilation": (2, 2), "padding": (2, 2)}, {"kernel": (5, 5), "padding": (2, 2)}):
        assert kernels(two_readers(**other)) == []


def test_a_later_reader_counts():
    one, other = (branch(np.ones((1, 4, 1, 3, 3)), padding=(1, 1)) for _ in range(2))
    back = layer("back", [branch(np.ones((1, 4, 4, 1, 1)), source="first"), other], (4, 6, 6))
    net = network([layer("first", [one], (4, 6, 6)), back], (1, 6, 6))
    assert [way.readers for way in stored_ways(net, ROWS)] == [2, 2, 2, 2]
    assert image_of(net).input.layout is not None
    pooled = layer("pool", [branch(np.ones((1, 1, 1, 3, 3)), padding=(1, 1))], (1, 6, 6), kind="maxpool", maximum=True)
    net = network([layer("first", [one], (4, 6, 6)), pooled], (1, 6, 6))
    assert kernels(net) == []
    assert image_of(net).input.layout is None


@pytest.mark.parametrize(("name", "seed"), [("log_4x4", 110), ("subset_4x4", 107)])
def test_random_networks_of_the_simulation_are_folded(name, seed):
    """Those of `tests/sim/test_machine.py`: golden, PyTorch, model and hardware agree on folded inputs, too."""
    config = load_config(name)
    assert compile_network(random_network(seed, config, layers=2 + seed % 4), config).input.layout is not None


def test_many_random_networks_can_be_folded():
    """Those that `test_compiler` runs."""
    count = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        config = networks.build(rng)
        count += len(stored_ways(networks.network(rng, config), config.rows)) > 1
    assert count >= 15
