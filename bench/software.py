"""Speed of the software, part by part in one run: RTL, pass-level model, golden model, mapper, writing of Verilog.

RTL is ResNet-20 on a 16x16 machine behind its C++ host: one simulator in one thread, in two, and two simulators that
share the images. The pass-level model executes the same memory image; the golden model stands beside PyTorch's float32
and int64 NumPy (`bench.golden_speed`). The mapper maps a network of ResNet-50's size to a build with memories that no
chip has. Seconds are wall-clock; building simulators and comparing integers are left out.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from twofold.bench import golden_speed
from twofold.bench.tools.alone import alone, map_large, write_verilog
from twofold.bench.tools.console import run_benchmark, show_table
from twofold.bench.tools.resnet50 import resnet50
from twofold.bench.utilisation import deepened, quantized
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.machine import Machine, infer
from twofold.golden.network import Network
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import build_machine, run_images
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.testing.random_network import random_inputs

REPORT = build_folder("bench", "software.json")
#: Threads of a simulator, and simulators side by side.
WAYS = {"1 thread": (1, 1), "2 threads": (2, 1), "2 processes": (1, 2)}
#: What mapping a network of 25 M weights needs.
HUGE: dict[str, Any] = {
    "feature_depth": 1 << 20,
    "weight_depth": 1 << 23,
    "channel_depth": 1 << 16,
    "program_depth": 1 << 23,
    "max_side": 256,
    "acc_width": 40,
}
#: Sides of the arrays that are written as Verilog.
SIDES = (32, 64)
Rows = dict[str, dict[str, Any]]


def resnet20(config: ArrayConfig) -> tuple[Network, Image]:
    """The network with random weights, and mapped."""
    config = deepened(config)
    network = quantized("resnet20", config)
    return network, compile_network(network, config)


def measure_rtl(network: Network, image: Image, *, images: int) -> Rows:
    """Cycles a second and images a minute, by how the simulators run; loading the network is part of it."""
    inputs, rows, outputs = random_inputs(1, network, images), {}, []
    for name, (threads, workers) in WAYS.items():
        program = build_machine(image.config, threads=threads)
        started = time.perf_counter()
        batch = run_images(image, inputs, workers=workers, program=program)
        seconds = time.perf_counter() - started
        outputs.append(batch.output)
        rows[f"RTL, {name}"] = {
            "images": images,
            "cycles_per_second": round(int(batch.cycles.sum()) / seconds),
            "images_per_minute": round(60 * images / seconds, 2),
            "same": bool((outputs[0] == batch.output).all() and (batch.cycles == image.cycles).all()),
        }
    return rows


def measure_model(network: Network, image: Image, *, images: int) -> Rows:
    """Images a second of the pass-level model."""
    machine = Machine(image.config)
    machine.write(image.beats)
    started = time.perf_counter()
    for x in random_inputs(1, network, images):
        infer(machine, image, x)
    return {"pass-level model": {"images": images, "images_per_second": _rate(images, started)}}


def measure_golden(*, images: int) -> Rows:
    """The golden model beside its peers."""
    found = golden_speed.compare(golden_speed.resnet20(), images=images, few=min(4, images))
    return {name if name != "golden" else "golden model": row for name, row in found.items()}


def measure_mapper(config: ArrayConfig, **size: int) -> Rows:
    """Seconds and memory of mapping a network of ResNet-50's size, in a process of its own."""
    network = resnet50(config, **size)
    weights = sum(branch.codes.size for layer in network.layers for branch in layer.branches if branch.groups == 1)
    lines, seconds, peak = alone(map_large, replace(config, **HUGE), size)
    row = {"weights": weights, "program_lines": lines, "seconds": round(seconds, 2), "peak_megabytes": round(peak)}
    return {"mapper, ResNet-50": row}


def measure_emission(config: ArrayConfig, sides: tuple[int, ...] = SIDES) -> Rows:
    """Seconds, memory and size of writing a machine as Verilog, each in a process of its own."""
    rows = {}
    for side in sides:
        size, seconds, peak = alone(write_verilog, replace(config, rows=side, cols=side, acc_width=32))
        row = {"megabytes": round(size / 1e6, 2), "seconds": round(seconds, 2), "peak_megabytes": round(peak)}
        rows[f"Verilog, {side}x{side}"] = row
    return rows


def _rate(images: int, started: float) -> float:
    return round(images / (time.perf_counter() - started), 3)


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report. Fails if RTL or NumPy's integers differ."""
    parts = ("rtl", "model", "golden", "mapper", "emission")
    parser = Parser(prog="twofold bench software", description=str(__doc__).splitlines()[0])
    parser.add_argument("--part", choices=parts, nargs="+", default=list(parts), help="parts to measure")
    parser.add_argument("--config", type=Path, default=Path("log_16x16"), help="build with log PEs (%(default)s)")
    parser.add_argument("--images", type=int, default=20, help="images of the RTL (%(default)s)")
    parser.add_argument("--golden-images", type=int, default=256, help="images of the golden model (%(default)s)")
    parser.add_argument("--width", type=int, default=64, help="channels of ResNet-50's first layer (%(default)s)")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    rows: Rows = {}
    if {"rtl", "model"} & {*options.part}:
        network, image = resnet20(config)
        rows |= measure_rtl(network, image, images=options.images) if "rtl" in options.part else {}
        few = min(4, options.images)
        rows |= measure_model(network, image, images=few) if "model" in options.part else {}
    rows |= measure_golden(images=options.golden_images) if "golden" in options.part else {}
    rows |= measure_mapper(config, width=options.width) if "mapper" in options.part else {}
    rows |= measure_emission(config) if "emission" in options.part else {}
    lines = [
        (name, ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in row.items()))
        for name, row in rows.items()
    ]
    show_table(f"Speed of the software, {os.cpu_count()} cores", ("", "measured"), lines)
    write_text(REPORT, json.dumps({"cores": os.cpu_count(), "software": rows}, indent=2) + "\n")
    wrong = any(row.get("same") is False for row in rows.values())
    return 1 if wrong or rows.get("NumPy int64", {}).get("mismatching_integers") else 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
