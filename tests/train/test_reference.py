"""Held-out images as a network's inputs."""

from dataclasses import replace

import pytest

from twofold.golden.config import load_config
from twofold.golden.network import Tensor
from twofold.testing.random_network import random_network
from twofold.train.data import load_data
from twofold.train.reference import held_out


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


def network(data, meta=None, **changes):
    form = data.input
    found = random_network(3, load_config("log_4x4"), layers=2, name="mine")
    object.__setattr__(found, "input", replace(Tensor((1, 8, 8), form.bits, form.signed, form.scale), **changes))
    object.__setattr__(found, "meta", meta or {})
    return found


def test_the_first_held_out_images_and_their_labels(data):
    for mine, name in ((network(data), "digits"), (network(data, {"data": "digits"}), None)):
        images, labels = held_out(mine, "digits", 5, name)
        assert images.tolist() == data.test_integers[:5].tolist() and labels.tolist() == data.test_y[:5].tolist()
    assert held_out(mine, "digits")[0].shape == (len(data.test_y), 1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ("some/where",), "Data set must be named, --data-set NAME: network 'mine' does not say which it is"),
        ({}, ("digits", 9999), "Images must be at most 599 (held out in 'digits'), not 9999"),
        ({}, ("some/where", 1, "digits"), "Data 'digits' must be given no path, not 'some/where'"),
        ({"scale": 0.75}, ("digits", 1), "Images of data set 'digits' must be what network 'mine' takes"),
        ({"shape": (1, 8, 9)}, ("digits", 1), "Images of data set 'digits' must be what network 'mine' takes"),
    ],
)
def test_what_cannot_be_had_is_named(data, changes, arguments, message):
    with pytest.raises(ValueError) as caught:
        held_out(network(data, **changes), *arguments)
    assert str(caught.value).startswith(message)
