"""Networks larger than the chip: how busy the array is with a memory outside, by width of its bus and latency.

The build `imagenet_16x16` (4-bit subset words, 8-bit activations, 502 KiB of memories on the chip) runs networks for
images of 224 x 224 (DeepLabV3+: 240 x 180) with random weights. Beside it the same program with a memory that is always
there, and what is moved beside the least that could be: each weight line, and each line of a tensor that does not stay
on the chip, once. Cycles are predicted; simulation agrees (`tests/sim/test_outside.py`).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden import container
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.golden.outside import transfer_list
from twofold.golden.timing import cycles, timing
from twofold.golden.transfers import bus_beats
from twofold.mapper.compiler import compile_network
from twofold.mapper.fit import memory_bits
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.models import build_model
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

REPORT = build_folder("bench", "outside.json")
#: Networks of `train.models`, with height and width of their images and their outputs.
NETWORKS = {"resnet18": (224, 224, 1000), "mobilenet_v2": (224, 224, 1000), "deeplab_v3plus": (180, 240, 11)}
BUSES = (32, 64, 128)
LATENCIES = (20, 50, 100, 200)
BUILD = "imagenet_16x16"


def quantized(name: str, config: ArrayConfig, height: int, width: int, classes: int) -> Network:
    """A network of `train.models` with random weights of one subset word each, 8-bit activations.

    Its batch norms know what comes, as after training; without that tensors shrink from layer to layer, and those that
    meet would have scales that no trained network has.
    """
    torch.manual_seed(0)
    rule = {
        "match": "*",
        "weight": {"quantizer": "subset", "bits": config.word_bits, "granularity": "layer"},
        "activation": {"bits": 8, "calibration": "max"},
    }
    recipe = parse_recipe({"name": "random", "method": "ptq", "layer": [rule]})
    shape = (3, height, width)
    model, samples = build_model(name, classes=classes), torch.randn(2, *shape)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(samples)
    network = convert(model.eval(), recipe, InputFormat(shape, signed=True, scale=1 / 64))
    calibrate(network, samples)
    snap(network, config)
    return export(network, config)


def traffic(image: Image) -> dict[str, dict[str, int]]:
    """Bytes that an inference moves, by memory, and the least: each line of what lies outside once."""
    config = image.config
    assert image.outside is not None
    memory = np.frombuffer(image.outside.content, dtype=np.uint8)
    moved: dict[str, int] = {}
    once: dict[str, set[int]] = {}
    for entry in transfer_list(config, memory):
        name = "store" if entry.store else entry.kind.name.lower()
        moved[name] = moved.get(name, 0) + entry.beats(config) * config.bus_bits // 8
        beats = once.setdefault(name, set())
        for row in range(entry.rows):
            first = entry.memory + row * entry.memory_step
            beats.update(range(first, first + entry.length * bus_beats(config, entry.kind)))
    least = {name: len(beats) * config.bus_bits // 8 for name, beats in once.items()}
    return {"moved": moved, "least": least}


def measure(network: Network, build: ArrayConfig, buses: Sequence[int] = BUSES) -> dict[str, Any]:
    """What the report says of a network."""
    rows: dict[str, Any] = {}
    for bits in buses:
        config = replace(build, bus_bits=bits)
        image = compile_network(network, config)
        ideal = cycles(timing(config, image.instructions))
        row: dict[str, Any] = {"macs": image.macs, "always_there": ideal, **traffic(image)}
        for latency in LATENCIES:
            steps = image.steps(latency)
            row[f"latency_{latency}"] = {
                "cycles": cycles(steps),
                "waiting": sum(step.memory for step in steps),
                "busy": round(image.macs / (cycles(steps) * config.rows * config.cols), 4),
            }
        row["layers"] = {layer.name: round(image.utilisation(layer), 4) for layer in image.layers if layer.macs}
        rows[f"bus_{bits}"] = row
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report."""
    parser = Parser(prog="twofold bench outside", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", choices=tuple(NETWORKS), nargs="+", default=list(NETWORKS), help="networks")
    parser.add_argument("--side", type=int, help="height and width of the image (default: the network's own)")
    parser.add_argument("--bus", type=int, choices=BUSES, nargs="+", default=BUSES, help="bits of the bus")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="folder to keep the networks in, each by its name")
    options = parser.parse_args(arguments)
    build = load_config(BUILD)
    report, lines, moves = {}, [], []
    for name in options.network:
        height, width, classes = NETWORKS[name]
        network = quantized(name, build, options.side or height, options.side or width, classes)
        if options.save:
            container.save(network, options.save / name)
        report[name] = measure(network, build, options.bus)
        for bus, row in report[name].items():
            waits = [row[f"latency_{latency}"] for latency in LATENCIES]
            shown = (f"{one['cycles']:,} ({100 * one['busy']:.1f} %)" for one in waits)
            lines.append((name, bus.removeprefix("bus_"), f"{row['always_there']:,}", *shown))
            for kind, count in row["moved"].items():
                moves.append((name, bus.removeprefix("bus_"), kind, f"{count:,}", f"{row['least'][kind]:,}"))
    title = f"Cycles and busy array, {memory_bits(build) // 8192} KiB on the chip"
    show_table(title, ("network", "bus bits", "always there", *(f"latency {n}" for n in LATENCIES)), lines)
    show_table("Bytes of an inference", ("network", "bus bits", "what", "moved", "once each"), moves)
    write_text(REPORT, json.dumps({"outside": report}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
