"""onnxruntime as an independent referee: its integers beside golden's, layer by layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from twofold.exchange.graph import activation_type
from twofold.exchange.write import onnx_model
from twofold.golden.layers import evaluate, run
from twofold.golden.network import INPUT, Network

#: Severity from which onnxruntime writes to stderr: errors.
ERRORS = 3
#: Without it, sums of unsigned bytes times signed ones saturate on processors that have AVX2 or AVX-512 but no VNNI.
PRECISE = "session.x64quantprecision"


@dataclass(frozen=True)
class Agreement:
    """How onnxruntime's integers of a layer differ from golden's.

    Parameters
    ----------
    layer
        Its name.
    values
        How many there are.
    different
        How many differ from golden's for the same input of the network.
    own
        How many differ from golden's for the same inputs of the layer: what arises in this layer.
    largest
        Largest difference of those (LSBs).
    """

    layer: str
    values: int
    different: int
    own: int
    largest: int


def run_onnx(model: ModelProto, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """All outputs of a model of one input, as onnxruntime computes them on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    options.add_session_config_entry(PRECISE, "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {given.name: x}), strict=True))


def compare(network: Network, x: NDArray[np.int64], *, style: str = "exact") -> list[Agreement]:
    """What onnxruntime computes of the network, written in a style, beside what golden does, layer by layer.

    Parameters
    ----------
    network, style
        As `exchange.write.to_onnx` takes them.
    x : int64, shape (B, C, H, W)
        Inputs, in input LSBs.
    """
    names = [layer.name for layer in network.layers]
    model = onnx_model(network, style, outputs=names)
    tensor = network.input
    given = x.astype(activation_type(tensor)) if style == "exact" else (x * np.float32(tensor.scale)).astype(np.float32)
    results = run_onnx(model, given)
    found = {INPUT: x} | {name: results[name].astype(np.int64) for name in names}
    expected, result = run(network, x), []
    for layer in network.layers:
        alone = evaluate(network, layer, found)
        apart = np.abs(found[layer.name] - alone)
        different = int(np.count_nonzero(found[layer.name] != expected[layer.name]))
        own = int(np.count_nonzero(apart))
        result.append(Agreement(layer.name, apart.size, different, own, int(apart.max(initial=0))))
    return result
