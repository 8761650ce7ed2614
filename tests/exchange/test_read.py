"""What is read is what was meant: round trips, models made by hand beside plain NumPy, onnxruntime's own quantizer."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.exchange.models import Model
from tests.exchange.networks import random_networks, sums
from tests.mapper.small import branch, layer, network
from twofold.exchange.read import from_onnx
from twofold.exchange.write import to_onnx
from twofold.golden.config import load_config
from twofold.golden.layers import run
from twofold.golden.network import Tensor

LOG = load_config("log_4x4")
#: Multipliers as near as float32's scales are.
FINE = replace(LOG, digits=8, digit_span=24, acc_width=32)
RNG = np.random.default_rng(3)
X = RNG.integers(-128, 128, (6, 2, 4, 4))


def read(model, tmp_path, output="y", config=FINE):
    return from_onnx(model.save(tmp_path / "made.onnx", output), config)


def conv(x, weights, stride=1, pad=0):
    """A plain convolution of integers."""
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = np.lib.stride_tricks.sliding_window_view(x, weights.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bnhwij,mnij->bmhw", windows, weights)


def rounded(value, low=-128, high=127):
    return np.clip(np.rint(value), low, high).astype(np.int64)


def test_networks_survive_a_round_trip(tmp_path):
    for number, (one, x) in enumerate(random_networks()[:20]):
        to_onnx(one, tmp_path / "net.onnx", style="qdq")
        again = from_onnx(
            tmp_path / "net.onnx", replace(load_config(("log_4x4", "subset_4x4")[number % 2]), acc_width=32)
        )
        found, expected = run(again, x), run(one, x)
        assert [layer_.name for layer_ in again.outputs] == [layer_.name for layer_ in one.outputs]
        wanted = {layer_.name for layer_ in one.outputs}
        for layer_ in reversed(one.layers):
            if layer_.name in wanted:
                wanted |= set(layer_.sources) - {"input"}
                assert np.array_equal(found[layer_.name], expected[layer_.name]), (number, layer_.name)
        assert again.tensors["input"] == replace(one.input, scale=float(np.float32(one.input.scale)))


def test_a_round_trip_of_a_maximum_of_negative_weights(tmp_path):
    windows = branch(np.full((1, 2, 1, 2, 2), 15), points="wide", groups=2)
    changes = {"multiplier": np.array([5, 7]), "right": np.array([9, 8]), "bias": np.array([3, -3])}
    output = Tensor((2, 3, 3), 8, True, 0.5)
    one = network(
        [layer("most", [windows], (2, 3, 3), maximum=True, output=output, low=-128, high=127, **changes)],
        (2, 4, 4),
        sums(1, 0).point_sets,
        signed=True,
    )
    to_onnx(one, tmp_path / "net.onnx", style="qdq")
    assert np.array_equal(run(from_onnx(tmp_path / "net.onnx", LOG), X)["most"], run(one, X)["most"])


def qonnx(bits=4):
    """Convolution, ReLU, maximum and a linear layer, as Brevitas writes them."""
    top = 2 ** (bits - 1) - 1
    first, last = RNG.integers(-top, top + 1, (3, 2, 3, 3)), RNG.integers(-top, top + 1, (5, 12))
    bias, steps = RNG.integers(-900, 900, 3), np.array([0.5, 0.25, 1]).reshape(3, 1, 1, 1)
    first[0, 0, 0, 0] = -top - 1  # the narrow range has it not
    model = Model().quant("x", "in", 0.25, 8)
    model.constants |= {"w0": (first * steps).astype(np.float32), "b0": (bias * steps.ravel() / 4).astype(np.float32)}
    first[0, 0, 0, 0] = -top
    model.quant("w0", "qw0", steps, bits, narrow=True).quant("b0", "qb0", steps.ravel() / 4, 32)
    model.add("Conv", ["in", "qw0", "qb0"], "c", pads=[1, 1, 1, 1]).add("Relu", ["c"], "r")
    model.quant("r", "a", 8.0, 3, signed=False).add("MaxPool", ["a"], "m", kernel_shape=[2, 2], strides=[2, 2])
    model.add("Reshape", ["m", np.array([-1, 12])], "f")
    model.constants["w1"] = (last * 0.125).astype(np.float32)
    model.quant("w1", "qw1", 0.125, bits, narrow=True).add("Gemm", ["f", "qw1"], "g", transB=1)
    return model.quant("g", "y", 0.5, 8), (first, bias, steps, last)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_qonnx_of_every_width(bits, tmp_path):
    model, (first, bias, steps, last) = qonnx(bits)
    found = run(read(model, tmp_path, config=LOG), X)
    sums = (conv(X, first, pad=1) + bias.reshape(-1, 1, 1)) * steps.reshape(-1, 1, 1) / 4
    a = rounded(sums / 8, 0, 7)
    assert np.array_equal(found["a"], a)
    m = a.reshape(6, 3, 2, 2, 2, 2).max(axis=(3, 5))
    assert np.array_equal(found["f"], m)
    assert np.array_equal(found["y"].reshape(6, 5), rounded(m.reshape(6, 12) @ last.T * 8 * 0.125 / 0.5))


def test_qonnx_needs_few_words(tmp_path):
    network_ = read(qonnx(3)[0], tmp_path, config=LOG)
    assert [(one.kind, one.output.bits, one.output.signed) for one in network_.layers] == [
        ("conv2d", 3, False),
        ("maxpool", 3, False),
        ("linear", 8, True),
    ]
    assert [one.branches[0].codes.shape[0] for one in network_.layers] == [2, 1, 2]
    assert all(error == 0 for facts in network_.meta["layers"].values() for error in facts.values())


def test_binary_weights(tmp_path):
    values = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
    model = Model().quant("x", "in", 1.0, 8)
    model.add("BipolarQuant", [values, np.float32(0.5)], "w", "onnx.brevitas").add("Conv", ["in", "w"], "c")
    signs = np.where(values >= 0, 1, -1)
    assert np.array_equal(run(read(model.quant("c", "y", 4.0, 8), tmp_path), X)["y"], rounded(conv(X, signs) / 8))


def affine():
    """An addition of two convolutions, batch norm, constants, and an average."""
    weights = RNG.integers(-7, 8, (2, 2, 2, 1, 1))
    model = Model().code("x", "in", 0.5)
    model.weights("w0", weights[0], 0.5).weights("w1", weights[1], [0.25, 0.125])
    model.add("Conv", ["in", "w0"], "c0").add("Conv", ["in", "w1"], "c1").add("Add", ["c0", "c1"], "s")
    model.add("Mul", ["s", np.array([-0.5, 2], np.float32).reshape(2, 1, 1)], "scaled")
    model.add("Add", [np.array([[[4]], [[-8]]], np.float32), "scaled"], "shifted").add("Neg", ["shifted"], "n")
    one, two = np.ones(2, np.float32), np.full(2, 2, np.float32)
    model.add("BatchNormalization", ["n", two, one, one, two * 2], "bn", epsilon=0.0)
    model.add("Sub", ["bn", np.float32(1)], "sub").add("Div", ["sub", np.float32(0.5)], "div")
    model.add("Clip", ["div", np.float32(-40), np.float32(50)], "k").code("k", "a", 1.0)
    model.add("ReduceMean", ["a", np.array([2, 3])], "mean", keepdims=0)
    return model.code("mean", "y", 0.25), weights


def test_sums_constants_and_averages(tmp_path):
    model, weights = affine()
    network_ = read(model, tmp_path)
    found = run(network_, X)
    channel = np.array([1, 1]).reshape(2, 1, 1)
    c0, c1 = conv(X, weights[0]) * 0.25, conv(X, weights[1]) * 0.5 * np.array([0.25, 0.125]).reshape(2, 1, 1)
    shifted = (c0 + c1) * np.array([-0.5, 2]).reshape(2, 1, 1) + np.array([4, -8]).reshape(2, 1, 1)
    real = ((-shifted - 1) / 2 * 2 + channel - 1) / 0.5
    a = rounded(real, -40, 50)
    assert np.array_equal(found["a.q"], a)
    assert np.array_equal(found["y.q"].reshape(6, 2), rounded(a.mean(axis=(2, 3)) / 0.25))
    assert network_.layers[0].low == -40 and network_.layers[0].high == 50


@pytest.mark.parametrize("tied", [True, False])
def test_residuals(tied, tmp_path):
    scale = 0.5 if tied else 0.3
    weights = RNG.integers(-7, 8, (2, 2, 1, 1))
    model = Model().code("x", "in", scale).weights("w", weights, 0.125)
    model.add("Conv", ["in", "w"], "c").add("Add", ["c", "in"], "s").code("s", "y", 0.25)
    network_ = read(model, tmp_path)
    assert (network_.layers[0].skip is not None) == tied
    real = conv(X, weights) * 0.125 * scale + X * scale
    apart = np.abs(run(network_, X)["y.q"] - rounded(real / 0.25))
    # Else half-way points of a ratio of 0.3 to 0.25 are near ones.
    assert apart.max() == (0 if tied else 1) and apart.mean() < 0.02


def test_zero_points_that_leave_eight_bits(tmp_path):
    weights, bias = RNG.integers(-7, 8, (3, 2, 3, 3)), RNG.integers(-99, 99, 3)
    model = Model().code("x", "in", 0.5, np.uint8(128)).weights("w", weights + 3, 0.25)
    model.nodes[-1].input.append("zero")
    model.constants["zero"] = np.int8(3)
    model.weights("b", bias, 0.125, np.int32).add("Conv", ["in", "w", "b"], "c", pads=[1, 1, 1, 1])
    model.add("Relu", ["c"], "r").code("r", "a", 2.0, np.int8(-128))
    network_ = read(model.code("a", "y", 2.0, np.int8(-128)), tmp_path, "y")
    assert network_.input == Tensor((2, 4, 4), 8, True, 0.5)
    expected = rounded((conv(X, weights, pad=1) + bias.reshape(-1, 1, 1)) * 0.125 / 2, 0, 255)
    assert np.array_equal(run(network_, X)["a.q"], expected)
    assert [one.name for one in network_.layers] == ["a.q"]


def test_the_inputs_zero_point_is_folded_into_biases(tmp_path):
    weights = RNG.integers(-7, 8, (3, 2, 3, 3))
    model = Model().code("x", "in", 0.5, np.uint8(100)).weights("w", weights, 0.25)
    network_ = read(model.add("Conv", ["in", "w"], "c").code("c", "y", 8.0), tmp_path)
    assert network_.input == Tensor((2, 4, 4), 8, False, 0.5)
    x = X + 128
    assert np.array_equal(run(network_, x)["y.q"], rounded(conv(x - 100, weights) * 0.125 / 8))


def test_an_input_of_integers(tmp_path):
    model = Model((32,), TensorProto.UINT8).add("DequantizeLinear", ["x", np.float32(0.5), np.uint8(7)], "in")
    weights = RNG.integers(-7, 8, (32, 5))
    model.weights("w", weights, 0.25).add("MatMul", ["in", "w"], "m").code("m", "y", 32.0)
    x = X.reshape(6, 32, 1, 1) + 128
    found = run(read(model, tmp_path), x)["y.q"].reshape(6, 5)
    assert np.array_equal(found, rounded((x.reshape(6, 32) - 7) @ weights * 0.125 / 32))


def test_integers_that_are_bounded_after_quantizing(tmp_path):
    model = Model().add("QuantizeLinear", ["x", np.float32(1), np.int8(0)], "q")
    model.add("Clip", ["q", np.int8(-8), np.int8(7)], "k").add("DequantizeLinear", ["k", np.float32(1)], "in")
    weights = RNG.integers(-7, 8, (2, 2, 1, 1))
    model.add("Clip", [weights.astype(np.int8), np.int8(-7), np.int8(7)], "kw")
    model.add("DequantizeLinear", ["kw", np.float32(1)], "w").add("Conv", ["in", "w"], "c")
    model.add("QuantizeLinear", ["c", np.float32(1), np.uint8(0)], "r")
    model.add("Clip", ["r", np.uint8(0), np.uint8(15)], "y")
    network_ = read(model, tmp_path)
    assert network_.input.bits == 4 and network_.layers[0].output == Tensor((2, 4, 4), 4, False, 1.0)
    x = np.clip(X, -8, 7)
    assert np.array_equal(run(network_, x)["r"], rounded(conv(x, weights), 0, 15))


def test_a_relu_after_quantizing_is_no_layer(tmp_path):
    weights = RNG.integers(-7, 8, (2, 2, 1, 1))
    model = Model().code("x", "in", 1.0).weights("w", weights, 1.0).add("Conv", ["in", "w"], "c").code("c", "a", 16.0)
    network_ = read(model.add("Relu", ["a"], "r").code("r", "y", 16.0), tmp_path)
    assert [(one.name, one.low, one.high, one.output.bits) for one in network_.layers] == [("y.q", 0, 127, 7)]
    assert np.array_equal(run(network_, X)["y.q"], rounded(conv(X, weights) / 16, 0, 127))


def test_integers_that_others_take_are_not_bounded_for_them(tmp_path):
    weights = RNG.integers(-7, 8, (2, 2, 1, 1))
    model = Model().code("x", "in", 1.0).weights("w", weights, 1.0).add("Conv", ["in", "w"], "c").code("c", "a", 16.0)
    model.add("Relu", ["a"], "r").code("r", "b", 16.0).add("Add", ["a", "b"], "s")
    found = run(read(model.code("s", "y", 16.0), tmp_path), X)["y.q"]
    a = rounded(conv(X, weights) / 16)
    assert np.array_equal(found, rounded(a + np.maximum(a, 0)))


def test_bounds_add_up(tmp_path):
    model = Model().code("x", "in", 1.0).weights("w", np.array([[[[3]], [[-2]]]]), 1.0).add("Neg", ["in"], "n")
    model.add("Conv", ["n", "w"], "c").add("Clip", ["c", np.float32(-99), np.float32(200)], "k")
    model.add("Relu", ["k"], "r").code("r", "a", 2.0, np.uint8(0))
    network_ = read(model.code("a", "y", 2.0), tmp_path)
    a = rounded(-conv(X, np.array([[[[3]], [[-2]]]])) / 2, 0, 100)
    assert np.array_equal(run(network_, X)["a.q"], a)
    assert [(one.name, one.high, one.output.bits) for one in network_.layers] == [("a.q", 100, 7)]


def test_a_bounded_maximum_before_a_depthwise_convolution(tmp_path):
    model = Model().code("x", "in", 1.0).add("MaxPool", ["in"], "m", kernel_shape=[2, 2])
    model.add("Clip", ["m", np.float32(-5), np.float32(90)], "k").weights(
        "w", np.array([3, 2]).reshape(2, 1, 1, 1), 0.5
    )
    model.add("Conv", ["k", "w"], "c", group=2).code("c", "y", 2.0)
    windows = np.lib.stride_tricks.sliding_window_view(X, (2, 2), axis=(2, 3)).max(axis=(4, 5))
    expected = rounded(np.clip(windows, -5, 90) * np.array([3, 2]).reshape(2, 1, 1) / 4)
    assert np.array_equal(run(read(model, tmp_path), X)["y.q"], expected)


def test_biases_in_the_sums_scale_keep_their_integers(tmp_path):
    bias = np.array([(1 << 25) + 1, -12345679])
    model = Model().code("x", "in", 0.1).weights("w", RNG.integers(-7, 8, (2, 2, 1, 1)), 0.3)
    model.weights("b", bias, np.float32(0.1) * np.float32(0.3), np.int32).add("Conv", ["in", "w", "b"], "c")
    network_ = read(model.code("c", "y", 1e4), tmp_path)
    assert network_.layers[0].bias.tolist() == (bias << FINE.fmt.digit_shift).tolist()
    assert network_.meta["layers"]["y.q"]["bias_error"] == 0


def test_half_way_values_of_an_odd_zero_point(tmp_path):
    model = Model((1, 1, 8)).code("x", "in", 1.0).weights("w", np.ones((1, 1, 1, 1)), 1.0)
    model.add("Conv", ["in", "w"], "c").code("c", "y", 2.0, np.int8(3))
    network_ = read(model, tmp_path)
    assert network_.meta["zero_points"] == {"y.q": 3}
    x = np.array([-4, -3, -2, -1, 1, 2, 3, 127]).reshape(1, 1, 1, 8)
    # ONNX rounds to even before it adds the zero point: -2, -2, -1, 0, 0, 1, 2, 64.
    assert run(network_, x)["y.q"].flatten().tolist() == [1, 2, 2, 2, 4, 4, 4, 66]


def test_casts_and_constants_of_a_shape_as_pytorch_writes_them(tmp_path):
    weights, bias = RNG.integers(-7, 8, (3, 2, 3, 3)), RNG.integers(-99, 99, 3)
    model = Model().add("QuantizeLinear", ["x", np.float32(0.5), np.uint8(100)], "q")
    model.add("Cast", ["q"], "same", to=TensorProto.UINT8)
    model.add("DequantizeLinear", ["same", np.float32(0.5), np.uint8(100)], "in").weights("w", weights, 0.25)
    zeros = helper.make_tensor("zeros", TensorProto.INT32, [1], [0])
    model.add("ConstantOfShape", [np.array([3])], "none", value=zeros).add(
        "Cast", ["none"], "zero", to=TensorProto.INT32
    )
    model.add("DequantizeLinear", [bias.astype(np.int32), np.full(3, 0.125, np.float32), "zero"], "b", axis=0)
    model.add("Conv", ["in", "w", "b"], "c", pads=[1, 1, 1, 1])
    network_ = read(model.code("c", "y", 8.0), tmp_path)
    x = X.clip(-100, 127)
    expected = rounded((conv(x, weights, pad=1) + bias.reshape(-1, 1, 1)) * 0.125 / 8)
    assert np.array_equal(run(network_, x + 100)["y.q"], expected)
