"""A row's run, and the entry of the report that it gives."""

import platform
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from twofold.bench.results.costs import first_words, total, two_word_layers, word_costs
from twofold.bench.results.rows import Row
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import Network
from twofold.mapper.checks import FitError
from twofold.mapper.compiler import compile_network
from twofold.support.resources import SOURCES
from twofold.train import integer
from twofold.train.data import DataSet
from twofold.train.export import export
from twofold.train.layers import QuantModel
from twofold.train.loop import accuracy
from twofold.train.pipelines import trainings
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.recipe import Recipe
from twofold.train.run_files import FACTS, STATE
from twofold.train.runs import load_run, run_metrics, run_recipe
from twofold.train.snap import snap

#: Images of a step of an evaluation.
PART = 50
#: Files that change as rows are entered.
OWN = ("docs/results.json", "docs/results.md")


def run(row: Row, data: Path, options: tuple[str, ...] = (), threads: int = 1) -> float | None:
    """Run a row's command, going on where an earlier one was interrupted; its seconds, ``None`` in the latter case.

    `options` are further ones of a training (`Row.command`).

    Raises
    ------
    RuntimeError
        If the command fails.
    """
    command = row.command(data, options)
    resumed = command[0] == "fit" and (row.folder / STATE).is_file()
    command += ["--resume"] * resumed
    start = time.monotonic()
    if subprocess.run([sys.executable, "-m", "twofold.train", *command, "--threads", str(threads)]).returncode:
        raise RuntimeError(f"Row {row.key!r}: command failed: twofold train {' '.join(command)}")
    return None if resumed else time.monotonic() - start


def entry(row: Row, folder: Path, data: Path, seconds: float | None) -> dict[str, Any]:
    """The report's entry of a finished run.

    Parameters
    ----------
    row
        What the run is.
    folder
        The run.
    data
        Folder of the data sets.
    seconds
        What the command took, where that is known.

    Raises
    ------
    ValueError
        If the run is of another network, data set or recipe.
    """
    model, images, facts = load_run(folder, data / row.data)
    recipe = run_recipe(facts)
    found = (facts["model"], facts["data"], "float" if recipe is None else recipe.name)
    if found != (row.network, row.data, row.name):
        raise ValueError(f"Run {str(folder)!r} must be of {row.key!r}, not {'-'.join(found)!r}")
    table: dict[str, Any] = {
        "network": row.network,
        "data": row.data,
        "recipe": row.name,
        "weight_bits": row.weight_bits,
        "act_bits": row.act_bits,
        "float_accuracy": facts.get("float_accuracy", facts["accuracy"]),
        "accuracy": facts["accuracy"],
        "seed": _seed(recipe),
        "epochs": _epochs(recipe, facts, folder),
        "images": len(images.test_y),
        "build": None if recipe is None else row.config,
        "seconds": None if seconds is None else round(seconds),
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
    }
    if isinstance(model, QuantModel):
        config = load_config(row.config)
        if facts.get("build") != config.name:
            snap(model, config)
        table |= _exported(export(model, config), config, images)
    if recipe is not None and recipe.method == "ptq":
        for part in model.modules():
            if isinstance(part, ActivationQuantizer):
                part.enabled = False
        table["weights_only_accuracy"] = accuracy(model, images.test_x, images.test_y)
    return table


def _exported(network: Network, config: ArrayConfig, images: DataSet) -> dict[str, Any]:
    """Bits, cycles and accuracy of what the array computes."""
    table = {"array_bits": network.meta["weight_bits"]}
    if "two_word_ratio" in network.meta:
        table["two_word_ratio"] = network.meta["two_word_ratio"]
    table |= _cycles(network, config)
    right = 0
    for n in range(0, len(images.test_y), PART):
        logits = integer.run(network, images.integers(images.test_x[n : n + PART]))[network.output.name]
        right += int((logits.flatten(1).argmax(1) == images.test_y[n : n + PART]).sum())
    return table | {"integer_accuracy": right / len(images.test_y)}


def _cycles(network: Network, config: ArrayConfig) -> dict[str, Any]:
    """Predicted cycles of an inference, and what second words add to those of their layers; none if it is too large."""
    try:
        image = compile_network(network, config)
    except FitError:
        return {}
    if not two_word_layers(network):
        return {"cycles": image.cycles}
    costs = total(word_costs(network, image, compile_network(first_words(network), config)))
    return {"cycles": image.cycles, "two_word_cycle_ratio": costs.cycle_ratio}


def _seed(recipe: Recipe | None) -> int:
    if recipe is None:
        return 0
    return recipe.ptq.seed if recipe.method == "ptq" else recipe.train.seed


def _epochs(recipe: Recipe | None, facts: dict[str, Any], folder: Path) -> int:
    """Of all trainings of the run; a float run's are in its metrics."""
    if recipe is not None and recipe.method == "ptq":
        return 0
    if recipe is not None:
        return recipe.train.epochs * len(trainings(recipe.train))
    return int(run_metrics(folder)[-1]["epoch"])


def finished(row: Row) -> bool:
    """Whether the row's run is there to its end: its facts are written last."""
    return (row.folder / FACTS).is_file()


def commit() -> str | None:
    """The project's commit, ``None`` where git does not know; with a ``+`` where other files than `OWN` differ."""
    git = shutil.which("git")
    if git is None:
        return None
    head = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=SOURCES, capture_output=True, text=True)
    if head.returncode:
        return None
    command = [git, "status", "--porcelain", "-uno", "--", ".", *(f":!{file}" for file in OWN)]
    status = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True)
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def machine() -> str:
    """What it ran on."""
    return f"{platform.machine()}, torch {torch.__version__}"
