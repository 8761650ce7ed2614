"""Area of frozen weights against the array: from how many weights on is an array smaller?

da4ml [DA4ML] turns a constant matrix into a network of adders that takes a vector in every cycle. The same trained
layers, quantized to 4-bit words of ours, go through da4ml and then through the flow that measures our array. The array
is 16 x 16, takes any weights and needs a pass for each 16 x 16 weights. `beside` counts what it needs around it and an
adder network does not: accumulators, decoder, operands, window generator and sequencer. Feature memory and
requantisation are counted on neither side; weight memory is stated in bits.

Standard cells need a Liberty file: ``LIBERTY=path``. ``WEIGHTS=path`` names trained weights; else they are synthetic.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from twofold.bench import area
from twofold.bench.peers.vectors import run_vectors
from twofold.bench.tools.console import run_benchmark
from twofold.golden import catalog
from twofold.golden.arrays import read_npz
from twofold.golden.config import ArrayConfig
from twofold.golden.formats import WeightFormat
from twofold.hdl.emit import COMPONENTS, emit_verilog
from twofold.support.commands import Parser, failed
from twofold.support.files import write_text
from twofold.support.once import Store, key_of
from twofold.support.output import build_folder
from twofold.support.resources import SOURCES
from twofold.synth.asic import asic_area
from twofold.synth.report import save_svg
from twofold.train.quantizers.search import search_points

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Row = dict[str, Any]
FOLDER = build_folder("bench")
REPORT, PICTURE = FOLDER / "frozen.json", FOLDER / "frozen.svg"
PEERS = build_folder("venv-bench", "bin", "python")
NETWORK = "twofold.bench.peers.adder_network"
UNITS = {"ecp5": "LUT sites"}
#: Layers of ResNet-20 with their shapes, and what is cut from them: inputs and outputs.
LAYERS = {
    "module.layer1.0.conv1.weight": (16, 16, 3, 3),
    "module.layer2.0.conv1.weight": (32, 16, 3, 3),
    "module.layer2.0.conv2.weight": (32, 32, 3, 3),
    "module.layer3.0.conv1.weight": (64, 32, 3, 3),
    "module.layer3.0.conv2.weight": (64, 64, 3, 3),
}
CUTS = (
    ("module.layer1.0.conv1.weight", 16, 4),
    ("module.layer1.0.conv1.weight", 16, 8),
    ("module.layer1.0.conv1.weight", 16, 16),
    ("module.layer1.0.conv1.weight", 64, 16),
    ("module.layer1.0.conv1.weight", 96, 16),
    ("module.layer1.0.conv1.weight", 144, 16),
    ("module.layer2.0.conv1.weight", 144, 32),
    ("module.layer2.0.conv2.weight", 288, 32),
    ("module.layer3.0.conv1.weight", 288, 64),
    ("module.layer3.0.conv2.weight", 576, 64),
)
FORMATS: dict[str, tuple[ArrayConfig, WeightFormat]] = {
    "log4": (replace(area.LOG, word_bits=4), catalog.log_format(4)),
    "subset4": (replace(area.SUBSET, word_bits=4), catalog.subset_format(4)),
}
#: What an array needs around it and an adder network does not.
BESIDE = ("accumulators", "decoder", "operands", "window", "sequencer")
VECTORS = 200


def layer_weights(path: Path | None) -> tuple[dict[str, Array], str]:
    """Weights of `LAYERS` from an npz file, or synthetic ones with trained ones' heavy tails; and which they are."""
    if path is None:
        rng = np.random.default_rng(0)
        made = {name: rng.normal(size=shape) * np.exp(0.42 * rng.normal(size=shape)) for name, shape in LAYERS.items()}
        return made, "synthetic"
    if not path.is_file():
        raise FileNotFoundError(f"Weights must be an npz file, not {str(path)!r}")
    arrays = read_npz(path)
    for name, shape in LAYERS.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"Weights must have an array {name!r} of shape {shape}, not so in {str(path)!r}")
    return {name: arrays[name].astype(np.float64) for name in LAYERS}, path.name


def quantize(weights: Array, fmt: WeightFormat) -> Integers:
    """A layer's integer weights with the point set and the scale a channel that fit best; shape (inputs, outputs)."""
    found = search_points(weights, fmt)
    flat, levels = weights.reshape(len(weights), -1), np.array(found.levels)
    scales = found.scales[:, None]
    size = np.divide(np.abs(flat), scales, out=np.zeros_like(flat), where=scales > 0)
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, size)]
    return (np.where(flat < 0, -nearest, nearest)).T.astype(np.int64)


def cut(matrix: Integers, inputs: int, outputs: int) -> Integers:
    """The same inputs and outputs, drawn once, of a layer, so that smaller cuts lie within larger ones."""
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(matrix.shape[0])[:inputs], rng.permutation(matrix.shape[1])[:outputs]
    return np.ascontiguousarray(matrix[np.sort(rows)][:, np.sort(columns)])


def passes(inputs: int, outputs: int, rows: int = area.LOG.rows, cols: int = area.COLS) -> int:
    """Passes of the array for a matrix; one takes a cycle a position."""
    return ceil(inputs / rows) * ceil(outputs / cols)


def crossover(weights: Sequence[int], areas: Sequence[float], flat: float) -> float | None:
    """Weights at which a growing area passes a constant one, straight between the measured points.

    Returns
    -------
    0 if even the first area is larger, None if none is.
    """
    points = sorted(zip(weights, areas, strict=True))
    before: tuple[int, float] | None = None
    for weight, here in points:
        if here >= flat:
            if before is None:
                return 0.0
            return before[0] + (weight - before[0]) * (flat - before[1]) / (here - before[1])
        before = (weight, here)
    return None


def network(matrix: Integers, step: int) -> tuple[str, Row]:
    """da4ml's Verilog for a matrix and its facts, checked in simulation; kept by content."""
    store = Store(build_folder("synth", "cache"))
    pin = next(
        line for line in (SOURCES / "requirements" / "bench.txt").read_text().splitlines() if line.startswith("da4ml")
    )
    maker = Path(__file__).parent / "peers" / "adder_network.py"
    inputs = [pin, maker, VECTORS, step, matrix.shape, str(matrix.dtype), matrix.tobytes()]
    key = key_of(modules=[run_vectors.__module__], inputs=inputs)

    def make(folder: Path) -> Row:
        np.save(folder / "matrix.npy", matrix)
        command = [str(PEERS), "-m", NETWORK, str(folder), str(step)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
        facts = json.loads((folder / "network.json").read_text())
        verilog = (folder / "part.v").read_text()
        vectors = np.random.default_rng(1).integers(0, 256, (VECTORS, len(matrix)))
        vectors[0], vectors[1] = 0, 255
        sums = run_vectors(verilog, facts["inputs"], facts["outputs"], facts["stages"], vectors)
        if not np.array_equal(sums, vectors @ matrix):
            raise RuntimeError(f"da4ml's Verilog must give the matrix product; folder: {folder}")
        kept = ("da4ml", "seconds", "adder_bits", "depth", "stages")
        return {"verilog": verilog, "facts": {name: facts[name] for name in kept}}

    found = store.get(key, make).value
    return found["verilog"], found["facts"]


def sizes(verilog: str, liberty: Path | None) -> Row:
    """Area of a design whose top is ``part``, and what of it registers are: um2, or LUT sites and flip-flops."""
    if liberty is not None:
        ways = ("cells", "chains of cells")
        mapped = asic_area(verilog, "part", liberty, adders=ways, gate_clocks=True)
        return {"area": round(mapped.area), "registers": round(mapped.sequential)}
    fpga = area.ecp5_mapped(verilog)[0]
    return {"area": fpga.luts, "registers": fpga.ffs}


def array_sizes(name: str, technology: str, liberty: Path | None) -> Row:
    """Area of the whole array, and of what it needs beside it."""
    config = replace(FORMATS[name][0], **area.BUILDS[technology])
    design = next(design for design in area.designs(technology) if design.pe == name)
    per_mac = area.asic_per_mac(design, liberty) if liberty is not None else area.ecp5_per_mac(design)
    macs = config.rows * config.cols
    beside = {part: sizes(emit_verilog(COMPONENTS[part](config), "part"), liberty)["area"] for part in BESIDE}
    return {
        "area": round(per_mac["per_mac"] * macs),
        "registers": round(per_mac["registers"] * macs),
        "beside": beside,
        "area_with_beside": round(per_mac["per_mac"] * macs) + sum(beside.values()),
    }


def measure(name: str, layers: dict[str, Array], technology: str, liberty: Path | None, most: int) -> Row:
    """Array and growing adder networks of a format in a technology."""
    _, fmt = FORMATS[name]
    step = int(area.BUILDS[technology]["tree_step"])
    array = array_sizes(name, technology, liberty)
    print(f"{technology} {name}, array: {array}", flush=True)
    rows: list[Row] = []
    quantized: dict[str, Integers] = {}
    for layer, inputs, outputs in CUTS:
        if inputs * outputs > most:
            continue
        if layer not in quantized:
            quantized[layer] = quantize(layers[layer], fmt)
        matrix = cut(quantized[layer], inputs, outputs)
        verilog, facts = network(matrix, step)
        count = passes(inputs, outputs)
        row = {"layer": layer, "inputs": inputs, "outputs": outputs, "weights": inputs * outputs, "array_cycles": count}
        row |= {"zeros": round(float((matrix == 0).mean()), 3), "weight_bits": inputs * outputs * fmt.code_bits}
        row |= {**sizes(verilog, liberty), **facts}
        row["area_cycles_ratio"] = round(array["area"] * count / row["area"], 2)
        rows.append(row)
        print(f"{technology} {name} {inputs} x {outputs}: {row['area']} ({row['stages']} stages)", flush=True)
    counts, areas = [row["weights"] for row in rows], [row["area"] for row in rows]
    found = {key: crossover(counts, areas, array[key]) for key in ("area", "area_with_beside")}
    return {
        "array": array,
        "adders_between_registers": step,
        "rows": rows,
        "crossover": _whole(found["area"]),
        "crossover_with_beside": _whole(found["area_with_beside"]),
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def show(technology: str, found: dict[str, Row]) -> None:
    """Print one technology's tables."""
    unit = UNITS.get(technology, "um2")
    for name, result in found.items():
        view = Table(title=f"{technology}, {name}: adder network and array ({result['array']['area']:,}), in {unit}")
        for column in (
            "matrix",
            "weights",
            "area",
            "a weight",
            "registers",
            "stages",
            "array's cycles",
            "area x cycles",
        ):
            view.add_column(column, justify="right")
        for row in result["rows"]:
            view.add_row(
                f"{row['inputs']} x {row['outputs']}",
                f"{row['weights']}",
                f"{row['area']:,}",
                f"{row['area'] / row['weights']:.1f}",
                f"{row['registers']:,}",
                f"{row['stages']}",
                f"{row['array_cycles']}",
                f"{row['area_cycles_ratio']}",
            )
        Console().print(view)
        for key, what in (("crossover", "the array"), ("crossover_with_beside", "the array and what stands beside it")):
            size = result["array"]["area" if key == "crossover" else "area_with_beside"]
            print(f"{what} ({size:,} {unit}) is smaller {crossing(result[key], result['rows'])}")


def crossing(value: int | None, rows: Sequence[Row]) -> str:
    """The crossover in words."""
    if value is None:
        return f"at none of the sizes measured, up to {max(row['weights'] for row in rows)} weights"
    return f"from {value} weights on" if value else "at every size measured"


def picture(tables: dict[str, dict[str, Row]]) -> Figure:
    """Area against number of weights, a panel a technology: networks rise, arrays are flat; labels are cycles."""
    figure = Figure(figsize=(6.8 * len(tables), 5.2), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False)
    for axis, (technology, found) in zip(axes[0], tables.items(), strict=True):
        for n, (name, result) in enumerate(found.items()):
            color, rows = f"C{n}", result["rows"]
            weights = [row["weights"] for row in rows]
            array = result["array"]["area"]
            axis.plot(weights, [row["area"] for row in rows], "o-", color=color, label=f"frozen, {name} (da4ml)")
            axis.plot(weights, [array] * len(rows), "--", color=color, label=f"array 16 x 16, {name}")
            around = [result["array"]["area_with_beside"]] * len(rows)
            axis.plot(weights, around, ":", color=color, label=f"array with what stands beside it, {name}")
            if result["crossover"]:
                axis.plot([result["crossover"]], [array], "x", color=color, markersize=10, markeredgewidth=2)
                text = f"{result['crossover']} weights"
                place = {"xytext": (-8, 4), "textcoords": "offset points", "ha": "right", "color": color}
                axis.annotate(text, (result["crossover"], array), **place)
        rows = next(iter(found.values()))["rows"]
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks([row["weights"] for row in rows], [f"{row['weights']}\n{row['array_cycles']}" for row in rows])
        axis.set_xlabel("weights / below: cycles of the array for a vector (the adder network: 1)")
        axis.set_ylabel(UNITS.get(technology, "um2"))
        axis.set_title(technology)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=7, frameon=False)
    return figure


def missing() -> str:
    """Why da4ml cannot be run, or nothing."""
    if not PEERS.exists():
        return f"not run: there is no {PEERS}"
    done = subprocess.run([str(PEERS), "-c", "import da4ml"], capture_output=True, text=True, check=False)
    return f"not run: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write build/bench/frozen.json and its picture."""
    parser = Parser(prog="twofold bench frozen", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--weights", type=Path, default=os.environ.get("WEIGHTS") or None, help="npz of ResNet-20")
    parser.add_argument("--liberty", type=Path, default=os.environ.get("LIBERTY") or None, help="standard cells")
    parser.add_argument("--most", type=int, default=2304, help="weights of the largest matrix (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        layers, source = layer_weights(options.weights)
        if options.liberty is not None and not options.liberty.is_file():
            raise FileNotFoundError(f"Liberty file must exist, not {str(options.liberty)!r}")
        if options.most < CUTS[0][1] * CUTS[0][2]:
            raise ValueError(f"Most weights must be at least {CUTS[0][1] * CUTS[0][2]}, not {options.most!r}")
    except (ValueError, OSError) as error:
        return failed(error)
    reason = missing()
    if reason:
        print(f"frozen weights (da4ml): {reason}")
        write_text(REPORT, json.dumps({"frozen": reason}, indent=2) + "\n")
        return 0
    technologies: list[tuple[str, str, Path | None]] = [("ecp5", "ecp5", None)]
    if options.liberty is not None:
        name = options.liberty.name.split("_")[0].split(".")[0]
        technologies.append((name, "asic", options.liberty))
    else:
        print("standard cells: not measured (no LIBERTY=path)")
    tables: dict[str, dict[str, Row]] = {}
    for title, technology, liberty in technologies:
        tables[title] = {name: measure(name, layers, technology, liberty, options.most) for name in FORMATS}
    for title, found in tables.items():
        show(title, found)
    facts = {"weights": source, "array": [area.LOG.rows, area.COLS], "act_bits": area.LOG.act_bits}
    write_text(REPORT, json.dumps(facts | {"frozen": tables}, indent=2) + "\n")
    save_svg(picture(tables), PICTURE)
    print(f"report: {REPORT}, picture: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
