"""Channels and places that are moved, transposed convolutions and zero points: onnxruntime's integers at the output.

All scales are powers of two and all zero points even, so nothing but the integers may be right.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.exchange.models import Model
from twofold.exchange.read import from_onnx
from twofold.golden.config import load_config
from twofold.golden.layers import run

FINE = replace(load_config("log_4x4"), digits=8, digit_span=24, acc_width=32)
RNG = np.random.default_rng(5)
X = RNG.integers(-128, 128, (3, 4, 4, 4))


def weights(*shape):
    return RNG.integers(-7, 8, shape)


def start(zero):
    """Two tensors of four channels: `a` of the convolution c, and `b`, of unlike scales."""
    model = Model((4, 4, 4)).code("x", "in", 0.5, zero).weights("w0", weights(4, 4, 3, 3), 0.25)
    model.add("Conv", ["in", "w0"], "c", pads=[1] * 4).code("c", "a", 8.0, zero)
    model.weights("w1", weights(4, 4, 1, 1), [0.5, 0.25, 0.125, 1.0]).add("Conv", ["in", "w1"], "d")
    return model.code("d", "b", 4.0, zero)


def conv(model, source, inputs, pads=(1, 1, 1, 1), group=1):
    model.weights("w", weights(4, inputs // group, 3, 3), 0.5)
    return model.add("Conv", [source, "w"], "e", pads=pads, group=group).code("e", "y", 64.0)


def concat(model):
    return conv(model.add("Concat", ["a", "in", "b"], "j", axis=1), "j", 12)


def concat_in_groups(model):
    """Of six channels each: no boundary of a tensor is one of the groups'."""
    return conv(model.add("Concat", ["a", "in", "b"], "j", axis=1), "j", 12, group=2)


def concat_by_tensor(model):
    return conv(model.add("Concat", ["a", "b"], "j", axis=1), "j", 8, group=2)


def concat_that_is_quantized(model):
    return model.add("Concat", ["a", "b"], "j", axis=-3).code("j", "y", 8.0)


def concat_that_is_pooled(model):
    model.code("d", "b8", 8.0, model.constants["in.q.2"]).add("Concat", ["a", "b8"], "j", axis=1)
    return model.add("MaxPool", ["j"], "m", kernel_shape=[2, 2]).code("m", "y", 16.0)


def concat_of_sums(model):
    return model.add("Concat", ["c", "d"], "j", axis=1).add("Relu", ["j"], "r").code("r", "y", 8.0)


def concat_that_is_averaged(model):
    model.add("Concat", ["a", "b"], "j", axis=1).add("GlobalAveragePool", ["j"], "g").add("Flatten", ["g"], "f")
    return (
        model.weights("w", weights(5, 8), 0.5)
        .code("f", "h", 1.0)
        .add("Gemm", ["h", "w"], "l", transB=1)
        .code("l", "y", 4.0)
    )


def parts_of_channels(model):
    model.add("Split", ["a", np.array([1, 3])], ["s0", "s1"], axis=1)
    model.add("Gather", ["b", np.array([3, -3])], "g", axis=1)
    ends = [np.array(numbers) for numbers in ([1], [4], [1], [2])]
    model.add("Slice", ["b", *ends], "l").add("Concat", ["s1", "g", "s0", "l"], "j", axis=1)
    return conv(model.add("Slice", ["j", *(np.array([n]) for n in (1, 8, 1))], "k"), "k", 7)


def halves(model):
    model.add("Split", ["a"], ["s0", "s1"], axis=1, num_outputs=2).add("Add", ["s1", "s0"], "s")
    return model.code("s", "y", 16.0)


def cropped(model):
    model.add("Slice", ["a", np.array([1, 0]), np.array([9, -1]), np.array([2, 3])], "k")
    return conv(model, "k", 4, pads=[0, 1, 1, 0])


def channels_that_are_the_output(model):
    model.add("QuantizeLinear", ["c", np.float32(8), model.constants["in.q.2"]], "q")
    return model.add("Slice", ["q", *(np.array([n]) for n in (1, 3, 1))], "y.q").add(
        "DequantizeLinear", ["y.q", np.float32(8), model.constants["in.q.2"]], "y"
    )


def resized(model):
    factors = np.array([1, 1, 2, 3], np.float32)
    return conv(model.add("Resize", ["a", "", factors], "u"), "u", 4)


def resized_and_quantized(model):
    sizes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return model.add("Resize", ["a", "", "", np.array([3, 4, 8, 8])], "u", **sizes).code("u", "y", 16.0)


def resized_and_added(model):
    model.add("Resize", ["a", "", np.array([1, 1, 2, 2], np.float32)], "u")
    model.add("Resize", ["b", "", np.array([1, 1, 2, 2], np.float32)], "v")
    return model.add("Add", ["u", "v"], "s").code("s", "y", 16.0)


def shuffled(mode, source):
    def build(model):
        model.add("DepthToSpace", [source], "u", blocksize=2, mode=mode)
        return model.code("u", "y", 16.0)

    return build


def shuffled_groups(model):
    model.weights("w", weights(8, 2, 1, 1), 0.5).add("Conv", ["a", "w"], "e", group=2)
    return model.add("DepthToSpace", ["e"], "u", blocksize=2, mode="CRD").code("u", "y", 16.0)


def transposed(groups=1, pads=(1, 1, 1, 1), bias=True, axis=1, shape=(3, 3), **attributes):
    def build(model):
        model.add("Concat", ["a", "b"], "j", axis=1)
        model.add(
            "DequantizeLinear",
            [weights(8, 6 // groups, *shape).astype(np.int8), np.full(6 // groups if axis else 1, 0.5, np.float32)],
            "w",
            axis=1,
        )
        rest = [2 * RNG.integers(-50, 50, 6).astype(np.float32)] if bias else []
        model.add("ConvTranspose", ["j", "w", *rest], "e", pads=pads, group=groups, **attributes)
        return model.code("e", "y", 64.0)

    return build


CASES = {
    one.__name__: one
    for one in (
        concat,
        concat_in_groups,
        concat_by_tensor,
        concat_that_is_quantized,
        concat_that_is_pooled,
        concat_of_sums,
        concat_that_is_averaged,
        parts_of_channels,
        halves,
        cropped,
        channels_that_are_the_output,
        resized,
        resized_and_quantized,
        resized_and_added,
        shuffled_groups,
    )
} | {
    "shuffled DCR": shuffled("DCR", "a"),
    "shuffled CRD": shuffled("CRD", "a"),
    "shuffled sums": shuffled("CRD", "c"),
    "transposed": transposed(strides=[2, 2], output_padding=[1, 1]),
    "transposed unevenly": transposed(groups=2, pads=(0, 1, 2, 0), strides=[2, 1], bias=False),
    "transposed, dilated": transposed(axis=0, strides=[2, 2], dilations=[1, 3], shape=(4, 4)),
    "transposed by one": transposed(strides=[1, 1]),
}


@pytest.mark.parametrize("zero", [0, -6])
@pytest.mark.parametrize("name", CASES)
def test_onnxruntimes_integers(name, zero, tmp_path):
    model = CASES[name](start(np.int8(zero)))
    network = from_onnx(model.save(tmp_path / "net.onnx", "y"), FINE)
    errors = {name: facts for name, facts in network.meta["layers"].items() if any(facts.values())}
    assert errors == {}
    assert network.meta["zero_points"].get("input", 0) == zero
    given = X.clip(-122, 127)
    expected = model.integers("y.q", given * 0.5)
    found = run(network, given + zero)[network.output.name]
    assert np.array_equal(found.reshape(expected.shape), expected)
    assert len(np.unique(expected)) > 12


def test_qonnx_of_concatenations_and_transposed_convolutions(tmp_path):
    """As Brevitas writes them: the same network as between QuantizeLinear and DequantizeLinear."""
    first, last, steps = weights(3, 4, 3, 3), weights(7, 2, 4, 4), np.array([0.25, 0.5])
    both = {}
    for style in ("qonnx", "qdq"):
        model = Model((4, 4, 4))
        if style == "qonnx":
            model.constants |= {
                "f0": (first * 0.25).astype(np.float32),
                "f1": (last * steps.reshape(2, 1, 1)).astype(np.float32),
            }
            model.quant("x", "in", 0.5, 8).quant("f0", "w0", 0.25, 4, narrow=True)
            model.quant("f1", "w1", steps.reshape(1, 2, 1, 1), 4, narrow=True)
        else:
            model.code("x", "in", 0.5).weights("w0", first, 0.25)
            model.add("DequantizeLinear", [last.astype(np.int8), steps.astype(np.float32)], "w1", axis=1)
        model.add("Conv", ["in", "w0"], "c", pads=[1] * 4)
        model = model.quant("c", "a", 0.5, 8) if style == "qonnx" else model.code("c", "a", 0.5)
        model.add("Concat", ["a", "in"], "j", axis=1)
        model.add("ConvTranspose", ["j", "w1"], "t", strides=[2, 2], pads=[1] * 4).add("Relu", ["t"], "r")
        model = model.quant("r", "y", 4.0, 8) if style == "qonnx" else model.code("r", "y", 4.0)
        network = from_onnx(model.save(tmp_path / "net.onnx", "y"), FINE)
        both[style] = run(network, X)[network.output.name]
    assert np.array_equal(both["qonnx"], both["qdq"])
    assert np.array_equal(both["qdq"], model.integers("y.q", X * 0.5))
