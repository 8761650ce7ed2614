"""A run's folder: weights as safetensors, what they are as JSON. Nothing is pickled."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn

from twofold.train.convert import convert
from twofold.train.data import DataSet, load_data
from twofold.train.layers import QuantModel
from twofold.train.models import build_model
from twofold.train.recipe import Recipe
from twofold.train.report import parse_lines
from twofold.train.run_files import (
    FACTS,
    METRICS,
    METRICS_DIGEST,
    WEIGHTS,
    WEIGHTS_DIGEST,
    part,
    read_bound,
    read_signed,
    replace_run,
)
from twofold.train.stored_recipe import store_recipe, stored_recipe

#: Version of the folder's layout; the digests of version 1 may be missing.
RUN_VERSION = 2


def save_run(folder: Path | str, model: nn.Module, facts: dict[str, Any], recipe: Recipe | None = None) -> None:
    """Write a float or quantized model in place of the run in the folder, if there is one.

    Parameters
    ----------
    folder
        Is made where it does not exist.
    model
        Its tensors are written.
    facts
        At least ``model`` and ``data``, the names that build them again, and ``data_path`` where the data have one.
    recipe
        Of a quantized model.

    Raises
    ------
    OSError
        If it cannot be written; the older run is then as it was.
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    table = {"version": RUN_VERSION} | facts | {"recipe": None if recipe is None else store_recipe(recipe)}
    replace_run(Path(folder), save(tensors), table)


def load_run(folder: Path | str, data_path: Path | None = None) -> tuple[nn.Module, DataSet, dict[str, Any]]:
    """Model, data and facts of a run; `data_path` instead of where the data were.

    Raises
    ------
    FileNotFoundError
        If it is no run's folder.
    ValueError
        If the files are damaged, do not belong together, or are of a newer version.
    """
    folder = Path(folder)
    for name in (WEIGHTS, FACTS):
        if not (folder / name).exists() and not part(folder / name).exists():
            raise FileNotFoundError(f"Run must have a file {name!r}, not so {str(folder)!r}")
    facts, recipe = _read_facts(folder / FACTS)
    weights = read_bound(folder, WEIGHTS, facts.pop(WEIGHTS_DIGEST, None))
    data = load_data(facts["data"], data_path or facts.get("data_path"))
    model = build_model(facts["model"], classes=data.classes, inputs=data.input.shape[0])
    if recipe is not None:
        model = convert(model, recipe, data.input)
    try:
        model.load_state_dict(load(weights))
    except Exception as error:
        raise ValueError(f"{folder / WEIGHTS}: tensors must be those of the run's model, not these: {error}") from error
    return model.eval(), data, facts


def quantized_run(folder: Path | str, data_path: Path | None = None) -> tuple[QuantModel, DataSet, dict[str, Any]]:
    """Like `load_run`, for a quantized model.

    Raises
    ------
    ValueError
        If the model is a float model.
    """
    model, data, facts = load_run(folder, data_path)
    return quantized(folder, model), data, facts


def quantized(folder: Path | str, model: nn.Module) -> QuantModel:
    """The run's model.

    Raises
    ------
    ValueError
        If it is a float model.
    """
    if not isinstance(model, QuantModel):
        raise ValueError(f"Run must be of a quantized model, not the float model in {str(folder)!r}")
    return model


def run_recipe(facts: dict[str, Any]) -> Recipe | None:
    """The recipe in a run's facts; ``None`` for a float model."""
    return None if facts["recipe"] is None else stored_recipe(facts["recipe"])


def run_metrics(folder: Path | str) -> list[dict[str, float]]:
    """Numbers of each epoch of the run's training; none for a run without one.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is no run's folder, or the file is damaged or of another run.
    """
    folder = Path(folder)
    facts, _ = _read_facts(folder / FACTS)
    stated = facts.get(METRICS_DIGEST)
    if stated is None and (facts["version"] > 1 or not (folder / METRICS).exists()):
        return []
    return parse_lines(folder / METRICS, read_bound(folder, METRICS, stated))


def _read_facts(path: Path) -> tuple[dict[str, Any], Recipe | None]:
    """Facts and recipe of a run."""
    facts = read_signed(path)
    version = facts["version"]
    if type(version) is not int or not 1 <= version <= RUN_VERSION:
        raise ValueError(f"{path}: version must be {RUN_VERSION}, not {version!r}")
    needed = ("model", "data", *((WEIGHTS_DIGEST,) if version > 1 else ()))
    for key in ("model", "data", "data_path", WEIGHTS_DIGEST, METRICS_DIGEST):
        if not isinstance(facts.get(key), str if key in needed else str | None):
            raise ValueError(f"{path}: {key} must be a string, not {facts.get(key)!r}")
    try:
        return facts, run_recipe(facts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def use_threads(count: int) -> None:
    """Threads of torch. One is as fast as two for small networks, and the result does not depend on the machine."""
    torch.set_num_threads(count)
