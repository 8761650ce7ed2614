"""What the commands of ``twofold onnx`` do."""

import argparse

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from twofold.exchange.referee import compare
from twofold.exchange.write import to_onnx
from twofold.golden.container import load
from twofold.golden.network import Network

#: Columns of a table that goes to a file or a pipe.
WIDTH = 120


def write(options: argparse.Namespace) -> int:
    """Write a network as an ONNX file."""
    network = load(options.network)
    outputs = [layer.name for layer in network.layers] if options.layers else ()
    to_onnx(network, options.out, style=options.style, outputs=outputs)
    print(f"{len(network.layers)} layers, style {options.style}, written to {options.out}")
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
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table, markup=False, highlight=False)
    values, own = sum(one.values for one in found), sum(one.own for one in found)
    print(f"onnxruntime and golden differ in {own} of {values} values for the same inputs of a layer")
    return int(options.style == "exact" and own > 0)


def _noise(network: Network, images: int, seed: int) -> NDArray[np.int64]:
    tensor = network.input
    rng = np.random.default_rng(seed)
    return rng.integers(tensor.low, tensor.high + 1, (images, *tensor.shape), dtype=np.int64)
