"""Recipes as JSON can hold them: in runs, and in saved models. All files of a recipe are merged by then.

What was stored before recipes had ``[residual]`` has scales that are not tied.
"""

from dataclasses import asdict
from typing import Any

from twofold.train.recipe import Recipe, parse_recipe


def store_recipe(recipe: Recipe) -> dict[str, Any]:
    """Everything that a recipe says, its defaults too."""
    return asdict(recipe)


def stored_recipe(table: Any) -> Recipe:
    """The recipe that has been stored.

    Raises
    ------
    ValueError
        If it is none, or names a quantizer that is not known.
    """
    try:
        return parse_recipe(_toml(table))
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"recipe must be a stored one, not this: {error!r}") from error


def _toml(table: dict[str, Any]) -> dict[str, Any]:
    """The TOML form of what `dataclasses.asdict` has flattened."""
    rules = []
    for rule in table["rules"]:
        weight = rule["weight"]
        if weight is not None:
            weight = {"quantizer": weight["quantizer"], "learn": weight["learn"]} | weight["options"]
        activation = rule["activation"]
        if activation is not None:
            activation = activation | activation["options"] | {"options": None}
            activation = {key: value for key, value in activation.items() if value is not None}
        found = {"match": rule["match"], "weight": weight, "activation": activation}
        rules.append({key: value for key, value in found.items() if value is not None})
    kept = {key: value for key, value in table.items() if key != "rules"}
    return {"residual": {"tie": False}} | kept | {"layer": rules}
