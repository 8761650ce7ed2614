"""What the commands of ``twofold onnx`` do."""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from twofold.exchange.read import from_onnx
from twofold.exchange.referee import compare
from twofold.exchange.write import to_onnx
from twofold.golden.config import load_config
from twofold.golden.container import load, save
from twofold.golden.network import Network

#: What reading rounds, by layer.
ERRORS = ("multiplier_error", "residual_error", "bias_error")
#: Columns of a table that goes to a file or a pipe.
WIDTH = 120


def write(options: argparse.Namespace) -> int:
    """Write a network as an ONNX file."""
    network = load(options.network)
    outputs = [layer.name for layer in network.layers] if options.layers else ()
    to_onnx(network, options.out, style=options.style, outputs=outputs)
    print(f"{len(network.layers)} layers, style {options.style}, written to {options.out}")
    return 0


def read(options: argparse.Namespace) -> int:
    """Read a quantized ONNX file as a network."""
    network = from_onnx(options.file, load_config(options.config))
    save(network, options.out)
    table = Table("layer", "kind", "bits", *(key.replace("_error", " error") for key in ERRORS))
    facts: Any = network.meta["layers"]
    for layer in network.layers:
        errors = (facts[layer.name].get(key, 0.0) for key in ERRORS)
        table.add_row(layer.name, layer.kind, str(layer.output.bits), *(f"{error:.2g}" for error in errors))
    _print(table)
    print(f"{len(network.layers)} layers, written to {options.out}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Compare onnxruntime with golden on random inputs; 1 if a layer of the exact style differs."""
    if options.images < 1:
        raise ValueError(f"Argument --images must be at least 1, not {options.images!r}")
    network = load(options.network)
    found = compare(network, _noise(network, options.images, options.seed), style=options.style)
    table = Table("layer", "values", "different", "own", "largest")
    for one in found:
        table.add_row(one.layer, *(str(n) for n in (one.values, one.different, one.own, one.largest)))
    _print(table)
    values, own = sum(one.values for one in found), sum(one.own for one in found)
    print(f"onnxruntime and golden differ in {own} of {values} values for the same inputs of a layer")
    return int(options.style == "exact" and own > 0)


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table, markup=False, highlight=False)


def _noise(network: Network, images: int, seed: int) -> NDArray[np.int64]:
    tensor = network.input
    rng = np.random.default_rng(seed)
    return rng.integers(tensor.low, tensor.high + 1, (images, *tensor.shape), dtype=np.int64)
