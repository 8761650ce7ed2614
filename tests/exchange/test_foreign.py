"""What onnxruntime's own quantizer makes is read, and golden agrees with onnxruntime but for rounding."""

import logging
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.exchange.models import Model
from twofold.exchange.read import from_onnx
from twofold.exchange.referee import run_onnx
from twofold.golden.config import load_config
from twofold.golden.layers import accumulate, requantise
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
    """A convolution, pooling, a residual, an average and a linear layer."""
    model = Model((3, 6, 6)).add("Conv", ["x", normal(8, 3, 3, 3), normal(8)], "c0", pads=[1] * 4)
    model.add("Relu", ["c0"], "r0").add("MaxPool", ["r0"], "p", kernel_shape=[2, 2], strides=[2, 2])
    model.add("Conv", ["p", normal(8, 4, 3, 3), normal(8)], "c1", pads=[1] * 4, group=2).add("Add", ["c1", "p"], "a")
    model.add("Relu", ["a"], "r1").add("GlobalAveragePool", ["r1"], "g").add("Flatten", ["g"], "f")
    model.add("Gemm", ["f", normal(10, 8), normal(10)], "y", transB=1)
    return model.save(tmp_path_factory.mktemp("floats") / "floats.onnx", "y")


def quantized(floats, path, **options):
    logging.disable()  # of advice to prepare the model
    try:
        quantize_static(floats, path, Images(), quant_format=QuantFormat.QDQ, **options)
    finally:
        logging.disable(logging.NOTSET)
    return path


@pytest.mark.parametrize(
    ("digits", "weights", "most"), [(3, QuantType.QInt8, 3), (8, QuantType.QInt8, 1), (8, QuantType.QInt4, 1)]
)
def test_symmetric_networks_agree_but_for_rounding(digits, weights, most, floats, tmp_path):
    options = {"activation_type": QuantType.QInt8, "weight_type": weights, "per_channel": weights == QuantType.QInt8}
    extra = {"ActivationSymmetric": True}
    path = quantized(floats, tmp_path / "net.onnx", extra_options=extra, **options)
    network = from_onnx(path, replace(LOG, digits=digits, digit_span=24 if digits > 3 else 12))
    assert {layer.kind for layer in network.layers} == {"conv2d", "maxpool", "add", "avgpool", "linear"}

    proto = onnx.load(path)
    names = [layer.name for layer in network.layers]
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT8, None) for name in names)
    found = {name: values.astype(np.int64) for name, values in run_onnx(proto, X).items() if name in names}
    values = {name: found[name].reshape(len(X), *network.tensors[name].shape) for name in names}
    values[INPUT] = np.clip(np.rint(X / np.float32(network.input.scale)), -128, 127).astype(np.int64)
    for layer in network.layers:
        skip = values[layer.skip.source] if layer.skip else None
        apart = np.abs(values[layer.name] - requantise(layer, accumulate(network, layer, values), skip))
        assert apart.max() <= most, layer.name
        assert digits == 3 or (apart > 0).mean() < 0.02, layer.name


def test_asymmetric_activations_are_refused(floats, tmp_path):
    path = quantized(floats, tmp_path / "net.onnx", activation_type=QuantType.QUInt8)
    with pytest.raises(
        ValueError, match=r"net\.onnx: Node 'make_c0' \(Conv\): zero point must be that of the padding's zer"
    ):
        from_onnx(path, LOG)
