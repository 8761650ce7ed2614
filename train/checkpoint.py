"""The state of a training on disk: one safetensors file, with what is not a tensor as JSON in its header."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from support.tables import parse_json
from train.layers import QuantModel

#: Version of the file's layout.
STATE_VERSION = 1
STATE = "state.safetensors"
_HEADER = {"version": int, "facts": dict, "place": dict, "optimizers": list, "quantizers": list, "trained": list}


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


def save_state(
    file: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    generator: torch.Generator,
    reached: LoopState,
    facts: dict[str, Any],
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
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    groups: list[Any] = []
    for number, optimizer in enumerate(optimizers):
        table = optimizer.state_dict()
        scalars: dict[str, Any] = {}
        for index, state in table["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{index}.{key}"] = value
                else:
                    scalars[f"{index}.{key}"] = value
        groups.append({"groups": table["param_groups"], "scalars": scalars})
    tensors["start"] = reached.start
    tensors["generator"], tensors["global_generator"] = generator.get_state(), torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_generator"] = torch.cuda.get_rng_state()
    header = {"version": STATE_VERSION, "facts": facts, "place": _numbers(reached), "optimizers": groups}
    header |= {"quantizers": _attributes(model), "trained": [p.requires_grad for p in model.parameters()]}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(stored, part, metadata={"state": json.dumps(header)})
    part.replace(file)


def load_state(
    file: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    generator: torch.Generator,
    facts: dict[str, Any],
) -> LoopState:
    """Bring model, optimizers and generators to the state in a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another version, or of another training.
    """
    if not file.is_file():
        raise FileNotFoundError(f"Training must have a file {file.name!r} to resume from, not so {str(file.parent)!r}")
    header, tensors = _open(file)
    wanted = json.loads(json.dumps(facts))
    for key in wanted | header["facts"]:
        if wanted.get(key) != header["facts"].get(key):
            raise ValueError(
                f"{file}: {key} must be that of the interrupted run, {header['facts'].get(key)!r}, "
                f"not {wanted.get(key)!r}"
            )
    model.load_state_dict(dict(_below(tensors, "model.")))
    for number, (optimizer, table) in enumerate(zip(optimizers, header["optimizers"], strict=True)):
        state: dict[int, dict[str, Any]] = {}
        for name, value in (*_below(tensors, f"optimizer.{number}."), *table["scalars"].items()):
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": table["groups"]})
    for parameter, trained in zip(model.parameters(), header["trained"], strict=True):
        parameter.requires_grad_(trained)
    for quantizer, values in zip(_quantizers(model), header["quantizers"], strict=True):
        for key, value in values.items():
            setattr(quantizer, key, value)
    generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["global_generator"])
    if "cuda_generator" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda_generator"])
    return LoopState(**header["place"], start=tensors["start"])


def read_epoch(file: Path) -> int:
    """Epochs done in a state, those of earlier stages too; 0 where there is no file."""
    if not file.is_file():
        return 0
    header = _open(file)[0]
    return read_stage(file) * int(header["facts"].get("settings", {}).get("epochs", 0)) + int(header["place"]["epoch"])


def read_stage(file: Path) -> int:
    """Number of the stage that a state is of, from 0; 0 where there is no file."""
    return int(_open(file)[0]["facts"].get("stage", 0)) if file.is_file() else 0


def _open(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(file, "pt") as opened:
            header = parse_json((opened.metadata() or {})["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, KeyError, RecursionError, ValueError) as error:
        raise ValueError(f"{file}: file must be a training's state, not damaged: {error}") from error
    for key, kind in _HEADER.items():
        if not isinstance(header, dict) or not isinstance(header.get(key), kind):
            raise ValueError(f"{file}: file must be a training's state, not damaged: no {key}")
    if header["version"] != STATE_VERSION:
        raise ValueError(f"{file}: version must be {STATE_VERSION}, not {header['version']!r}")
    return header, tensors


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
