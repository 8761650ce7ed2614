import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.exchange.models import Model
from twofold.exchange.referee import compare, run_onnx
from twofold.golden.config import load_config
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.onnx_model import torch_from_onnx
from twofold.train.onnx_moves import PLAIN, SHAPED
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


def moves():
    """Channels and places that move, functions of each value, constants of the exporter; outputs `y` and `z`."""
    model = Model((4, 6, 6)).add("Conv", ["x", normal(4, 4, 1, 1)], "c").add("LeakyRelu", ["c"], "l", alpha=0.1)
    model.add("Reshape", ["l", np.array([0, 2, 2, 6, 6])], "five").add("Transpose", ["five"], "t", perm=[0, 2, 1, 3, 4])
    model.add("Reshape", ["t", np.array([-1, 4, 6, 6])], "shuffled")
    model.add("Split", ["shuffled"], ["s0", "s1"], axis=1, num_outputs=2)
    model.add("Split", ["l", np.array([1, 3])], ["s2", "s3"], axis=1)
    model.add("Slice", ["l", *(np.array([n]) for n in (1, 1 << 62, 1))], "from_one")
    model.add("Gather", ["l", np.array([3, 0])], "g", axis=1).add("Concat", ["s1", "g", "from_one", "s3"], "j", axis=1)
    model.add("Conv", ["j", normal(4, 10, 3, 3)], "d", pads=[1] * 4).add("Sigmoid", ["d"], "gate")
    model.add("Mul", ["gate", "d"], "silu").add("ConstantOfShape", [np.array([4])], "zeros")
    model.add("Conv", ["silu", normal(4, 4, 1, 1), "zeros"], "e").add(
        "PRelu", ["e", np.full((4, 1, 1), 0.2, np.float32)], "p"
    )
    model.add("Conv", ["p", normal(4, 4, 1, 1)], "f").add("Clip", ["f", np.float32(-1), np.float32(2)], "h")
    model.add("Resize", ["h", "", np.array([1, 1, 2, 2], np.float32)], "u")
    model.add("ConvTranspose", ["h", normal(4, 1, 4, 4), normal(2)], "v", group=2, strides=[2, 2], pads=[1] * 4)
    model.add("Conv", ["u", normal(2, 4, 1, 1)], "w").add("Add", ["v", "w"], "z")
    model.add("Conv", ["h", normal(4, 4, 1, 1)], "i").add("Mul", ["i", np.float32(0.5)], "half")
    model.add("Add", ["half", normal(4, 1, 1)], "k").add("DepthToSpace", ["k"], "o", blocksize=2, mode="CRD")
    model.add("Slice", ["o", *(np.array([n, n]) for n in (0, 1 << 62)), np.array([2, 3]), np.array([2, 2])], "thin")
    model.add("Pad", ["thin", np.array([0, 1, 0, 0, 0, 0, 0, 0])], "padded")
    return model.add("Conv", ["padded", normal(3, 2, 1, 1)], "y")


def test_what_moves_computes_what_onnxruntime_computes(tmp_path):
    proto = moves().proto("y")
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2, 12, 12]))
    onnx.save(proto, tmp_path / "net.onnx")
    model = torch_from_onnx(tmp_path / "net.onnx")
    assert not any(isinstance(module, torch.nn.Sigmoid) for module in model.modules())
    x = RNG.normal(size=(3, 4, 6, 6)).astype(np.float32)
    with torch.no_grad():
        found = model(torch.tensor(x))
    expected = run_onnx(proto, x)
    for name, one in zip(("y", "z"), found, strict=True):
        np.testing.assert_allclose(one.numpy(), expected[name], rtol=1e-4, atol=1e-5)
    quantized = convert(model, load_recipe("ptq_l2_w4a8"), InputFormat((4, 6, 6), bits=8, scale=1 / 32, signed=True))
    assert len(quantized(torch.tensor(x))) == 2


@pytest.mark.parametrize("operator", [*PLAIN, *SHAPED, "Gelu"])
def test_functions_of_each_value(operator, tmp_path):
    numbers = {"HardSigmoid": {"alpha": 1 / 6}}.get(operator, {})
    path = Model((1, 1, 41)).add(operator, ["x"], "y", **numbers).save(tmp_path / "net.onnx", "y")
    x = np.linspace(-5, 5, 41, dtype=np.float32).reshape(1, 1, 1, 41)
    found = torch_from_onnx(path)(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, run_onnx(onnx.load(path), x)["y"], rtol=1e-4, atol=1e-5)


def test_norm_behind_a_linear_layer(tmp_path):
    model = Model((3,)).add("Gemm", ["x", normal(3, 4)], "g")
    path = model.add("BatchNormalization", ["g", *(np.abs(normal(4)) + 1 for _ in range(4))], "y").save(
        tmp_path / "net.onnx", "y"
    )
    x = RNG.normal(size=(5, 3)).astype(np.float32)
    found = torch_from_onnx(path)(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, run_onnx(onnx.load(path), x)["y"], rtol=1e-4, atol=1e-5)


W = np.ones((2, 2, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model().add("Softmax", ["x"], "y"), "Node 'make_y' (Softmax) must be one of Add, AveragePool, "),
        (Model().add("Conv", ["x", W, W], "y"), "Node 'make_y' (Conv): bias must be finite numbers of (2,), not (2, 2"),
        (Model().add("Conv", ["x", W * np.nan], "y"), "Node 'make_y' (Conv): weight must be finite numbers of "),
        (
            Model().add("Clip", ["x", np.float32(-1)], "y"),
            "Node 'make_y' (Clip): bounds must be 0 alone, or two numbers, not [-1.0, inf]",
        ),
        (
            Model().add("HardSigmoid", ["x"], "y"),
            "Node 'make_y' (HardSigmoid): numbers must be those of PyTorch's function, not {}",
        ),
        (
            Model().add("Resize", ["x", "", np.float32([1, 1, 1.5, 2])], "y"),
            "Node 'make_y' (Resize) must be what PyTorch's Upsample does, nearest or bilinear",
        ),
        (
            Model().add("DepthToSpace", ["x"], "y", blocksize=1),
            "Node 'make_y' (DepthToSpace): mode must be CRD, as PyTorch's PixelShuffle",
        ),
        (
            Model().add("Reshape", ["x", np.array([-1, 2, 0, 4])], "y"),
            "Node 'make_y' (Reshape): shape must be numbers, but for the batch, not [-1, 2, 0, 4]",
        ),
        (
            Model().add("ConstantOfShape", [np.array([1 << 13, 1 << 12])], "y"),
            "Node 'make_y' (ConstantOfShape): result must have at most 16777216 numbers, not 33554432",
        ),
        (
            Model().add("Reshape", [W, np.array([3])], "y"),
            "Node 'make_y' (Reshape): constants must be what it takes, not this: ",
        ),
        (
            Model().add("AveragePool", ["x"], "y", kernel_shape=[2, 2], pads=[1, 0, 0, 0]),
            "Node 'make_y' (AveragePool): pads must be the same at both ends, not (1, 0, 0, 0)",
        ),
        (
            Model().add("Conv", ["x", W], "y", auto_pad="SAME_LOWER"),
            "Node 'make_y' (Conv): pads must be 4 numbers and auto_pad NOTSET, not SAME_LOWER",
        ),
        (Model().add("Identity", [W], "y"), "Output 'y' must depend on the input"),
        (Model().add("Conv", ["x", "x"], "y"), "Node 'make_y' (Conv): input 1 must be constant"),
    ],
)
def test_what_is_not_read_is_refused(model, message, tmp_path):
    path = model.save(tmp_path / "net.onnx", "y")
    with pytest.raises(ValueError) as caught:
        torch_from_onnx(path)
    assert str(caught.value).startswith(f"{path}: {message}")
