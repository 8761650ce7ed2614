"""A PReLU with a slope for each channel, which no table holds, as a sum of scaled tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn


def write_slopes(graph: fx.GraphModule, values: dict[fx.Node, Tensor]) -> None:
    """Have each PReLU of different slopes be ``slope * x + relu((1 - slope) * x)``; with a slope above 1, ``slope * x +
    (1 - slope) * relu(x)``.

    Parameters
    ----------
    values
        What nodes have computed; new ones get theirs.
    """
    for node in list(graph.graph.nodes):
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, nn.PReLU) or len(module.weight.unique()) < 2:
            continue
        source = node.args[0]
        sides = (-1, *(1 for _ in values[source].shape[2:]))
        slope = module.weight.detach().reshape(sides)
        with graph.graph.inserting_before(node):
            writer = _Writer(graph, node, values)
            low = writer.call(torch.mul, source, writer.constant("slope", slope))
            rest = writer.constant("rest", 1 - slope)
            if bool((slope <= 1).all()):
                high = writer.call(torch.relu, writer.call(torch.mul, source, rest))
            else:
                high = writer.call(torch.mul, writer.call(torch.relu, source), rest)
            total = writer.call(torch.add, low, high)
        node.replace_all_uses_with(total)
        graph.graph.erase_node(node)


class _Writer:
    """Writes nodes in a layer's place."""

    def __init__(self, graph: fx.GraphModule, layer: fx.Node, values: dict[fx.Node, Tensor]):
        self.graph, self.layer, self.values = graph, layer, values

    def constant(self, what: str, value: Tensor) -> fx.Node:
        name = f"_{self.layer.name}_{what}"
        self.graph.register_buffer(name, value)
        return self._kept(self.graph.graph.get_attr(name), value)

    def call(self, function: Callable[..., Tensor], *args: Any) -> fx.Node:
        given = [self.values[one] for one in args]
        return self._kept(self.graph.graph.call_function(function, args), function(*given))

    def _kept(self, node: fx.Node, value: Tensor) -> fx.Node:
        path = str(self.layer.target)
        node.meta = self.layer.meta | {"nn_module_stack": {path: (path, nn.PReLU)}, "layer": False}
        self.values[node] = value
        return node
