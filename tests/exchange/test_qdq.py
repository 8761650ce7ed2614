from dataclasses import replace

import numpy as np
import pytest

from tests.exchange.networks import (
    networks_with_narrow_reads,
    networks_with_tables,
    powers_of_two,
    random_networks,
    sums,
)
from tests.mapper.small import branch, layer, network
from twofold.exchange.qdq import OUTPUT, qdq_model
from twofold.exchange.referee import compare, run_onnx
from twofold.golden.layers import run
from twofold.golden.network import INPUT, Tensor


def test_powers_of_two_agree_at_every_layer():
    different = {}
    networks = *random_networks(), *networks_with_tables(), *networks_with_narrow_reads()
    for number, (one, x) in enumerate(networks):
        found = compare(powers_of_two(one), x, style="qdq")
        different |= {(number, a.layer): a for a in found if a.different or a.own}
    assert different == {}


def test_other_scales_differ_by_one_where_values_are_half_way():
    values = own = 0
    for one, x in random_networks()[::2]:
        for agreement in compare(one, x, style="qdq"):
            assert agreement.largest <= 1, agreement
            values, own = values + agreement.values, own + agreement.own
    # Random networks have many ties: three of four multipliers have few digits.
    assert 0 < own < values / 50


def test_biases_of_branches_that_have_some_channels_each():
    codes, bias = np.full((1, 1, 1, 1, 1), 3), np.array([7, -9])
    parts = [branch(codes, points="wide", channel=channel) for channel in (0, 1)]
    output = Tensor((2, 2, 2), 8, True, 0.5)
    changes = {"bias": bias, "right": np.array([2, 3]), "output": output, "low": -128, "high": 127}
    one = network([layer("sum", parts, (2, 2, 2), **changes)], (1, 2, 2), sums(1, 0).point_sets)
    (found,) = compare(one, np.arange(64).reshape(16, 1, 2, 2) * 4, style="qdq")
    assert (found.values, found.different) == (128, 0)


def test_inputs_and_outputs_are_real():
    one, x = random_networks()[0]
    one = replace(one, heads=())
    model = qdq_model(powers_of_two(one), outputs=[one.output.name])
    assert [value.name for value in model.graph.input] == [INPUT]
    assert [value.name for value in model.graph.output] == [OUTPUT, one.output.name]
    scaled = powers_of_two(one)
    results = run_onnx(model, (x * scaled.input.scale).astype(np.float32))
    expected = run(scaled, x)[one.output.name]
    assert np.array_equal(results[one.output.name], expected)
    assert np.array_equal(results[OUTPUT], (expected * scaled.output.output.scale).astype(np.float32))


def test_an_input_beyond_its_format_is_clipped():
    model = qdq_model(sums(1, 0, inputs=1, bits=3), outputs=["sum"])
    x = np.array([-1, 0.5, 1.5, 2.5, 6.4, 7.6, 300], dtype=np.float32).reshape(-1, 1, 1, 1)
    assert run_onnx(model, x)["sum"].flatten().tolist() == [0, 0, 2, 2, 6, 7, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": np.array([1 << 31])}, "Layer 'sum': bias must be of 32 bits, not 2147483648"),
        (
            {"output": Tensor((1, 1, 1), 8, False, 1e-39)},
            "Scale of 'sum/weights' must be one of float32, not 1e-39",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError) as caught:
        qdq_model(sums(1, 0, **changes))
    assert str(caught.value) == message


def test_weights_of_more_than_32_bits_are_refused():
    with pytest.raises(ValueError, match=r"^Layer 'sum': weights must be of 32 bits, not 4294967296$"):
        qdq_model(sums(7, 26))


def test_a_layer_may_have_the_name_of_the_output():
    one = sums(1, 0)
    renamed = replace(one, layers=(replace(one.layers[0], name=OUTPUT),))
    assert [value.name for value in qdq_model(renamed, outputs=[OUTPUT]).graph.output] == [f"{OUTPUT}/real", OUTPUT]
    with pytest.raises(ValueError, match=r"^Output must be one of \('output',\), not 'sum'$"):
        qdq_model(renamed, outputs=["sum"])
