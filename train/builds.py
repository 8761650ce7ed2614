"""Which of the builds in `configs/` take a quantized model: what a command says when it is given another."""

from collections.abc import Mapping
from pathlib import Path

from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import Network
from twofold.support import resources
from twofold.train.export import export
from twofold.train.layers import QuantModel


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
        taking = [resources.shown("configs", path) for path in _builds() if _takes(path, model)]
        if taking:
            hint = f"Take one of {', '.join(taking)}"
        elif "Weight format" in str(error):
            hint = "None of configs/ does: make a build of its weight format"
        else:
            raise
        raise ValueError(f"{error}. Build {config.name!r} does not take the network. {hint}") from error


def _builds() -> list[Path]:
    """Those of fewest PEs first."""
    return sorted(resources.shipped("configs"), key=lambda path: (_cells(load_config(path)), path))


def _cells(config: ArrayConfig) -> int:
    return config.rows * config.cols


def _takes(path: Path, model: QuantModel) -> bool:
    try:
        export(model, load_config(path))
    except ValueError:
        return False
    return True
