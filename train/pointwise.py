"""Activations that are no clip: functions of one number, which the machine looks up in tables (`golden.table`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, fx, nn

from twofold.train.graph import arguments

#: Functions of `torch.nn.functional`, with the arguments that follow the tensor.
FUNCTIONS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "sigmoid": {},
    "hardsigmoid": {},
    "hardswish": {},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "silu": {},
    "tanh": {},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "selu": {},
    "gelu": {"approximate": "none"},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "mish": {},
    "softsign": {},
}
#: Those that are never negative.
_NONNEGATIVE = ("sigmoid", "hardsigmoid", "softplus")


class Function(Protocol):
    """What a table can hold."""

    def __call__(self, x: Tensor) -> Tensor:
        """The function of each number."""

    @property
    def nonnegative(self) -> bool:
        """Whether no result is negative."""


@dataclass(frozen=True)
class Pointwise:
    """A function of `FUNCTIONS` with its arguments.

    Parameters
    ----------
    name
        Of the function.
    options
        Names and values of its arguments.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = getattr(F, self.name)(x, **dict(self.options))
        return y

    @property
    def nonnegative(self) -> bool:
        """Whether no result is negative."""
        return self.name in _NONNEGATIVE

    @classmethod
    def of_module(cls, module: nn.Module) -> "Pointwise | None":
        """What a layer computes; ``None`` where it is none of them.

        Raises
        ------
        ValueError
            If a PReLU has several slopes.
        """
        if isinstance(module, nn.PReLU):
            slopes = sorted(set(module.weight.detach().flatten().tolist()))
            if len(slopes) > 1:
                raise ValueError(f"slope must be the same for all channels, not {slopes[0]!r} to {slopes[-1]!r}")
            return cls("leaky_relu", (("negative_slope", slopes[0]),))
        name = MODULES.get(type(module).__name__)
        if name is None:
            return None
        return cls._of(name, {option: getattr(module, option) for option in FUNCTIONS[name]})

    @classmethod
    def of_call(cls, name: str, node: fx.Node) -> "Pointwise":
        """What a call of that function computes."""
        return cls._of(name, dict(zip(FUNCTIONS[name], arguments(node, **FUNCTIONS[name]), strict=True)))

    @classmethod
    def _of(cls, name: str, options: Mapping[str, Any]) -> "Pointwise":
        return cls(name, tuple(options.items()))


#: Layers by their class's name, besides `torch.nn.PReLU`.
MODULES = {
    "LeakyReLU": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "Hardtanh": "hardtanh",
    "SiLU": "silu",
    "Tanh": "tanh",
    "ELU": "elu",
    "CELU": "celu",
    "SELU": "selu",
    "GELU": "gelu",
    "Softplus": "softplus",
    "Mish": "mish",
    "Softsign": "softsign",
}
