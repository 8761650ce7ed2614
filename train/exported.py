"""The second front door: a model's graph by `torch.export`, of ATen's operators."""

import operator
import warnings
from typing import Any

from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from twofold.train.graph import BATCH, TYPES, called
from twofold.train.own_weights import evaluated

_ALL = slice(None)
#: Where a slice ends that has no end.
_BEHIND = 2**63 - 1


def exported(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """Graph of a model for any number of inputs.

    Parameters
    ----------
    inputs
        An example.

    Raises
    ------
    Exception
        Whatever `torch.export` raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Without "strict" Python runs as it is: hooks, loops and whatever else does not depend on values.
        program = export(model, (inputs[:BATCH].clone(),), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    return program_graph(program)


def program_graph(program: ExportedProgram) -> fx.GraphModule:
    """Graph of a program, as `torch.fx` would give it: its inputs are tensors, indices are Python's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = program.module(check_guards=False)
    module = module.float()
    # Those ask for as many inputs as in the example; whether any number will do is seen when shapes are.
    module._forward_pre_hooks.clear()
    graph, outputs = module.graph, program.call_spec.out_spec
    graph.set_codegen(fx.graph.CodeGen())
    for node in list(graph.nodes):
        _name_layer(node)
        if node.op == "output" and outputs is not None and outputs.is_leaf():
            node.args = (node.args[0][0],)
        elif node.op == "call_function":
            index = _index(module, node)
            if index is not None:
                _indexed(module, node, index)
    module.recompile()
    return module


def _name_layer(node: fx.Node) -> None:
    """Have a node know whether it is a whole layer of the user's model, and the layer's plain path."""
    stack = {key: (path.partition("@")[0], kind) for key, (path, kind) in node.meta.get("nn_module_stack", {}).items()}
    if stack:
        node.meta["nn_module_stack"] = stack
        package, _, kind = str(list(stack.values())[-1][1]).rpartition(".")
        node.meta["layer"] = package.startswith("torch.nn.modules.") and kind in TYPES


def _index(module: fx.GraphModule, node: fx.Node) -> Any:
    """The index that a slice, a selection or lists of numbers are; ``None`` of other operators."""
    name, others = called(node), list[Any](node.args[1:])
    if name == "index":
        return tuple(_ALL if one is None else _listed(module, one) for one in others[0])
    if name == "select":
        dim, item = others
    elif name == "slice":
        dim, start, stop, step = others + [0, None, None, 1][len(others) :]
        item = slice(start or None, None if stop == _BEHIND else stop, None if step == 1 else step)
    else:
        return None
    source: Any = node.args[0]
    return (*[_ALL] * (dim % source.meta["val"].dim()), item)


def _listed(module: fx.GraphModule, numbers: Any) -> Any:
    """A tensor of numbers as a list; what depends on the input stays what it is."""
    try:
        return evaluated(module, numbers).tolist()
    except LookupError:
        return numbers


def _indexed(module: fx.GraphModule, node: fx.Node, index: Any) -> None:
    """Have an index take an operator's place."""
    with module.graph.inserting_before(node):
        item = module.graph.call_function(operator.getitem, (node.args[0], index))
    item.meta = dict(node.meta)
    node.replace_all_uses_with(item)
    module.graph.erase_node(node)
