"""How busy the array is: multiply-accumulates of a network beside what its cycles could hold.

ResNet-20 for CIFAR, and the demo's network, with random weights, quantized for each build. The dense ideal does one
multiply-accumulate a cycle in each of the rows x columns elements. What keeps the array from it: tiles that a layer
does not fill (a first layer has 3 channels for 16 rows), further words of 8-bit weights, residuals and pooling, which
are multiplications by constants here, and cycles in which no pass runs. Cycles are predicted, and exact: the machine's
own counter agrees. A build that is too small for a network gets deeper memories; its array stays as it is.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import Network
from twofold.mapper.compiler import compile_network
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.models import build_model
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

REPORT = build_folder("bench", "utilisation.json")
BUILDS = tuple(Path(f"{kind}_{size}") for kind in ("log", "subset") for size in ("8x8", "16x16"))
#: Least depths of the memories (lines).
DEEP = {
    "feature_depth": 1 << 14,
    "weight_depth": 1 << 16,
    "channel_depth": 1 << 12,
    "program_depth": 1 << 14,
    "point_sets": 32,
}
#: Network of `train.models`, and (channels, height, width) of its input.
NETWORKS = {"resnet20": (3, 32, 32), "demo": (1, 8, 8)}


def quantized(name: str, config: ArrayConfig) -> Network:
    """A network with random weights of one word each, 8-bit first and last layers, 4-bit activations."""
    torch.manual_seed(0)
    model = build_model(name).eval()
    shape = NETWORKS[name]
    one = {"quantizer": "stlq", "bits": 3} if config.pe == "log" else {"quantizer": "subset", "bits": 4}
    eight = {"quantizer": "uniform", "bits": 8}
    recipe = parse_recipe(
        {
            "name": "random",
            "method": "ptq",
            "layer": [
                {"match": "*", "weight": one, "activation": {"bits": 4}},
                {"match": "@first", "weight": eight},
                {"match": "@last", "weight": eight, "activation": {"bits": 8, "calibration": "max"}},
            ],
        }
    )
    network = convert(model, recipe, InputFormat(shape, signed=True, scale=1 / 64))
    calibrate(network, torch.randn(4, *shape))
    network.finish()
    snap(network, config)
    return export(network, config)


def measure(name: str, config: ArrayConfig) -> dict[str, Any]:
    """The report's row of a network on a build; `layers` has the utilisation of each layer with weights."""
    config = replace(config, **{key: max(depth, getattr(config, key)) for key, depth in DEEP.items()})
    network = quantized(name, config)
    image = compile_network(network, config)
    cycles = {layer.name: layer.cycles for layer in image.layers}
    macs, words, layers = 0, 0, {}
    for layer in network.layers:
        if layer.kind not in ("conv2d", "linear"):
            continue
        branch = layer.branches[0]
        own = branch.codes[0].size * layer.output.shape[1] * layer.output.shape[2]
        macs, words = macs + own, words + own * len(branch.codes)
        layers[layer.name] = round(own / (cycles[layer.name] * config.rows * config.cols), 4)
    elements = config.rows * config.cols
    return {
        "network": name,
        "build": config.name,
        "macs": macs,
        "word_macs": words,
        "cycles": image.cycles,
        "ideal_cycles": -(-macs // elements),
        "utilisation": round(macs / (image.cycles * elements), 4),
        "word_utilisation": round(words / (image.cycles * elements), 4),
        "lost": image.lost,
        "layers": layers,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report."""
    parser = Parser(prog="twofold bench utilisation", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, nargs="+", default=list(BUILDS), help="builds")
    parser.add_argument("--network", choices=tuple(NETWORKS), nargs="+", default=list(NETWORKS), help="networks")
    options = parser.parse_args(arguments)
    rows, lines = [], []
    for name in options.network:
        for path in options.config:
            row = measure(name, load_config(path))
            rows.append(row)
            counts = (f"{row[key]:,}" for key in ("macs", "cycles", "ideal_cycles"))
            shares = (f"{100 * row[key]:.1f} %" for key in ("utilisation", "word_utilisation"))
            lines.append((name, row["build"], *counts, *shares))
    heads = ("network", "build", "MACs", "cycles", "ideal", "utilisation", "with words")
    show_table("Multiply-accumulates of the network over those of the array", heads, lines)
    write_text(REPORT, json.dumps({"utilisation": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
