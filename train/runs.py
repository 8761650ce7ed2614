"""A run's folder: weights as safetensors, what they are as JSON. Nothing is pickled."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from support.files import write_text
from support.tables import parse_json, read_bytes
from train.convert import convert
from train.data import DataSet, load_data
from train.layers import QuantModel
from train.models import build_model
from train.recipe import Recipe, parse_recipe

#: Version of the folder's layout.
RUN_VERSION = 1
WEIGHTS, FACTS, METRICS = "model.safetensors", "run.json", "metrics.jsonl"


def save_run(folder: Path | str, model: nn.Module, facts: dict[str, Any], recipe: Recipe | None = None) -> None:
    """Write a float or quantized model.

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
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    part = folder / (WEIGHTS + ".part")
    try:
        save_file(tensors, part)
        digest = _digest(part)
        part.replace(folder / WEIGHTS)
    finally:
        part.unlink(missing_ok=True)
    table = {"version": RUN_VERSION} | facts | {"recipe": None if recipe is None else asdict(recipe)}
    table |= {"weights_sha256": digest}
    write_text(folder / FACTS, json.dumps(table, indent=1, sort_keys=True) + "\n")


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
        if not (folder / name).is_file():
            raise FileNotFoundError(f"Run must have a file {name!r}, not so {str(folder)!r}")
    facts, recipe = _read_facts(folder / FACTS)
    stated = facts.pop("weights_sha256", None)
    if stated is not None and stated != _digest(folder / WEIGHTS):
        raise ValueError(f"{folder / WEIGHTS}: checksum must be that of {FACTS}, {stated!r}: the file is damaged")
    data = load_data(facts["data"], data_path or facts.get("data_path"))
    model = build_model(facts["model"], classes=data.classes, inputs=data.input.shape[0])
    if recipe is not None:
        model = convert(model, recipe, data.input)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
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
    if not isinstance(model, QuantModel):
        raise ValueError(f"Run must be of a quantized model, not the float model in {str(folder)!r}")
    return model, data, facts


def run_recipe(facts: dict[str, Any]) -> Recipe | None:
    """The recipe in a run's facts; ``None`` for a float model."""
    return None if facts["recipe"] is None else parse_recipe(_table(facts["recipe"]))


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_facts(path: Path) -> tuple[dict[str, Any], Recipe | None]:
    """Facts and recipe of a run."""
    try:
        facts = parse_json(read_bytes(path).decode())
        version = facts["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: file must be a run's JSON, not damaged: {error!r}") from error
    if version != RUN_VERSION:
        raise ValueError(f"{path}: version must be {RUN_VERSION}, not {version!r}")
    for key in ("model", "data"):
        if not isinstance(facts.get(key), str):
            raise ValueError(f"{path}: {key} must be a string, not {facts.get(key)!r}")
    if not isinstance(facts.get("data_path"), str | None):
        raise ValueError(f"{path}: data_path must be a string, not {facts['data_path']!r}")
    try:
        return facts, run_recipe(facts)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: recipe must be that of a run, not this: {error!r}") from error


def use_threads(count: int) -> None:
    """Threads of torch. One is as fast as two for small networks, and the result does not depend on the machine."""
    torch.set_num_threads(count)


def _table(recipe: dict[str, Any]) -> dict[str, Any]:
    """The TOML form of a recipe that `dataclasses.asdict` has flattened."""
    rules = []
    for rule in recipe["rules"]:
        weight = rule["weight"]
        if weight is not None:
            weight = {"quantizer": weight["quantizer"], "learn": weight["learn"]} | weight["options"]
        activation = rule["activation"]
        if activation is not None:
            activation = activation | activation["options"] | {"options": None}
            activation = {key: value for key, value in activation.items() if value is not None}
        table = {"match": rule["match"], "weight": weight, "activation": activation}
        rules.append({key: value for key, value in table.items() if value is not None})
    return {key: value for key, value in recipe.items() if key != "rules"} | {"layer": rules}
