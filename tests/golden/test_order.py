"""Orders of outputs: what they make of maps, how they are found, and which are none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.golden.test_image import image
from twofold.golden import container, image_folder
from twofold.golden.config import ArrayConfig
from twofold.golden.image import PlacedTensor, read_output
from twofold.golden.layers import classify, run
from twofold.golden.machine import execute
from twofold.golden.network import Tensor
from twofold.golden.order import Order, order_of
from twofold.mapper import compile_network
from twofold.testing.random_network import random_inputs, random_network

#: Moves of a (6, 4, 5) map as users write them.
MOVES = {
    "channels last": lambda x: x.transpose(1, 2, 0),
    "boxes": lambda x: x.transpose(1, 2, 0).reshape(-1, 3),
    "boxes before positions": lambda x: x.reshape(2, 3, 4, 5).transpose(0, 2, 3, 1),
    "flat": lambda x: x.reshape(-1),
    "mixed": lambda x: x.reshape(3, 2, 20).transpose(2, 1, 0).reshape(4, 10, 3).transpose(1, 0, 2),
    "the same": lambda x: x,
    "longer": lambda x: x[:, None],
}
CONFIG = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=4)
LAST = Order((2, 3), (1, 0), (3, 2))


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_an_order_is_found_and_does_what_was_done(move):
    numbers = np.arange(120).reshape(6, 4, 5)
    order = order_of(move(numbers))
    maps = np.random.default_rng(0).integers(0, 99, (2, 6, 4, 5))
    assert np.array_equal(order.of(maps), np.stack([move(one) for one in maps]))
    assert np.array_equal(order.of(maps[1]), move(maps[1]))
    assert order.changes((6, 4, 5)) == (move(numbers).shape not in ((6, 4, 5), (6, 1, 4, 5)))


def test_a_map_of_one_value():
    assert order_of(np.zeros((1, 1), np.int64)) == Order((1,), (0,), (1, 1))
    # Only axes of length 1 are fewer.
    assert not Order((4,), (0,), (4,)).changes((4, 1, 1))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([2, 1, 0], "Each value must come once, in steps upwards, not at a step of -1"),
        ([0, 2, 1], r"Values must be moved by whole axes, not to \[0, 2, 1\]"),
        ([0, 0, 1, 1], "Each value must come once, in steps upwards, not at a step of 0"),
        ([1, 2], "The first value must be the map's, not its number 1"),
        ([0, 2], "Each value must come once, in steps upwards, not at a step of 2"),
    ],
)
def test_what_is_no_order(numbers, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        order_of(np.array(numbers))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (((), (0,), (1,)), r"Split of an order must be 1 to 16 sizes, not \(\)"),
        (((2, 0), (0, 1), (1,)), r"Split of an order must be 1 to 16 sizes, not \(2, 0\)"),
        (((2, 3), (0, 0), (6,)), r"Axes of an order must be 0 to 1, each once, not \(0, 0\)"),
        (((2, 3), (1, 0), (7,)), r"Shape of an order must be of 6 values, not \(7,\)"),
        (((1,) * 17, (0,), (1,)), r"Split of an order must be 1 to 16 sizes, not \(1(, 1){16}\)"),
    ],
)
def test_impossible_orders(fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Order(*fields)


@pytest.fixture(scope="module")
def ordered():
    """A random network whose first output comes as a column of values, channels last."""
    network = random_network(2, CONFIG)
    channels, height, width = network.output.output.shape
    order = Order((channels, height, width), (1, 2, 0), (height * width * channels, 1))
    return replace(network, orders={network.output.name: order})


def test_every_way_to_the_outputs_has_the_order(tmp_path, ordered):
    x = random_inputs(1, ordered, 2)
    maps = run(ordered, x)
    first, *others = ordered.results(maps)
    assert np.array_equal(first[..., 0], maps[ordered.output.name].transpose(0, 2, 3, 1).reshape(2, -1))
    assert all(np.array_equal(a, maps[b.name]) for a, b in zip(others, ordered.outputs[1:], strict=True))
    assert np.array_equal(classify(ordered, x), first.reshape(2, -1).argmax(1))
    container.save(ordered, tmp_path / "network")
    assert container.load(tmp_path / "network").orders == ordered.orders
    mapped = compile_network(ordered, replace(CONFIG, acc_depth=64, feature_depth=4096, weight_depth=8192))
    image_folder.save(mapped, tmp_path / "image")
    back = image_folder.load(tmp_path / "image")
    assert back == mapped and back.output.order == ordered.orders[ordered.output.name]
    result = execute(back, x[0])
    assert np.array_equal(result.output, first[0])
    assert np.array_equal(read_output(back, result.run.frames[0]), first[0])


def test_orders_are_of_outputs_and_of_their_values(ordered):
    with pytest.raises(ValueError, match=r"^Network '.+': order must be of an output, not of 'input'$"):
        replace(ordered, orders={"input": LAST})
    name, size = ordered.output.name, ordered.output.output.shape
    with pytest.raises(ValueError, match=rf"^Output '{name}': Order must be of {np.prod(size)} values, not 6$"):
        replace(ordered, orders={name: LAST})
    with pytest.raises(ValueError, match=r"^Order must be of 4 values, not 6$"):
        PlacedTensor(Tensor((1, 2, 2), 8, True, 1.0), 0, order=LAST)


def damaged(folder, module, change):
    """The error that a changed file gives, its checksum made right."""
    path = folder / ("network.json" if module is container else "manifest.json")
    table = json.loads(path.read_text())
    change(table)
    table.pop("sha256")
    path.write_text(json.dumps(table | {"sha256": module._digest(table)}))
    with pytest.raises(ValueError) as caught:
        module.load(folder)
    assert str(caught.value).startswith(f"{path}: file must describe ")
    return str(caught.value)


WRONG = [None, [], 3, {}, {"split": 1}, {"split": ["a"], "axes": [0], "shape": [1]}, {"split": [7], "axes": [0]}]


@pytest.mark.parametrize("wrong", [*WRONG, {"split": [7], "axes": [0], "shape": [7]}], ids=str)
def test_damaged_orders_are_one_error(tmp_path, ordered, wrong):
    container.save(ordered, tmp_path / "network")
    damaged(tmp_path / "network", container, lambda table: table["orders"].update({ordered.output.name: wrong}))
    image_folder.save(image(), tmp_path / "image")
    damaged(tmp_path / "image", image_folder, lambda table: table["outputs"][0].update(order=wrong))


def test_only_outputs_have_an_order(tmp_path, ordered):
    image_folder.save(image(), tmp_path)
    order = {"split": [1], "axes": [0], "shape": [1]}
    for change in (
        lambda table: table["input"].update(order=order),
        lambda table: table["layers"][0]["output"].update(order=order),
    ):
        image_folder.save(image(), tmp_path)
        assert damaged(tmp_path, image_folder, change).endswith("unexpected keyword argument 'order'")
