"""An ONNX graph as it is put together: nodes, constants and names that are used once."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from twofold.golden.narrow import Narrow
from twofold.golden.network import Tensor
from twofold.golden.order import Order
from twofold.golden.table import PointwiseTable
from twofold.support.names import free_name

#: Operator set and file format: the oldest in which DequantizeLinear takes 16 bits, so that most tools read it.
OPSET, IR_VERSION = 21, 10
#: Name of the free first dimension.
BATCH = "batch"
#: (channels, height, width), or that of an order.
Shape = tuple[int, ...]


class GraphBuilder:
    """Nodes and constants of a model.

    Parameters
    ----------
    reserved
        Names that are given by the caller alone, such as those of layers.
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self._names = set(reserved)
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []

    def constant(self, array: NDArray[np.generic], name: str) -> str:
        """Name of a constant. None is shared: onnxruntime fails where it rewrites a shared one twice."""
        unique = self._unique(name)
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), unique))
        return unique

    def add(self, operator: str, *inputs: str, out: str, reserved: bool = False, **attributes: Any) -> str:
        """Adds a node; returns its output's name: `out` if that is reserved for it, else one like it."""
        name = out if reserved else self._unique(out)
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def cast(self, value: str, dtype: type[np.generic], *, out: str, reserved: bool = False) -> str:
        """Adds a change of number type."""
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", value, out=out, reserved=reserved, to=to)

    def narrow(self, parts: str, narrow: Narrow, *, out: str) -> str:
        """Adds what is read of activations in units of what is read, which are float32."""
        bounds = [self.constant(np.array(bound, np.float32), "bound") for bound in (narrow.low, narrow.high)]
        return self.add("Clip", self.add("Floor", parts, out=f"{out}/floor"), *bounds, out=out)

    def pad(self, value: str, sides: Sequence[int], *fill: str, out: str) -> str:
        """Adds padding before and behind each axis, of zeros or of a fill; the value itself where there is none."""
        if not any(sides):
            return value
        return self.add("Pad", value, self.constant(np.array(sides), "pads"), *fill, out=out)

    def look_up(self, table: PointwiseTable, value: str, dtype: type[np.generic], *, out: str) -> str:
        """Adds a table's entries for int64 values, as a reserved name."""
        least = self.constant(np.array(table.low), f"{out}/least")
        entries = self.constant(table.entries.astype(dtype), f"{out}/entries")
        index = self.add("Sub", value, least, out=f"{out}/index")
        return self.add("Gather", entries, index, out=out, reserved=True, axis=0)

    def order(self, value: str, order: Order, *, out: str) -> str:
        """Adds the order in which a user gets a map."""
        cut = self.add("Reshape", value, self.constant(np.array([0, *order.split]), "split"), out=f"{out}/cut")
        axes = [0, *(1 + axis for axis in order.axes)]
        moved = self.add("Transpose", cut, out=f"{out}/moved", perm=axes)
        shape = self.constant(np.array([0, *order.shape]), "shape")
        return self.add("Reshape", moved, shape, out=out)

    def model(
        self,
        name: str,
        inputs: dict[str, tuple[type[np.generic], Shape]],
        outputs: dict[str, tuple[type[np.generic], Shape]],
    ) -> ModelProto:
        """The model, checked, shapes and number types of all values included."""
        infos = [
            [
                helper.make_tensor_value_info(value, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [BATCH, *shape])
                for value, (dtype, shape) in values.items()
            ]
            for values in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, name, infos[0], infos[1], self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="twofold",
        )
        checker.check_model(model, full_check=True)
        return model

    def _unique(self, name: str) -> str:
        unique = free_name(name, self._names.__contains__)
        self._names.add(unique)
        return unique


def activation_type(
    values: Tensor | PointwiseTable,
) -> type[np.int8] | type[np.uint8] | type[np.int16] | type[np.uint16]:
    """Number type in which a tensor's integers are stored, or those before a table."""
    if values.bits > 8:
        return np.int16 if values.signed else np.uint16
    return np.int8 if values.signed else np.uint8
