"""Nodes of a graph that depend on constants alone, computed: shapes and the like that exporters leave in files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from twofold.exchange.model_file import OnnxNode

#: Operators that are computed: they move numbers, or make few of them.
FOLDED = frozenset(
    "Cast Concat Constant ConstantOfShape Gather Identity Reshape Slice Squeeze Transpose Unsqueeze".split()
)
#: Most numbers of a result.
LARGEST_RESULT = 1 << 24


def folded(node: OnnxNode, constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs of a node by name; none if it is not computed here, or takes more than constants.

    Raises
    ------
    ValueError
        If it cannot be computed, or the result is too large.
    """
    given = {name for name in node.inputs if name}
    if node.operator not in FOLDED or node.domain not in ("", "ai.onnx") or not given <= constants.keys():
        return {}
    if node.operator == "ConstantOfShape":
        count = int(np.prod(constants[node.inputs[0]].astype(np.float64)))
        if count > LARGEST_RESULT:
            raise ValueError(f"{node.where}: result must have at most {LARGEST_RESULT} numbers, not {count}")
    attributes = {
        key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in node.attributes.items()
    }
    proto = helper.make_node(node.operator, node.inputs, node.outputs, **attributes)
    try:
        results = ReferenceEvaluator(proto).run(None, {name: constants[name] for name in given})
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{node.where}: constants must be what it takes, not this: {error}") from error
    return {name: np.asarray(result) for name, result in zip(node.outputs, results, strict=True)}
