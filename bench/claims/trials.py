"""A row of `docs/claims.md`: a recipe, what is changed in it, and how long it is trained."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twofold.support import resources
from twofold.train.bases import read_recipe
from twofold.train.pipelines import trainings
from twofold.train.recipe import Recipe, parse_recipe

#: Every training has so many epochs, whatever its steps: schedules that count epochs are then the same part of it.
EPOCHS = 10


@dataclass(frozen=True)
class Trial:
    """A recipe and what is changed in it.

    Parameters
    ----------
    name
        What the row is called.
    base
        Name of the recipe.
    weight, activation
        Keys of the recipe's ``weight`` and ``activation`` of its rule ``*`` that are changed; where a quantizer is
        named, all keys.
    train, ptq, residual
        Keys of these tables.
    """

    name: str
    base: str
    weight: Mapping[str, Any] = field(default_factory=dict)
    activation: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    ptq: Mapping[str, Any] = field(default_factory=dict)
    residual: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, steps: int, seed: int = 0) -> Recipe:
        """The recipe, its trainings dividing the steps among them.

        Raises
        ------
        ValueError
            If the recipe would be impossible, or the steps are too few for `EPOCHS` each.
        """
        table = copy.deepcopy(read_recipe(resources.find("recipes", self.base))[0])
        for rule in table["layer"]:
            if rule["match"] == "*":
                for key in ("weight", "activation"):
                    rule[key] = _changed(rule[key], getattr(self, key))
        for key in ("train", "ptq", "residual"):
            table[key] = {**table.get(key, {}), **getattr(self, key)}
        recipe = parse_recipe(table)
        if recipe.method == "ptq":
            return replace(recipe, ptq=replace(recipe.ptq, seed=seed))
        each = steps // (len(trainings(recipe.train)) * EPOCHS)
        if each < 1:
            raise ValueError(f"Steps must be at least {len(trainings(recipe.train)) * EPOCHS}, not {steps!r}")
        settings = replace(recipe.train, epochs=EPOCHS, steps=each, batch=128, seed=seed)
        return replace(recipe, train=settings)


@dataclass(frozen=True)
class Claim:
    """Trials that are compared with each other: one claim, which the page states.

    Parameters
    ----------
    key
        Its name on the command line and in the page.
    trials
        The first is the baseline of the paired comparison.
    steps
        Of all trainings of a trial together.
    config
        Build that scales end exactly for.
    network
        Name in `train.models`.
    judged
        ``test``: on the test images. ``train``: on 5,000 training images that are held out.
    seeds
        Each gives an entry.
    """

    key: str
    trials: tuple[Trial, ...]
    steps: int = 200
    config: str = "subset_16x16"
    network: str = "resnet20"
    judged: str = "test"
    seeds: tuple[int, ...] = (0,)


def _changed(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**({} if "quantizer" in changes else table), **changes}
