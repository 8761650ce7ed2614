"""The state of a training on disk: one safetensors file, with what is not a tensor as JSON in its header."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twofold.support.digests import digest
from twofold.train.layers import QuantModel
from twofold.train.tensor_file import read_tensors, write_tensors

#: Version of the file's layout.
STATE_VERSION = 2
KEY = "state"
_HEADER = {"version": int, "facts": dict, "place": dict, "quantizers": list, "trained": list, "metrics": str}
#: Tensors that an optimizer keeps of a parameter.
_KEPT = {"Adam": {"step", "exp_avg", "exp_avg_sq"}, "SGD": {"momentum_buffer"}}


@dataclass
class LoopState:
    """Where a training stands.

    Parameters
    ----------
    epoch, step
        Epochs done, and steps done in the current one.
    loss, right
        Sums over these steps: of the loss, and of rightly labelled images.
    start
        State of the batches' generator when the current epoch began.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    start: Tensor = field(default_factory=lambda: torch.Generator().get_state())

    def __post_init__(self) -> None:
        for key, kinds in (("epoch", (int,)), ("step", (int,)), ("loss", (int, float)), ("right", (int, float))):
            value = getattr(self, key)
            if type(value) not in kinds or not abs(value) < 1 << 63 or (key != "loss" and value < 0):
                raise ValueError(f"place.{key} must be a number of at least 0, not {value!r}")


def save_state(
    file: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    generator: torch.Generator,
    reached: LoopState,
    facts: dict[str, Any],
    metrics: str = "",
    means: Sequence[Tensor] = (),
) -> None:
    """Write the state; an interrupted write leaves the older file.

    Parameters
    ----------
    file
        Its folder is made where it does not exist.
    generator
        Of batches and augmentation; the global one is saved too.
    facts
        What the training is; resuming another one is refused.
    metrics
        Digest of the lines that were reported until now.
    means
        Running means, where there are such.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            kept = {key: value for key, value in state.items() if value is not None}
            tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in kept.items()}
    tensors |= {f"mean.{number}": mean for number, mean in enumerate(means)}
    tensors["start"] = reached.start
    tensors["generator"], tensors["global_generator"] = generator.get_state(), torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_generator"] = torch.cuda.get_rng_state()
    header = {"version": STATE_VERSION, "facts": facts, "place": _numbers(reached), "metrics": metrics}
    header |= {"quantizers": _attributes(model), "trained": [p.requires_grad for p in model.parameters()]}
    write_tensors(file, KEY, header, tensors)


def load_state(
    file: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    generator: torch.Generator,
    facts: dict[str, Any],
    means: Sequence[Tensor] = (),
) -> LoopState:
    """Bring model, optimizers, generators and running means to the state in a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another version, or of another training.
    """
    if not file.exists():
        raise FileNotFoundError(f"Training must have a file {file.name!r} to resume from, not so {str(file.parent)!r}")
    header, tensors = _open(file)
    wanted = json.loads(json.dumps(facts))
    for key in wanted | header["facts"]:
        if wanted.get(key) != header["facts"].get(key):
            raise ValueError(
                f"{file}: {key} must be that of the interrupted run, {header['facts'].get(key)!r}, "
                f"not {wanted.get(key)!r}"
            )
    try:
        return _restore(header, tensors, model, optimizers, generator, means)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{file}: file must be the state of this training, not this: {text}") from error


def _restore(
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    generator: torch.Generator,
    means: Sequence[Tensor],
) -> LoopState:
    reached = LoopState(**header["place"], start=tensors["start"])
    torch.Generator().set_state(reached.start)
    for quantizer, known, values in zip(_quantizers(model), _attributes(model), header["quantizers"], strict=True):
        for key, value in values.items():
            _check_attribute(key, value, known[key])
            setattr(quantizer, key, value)
    # After the attributes: octaves are those of the scales.
    model.load_state_dict(dict(_below(tensors, "model.")))
    for number, optimizer in enumerate(optimizers):
        state = _optimizer_state(optimizer, dict(_below(tensors, f"optimizer.{number}.")))
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, trained in zip(model.parameters(), header["trained"], strict=True):
        if type(trained) is not bool:
            raise TypeError(f"trained must be true or false, not {trained!r}")
        parameter.requires_grad_(trained)
    for number, mean in enumerate(means):
        kept = tensors[f"mean.{number}"]
        if kept.shape != mean.shape or kept.dtype != mean.dtype:
            raise ValueError(f"mean must have shape {tuple(mean.shape)}, not {tuple(kept.shape)} of {kept.dtype}")
        mean.copy_(kept)
    generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["global_generator"])
    if "cuda_generator" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda_generator"])
    return reached


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    wanted = _KEPT[type(optimizer).__name__]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        shape = () if key == "step" else parameters[int(index)].shape
        if key not in wanted or value.shape != shape:
            raise ValueError(f"optimizer must have {wanted} of the parameters' shapes, not {name!r} of {value.shape}")
        state.setdefault(int(index), {})[key] = value
    for number, values in state.items():
        if values.keys() != wanted:
            raise ValueError(f"optimizer must have {wanted} of parameter {number}, not {set(values)}")
    return state


def _check_attribute(key: str, value: object, known: object) -> None:
    """Numbers, flags and names stay what they are."""
    kinds = (int, float) if type(known) in (int, float) else (type(known),)
    if type(value) not in kinds or (isinstance(value, float) and not isfinite(value)):
        raise TypeError(f"quantizer's {key} must be like {known!r}, not {value!r}")


def read_progress(file: Path) -> tuple[int, str]:
    """Epochs done in a state, those of earlier stages too, and the digest of the lines reported until then.

    Both are of nothing where there is no file.
    """
    if not file.exists():
        return 0, digest(b"")
    header = _open(file)[0]
    settings = header["facts"].get("settings", {})
    epochs = settings.get("epochs", 0) if isinstance(settings, dict) else None
    done = header["place"].get("epoch")
    if type(epochs) is not int or type(done) is not int:
        raise ValueError(f"{file}: epochs must be integers, not {epochs!r} and {done!r}")
    return _stage(file, header) * epochs + done, header["metrics"]


def read_stage(file: Path) -> int:
    """Number of the stage that a state is of, from 0; 0 where there is no file."""
    return _stage(file, _open(file)[0]) if file.exists() else 0


def _stage(file: Path, header: dict[str, Any]) -> int:
    stage = header["facts"].get("stage", 0)
    if type(stage) is not int or stage < 0:
        raise ValueError(f"{file}: stage must be an integer of at least 0, not {stage!r}")
    return stage


def _open(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return read_tensors(file, KEY, "a training's state", _HEADER, STATE_VERSION)


def _numbers(reached: LoopState) -> dict[str, Any]:
    return {key: value for key, value in vars(reached).items() if not isinstance(value, Tensor)}


def _below(tensors: dict[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), tensor) for name, tensor in tensors.items() if name.startswith(prefix))


def _quantizers(model: nn.Module) -> list[nn.Module]:
    return list(model.quantizers()) if isinstance(model, QuantModel) else []


def _attributes(model: nn.Module) -> list[dict[str, Any]]:
    """Numbers, flags and names that quantizers keep besides their tensors, such as `frozen`."""
    plain = (bool, int, float, str)
    return [{key: value for key, value in vars(q).items() if type(value) in plain} for q in _quantizers(model)]
