import re
from dataclasses import replace

import numpy as np
import pytest

from twofold.golden import catalog
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor

POINTS = {"p": catalog.log_points(catalog.log_format(3))}
MAP = Tensor((2, 4, 5), 4, False, 0.5)


def codes(*shape):
    return np.ones(shape, dtype=np.uint8)


BRANCH = Branch(INPUT, "p", codes(1, 3, 2, 3, 3), (0,), padding=(1, 1))
ONES = np.ones(3, dtype=np.int64)
LAYER = Layer("a", "conv2d", (BRANCH,), Tensor((3, 4, 5), 8, True, 1.0), 0 * ONES, ONES, ONES, -128, 127)
POOL = Branch(INPUT, "p", codes(1, 2, 1, 2, 2), (0,), stride=(2, 2), groups=2)
POOLED = Layer(
    "m", "maxpool", (POOL,), Tensor((2, 2, 2), 4, False, 1.0), 0 * ONES[:2], ONES[:2], ONES[:2], 0, 15, maximum=True
)


def refuses(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_limits_of_activations_by_hand():
    limits = {(4, False): (0, 15), (8, False): (0, 255), (8, True): (-128, 127), (2, True): (-2, 1), (2, False): (0, 3)}
    for (bits, signed), (low, high) in limits.items():
        tensor = Tensor((1, 1, 1), bits, signed, 1.0)
        assert (tensor.low, tensor.high) == (low, high)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 2), 8, True, 1.0), "Shape must be (channels, height, width), each at least 1, not (1, 2)"),
        (((1, 0, 2), 8, True, 1.0), "Shape must be (channels, height, width), each at least 1, not (1, 0, 2)"),
        (((1, 1, 1), 9, True, 1.0), "Activation bits must be 2 to 8, not 9"),
        (((1, 1, 1), 1, False, 1.0), "Activation bits must be 2 to 8, not 1"),
        (((1, 1, 1), 8, True, 0.0), "Scale must be positive and finite, not 0.0"),
        (((1, 1, 1), 8, True, float("nan")), "Scale must be positive and finite, not nan"),
    ],
)
def test_impossible_tensors_are_refused(arguments, message):
    refuses(lambda: Tensor(*arguments), message)


def test_impossible_branches_are_refused():
    refuses(
        lambda: replace(BRANCH, codes=BRANCH.codes.astype(np.int64)),
        "Codes must be uint8 of 5 dimensions, not int64 of 5",
    )
    refuses(lambda: replace(BRANCH, codes=BRANCH.codes[0]), "Codes must be uint8 of 5 dimensions, not uint8 of 4")
    refuses(lambda: replace(BRANCH, codes=codes(1, 3, 2, 0, 3)), "Codes must not be empty, not (1, 3, 2, 0, 3)")
    refuses(lambda: replace(BRANCH, shifts=(0, 1)), "Shifts must be 1 numbers, 0 or more, not (0, 1)")
    refuses(lambda: replace(BRANCH, shifts=(-1,)), "Shifts must be 1 numbers, 0 or more, not (-1,)")
    rule = "Stride and dilation must be 1 or more and padding 0 or more"
    refuses(lambda: replace(BRANCH, stride=(0, 1)), f"{rule}, not (0, 1), (1, 1), (1, 1)")
    refuses(lambda: replace(BRANCH, dilation=(1, 0)), f"{rule}, not (1, 1), (1, 0), (1, 1)")
    refuses(lambda: replace(BRANCH, padding=(1, -1)), f"{rule}, not (1, 1), (1, 1), (1, -1)")
    refuses(lambda: replace(BRANCH, padding=(1, 1, 1)), "Padding must be a pair or four sides, not (1, 1, 1)")
    refuses(lambda: replace(BRANCH, stride=(1, 1, 1, 1)), "Stride must be a pair, not (1, 1, 1, 1)")
    refuses(lambda: replace(BRANCH, groups=2), "Groups must divide 3 output channels, not 2")
    refuses(lambda: replace(BRANCH, channels=(1, 1)), "Channels must be different ones, 0 or more, not (1, 1)")
    refuses(lambda: replace(BRANCH, channels=(0, -1)), "Channels must be different ones, 0 or more, not (0, -1)")
    refuses(lambda: replace(BRANCH, channels=(0, 1, 2)), "Channels must be 2, not 3")
    refuses(lambda: replace(BRANCH, channels=()), "Channels must be different ones, 0 or more, not ()")


def test_shapes_of_a_term_by_hand():
    branch = Branch(INPUT, "p", codes(2, 6, 2, 3, 5), (0, 1), (2, 3), (1, 0), (2, 1), groups=3)
    assert (branch.out_channels, branch.in_channels, branch.kernel) == (6, 6, (3, 5))
    assert branch.output_size(9, 12) == (4, 3)  # (9 + 2 - 4 - 1)/2 + 1 and (12 - 4 - 1)/3 + 1
    assert branch.output_size(10, 13) == (4, 3)
    branch = replace(branch, padding=(0, 1, 3, -2))  # above, left, below, right
    assert (branch.begin, branch.end) == ((0, 1), (3, -2))
    assert branch.output_size(9, 12) == (4, 3)  # (9 + 3 - 4 - 1)/2 + 1 and (12 + 1 - 2 - 4 - 1)/3 + 1


def test_weights_add_shifted_words():
    branch = replace(BRANCH, codes=np.array([0, 3, 5, 1, 7, 6], dtype=np.uint8).reshape(2, 3, 1, 1, 1), shifts=(2, 0))
    # Codes 0, 3, 5: 0, 4, -1, shifted by 2; codes 1, 7, 6: 1, -4, -2.
    assert branch.weights(POINTS["p"]).ravel().tolist() == [1, 12, -6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "pool"},
            "kind must be one of ('conv2d', 'linear', 'maxpool', 'avgpool', 'add'), not 'pool'",
        ),
        ({"branches": ()}, "layer must have at least one branch, not ()"),
        ({"bias": ONES[:2]}, "bias must be int64 of shape (3,), not int64 of (2,)"),
        ({"right": ONES.astype(np.int32)}, "right must be int64 of shape (3,), not int32 of (3,)"),
        ({"multiplier": -ONES}, "multiplier must not be negative and right must be 0 to 62"),
        ({"right": 63 * ONES}, "multiplier must not be negative and right must be 0 to 62"),
        ({"right": -ONES}, "multiplier must not be negative and right must be 0 to 62"),
        ({"low": -129}, "clip bounds must be within -128 and 127, not -129, 127"),
        ({"high": 128}, "clip bounds must be within -128 and 127, not -128, 128"),
        ({"low": 5, "high": 4}, "clip bounds must be within -128 and 127, not 5, 4"),
        ({"branches": (replace(BRANCH, channel=1),)}, "branch must end within 3 channels, not at 4"),
        ({"branches": (replace(BRANCH, channel=-1),)}, "branch must end within 3 channels, not at 2"),
        ({"maximum": True}, "maximum must have one depthwise branch of one word and one code"),
    ],
)
def test_impossible_layers_are_refused(change, message):
    refuses(lambda: replace(LAYER, **change), f"Layer 'a': {message}")


@pytest.mark.parametrize(
    "branches",
    [
        (POOL, POOL),
        (replace(POOL, codes=np.array([1, 1, 1, 2, 1, 1, 1, 1], dtype=np.uint8).reshape(1, 2, 1, 2, 2)),),
        (replace(POOL, codes=codes(2, 2, 1, 2, 2), shifts=(0, 1)),),
    ],
    ids=["two branches", "two codes", "two words"],
)
def test_impossible_maxima_are_refused(branches):
    refuses(
        lambda: replace(POOLED, branches=branches),
        "Layer 'm': maximum must have one depthwise branch of one word and one code",
    )


def network(*layers, points=POINTS):
    return Network("n", MAP, layers, points)


def test_impossible_networks_are_refused():
    refuses(network, "Network 'n' must have at least one layer, not ()")
    refuses(lambda: network(LAYER, LAYER), "Layer 'a': name must be used once")
    refuses(lambda: network(replace(LAYER, name=INPUT)), "Layer 'input': name must be used once")
    branch = replace(BRANCH, source="b")
    refuses(lambda: network(replace(LAYER, branches=(branch,))), "Layer 'a': source must be one of ('input',), not 'b'")
    refuses(lambda: network(LAYER, points={"q": POINTS["p"]}), "Layer 'a': point set must be one of ('q',), not 'p'")
    branch = replace(BRANCH, source="a")
    refuses(
        lambda: network(LAYER, replace(LAYER, name="b", branches=(branch,))),
        "Layer 'b': branch must take 3 channels, not 2",
    )
    branch = replace(BRANCH, channels=(2, 0))
    refuses(lambda: network(replace(LAYER, branches=(branch,))), "Layer 'a': branch must read channels below 2, not 2")
    branch = replace(BRANCH, padding=(1, 0))
    refuses(
        lambda: network(replace(LAYER, branches=(branch,))), "Layer 'a': branch must give (4, 5) positions, not (4, 3)"
    )
    branch = replace(BRANCH, codes=8 * BRANCH.codes)
    refuses(lambda: network(replace(LAYER, branches=(branch,))), "Layer 'a': code must be below 8, not 8")


def test_a_maximum_over_padding_alone_is_refused():
    branch = replace(POOL, codes=codes(1, 2, 1, 1, 1), padding=(0, 1))
    layer = replace(POOLED, branches=(branch,), output=Tensor((2, 2, 4), 4, False, 1.0))
    refuses(lambda: network(layer), "Layer 'm': padding must leave every window an input, not (0, 1)")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "size", "touches"),
    [
        (3, 1, 1, 1, 1, True),
        (2, 1, 1, 1, 3, True),
        (2, 1, 2, 1, 3, False),
        (2, 2, 2, 1, 3, False),
        (2, 1, 2, 3, 1, False),  # taps at -2 and 1 of a map of one
        (2, 1, 2, 2, 1, False),  # the second window at -1 and 1
        (3, 1, 2, 2, 1, True),
        (1, 3, 0, 1, 7, True),
    ],
)
def test_windows_touch_by_hand(kernel, stride, padding, dilation, size, touches):
    tall = Branch(INPUT, "p", codes(1, 1, 1, kernel, 1), (0,), (stride, 1), (padding, 0), (dilation, 1))
    wide = Branch(INPUT, "p", codes(1, 1, 1, 1, kernel), (0,), (1, stride), (0, padding), (1, dilation))
    assert tall.windows_touch(size, 1) == wide.windows_touch(1, size) == touches


def test_tensors_by_name():
    both = network(LAYER, replace(POOLED))
    assert both.tensors == {INPUT: MAP, "a": LAYER.output, "m": POOLED.output}
    assert both.output.name == "m"


def test_outputs_are_layers_each_once_in_order():
    both = network(LAYER, replace(POOLED))
    assert [one.name for one in replace(both, heads=("m", "a")).outputs] == ["m", "a"]
    assert replace(both, heads=("a",)).output.name == "a"
    for heads in (("a", "a"), (INPUT,), ("b",)):
        with pytest.raises(ValueError) as caught:
            replace(both, heads=heads)
        assert str(caught.value) == f"Network 'n': outputs must be layers, each once, not {heads!r}"
