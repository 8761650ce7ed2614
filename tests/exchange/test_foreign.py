"""What onnxruntime's own quantizer makes is read, and golden agrees with onnxruntime but for rounding."""

import logging
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.exchange.models import Model
from twofold.exchange.read import from_onnx
from twofold.exchange.referee import run_onnx
from twofold.golden.config import load_config
from twofold.golden.layers import evaluate
from twofold.golden.network import INPUT

LOG = load_config("log_8x8")
RNG = np.random.default_rng(1)
X = RNG.normal(size=(8, 3, 6, 6)).astype(np.float32)


class Images(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"x": X}])

    def get_next(self):
        return next(self.batches, None)


def normal(*shape):
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """Convolutions, pooling, a residual, a concatenation, an average and a linear layer."""
    model = Model((3, 6, 6)).add("Conv", ["x", normal(8, 3, 3, 3), normal(8)], "c0", pads=[1] * 4)
    model.add("Relu", ["c0"], "r0").add("MaxPool", ["r0"], "p", kernel_shape=[2, 2], strides=[2, 2])
    model.add("Conv", ["p", normal(8, 4, 3, 3), normal(8)], "c1", pads=[1] * 4, group=2).add("Add", ["c1", "p"], "a")
    model.add("Relu", ["a"], "r1").add("Concat", ["c1", "r1"], "j", axis=1)
    model.add("Conv", ["j", normal(8, 16, 3, 3)], "c2", pads=[1] * 4)
    model.add("GlobalAveragePool", ["c2"], "g").add("Flatten", ["g"], "f")
    model.add("Gemm", ["f", normal(10, 8), normal(10)], "y", transB=1)
    return model.save(tmp_path_factory.mktemp("floats") / "floats.onnx", "y")


def quantized(floats, path, **options):
    logging.disable()  # of advice to prepare the model
    try:
        quantize_static(floats, path, Images(), **options)
    finally:
        logging.disable(logging.NOTSET)
    return path


def differences(path, network, dtype):
    """Of each layer, for the same inputs: how far golden's integers are from onnxruntime's."""
    proto = onnx.load(path)
    made = {name for node in proto.graph.node for name in node.output}
    names = [layer.name for layer in network.layers if layer.name in made]
    proto.graph.output.extend(helper.make_tensor_value_info(name, dtype, None) for name in names)
    found = run_onnx(proto, X)
    constants = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    (start,) = [node for node in proto.graph.node if "x" in node.input]
    scale, zero = (constants[name] for name in start.input[1:])
    kept = network.meta["zero_points"]
    x = np.rint(X / scale) + (int(zero) if INPUT in kept else 0)
    values, result = {INPUT: np.clip(x, network.input.low, network.input.high).astype(np.int64)}, {}
    for layer in network.layers:
        own = evaluate(network, layer, values)
        values[layer.name] = found.get(layer.name, own).astype(np.int64).reshape(own.shape)
        result[layer.name] = np.abs(values[layer.name] - own)
    return result


@pytest.mark.parametrize(
    ("digits", "weights", "most"), [(3, QuantType.QInt8, 3), (8, QuantType.QInt8, 1), (8, QuantType.QInt4, 1)]
)
def test_symmetric_networks_agree_but_for_rounding(digits, weights, most, floats, tmp_path):
    options = {"activation_type": QuantType.QInt8, "weight_type": weights, "per_channel": weights == QuantType.QInt8}
    path = quantized(floats, tmp_path / "net.onnx", extra_options={"ActivationSymmetric": True}, **options)
    network = from_onnx(path, replace(LOG, digits=digits, digit_span=24 if digits > 3 else 12))
    assert {layer.kind for layer in network.layers} == {"conv2d", "maxpool", "add", "avgpool", "linear"}
    assert network.meta["zero_points"] == {}
    for name, apart in differences(path, network, TensorProto.INT8).items():
        assert apart.max() <= most, name
        assert digits == 3 or (apart > 0).mean() < 0.02, name


@pytest.mark.parametrize(("form", "per_channel"), [(QuantFormat.QDQ, True), (QuantFormat.QOperator, False)])
def test_what_quantize_static_makes_unasked_agrees_but_for_rounding(form, per_channel, floats, tmp_path):
    options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": per_channel}
    path = quantized(floats, tmp_path / "net.onnx", quant_format=form, **options)
    network = from_onnx(path, replace(LOG, digits=8, digit_span=24, acc_width=32))
    kept = network.meta["zero_points"]
    # Those after ReLU have the zero point 0; padding beside the others is of tensors of the zero points.
    assert INPUT in kept and len(kept) >= 4
    extra = [layer for layer in network.layers if layer.name.startswith("zero_point_")]
    assert len(extra) >= 2 and all(layer.low == layer.high for layer in extra)
    for name, apart in differences(path, network, TensorProto.UINT8).items():
        assert apart.max() <= 1 and (apart > 0).mean() < 0.04, name


def test_operators_that_it_leaves_alone_are_named(tmp_path):
    model = Model((3, 6, 6)).add("Conv", ["x", normal(8, 3, 3, 3)], "c").add("Sigmoid", ["c"], "y")
    path = quantized(
        model.save(tmp_path / "float.onnx", "y"), tmp_path / "net.onnx", quant_format=QuantFormat.QOperator
    )
    with pytest.raises(ValueError, match=r"net\.onnx: Node '.*' \(QLinearSigmoid\) must be one of Add, "):
        from_onnx(path, LOG)
