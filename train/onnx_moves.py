"""Operators of a float ONNX file that move values, or compute each by itself, as PyTorch's."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn import functional

from twofold.exchange.model_file import OnnxNode
from twofold.train.onnx_graph import ModuleGraph

#: Functions without numbers of their own.
PLAIN: dict[str, Callable[[], nn.Module]] = {
    "HardSwish": nn.Hardswish,
    "Mish": nn.Mish,
    "Relu": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "Softplus": nn.Softplus,
    "Softsign": nn.Softsign,
    "Tanh": nn.Tanh,
}
#: Those with numbers: the attributes' defaults, and what is made of them; None where PyTorch has no such function.
SHAPED: dict[str, tuple[dict[str, float], Callable[..., nn.Module | None]]] = {
    "Celu": ({"alpha": 1.0}, nn.CELU),
    "Elu": ({"alpha": 1.0}, nn.ELU),
    "HardSigmoid": (
        {"alpha": 0.2, "beta": 0.5},
        lambda alpha, beta: nn.Hardsigmoid() if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5 else None,
    ),
    "LeakyRelu": ({"alpha": 0.01}, lambda alpha: nn.LeakyReLU(alpha)),
    "Selu": (
        {"alpha": 1.67326319, "gamma": 1.05070102},
        lambda alpha, gamma: nn.SELU() if abs(alpha - 1.67326319) + abs(gamma - 1.05070102) < 1e-5 else None,
    ),
}
#: Functions of which x * f(x) is one, too.
_GATES: dict[type[nn.Module], Callable[[], nn.Module]] = {nn.Sigmoid: nn.SiLU, nn.Hardsigmoid: nn.Hardswish}
#: Coordinates and roundings of Resize that give PyTorch's nearest values for whole factors.
_NEAREST = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_floor"),
}
_ARITHMETIC = {"Mul": operator.mul, "Sub": operator.sub, "Div": operator.truediv, "Add": operator.add}


class Moves(ModuleGraph):
    """Handlers of channels, places and functions of each value."""

    def call(self, node: OnnxNode, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call whose result is the node's."""
        result = self.graph.call_function(function, args, kwargs)
        if any(isinstance(value, fx.Node) and value in self.vectors for value in args):
            self.vectors.add(result)
        self.values[node.outputs[0]] = result
        return result

    def function(self, node: OnnxNode) -> None:
        """A function of each value."""
        if node.operator in PLAIN:
            self.module(node, PLAIN[node.operator]())
            return
        defaults, make = SHAPED[node.operator]
        module = make(**{key: float(node.attributes.get(key, value)) for key, value in defaults.items()})
        if module is None:
            raise ValueError(f"{node.where}: numbers must be those of PyTorch's function, not {dict(node.attributes)}")
        self.module(node, module)

    def gelu(self, node: OnnxNode) -> None:
        self.module(node, nn.GELU(approximate=node.attributes.get("approximate", b"none").decode()))

    def prelu(self, node: OnnxNode) -> None:
        slope = self.needed(node, 1).reshape(-1)
        module = nn.PReLU(len(slope))
        with torch.no_grad():
            module.weight.copy_(torch.tensor(slope.astype(np.float32)))
        self.module(node, module)

    def clip(self, node: OnnxNode) -> None:
        low, high = (self.constant(node, place) for place in (1, 2))
        least = -np.inf if low is None else float(low.reshape(()))
        most = np.inf if high is None else float(high.reshape(()))
        if (least, most) == (0.0, 6.0):
            self.module(node, nn.ReLU6())
        elif (least, most) == (0.0, np.inf):
            self.module(node, nn.ReLU())
        elif -np.inf < least < most < np.inf:
            self.module(node, nn.Hardtanh(least, most))
        else:
            raise ValueError(f"{node.where}: bounds must be 0 alone, or two numbers, not {[least, most]}")

    def arithmetic(self, node: OnnxNode) -> None:
        """Values and constants, or two values; x * sigmoid(x) is a function of each value."""
        gate = self._gate(node) if node.operator == "Mul" else None
        if gate is not None:
            self.module(node, gate[0], gate[1])
            return
        left, right = (self._either(node, place) for place in (0, 1))
        self.call(node, _ARITHMETIC[node.operator], left, right)

    def negative(self, node: OnnxNode) -> None:
        self.call(node, torch.neg, self.value(node, 0))

    def concat(self, node: OnnxNode) -> None:
        values = [self.value(node, place) for place in range(len(node.inputs))]
        self.call(node, torch.cat, values, dim=int(node.attributes["axis"]))

    def split(self, node: OnnxNode) -> None:
        given, axis = self.constant(node, 1), int(node.attributes.get("axis", 0))
        sizes = [int(size) for size in (node.attributes.get("split", ()) if given is None else given.reshape(-1))]
        source, count = self.value(node, 0), len(node.outputs)
        if sizes:
            parts = self.graph.call_function(torch.split, (source, sizes), {"dim": axis})
        else:
            parts = self.graph.call_function(torch.chunk, (source, count), {"dim": axis})
        for place, name in enumerate(node.outputs):
            self.values[name] = self.graph.call_function(operator.getitem, (parts, place))

    def slice(self, node: OnnxNode) -> None:
        starts, ends = (self.needed(node, place).reshape(-1) for place in (1, 2))
        axes, steps = (self.constant(node, place) for place in (3, 4))
        axes = np.arange(len(starts)) if axes is None else axes.reshape(-1)
        steps = np.ones_like(starts) if steps is None else steps.reshape(-1)
        if min(axes) < 0 or min(steps) < 1:
            raise ValueError(f"{node.where}: axes and steps must be positive, not {axes.tolist()}, {steps.tolist()}")
        index = [slice(None)] * (1 + int(max(axes)))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            # Ends far beyond the value stand for its end.
            last = None if end >= 1 << 30 else int(end)
            index[int(axis)] = slice(int(start) or None, last, int(step) if step > 1 else None)
        self.call(node, operator.getitem, self.value(node, 0), tuple(index))

    def gather(self, node: OnnxNode) -> None:
        index, axis = self.needed(node, 1), int(node.attributes.get("axis", 0))
        if index.ndim != 1 or axis < 1:
            raise ValueError(f"{node.where}: indices must be a list, along an axis behind the batch's")
        places = (*[slice(None)] * axis, [int(place) for place in index])
        self.call(node, operator.getitem, self.value(node, 0), places)

    def reshape(self, node: OnnxNode) -> None:
        """To a vector of each image, or to more or fewer axes."""
        shape = [int(side) for side in self.needed(node, 1).reshape(-1)]
        if len(shape) == 2:
            self.module(node, nn.Flatten())
            return
        copied = shape[0] == 0 and not node.attributes.get("allowzero", 0)
        if 0 in shape[1:] or (shape[0] == 0 and not copied) or (copied and -1 in shape):
            raise ValueError(f"{node.where}: shape must be numbers, but for the batch, not {shape}")
        # The batch is of any size, whatever it was when the file was written.
        sides = [-1 if -1 not in shape[1:] else shape[0], *shape[1:]]
        self.values[node.outputs[0]] = self.graph.call_method("reshape", (self.value(node, 0), *sides))

    def flatten(self, node: OnnxNode) -> None:
        if node.attributes.get("axis", 1) != 1:
            raise ValueError(f"{node.where} must make one vector of each image")
        self.module(node, nn.Flatten())

    def transpose(self, node: OnnxNode) -> None:
        order = tuple(int(axis) for axis in node.attributes.get("perm", ()))
        if not order:
            raise ValueError(f"{node.where}: perm must be given")
        self.values[node.outputs[0]] = self.graph.call_method("permute", (self.value(node, 0), *order))

    def pad(self, node: OnnxNode) -> None:
        """With a number, behind the batch's axis."""
        given, fill = self.needed(node, 1).astype(np.int64).reshape(-1), self.constant(node, 2)
        axes = len(given) // 2
        constant = node.attributes.get("mode", b"constant") == b"constant" and self.constant(node, 3) is None
        if len(given) % 2 or axes < 3 or given[0] or given[axes] or not constant:
            raise ValueError(f"{node.where}: padding must be of one number, along axes behind the batch's")
        number = 0.0 if fill is None else float(fill.reshape(()))
        around = [int(given[place]) for axis in reversed(range(1, axes)) for place in (axis, axes + axis)]
        if not any(around[-2:]) and number == 0 and axes == 4:
            left, right, top, bottom = around[:4]
            self.module(node, nn.ZeroPad2d((left, right, top, bottom)))
        else:
            self.call(node, functional.pad, self.value(node, 0), around, "constant", number)

    def resize(self, node: OnnxNode) -> None:
        """By whole factors, to the nearest value or between values."""
        factors, sizes = self.constant(node, 2), self.constant(node, 3)
        options: dict[str, Any] = {"mode": "nearest"}
        coordinates = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
        rounding = node.attributes.get("nearest_mode", b"round_prefer_floor").decode()
        known = {
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("pytorch_half_pixel", "round_prefer_floor"),
        }
        mode, good = node.attributes.get("mode", b"nearest"), (coordinates, rounding) in known
        if mode == b"linear":
            good = coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners")
            options = {"mode": "bilinear", "align_corners": coordinates == "align_corners"}
        if sizes is not None and sizes.size == 4:
            options["size"] = tuple(int(side) for side in sizes.reshape(-1)[2:])
        elif factors is not None and factors.size == 4 and (factors[:2] == 1).all():
            options["scale_factor"] = tuple(float(factor) for factor in factors[2:])
            good = good and (mode != b"nearest" or bool((factors == np.rint(factors)).all()))
        else:
            good = False
        if not good or "axes" in node.attributes:
            raise ValueError(f"{node.where} must be what PyTorch's Upsample does, nearest or bilinear")
        self.module(node, nn.Upsample(**options))

    def depth_to_space(self, node: OnnxNode) -> None:
        if node.attributes.get("mode", b"DCR") != b"CRD":
            raise ValueError(f"{node.where}: mode must be CRD, as PyTorch's PixelShuffle")
        self.module(node, nn.PixelShuffle(int(node.attributes["blocksize"])))

    def _either(self, node: OnnxNode, place: int) -> Any:
        """A value, a constant number, or a constant of the module."""
        found = self.constants.get(node.inputs[place])
        if found is None:
            return self.value(node, place)
        return float(found.reshape(())) if found.size == 1 else self._buffer(node, found)

    def _buffer(self, node: OnnxNode, values: NDArray[Any]) -> fx.Node:
        name = self.free(f"{node.name}_constant")
        self.root.register_buffer(name, torch.tensor(values.astype(np.float32)))
        return self.graph.get_attr(name)

    def _gate(self, node: OnnxNode) -> tuple[nn.Module, fx.Node] | None:
        """The function that x * f(x) is, and x."""
        if any(name in self.constants for name in node.inputs):
            return None
        values = [self.value(node, place) for place in (0, 1)]
        for x, gate in (values, values[::-1]):
            module = self.root.get_submodule(str(gate.target)) if gate.op == "call_module" else None
            if module is not None and type(module) in _GATES and gate.args == (x,):
                return _GATES[type(module)](), x
        return None
