"""What cannot be exact is refused by the node's name; files that are damaged or hold something else by their path."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.exchange.models import Model
from twofold.command import main
from twofold.exchange.read import from_onnx
from twofold.golden import container
from twofold.golden.config import load_config

LOG = load_config("log_4x4")
ONES = np.ones((2, 2, 1, 1))


def start(scale=1.0, zero=None):
    zeros = () if zero is None else (zero,)
    return Model().code("x", "in", scale, *zeros).weights("w", ONES, 0.5)


def coded(**attributes):
    return start().add("Conv", ["in", "w"], "c", **attributes)


FLOAT = np.float32(1)
CASES = {
    "float weights": (
        Model().code("x", "in", 1.0).add("Conv", ["in", ONES.astype(np.float32)], "y"),
        "Node 'make_y' (Conv): weights must be quantized constants, not others",
    ),
    "output": (coded(), "Output 'c' must be quantized, as the result of a layer"),
    "twice": (
        coded().add("Conv", ["c", "w"], "y"),
        "Node 'make_y' (Conv): input 0 must be quantized, not the result of other operations",
    ),
    "sixteen bits": (
        coded().code("c", "y", 1.0, np.int16(0)),
        "Node 'make_y.q' (QuantizeLinear): integers must have 8 bits, not -32768 to 32767",
    ),
    "number type": (
        start().add("Cast", ["in.q"], "y", to=TensorProto.UINT8),
        "Node 'make_y' (Cast): number type must hold every value, unlike uint8",
    ),
    "unknown": (
        coded().add("Softmax", ["c"], "y"),
        "Node 'make_y' (Softmax) must be one of Add, AveragePool, BatchNormalization, BipolarQuant, Cast, Clip, ",
    ),
    "own domain": (coded().add("Add", ["c", "c"], "y", "onnx.brevitas"), "Node 'make_y' (Add) must be one of Add, "),
    "bits": (Model().quant("x", "y", 1.0, 9), "Node 'make_y' (Quant): bit width must be 2 to 8, not 9"),
    "rounding": (
        Model().quant("x", "y", 1.0, 4, mode="FLOOR"),
        "Node 'make_y' (Quant): rounding mode must be ROUND, not FLOOR",
    ),
    "by channel": (
        Model().add("QuantizeLinear", ["x", np.float32([1, 2]), np.int8([0, 0])], "y", axis=1),
        "Node 'make_y' (QuantizeLinear): activations must have one scale and zero point, not one a channel",
    ),
    "scale": (
        Model().code("x", "y", -1.0),
        "Node 'make_y.q' (QuantizeLinear): scales must be positive and finite, not -1.0",
    ),
    "columns": (
        Model()
        .code("x", "in", 1.0)
        .add("DequantizeLinear", [ONES.astype(np.int8), np.float32([1, 2])], "w", axis=1)
        .add("Conv", ["in", "w"], "y"),
        "Node 'make_y' (Conv): weights must have one scale an output channel, not more",
    ),
    "groups": (coded(group=2), "Node 'make_c' (Conv): weights must be for 2 channels in 2 groups"),
    "auto": (coded(auto_pad="SAME_UPPER"), "Node 'make_c' (Conv): auto_pad must be NOTSET, not SAME_UPPER"),
    "window": (
        start().add("MaxPool", ["in"], "y", kernel_shape=[5, 5]),
        "Node 'make_y' (MaxPool): window must be within its input, not (5, 5) on (4, 4)",
    ),
    "ceil": (
        start().add("MaxPool", ["in"], "y", kernel_shape=[2, 2], ceil_mode=1),
        "Node 'make_y' (MaxPool): ceil_mode must be 0, not 1",
    ),
    "average": (
        start().add("AveragePool", ["in"], "y", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        "Node 'make_y' (AveragePool): count_include_pad must be 1 where there is padding",
    ),
    "shapes": (
        coded(strides=[2, 2]).add("Add", ["c", "in"], "y"),
        "Node 'make_y' (Add): operands must have the same shape, not (2, 2, 2) and (2, 4, 4)",
    ),
    "bounded": (
        coded().add("Relu", ["c"], "r").add("Add", ["r", "in"], "y"),
        "Node 'make_y' (Add): input 0 must be quantized, or a sum without bounds",
    ),
    "along the width": (
        coded().add("Mul", ["c", np.float32([1, 2])], "y"),
        "Node 'make_y' (Mul): constant must be one finite number a channel, not of shape (2,)",
    ),
    "reshape": (
        start().add("Reshape", ["in", np.array([-1, 4, 8])], "y"),
        "Node 'make_y' (Reshape): shape must be (batch, 32), not (-1, 4, 8)",
    ),
    "dimensions": (
        start().add("MatMul", ["in", "w"], "y"),
        "Node 'make_y' (MatMul): weights must have 2 dimensions, not 4",
    ),
    "flat": (
        Model().code("x", "in", 1.0).weights("w", np.ones((32, 3)), 1.0).add("MatMul", ["in", "w"], "y"),
        "Node 'make_y' (MatMul): input must be flat, of 32 features, not of (2, 4, 4)",
    ),
    "accumulator": (
        start().weights("b", [2**31 - 1, 1], 0.5, np.int32).add("Conv", ["in", "w", "b"], "c").code("c", "y", 1.0),
        "Node 'make_y.q' (QuantizeLinear): Layer 'y.q': sums must fit 28 bits, the build's accumulator",
    ),
    "bounded integers": (
        Model()
        .add("QuantizeLinear", ["x", FLOAT, np.int8(0)], "q")
        .add("Clip", ["q", np.int8(0)], "y")
        .code("q", "z", 1),
        "Node 'make_y' (Clip): integers that are bounded must not be used without bounds, too",
    ),
    "multiplier": (
        coded().code("c", "y", 1e-9),
        "Node 'make_y.q' (QuantizeLinear): Layer 'y.q': Scale must be within ",
    ),
}
#: Operators that move, and those on integers.
FACTORS, SOME = np.array([1, 1, 2, 2], np.float32), np.array([1, 1])
MOVES = {
    "joined along the width": (
        start().add("Concat", ["in", "in"], "y", axis=3),
        "Node 'make_y' (Concat): inputs must be of one size, joined along the channels, axis 1",
    ),
    "joined after places": (
        coded().add("DepthToSpace", ["c"], "d", blocksize=1).add("Concat", ["d", "in"], "y", axis=1),
        "Node 'make_y' (Concat): inputs must be quantized where they have places of their own",
    ),
    "joined of integers and others": (
        start().add("Concat", ["in", "in.q"], "y", axis=1),
        "Node 'make_y' (Concat): inputs must be integers, all of them",
    ),
    "pooled of two scales": (
        coded()
        .code("c", "e", 3.0)
        .add("Concat", ["in", "e"], "j", axis=1)
        .add("MaxPool", ["j"], "y", kernel_shape=[2, 2]),
        "Node 'make_y' (MaxPool): input must be quantized, or joined of tensors of one scale and zero point",
    ),
    "twice the same": (
        start().add("Gather", ["in", SOME], "y", axis=1),
        "Node 'make_y' (Gather): indices must be different channels below 2, not (1, 1)",
    ),
    "lines": (
        start().add("Gather", ["in", SOME], "y", axis=2),
        "Node 'make_y' (Gather): axis must be that of the channels, 1, and input not padded",
    ),
    "batch": (
        start().add("Slice", ["in", SOME, SOME], "y"),
        "Node 'make_y' (Slice): axes must not be the batch's",
    ),
    "every second line": (
        start().add("Slice", ["in", *(np.array([n]) for n in (0, 4, 2, 2))], "y"),
        "Node 'make_y' (Slice): lines must be left out at the borders of a quantized tensor alone",
    ),
    "split": (
        start().add("Split", ["in", SOME * 2], ["y", "z"], axis=1),
        "Node 'make_y' (Split): split must be 2 parts of 2 channels, not (2, 2)",
    ),
    "bilinear": (
        start().add("Resize", ["in", "", FACTORS], "y", mode="linear"),
        "Node 'make_y' (Resize): mode must be nearest, with coordinates in steps of 1 / factor",
    ),
    "factor": (
        start().add("Resize", ["in", "", FACTORS * 1.5], "y"),
        "Node 'make_y' (Resize): height and width must grow by whole factors, not by [1.5, 1.5, 3.0, 3.0]",
    ),
    "corner": (
        start().add(
            "Resize", ["in", "", FACTORS], "y", coordinate_transformation_mode="asymmetric", nearest_mode="ceil"
        ),
        "Node 'make_y' (Resize): each value must fill the places of one block",
    ),
    "blocks": (
        start().add("DepthToSpace", ["in"], "y", blocksize=2),
        "Node 'make_y' (DepthToSpace): input must be quantized, of a multiple of 4 channels",
    ),
    "kernel": (
        start().add("ConvTranspose", ["in", "w"], "y", strides=[2, 2]),
        "Node 'make_y' (ConvTranspose): kernel must reach every output, not 1 with stride 2, dilation 1",
    ),
    "between": (
        coded().add("ConvTranspose", ["c", "w"], "y", strides=[2, 2]),
        "Node 'make_y' (ConvTranspose): input must be quantized, or weights a single 1 for each channel",
    ),
    "holes": (
        coded()
        .add("ConvTranspose", ["c", ONES[:, :1].astype(np.float32)], "t", strides=[2, 2], group=2)
        .code("t", "y", 1.0),
        "Node 'make_y.q' (QuantizeLinear): Layer 'y.q': parts must hold each position once, not 0 to 1 times",
    ),
    "bias of holes": (
        coded()
        .add("ConvTranspose", ["c", ONES[:, :1].astype(np.float32)], "t", strides=[2, 2], group=2)
        .add("Add", ["t", FLOAT], "y"),
        "Node 'make_y' (Add): input must have values at every place",
    ),
    "overlap": (
        coded()
        .add("ConvTranspose", ["c", ONES[:, :1].astype(np.float32)], "t", strides=[2, 2], group=2)
        .add("Pad", ["c", np.array([0, 0, 0, 0, 0, 0, 3, 3])], "p")
        .add("Add", ["t", "p"], "y"),
        "Node 'make_y' (Add): places of sums that are added must be the same, or apart from each other",
    ),
    "zero point left out": (
        start().add("QLinearAdd", ["in.q", FLOAT, "", "in.q", FLOAT, "", FLOAT], "y", "com.microsoft"),
        "Node 'make_y' (QLinearAdd): scale and zero point of the result must be given",
    ),
    "channels last": (
        start().add("QLinearGlobalAveragePool", ["in.q"], "y", "com.microsoft", channels_last=1),
        "Node 'make_y' (QLinearGlobalAveragePool): channels_last must be 0, not 1",
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_cannot_be_moved_is_refused(name, tmp_path):
    model, message = MOVES[name]
    path = model.save(tmp_path / "net.onnx", model.nodes[-1].output[0])
    with pytest.raises(ValueError) as caught:
        from_onnx(path, LOG)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_exact_is_refused(name, tmp_path):
    model, message = CASES[name]
    path = model.save(tmp_path / "net.onnx", model.nodes[-1].output[0])
    with pytest.raises(ValueError) as caught:
        from_onnx(path, LOG)
    assert str(caught.value).startswith(f"{path}: {message}")


def outside(proto):
    """A constant in another file."""
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")


def graph_inside(proto):
    node = helper.make_node("If", ["x"], ["z"], name="if")
    node.attribute.append(helper.make_attribute("then_branch", helper.make_graph([], "inner", [], [])))
    proto.graph.node.append(node)


def too_short(proto):
    proto.graph.initializer[0].dims[:] = [1 << 40]


def two_inputs(proto):
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))


def free_input(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def words(proto):
    proto.graph.initializer[0].CopyFrom(
        helper.make_tensor(proto.graph.initializer[0].name, TensorProto.STRING, [1], ["a"])
    )


def old(proto):
    proto.opset_import[0].version = 10


DAMAGES = {
    outside: "constant 'in.q.1' must be in the file, not in another one",
    graph_inside: "attribute 'then_branch' of node 'if' must be numbers or strings, not a graph",
    too_short: "",
    two_inputs: "graph must have one input and an output, not ['x', 'z']",
    free_input: "input 'x' must have a fixed shape, but for the batch, not (2, 0, 4)",
    words: "constant 'in.q.1' must be of numbers, not of ",
    old: "operator set must be 11 or newer, not 10",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_files_are_refused(damage, tmp_path):
    proto = start().add("Conv", ["in", "w"], "c").code("c", "y", 1.0).proto("y")
    damage(proto)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError) as caught:
        from_onnx(path, LOG)
    assert str(caught.value).startswith(
        f"{path}: file must be an ONNX model that is read here, not this: {DAMAGES[damage]}"
    )


def test_files_that_are_none(tmp_path, capsys):
    command = ["onnx", "read", str(tmp_path / "net.onnx"), "--config", "log_4x4", "--out", str(tmp_path / "net")]
    (tmp_path / "net.onnx").write_bytes(b"\xff" * 100)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/net.onnx: file must be an ONNX model that is read here, not this: ")
    assert error.count("\n") == 1
    (tmp_path / "net.onnx").unlink()
    assert main(command) == 2
    assert not (tmp_path / "net").exists()


def test_a_file_becomes_a_network(tmp_path, capsys):
    path = start().add("Conv", ["in", "w"], "c").code("c", "y", 0.3).save(tmp_path / "net.onnx", "y")
    assert main(["onnx", "read", str(path), "--config", "log_4x4", "--out", str(tmp_path / "net")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split("│")[1:4] == [" y.q   ", " conv2d ", " 8    "]
    assert lines[-1] == f"1 layers, written to {tmp_path / 'net'}"
    network = container.load(tmp_path / "net")
    assert network.meta["layers"]["y.q"]["multiplier_error"] > 0
    assert network.name == "made" and onnx.load(path).graph.name == "made"
