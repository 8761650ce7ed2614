"""Speed of simulating the machine: the project's C++ host beside cocotb, both on Verilator.

Same build, same random network, same inputs; integers and cycles of both are compared. The cycles are those of the
inferences (the machine's own counter); the seconds also hold what the host does in between: sending inputs, reading
results. Building the simulators and loading the network are left out.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image, input_frame, read_outputs
from twofold.golden.network import Network
from twofold.hdl.emit import emit, top_name
from twofold.mapper.compiler import compile_network
from twofold.sim import fast, runner, settings, tools
from twofold.sim.inference import Inference
from twofold.sim.script import SimulationError
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.testing.random_network import random_inputs, random_network

REPORT = build_folder("bench", "sim_speed.json")
SEED = 3


def case(config: ArrayConfig, seed: int, count: int) -> tuple[Network, Image, NDArray[np.int64]]:
    """A random network, its image, and inputs of shape (B, C, H, W)."""
    network = random_network(seed, config, layers=8, max_side=16)
    return network, compile_network(network, config), random_inputs(seed, network, count)


def run_host(config: ArrayConfig, count: int, repeats: int) -> dict[str, Any]:
    """Seconds of the inferences behind the C++ host, their cycles and outputs; the inputs are done `repeats` times."""
    _, image, inputs = case(config, SEED, count)
    program = fast.build_machine(config)
    seconds, results = [], []
    for inferences in (0, repeats):
        script = fast.HostScript().send(image.beats)
        for x in [*inputs] * inferences:
            script.send(input_frame(image, x)).run()
        start = time.perf_counter()
        records = fast.run(program, script)
        seconds.append(time.perf_counter() - start)
        results = [record for record in records if isinstance(record, Inference)]
    if [record for record in records if not isinstance(record, Inference) and record]:
        raise SimulationError("Machine must take every frame")
    return {
        "seconds": (seconds[1] - seconds[0]) / repeats,
        "cycles": [result.cycles for result in results[:count]],
        "outputs": [[one.tolist() for one in read_outputs(image, result.frames)] for result in results[:count]],
    }


def run_cocotb(config: ArrayConfig, count: int) -> dict[str, Any]:
    """The same under cocotb.

    Raises
    ------
    RuntimeError
        If the bench fails.
    """
    design = runner.build(emit(config), top_name(config))
    file = (REPORT.parent / "sim_speed.part.json").resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    values = settings.write(config, seed=SEED, inputs=count, file=str(file))
    (result,) = runner.run(design, "twofold.bench.peers.inferences", settings=values, seed=SEED)
    if not result.passed:
        raise RuntimeError(f"Bench must pass, not fail: {result.message}")
    table = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return table


def measure(config: ArrayConfig, *, count: int, repeats: int) -> dict[str, Any]:
    """The report's row of a build."""
    host, cocotb = run_host(config, count, repeats), run_cocotb(config, count)
    _, image, inputs = case(config, SEED, count)
    cycles = sum(host["cycles"])
    return {
        "build": config.name,
        "cycles": cycles,
        "host_cycles_per_second": round(cycles / host["seconds"]),
        "cocotb_cycles_per_second": round(sum(cocotb["cycles"]) / cocotb["seconds"]),
        "speedup": round(cocotb["seconds"] / host["seconds"], 1),
        "predicted_cycles": image.cycles * len(inputs),
        "same": host["cycles"] == cocotb["cycles"] and host["outputs"] == cocotb["outputs"],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report. Fails if the two differ in an integer or a cycle."""
    parser = Parser(prog="twofold bench sim_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("log_4x4")], help="builds")
    parser.add_argument("--inputs", type=int, default=5, help="inferences under cocotb (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=50, help="times that the host does them (default: %(default)s)")
    options = parser.parse_args(arguments)
    rows = [measure(load_config(path), count=options.inputs, repeats=options.repeats) for path in options.config]
    keys = ("cycles", "host_cycles_per_second", "cocotb_cycles_per_second", "speedup")
    show_table(
        "Cycles a second of the simulated machine",
        ("build", "cycles", "C++ host", "cocotb", "speedup", "same integers and cycles"),
        [(row["build"], *(f"{row[key]:,}" for key in keys), "yes" if row["same"] else "NO") for row in rows],
    )
    report = {"simulator": tools.find("verilator").version, "cores": os.cpu_count(), "sim_speed": rows}
    write_text(REPORT, json.dumps(report, indent=2) + "\n")
    return 0 if all(row["same"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
