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


def padded():
    return start(1.0, np.uint8(100)).add("Conv", ["in", "w"], "c", pads=[1, 1, 1, 1])


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
    "zero point": (
        coded().code("c", "y", 1.0, np.int8(3)),
        "Node 'make_y.q' (QuantizeLinear): integers without the zero point must have 8 bits, not -131 to 124; "
        "quantize symmetrically",
    ),
    "padding": (
        padded(),
        "Node 'make_c' (Conv): zero point must be that of the padding's zeros, not 100 beside them",
    ),
    "unknown": (
        coded().add("Softmax", ["c"], "y"),
        "Node 'make_y' (Softmax) must be one of Add, AveragePool, BatchNormalization, BipolarQuant, Clip, ",
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
