"""Skips: what is added in the requantiser, before the one rounding."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.golden import naive
from twofold.golden import catalog, container, layers
from twofold.golden.network import INPUT, Branch, Layer, Network, SkipTensor, Tensor
from twofold.train import reference

POINTS = catalog.log_points(catalog.log_format(3))
MAP = (2, 1, 4)
ONES = np.ones(2, dtype=np.int64)
#: One channel beside the other: 1 and 2 times the input.
WEIGHTS = np.array([[1, 0], [0, 2]], dtype=np.uint8).reshape(1, 2, 2, 1, 1)
LAYER = Layer(
    "y", "conv2d", (Branch(INPUT, "p", WEIGHTS, (0,)),), Tensor(MAP, 8, True, 1.0), 0 * ONES, ONES, ONES, -128, 127
)
X = np.array([[[[1, 3, -1, 5]], [[1, 2, -3, 127]]]])


def network(*layers, signed=True):
    return Network("n", Tensor(MAP, 8, signed, 1.0), layers, {"p": POINTS})


def refuses(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_a_skip_is_added_before_the_one_rounding_by_hand():
    # Halves: x/2 + x and x + x in the first case, x/2 + x/2 and x + x/2 in the second, rounded to even once.
    for shift, expected in ((0, [[2, 4, -2, 8], [2, 4, -6, 127]]), (-1, [[1, 3, -1, 5], [2, 3, -4, 127]])):
        y = layers.run(network(replace(LAYER, skip=SkipTensor(INPUT, shift))), X)["y"]
        np.testing.assert_array_equal(y, np.array(expected)[None, :, None])


def random_case(seed):
    """A layer with a skip of a layer before it, and a batch; scales from those of float64 to beyond."""
    rng = np.random.default_rng(seed)
    shift = int(rng.integers(-6, 5))
    right = rng.integers(max(0, -shift), [9, 40, 50][seed % 3], 2)
    first = replace(LAYER, name="x", right=0 * ONES)
    second = replace(
        LAYER,
        branches=(Branch("x", "p", rng.integers(0, 8, WEIGHTS.shape, dtype=np.uint8), (int(rng.integers(8)),)),),
        bias=rng.integers(-500, 500, 2),
        multiplier=rng.integers(0, 1 << [8, 30, 41][seed % 3], 2),
        right=right,
        skip=SkipTensor(str(rng.choice([INPUT, "x"])), shift),
    )
    return network(first, second, signed=bool(seed % 2)), rng.integers(-128 * (seed % 2), 128, (3, *MAP))


@pytest.mark.parametrize("seed", range(12))
def test_skips_equal_the_loops_and_torch(seed):
    network, x = random_case(seed)
    results = layers.run(network, x)
    layer = network.output
    assert (layers._Plan.of(network, layer).scale is None) == (max(layers.worst_scaled(network, layer)) >= 1 << 53)
    tensors = {INPUT: x} | results
    for image in range(len(x)):
        sources = {name: tensors[name][image].tolist() for name in layer.sources}
        np.testing.assert_array_equal(results["y"][image], naive.output(network, layer, sources))
    np.testing.assert_array_equal(reference.run(network, x)["y"], results["y"])
    acc = layers.accumulate(network, layer, tensors)
    np.testing.assert_array_equal(layers.requantise(layer, acc, tensors[layer.skip.source]), results["y"])


def test_the_skip_counts_in_the_worst_case():
    # 1 * 128 (2 * 128) times 1, and 128 << 3 + 1.
    one = replace(LAYER, skip=SkipTensor(INPUT, 3))
    assert layers.worst_scaled(network(one), one) == [128 + 2048, 256 + 2048]
    far = replace(LAYER, right=56 * ONES, skip=SkipTensor(INPUT, 0))
    message = f"Layer 'y': accumulator times multiplier must be below 2**63, not {256 + (1 << 63)}"
    refuses(lambda: layers.run(network(far), X), message)


def test_a_tensor_that_only_a_skip_reads_is_kept_until_then():
    first = replace(LAYER, name="x")
    between = replace(LAYER, name="z")
    last = replace(LAYER, skip=SkipTensor("x", 0))
    found = layers.run(network(first, between, last), X, keep=("y",))
    np.testing.assert_array_equal(found["y"], layers.run(network(first, between, last), X)["y"])


def test_impossible_skips_are_refused():
    rule = "Layer 'y': shift of the skip plus right must be 0 to 62 in every channel"
    refuses(lambda: replace(LAYER, right=np.array([3, 2]), skip=SkipTensor(INPUT, -3)), f"{rule}, not -1 to 0")
    refuses(lambda: replace(LAYER, right=np.array([3, 2]), skip=SkipTensor(INPUT, 60)), f"{rule}, not 62 to 63")
    refuses(
        lambda: network(replace(LAYER, skip=SkipTensor("x", 0))), "Layer 'y': source must be one of ('input',), not 'x'"
    )
    first = replace(LAYER, name="x")
    branch = replace(LAYER.branches[0], source="x", codes=WEIGHTS[:, :1])
    small = replace(
        LAYER,
        branches=(branch,),
        output=Tensor((1, 1, 4), 8, True, 1.0),
        **dict.fromkeys(("bias", "multiplier", "right"), ONES[:1]),
        skip=SkipTensor("x", 0),
    )
    refuses(lambda: network(first, small), "Layer 'y': skip must be of the output's shape, (1, 1, 4), not (2, 1, 4)")
    pool = Branch(INPUT, "p", np.ones((1, 2, 1, 1, 1), dtype=np.uint8), (0,), groups=2)
    refuses(
        lambda: replace(LAYER, branches=(pool,), maximum=True, skip=SkipTensor(INPUT, 0)),
        "Layer 'y': maximum must have no skip, not SkipTensor(source='input', shift=0)",
    )
    acc = np.zeros((1, *MAP), dtype=np.int64)
    refuses(lambda: layers.requantise(LAYER, acc, acc), "Layer 'y': skip must be no tensor, not a tensor")
    skipped = replace(LAYER, skip=SkipTensor(INPUT, 0))
    refuses(lambda: layers.requantise(skipped, acc), "Layer 'y': skip must be a tensor, not no tensor")
    with pytest.raises(TypeError, match=r"^Shift of the skip must be of integers, not 0\.5$"):
        SkipTensor(INPUT, 0.5)


def test_skips_come_back_from_files_and_older_files_have_none(tmp_path):
    skipped = network(replace(LAYER, skip=SkipTensor(INPUT, -1)))
    container.save(skipped, tmp_path / "net")
    assert container.load(tmp_path / "net").output.skip == SkipTensor(INPUT, -1)
    container.save(network(LAYER), tmp_path / "net")
    assert container.load(tmp_path / "net").output.skip is None
    path = tmp_path / "net" / "network.json"
    structure = json.loads(path.read_text(encoding="utf-8"))
    del structure["sha256"]
    structure["version"] = 2
    for layer in structure["layers"]:
        del layer["skip"]
    structure["sha256"] = container._digest(structure)
    path.write_text(json.dumps(structure), encoding="utf-8")
    assert container.load(tmp_path / "net").output.skip is None
