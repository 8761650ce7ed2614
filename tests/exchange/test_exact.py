from dataclasses import replace

import numpy as np
import pytest

from tests.exchange.networks import networks_with_narrow_reads, networks_with_tables, random_networks, sums
from tests.mapper.small import branch, layer, network
from twofold.exchange.exact import exact_model
from twofold.exchange.referee import compare, run_onnx
from twofold.golden.layers import run
from twofold.golden.network import INPUT, SkipTensor, Tensor


def types(model):
    return {node.op_type for node in model.graph.node}


def column(values):
    return np.array(values, dtype=np.int64).reshape(len(values), -1, 1, 1)


def test_fifty_random_networks_agree_at_every_layer():
    different = {}
    seen = set()
    networks = *random_networks(), *networks_with_tables(), *networks_with_narrow_reads()
    for number, (one, x) in enumerate(networks):
        found = compare(one, x)
        assert [agreement.layer for agreement in found] == [layer.name for layer in one.layers]
        different |= {(number, a.layer): a for a in found if a.different or a.own or a.largest}
        seen |= {layer.kind for layer in one.layers} | {"skip" for layer in one.layers if layer.skip}
        seen |= {"table" for layer in one.layers if layer.table} | {"parts" for layer in one.layers if layer.parts}
        seen |= {key for layer in one.layers for branch in layer.branches for key in unusual(branch)}
    assert different == {}
    assert seen == {"conv2d", "linear", "maxpool", "avgpool", "add", "skip", "table", "parts", *unusual(None)}


def unusual(one):
    if one is None:
        return "groups", "stride", "dilation", "padding", "cut", "sides", "channel", "words"
    facts = {
        "groups": one.groups > 1,
        "stride": max(one.stride) > 1,
        "dilation": max(one.dilation) > 1,
        "padding": max(one.padding) > 0,
        "cut": min(one.padding) < 0,
        "sides": one.begin != one.end,
        "channel": one.channel > 0,
        "words": len(one.shifts) > 1,
    }
    return [key for key, so in facts.items() if so]


def test_ties_are_rounded_to_even():
    # Weight 1, sum of one input; (x + bias) * 3 / 4.
    changes = {"bias": np.array([-8]), "multiplier": np.array([3]), "right": np.array([2])}
    one = sums(1, 0, inputs=1, output=Tensor((1, 1, 1), 8, True, 1.0), low=-128, high=127, **changes)
    found = run_onnx(exact_model(one), column(range(17)).astype(np.uint8))["sum"].flatten()
    assert found.tolist() == [-6, -5, -4, -4, -3, -2, -2, -1, 0, 1, 2, 2, 3, 4, 4, 5, 6]


@pytest.mark.parametrize("right", [0, 1, 2, 48])
def test_sums_that_float64_does_not_hold(right):
    # Sums of up to 2**51, times 3.
    bias = -(5 << 45) if right == 48 else -5
    changes = {"bias": np.array([bias]), "multiplier": np.array([3]), "right": np.array([right])}
    shift = 41 if right == 48 else 37
    one = sums(7, shift, inputs=1, output=Tensor((1, 1, 1), 8, True, 1.0), low=-128, high=127, **changes)
    model = exact_model(one)
    assert "Round" not in types(model) and "Mod" in types(model)
    x = column(range(256))
    found = run_onnx(model, x.astype(np.uint8))["sum"]
    assert np.array_equal(found, run(one, x)["sum"])
    scaled = ((x << 6 + shift) + bias).astype(object) * 3
    assert found.flatten().tolist() == [
        min(127, max(-128, round(value / (1 << right)) if not right else _even(value, right))) for value in scaled.flat
    ]


def _even(value: int, right: int) -> int:
    quotient, rest = value >> right, value & ((1 << right) - 1)
    return quotient + (rest + (quotient & 1) > 1 << right - 1)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("code", [7, 15])
def test_the_largest_products_do_not_saturate(code, signed):
    # Weight 64 << 1 is one byte as a negative number and two as a positive one.
    changes = {"right": np.array([15]), "output": Tensor((1, 1, 1), 8, True, 1.0), "low": -128, "high": 127}
    one = sums(code, 1, inputs=64, signed=signed, **changes)
    x = np.repeat(column([one.input.low, one.input.high]), 64, axis=1)
    dtype = np.int8 if signed else np.uint8
    found = run_onnx(exact_model(one), x.astype(dtype))["sum"].flatten()
    weight = 128 if code == 7 else -128
    assert found.tolist() == [round(64 * weight * value / 2**15) for value in (one.input.low, one.input.high)]
    assert np.array_equal(found, run(one, x)["sum"].flatten())


def test_a_maximum_of_negative_weights_in_integers():
    windows = branch(np.full((1, 1, 1, 2, 2), 15), points="wide", shifts=(38,), padding=(1, 1), groups=1)
    changes = {"multiplier": np.array([5]), "right": np.array([46]), "low": -128, "high": 127}
    one = network(
        [layer("most", [windows], (1, 3, 3), maximum=True, output=Tensor((1, 3, 3), 8, True, 1.0), **changes)],
        (1, 2, 2),
        sums(1, 0).point_sets,
    )
    model = exact_model(one)
    assert "Round" not in types(model)
    x = np.array([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)
    # The least of each window, times -5 / 4.
    expected = [-1, -1, -2, -1, -1, -2, -4, -4, -5]
    assert run_onnx(model, x.astype(np.uint8))["most"].flatten().tolist() == expected


def test_layers_are_outputs_where_they_are_asked_for():
    one = replace(random_networks()[0][0], heads=())
    first, last = one.layers[0].name, one.output.name
    assert [value.name for value in exact_model(one).graph.output] == [last]
    model = exact_model(one, outputs=[first, last])
    assert [value.name for value in model.graph.output] == [first, last]
    assert [value.name for value in model.graph.input] == [INPUT]
    with pytest.raises(ValueError, match=r"^Output must be one of \('layer0.*\), not 'frob'$"):
        exact_model(one, outputs=["frob"])


def test_sums_of_more_than_64_bits_are_refused():
    with pytest.raises(ValueError, match=r"^Layer 'sum': accumulator times multiplier must be below 2\*\*63, not "):
        exact_model(sums(7, 50, multiplier=np.array([1 << 10])))


def test_sums_of_bytes_of_more_than_32_bits_are_refused():
    with pytest.raises(ValueError, match=r"^Layer 'sum': sums of bytes must be below 2\*\*31, not 2148266880$"):
        exact_model(sums(7, 0, inputs=131634))


def test_a_maximum_that_float64_does_not_hold_is_refused():
    windows = branch(np.full((1, 1, 1, 1, 1), 7), points="wide", shifts=(40,))
    one = network([layer("most", [windows], (1, 1, 1), maximum=True)], (1, 1, 1), sums(1, 0).point_sets)
    with pytest.raises(ValueError, match=r"^Layer 'most': maximum must be below 2\*\*53, not 17944029765304320$"):
        exact_model(one)


def test_a_field_that_is_not_known_is_refused(monkeypatch):
    from twofold.exchange import known

    monkeypatch.setitem(known.KNOWN, SkipTensor, frozenset({"source"}))
    rule = "Fields of SkipTensor must be those that ONNX is written for, not also ['shift']"
    with pytest.raises(TypeError) as caught:
        exact_model(sums(1, 0))
    assert str(caught.value) == rule
