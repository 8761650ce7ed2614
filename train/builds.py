"""Which of the builds in `configs/` take a quantized model: what a command says when it is given another."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import Network
from twofold.support import resources
from twofold.train.export import export
from twofold.train.exported_formats import check_reads
from twofold.train.layers import QuantModel


def check_build(model: QuantModel, config: ArrayConfig) -> None:
    """Refuse, before any training, a build whose words cannot hold the model's weights.

    Raises
    ------
    ValueError
        If it is none, naming the layer and the configurations to take.
    """
    try:
        _check_formats(model, config)
    except ValueError as error:
        taking = _taking(lambda config: _check_formats(model, config))
        raise ValueError(f"{error}. Build {config.name!r} does not take the network. {_hint(taking)}") from error


def _check_formats(model: QuantModel, config: ArrayConfig) -> None:
    for layer in model.conv_layers:
        try:
            check_reads(layer, config)
            layer.weight_quantizer.check_format(config.fmt)
        except ValueError as error:
            raise ValueError(f"Layer {layer.name!r}: {error}") from error


def _hint(taking: list[Path]) -> str:
    if not taking:
        return "None of configs/ does: make a build of its weight format"
    return f"Take one of {', '.join(resources.shown('configs', path) for path in taking)}"


def export_for(model: QuantModel, config: ArrayConfig, *, meta: Mapping[str, object] | None = None) -> Network:
    """`train.export.export`, whose error also says which configuration to take.

    Raises
    ------
    ValueError
        As `export` does.
    """
    try:
        return export(model, config, meta=meta)
    except ValueError as error:
        taking = _taking(lambda config: export(model, config))
        if not taking and "Weight format" not in str(error):
            raise
        raise ValueError(f"{error}. Build {config.name!r} does not take the network. {_hint(taking)}") from error


def _builds() -> list[Path]:
    """Those of fewest PEs first, those with a memory outside last."""
    return sorted(resources.shipped("configs"), key=lambda path: (*_size(load_config(path)), path))


def _size(config: ArrayConfig) -> tuple[bool, int]:
    return config.external, config.rows * config.cols


def _taking(attempt: Callable[[ArrayConfig], object]) -> list[Path]:
    """Those for which the attempt raises no ValueError."""
    found = []
    for path in _builds():
        with suppress(ValueError):
            attempt(load_config(path))
            found.append(path)
    return found
