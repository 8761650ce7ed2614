"""How busy the array is: multiply-accumulates of a network beside what its cycles could hold.

ResNet-20 for CIFAR, the four networks of MLPerf Tiny and the demo's network, with random weights, quantized for each
build; those of MLPerf Tiny and the deeper ResNets on the builds that are made for them. The dense ideal does one
multiply-accumulate a cycle in each of the rows x columns elements. What keeps the array from it is said cycle by cycle
(`golden.causes`). Cycles are predicted, and exact: with `--simulate` each network runs on RTL, where the machine's own
counter and every integer of every layer must agree. A build that is too small for a network gets deeper memories; its
array stays as it is.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden.causes import LOST
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import Network
from twofold.mapper.compiler import compile_network
from twofold.mapper.tiles import weight_branches
from twofold.sim.random_check import check_network
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.jobs import Job, add_options, engine
from twofold.support.output import build_folder
from twofold.train import reference
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.models import build_model
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

REPORT = build_folder("bench", "utilisation.json")
#: Of the inputs that are simulated.
SEED = 1
#: Least depths of the memories (lines).
DEEP = {
    "feature_depth": 1 << 14,
    "weight_depth": 1 << 16,
    "channel_depth": 1 << 12,
    "program_depth": 1 << 14,
    "point_sets": 32,
}


class Case(NamedTuple):
    """A network of `train.models`: shape of its input, outputs, and the builds that it is measured on."""

    shape: tuple[int, ...]
    builds: tuple[str, ...]
    classes: int = 10


SQUARE = ("log_8x8", "log_16x16", "subset_8x8", "subset_16x16")
NETWORKS = {
    "resnet20": Case((3, 32, 32), SQUARE),
    "resnet32": Case((3, 32, 32), ("resnet56_16x16",)),
    "resnet56": Case((3, 32, 32), ("resnet56_16x16",)),
    "resnet8": Case((3, 32, 32), ("log_16x16", "subset_16x16")),
    "mobilenet_v1_vww": Case((3, 96, 96), ("mobilenet_16x16",), 2),
    "ds_cnn": Case((1, 49, 10), ("mobilenet_16x16",), 12),
    "autoencoder": Case((640,), ("linear_16x16",), 640),
    "demo": Case((1, 8, 8), SQUARE),
}


def quantized(name: str, config: ArrayConfig) -> Network:
    """A network with random weights of one word each, 8-bit first and last layers, 4-bit activations."""
    torch.manual_seed(0)
    shape = NETWORKS[name].shape
    model = build_model(name, classes=NETWORKS[name].classes).eval()
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


def deepened(config: ArrayConfig) -> ArrayConfig:
    """The build with memories of at least these depths; its array stays."""
    return replace(config, **{key: max(depth, getattr(config, key)) for key, depth in DEEP.items()})


def measure(name: str, config: ArrayConfig, rtl: bool = False) -> dict[str, Any]:
    """What the report says of a network on a build.

    `busy` is the part of the array's multiply-accumulates that are the network's, `word_busy` with each word of a
    weight counted; `lost` has the cycles by `golden.causes.LOST`, `layers` what is busy in each layer with weights;
    with `rtl`, `simulated` what differs there from PyTorch, golden and pass-level model, or nothing.
    """
    config = deepened(config)
    network = quantized(name, config)
    image = compile_network(network, config)
    words = sum(
        branch.codes.size * layer.output.shape[1] * layer.output.shape[2]
        for layer in network.layers
        for branch in weight_branches(layer)
    )
    elements = config.rows * config.cols
    row = {
        "cycles": image.cycles,
        "ideal_cycles": -(-image.macs // elements),
        "macs": image.macs,
        "word_macs": words,
        "busy": round(image.utilisation(), 4),
        "word_busy": round(words / (image.cycles * elements), 4),
        "lost": image.lost,
        "layers": {layer.name: round(image.utilisation(layer), 4) for layer in image.layers if layer.macs},
    }
    if rtl:
        row["simulated"] = check_network(config, network, SEED, image=image, reference=reference.run).message
    return row


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report. Fails if an integer or a cycle differs on RTL."""
    parser = Parser(prog="twofold bench utilisation", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, nargs="+", help="builds (default: those made for the network)")
    parser.add_argument("--network", choices=tuple(NETWORKS), nargs="+", default=list(NETWORKS), help="networks")
    parser.add_argument("--simulate", action="store_true", help="run them on RTL, too, and compare every layer")
    add_options(parser)
    options = parser.parse_args(arguments)
    cases = [(name, load_config(path)) for name in options.network for path in options.config or NETWORKS[name].builds]
    jobs = [
        Job(f"{name} on {config.name}", measure, (name, config, options.simulate), f"{name} {config.name}")
        for name, config in cases
    ]
    report: dict[str, dict[str, dict[str, Any]]] = {}
    lines, causes = [], []
    with engine(options) as run:
        for (name, config), row in zip(cases, run.results(jobs), strict=True):
            report.setdefault(name, {})[config.name] = row
            if options.simulate:
                print(f"{name} on {config.name}, RTL: {row['simulated'] or 'the same integers and cycles'}", flush=True)
            counts = (f"{row[key]:,}" for key in ("macs", "cycles", "ideal_cycles"))
            shares = (f"{100 * row[key]:.1f} %" for key in ("busy", "word_busy"))
            lost = (f"{100 * count / row['cycles']:.1f}" for count in row["lost"].values())
            lines.append((name, config.name, *counts, *shares))
            causes.append((name, config.name, *lost))
    heads = ("network", "build", "MACs", "cycles", "ideal", "busy", "with words")
    show_table("Multiply-accumulates of the network over those of the array", heads, lines)
    show_table("Cycles by what they went to (%)", ("network", "build", *LOST), causes)
    write_text(REPORT, json.dumps({"utilisation": report}, indent=2) + "\n")
    return 1 if any(row.get("simulated") for places in report.values() for row in places.values()) else 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
