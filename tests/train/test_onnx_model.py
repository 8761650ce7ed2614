import numpy as np
import onnx
import pytest
import torch

from tests.exchange.models import Model
from twofold.exchange.referee import compare, run_onnx
from twofold.golden.config import load_config
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.onnx_model import torch_from_onnx
from twofold.train.recipe import load_recipe

RNG = np.random.default_rng(0)


def normal(*shape):
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def residual():
    """All that is read, but for series."""
    model = Model((2, 6, 6)).add("Pad", ["x", np.array([0, 0, 1, 0, 0, 0, 0, 1])], "pad")
    model.add("Conv", ["pad", normal(4, 2, 3, 3)], "/a/conv", pads=[0, 1, 1, 0], dilations=[1, 1])
    model.add("BatchNormalization", ["/a/conv", *(np.abs(normal(4)) + 1 for _ in range(4))], "bn", epsilon=1e-3)
    model.add("Clip", ["bn", np.float32(0), np.float32(6)], "k")
    model.add("Conv", ["k", normal(4, 2, 1, 1)], "c", group=2).add("Add", ["c", normal(1, 4, 1, 1)], "d")
    model.add("Add", ["d", "k"], "s").add("Relu", ["s"], "r").add("Dropout", ["r"], "same")
    model.add("MaxPool", ["same"], "m", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
    model.add("AveragePool", ["m"], "v", kernel_shape=[2, 2], strides=[1, 1], count_include_pad=1)
    model.add("GlobalAveragePool", ["v"], "g").add("Reshape", ["g", np.array([0, -1])], "f")
    model.add("Constant", [], "w", value_floats=normal(4).tolist()).add("Reshape", ["w", np.array([4, 1])], "t")
    model.add("MatMul", ["f", normal(4, 4)], "h").add("Add", [normal(4), "h"], "hb")
    return model.add("Gemm", ["hb", normal(3, 4), normal(3)], "y", transB=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return residual().save(tmp_path_factory.mktemp("onnx") / "net.onnx", "y")


def test_it_computes_what_onnxruntime_computes(path):
    x = RNG.normal(size=(5, 2, 6, 6)).astype(np.float32)
    with torch.no_grad():
        found = torch_from_onnx(path)(torch.tensor(x)).numpy()
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, run_onnx(onnx.load(path), x)["y"], rtol=1e-4, atol=1e-5)


def test_it_is_converted_and_exported(path):
    model = torch_from_onnx(path)
    config = load_config("log_8x8")
    input = InputFormat((2, 6, 6), bits=8, scale=1 / 32, signed=True)
    quantized = convert(model, load_recipe("ptq_l2_w4a8"), input)
    calibrate(quantized, torch.tensor(RNG.integers(-128, 128, (32, 2, 6, 6)) / 32, dtype=torch.float32))
    network = export(quantized, config)
    names = [layer.name for layer in network.layers]
    assert "make__a_conv" in names and "make_y" in names
    x = RNG.integers(-128, 128, (3, 2, 6, 6))
    assert all(one.different == 0 for one in compare(network, x))


def test_series(tmp_path):
    model = Model((2, 9)).add("Conv", ["x", normal(3, 2, 3), normal(3)], "c", pads=[2, 0], strides=[2])
    model.add("MaxPool", ["c"], "m", kernel_shape=[2]).add("GlobalAveragePool", ["m"], "g").add("Flatten", ["g"], "f")
    built = torch_from_onnx(model.add("Identity", ["f"], "y").save(tmp_path / "net.onnx", "y"))
    x = RNG.normal(size=(2, 2, 9)).astype(np.float32)
    found = built(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, run_onnx(onnx.load(tmp_path / "net.onnx"), x)["y"], rtol=1e-4, atol=1e-5)


W = np.ones((2, 2, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model().add("Softmax", ["x"], "y"), "Node 'make_y' (Softmax) must be one of Add, AveragePool, "),
        (Model().add("Conv", ["x", W, W], "y"), "Node 'make_y' (Conv): bias must be finite numbers of (2,), not (2, 2"),
        (Model().add("Conv", ["x", W * np.nan], "y"), "Node 'make_y' (Conv): weight must be finite numbers of "),
        (
            Model().add("Add", ["x", np.float32([1])], "y"),
            "Node 'make_y' (Add): a constant must be added to a convolution or a linear layer",
        ),
        (
            Model().add("Clip", ["x", np.float32(-1), np.float32(1)], "y"),
            "Node 'make_y' (Clip): bounds must be 0 and 6, or 0 alone, not [-1.0, 1.0]",
        ),
        (
            Model().add("AveragePool", ["x"], "y", kernel_shape=[2, 2], pads=[1, 0, 0, 0]),
            "Node 'make_y' (AveragePool): pads must be the same at both ends, not (1, 0, 0, 0)",
        ),
        (
            Model().add("Conv", ["x", W], "y", auto_pad="SAME_LOWER"),
            "Node 'make_y' (Conv): pads must be 4 numbers and auto_pad NOTSET, not SAME_LOWER",
        ),
        (Model().add("Identity", [W], "y"), "Node 'make_y' (Identity): input 0 must depend on the network's input"),
        (Model().add("Conv", ["x", "x"], "y"), "Node 'make_y' (Conv): input 1 must be constant"),
    ],
)
def test_what_is_not_read_is_refused(model, message, tmp_path):
    path = model.save(tmp_path / "net.onnx", "y")
    with pytest.raises(ValueError) as caught:
        torch_from_onnx(path)
    assert str(caught.value).startswith(f"{path}: {message}")
