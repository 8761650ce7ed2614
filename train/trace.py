"""A user's model as a graph of operations: a copy in float32, its hooks and reparametrizations resolved."""

import copy
import operator
import warnings
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils import parametrize

from twofold.train.exported import exported, program_graph
from twofold.train.graph import BATCH, DROPOUTS, SAME, TYPES, called, is_aten
from twofold.train.own_weights import make_layers
from twofold.train.pointwise import FUNCTIONS

#: Modules that hold the user's own under this name and compute the same in evaluation.
_WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
}
#: Operations whose result is their source's own storage in evaluation, in its shape.
_SAME = ("Identity", *(name for name in SAME if name != "clone"), *DROPOUTS)


def own_copy(model: nn.Module) -> nn.Module:
    """The user's model in evaluation, float32 on the CPU, without wrappers; a copy.

    Raises
    ------
    ValueError
        If it is compiled to TorchScript, or cannot be copied.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(f"Model must be the module before torch.jit, not {type(model).__name__}")
    # Tensors that hooks compute (pruning, weight normalisation) have a history, with which they cannot be copied.
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        copied = copy.deepcopy(_unwrapped(model), memo).eval().cpu().float()
    except Exception as error:
        raise ValueError(f"Model must be one that copy.deepcopy can copy, not fail with {error!r}") from error
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            setattr(parent, name, _unwrapped(child))
    if type(copied) in TYPES.values():
        copied = nn.Sequential(OrderedDict({type(copied).__name__.lower(): copied}))
    return copied


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, or what it wraps."""
    while (inner := _WRAPPERS.get(type(module).__name__)) is not None and hasattr(module, inner):
        module = getattr(module, inner)
    return module


def reference(model: nn.Module, inputs: Tensor) -> Any:
    """What `own_copy` gives; afterwards only hooks are left that replace a value, and no reparametrizations.

    Raises
    ------
    ValueError
        If the model does not take these inputs.
    """
    returned: set[int] = set()
    kinds = ("_forward_pre_hooks", "_forward_hooks")
    for module in model.modules():
        for kind in kinds:
            hooks = getattr(module, kind)
            for key, hook in hooks.items():
                hooks[key] = _Watched(hook, key, returned)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            result = model(inputs.clone())
        except Exception as error:
            raise ValueError(
                f"Model must take inputs of shape {tuple(inputs.shape[1:])!r}, not fail with: {error}"
            ) from error
    for module in model.modules():
        for kind in kinds:
            hooks = getattr(module, kind)
            for key, watched in list(hooks.items()):
                hooks[key] = watched.hook
                if key not in returned:
                    del hooks[key]
        if parametrize.is_parametrized(module):
            _bake(module)
    return result


def _bake(module: nn.Module) -> None:
    # Not remove_parametrizations: it changes the class, which the user's model shares.
    names = list(module.parametrizations)  # type: ignore[arg-type]
    with torch.no_grad():
        values = {name: getattr(module, name).clone() for name in names}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


class _Watched:
    """A hook that notes whether it returned something."""

    def __init__(self, hook: Any, key: int, returned: set[int]):
        self.hook, self.key, self.returned = hook, key, returned

    def __call__(self, *args: Any) -> Any:
        result = self.hook(*args)
        if result is not None:
            self.returned.add(self.key)
        return result


class _Proxy(fx.Proxy):
    """Also knows ``x += y`` and the like, which otherwise are traced as if they made new tensors."""

    def _in_place(self, function: Any, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)


class _Tracer(fx.Tracer):
    """Also traces what hooks make of the arguments and results of layers that are not looked into."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.is_leaf_module(m, self.path_of_module(m)):
            return super().call_module(m, forward, args, kwargs)
        for key, hook in m._forward_pre_hooks.items():
            if key in m._forward_pre_hooks_with_kwargs:
                args, kwargs = hook(m, args, kwargs) or (args, kwargs)
            else:
                changed = hook(m, args)
                args = args if changed is None else changed if isinstance(changed, tuple) else (changed,)
        result = super().call_module(m, forward, args, kwargs)
        for key, hook in m._forward_hooks.items():
            given = (m, args, kwargs) if key in m._forward_hooks_with_kwargs else (m, args)
            changed = hook(*given, result)
            result = result if changed is None else changed
        return result


def enter(
    model: nn.Module | ExportedProgram, inputs: Tensor, *, second: bool = False
) -> tuple[fx.GraphModule, Any, str]:
    """Graph of a user's model, what the model gives for these inputs, and what has traced it.

    Parameters
    ----------
    second
        Only by `torch.export`.

    Raises
    ------
    ValueError
        If it cannot be copied, does not take the inputs, or cannot be traced.
    """
    if isinstance(model, ExportedProgram):
        graph, door = program_graph(model), "torch.export"
        wanted = reference(graph, inputs)
        make_layers(graph)
    else:
        model = own_copy(model)
        wanted = reference(model, inputs)
        graph, door = trace(model, inputs, second=second)
    return graph, wanted, door


def trace(model: nn.Module, inputs: Tensor, *, second: bool = False) -> tuple[fx.GraphModule, str]:
    """Graph of a model that `reference` has seen, and what has traced it: `torch.fx`, or where that cannot, or is not
    asked, `torch.export`.

    Raises
    ------
    ValueError
        If neither can.
    """
    reasons = []
    if not second:
        try:
            traced, door = _by_fx(model), "torch.fx"
        except Exception as error:
            reasons.append(_line(error))
    if second or reasons:
        try:
            traced, door = exported(model, inputs), "torch.export"
        except Exception as error:
            reasons.append(_line(error))
            raise ValueError(
                f"Model must be traceable by torch.fx or torch.export, not fail with {' and '.join(reasons)}"
            ) from error
    make_layers(traced)
    return traced, door


def _line(error: Exception) -> str:
    """An error in one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"


def _by_fx(model: nn.Module) -> fx.GraphModule:
    graph = _Tracer().trace(model)
    inputs = [node.target for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) > 1:
        raise ValueError(f"model must have one input, not {tuple(inputs)!r}")
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return fx.GraphModule(model, graph)


def resolve(traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
    """Have nodes know their results' shapes, make sizes constants, and have whoever reads a tensor after an operation
    in place read that operation's result."""
    shapes = _Shapes(traced)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            shapes.propagate(torch.zeros(BATCH, *shape))
        except RuntimeError as error:
            raise ValueError(f"Model must take any number of inputs, not fail with {BATCH}: {error}") from error
    for node, value in shapes.constants.items():

        def constant(other: fx.Node, node: fx.Node = node, value: Any = value) -> Any:
            return value if other is node else other

        for user in list(node.users):
            user.args, user.kwargs = fx.map_arg(user.args, constant), fx.map_arg(user.kwargs, constant)
    _separate(traced)


class _Shapes(ShapeProp):
    """Notes shapes of tensors, and the numbers that are computed from them."""

    def __init__(self, traced: fx.GraphModule):
        super().__init__(traced)
        self.constants: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, (int, float, tuple)) and n.op != "output":
            plain = tuple(result) if isinstance(result, tuple) else result
            if not isinstance(plain, tuple) or all(isinstance(item, int) for item in plain):
                self.constants[n] = plain
        return result


def _separate(traced: fx.GraphModule) -> None:
    """Have later readers of a tensor that an operation changed in place read the operation's result."""
    order = {node: number for number, node in enumerate(traced.graph.nodes)}
    storage: dict[fx.Node, list[fx.Node]] = {}
    for node in order:
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        inplace, same = _in_place(traced, node), _called(traced, node) in _SAME
        if source is None or not (inplace or same):
            storage[node] = [node]
            continue
        names = storage[source]
        if inplace:
            for name in names:
                for user in list(name.users):
                    if order[user] > order[node]:
                        user.replace_input_with(name, node)
        names.append(node)
        storage[node] = names


def _called(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))).__name__
    return called(node)


def _in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = _called(traced, node)
    changes = getattr(node.target, "__module__", "") == "_operator" and name.startswith("i")
    # ATen's operators say it by their names alone.
    place = 1 if name in ("relu", "relu6") else 1 + len(FUNCTIONS[name]) if name in FUNCTIONS else None
    given = place is not None and not is_aten(node) and len(node.args) > place and node.args[place] is True
    flagged = node.kwargs.get("inplace") or given
    return bool(flagged) or changes or (name.endswith("_") and not name.endswith("__"))
