"""A quantized model in one file: its tensors, its recipe and what it is fed with. Nothing is pickled."""

from dataclasses import asdict
from math import prod
from pathlib import Path
from sys import float_info
from typing import Any

from torch import nn

from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.layers import QuantModel
from twofold.train.recipe import Recipe
from twofold.train.stored_recipe import store_recipe, stored_recipe
from twofold.train.tensor_file import read_tensors, write_tensors

#: Version of the file's layout.
MODEL_VERSION = 1
#: Values of an input that a file may ask for.
LARGEST_INPUT = 1 << 24
KEY, WHAT = "model", "a saved model"
_HEADER = {"version": int, "recipe": dict, "input": dict}


def save_model(file: Path | str, model: QuantModel, recipe: Recipe) -> None:
    """Write a quantized model; an interrupted write leaves the older file.

    Parameters
    ----------
    file
        ``.safetensors``; its folder is made where it does not exist.
    model
        Of `convert`, calibrated; if it has been trained, the training has ended and batch norms are folded.
    recipe
        That it was converted with.

    Raises
    ------
    ValueError
        If the model is not at its end, or the recipe is another one's.
    OSError
        If the file cannot be written.
    """
    if model.given_input is None:
        raise ValueError(f"Model {model.name!r} must come from convert, not be put together by hand")
    if not model.calibrated:
        raise ValueError(f"Model {model.name!r} must be calibrated before it is saved")
    if any(layer.norm is not None for layer in model.conv_layers):
        raise ValueError(f"Model {model.name!r} must have its batch norms folded before it is saved (QuantModel.fold)")
    if recipe.name != model.recipe:
        raise ValueError(f"Recipe must be the model's, {model.recipe!r}, not {recipe.name!r}")
    header = {"version": MODEL_VERSION, "recipe": store_recipe(recipe), "input": asdict(model.given_input)}
    write_tensors(_named(file), KEY, header, model.state_dict())


def load_model(file: Path | str, float_model: nn.Module) -> QuantModel:
    """The quantized model in a file, in evaluation.

    Parameters
    ----------
    file
        Of `save_model`.
    float_model
        Of the network that was quantized: its structure counts, its weights do not. It is not changed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another version, of another network, or names a quantizer that is not known: one of your
        own must have been imported.
    """
    file = _named(file)
    if not file.exists():
        raise FileNotFoundError(f"Model must be a file, not {str(file)!r}")
    header, tensors = read_tensors(file, KEY, WHAT, _HEADER, MODEL_VERSION)
    try:
        model = convert(float_model, stored_recipe(header["recipe"]), _format(header["input"]))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    try:
        model.load_state_dict(tensors)
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{file}: tensors must be those of the given model, not these: {text}") from error
    return model.eval()


def _named(file: Path | str) -> Path:
    if Path(file).suffix != ".safetensors":
        raise ValueError(f"Model must be a file '.safetensors', not {str(file)!r}")
    return Path(file)


def _format(table: dict[str, Any]) -> InputFormat:
    shape, bits, signed, scale = (table.get(key) for key in ("shape", "bits", "signed", "scale"))
    if not isinstance(shape, list) or any(type(size) is not int or size < 1 for size in shape):
        raise ValueError(f"input.shape must be a list of integers of at least 1, not {shape!r}")
    if prod(shape) > LARGEST_INPUT:
        raise ValueError(f"input.shape must have at most {LARGEST_INPUT} values, not {shape!r}")
    if type(bits) is not int or not 2 <= bits <= 8:
        raise ValueError(f"input.bits must be 2 to 8, not {bits!r}")
    if type(signed) is not bool:
        raise ValueError(f"input.signed must be true or false, not {signed!r}")
    if scale is not None and not (type(scale) in (int, float) and 0 < scale <= float_info.max):
        raise ValueError(f"input.scale must be a number above 0, not {scale!r}")
    return InputFormat(tuple(shape), bits, signed, scale)
