"""da4ml's adder network for a constant integer matrix: ``python -m twofold.bench.peers.adder_network FOLDER STEP``.

Run with the peers' Python. The folder holds ``matrix.npy`` (inputs x outputs); it gets ``part.v``, whose top ``part``
takes a vector of unsigned 8-bit inputs and gives one of sums in each cycle, and ``network.json``. Registers stand after
every STEP adders and at the outputs; none at the inputs: the array's operands come from registers outside it, too.
"""

import json
import re
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from da4ml.codegen import VerilogModel  # type: ignore[import-not-found]
from da4ml.trace import (  # type: ignore[import-not-found]
    FixedVariableArrayInput,
    HWConfig,
    comb_trace,
    to_pipeline,
)

from twofold.support.files import write_text

INPUT_BITS = 8


def top(widths: list[tuple[int, int]]) -> str:
    """The top module: stages with a register after each.

    Parameters
    ----------
    widths
        Bits into and out of each stage.
    """
    begin, end = widths[0][0], widths[-1][1]
    lines = [f"module part (input clk, input [{begin - 1}:0] x, output [{end - 1}:0] y);"]
    for n, (_, out) in enumerate(widths):
        before = "x" if n == 0 else f"r{n - 1}"
        lines += [
            f"  wire [{out - 1}:0] w{n};",
            f"  reg [{out - 1}:0] r{n};",
            f"  network_stage{n} stage{n} (.model_inp({before}), .model_out(w{n}));",
            f"  always @(posedge clk) r{n} <= w{n};",
        ]
    return "\n".join([*lines, f"  assign y = r{len(widths) - 1};", "endmodule", ""])


def fields(kifs: object) -> list[list[int]]:
    """For each port of a network: whether it is signed, its bits, and by how many bits its value is shifted left."""
    return [[int(k), int(k + i + f), int(-f)] for k, i, f in zip(*np.asarray(kifs), strict=True)]


def main(folder: Path, step: int) -> None:
    """Make the network, compare its own emulation with the matrix product, write it."""
    matrix = np.load(folder / "matrix.npy", allow_pickle=False)
    start = time.perf_counter()
    count = len(matrix)
    inputs = FixedVariableArrayInput(count, HWConfig(1, -1, -1))
    zeros = np.zeros(count, dtype=np.int64)
    network = comb_trace(inputs, inputs.quantize(zeros, zeros + INPUT_BITS, zeros) @ matrix)
    seconds = time.perf_counter() - start
    pipeline = to_pipeline(network, step, verbose=False)
    vectors = np.random.default_rng(0).integers(0, 1 << INPUT_BITS, (1000, count))
    if not np.array_equal(network.predict(vectors.astype(np.float64)), vectors @ matrix):
        raise RuntimeError("da4ml's network must give the matrix product")
    with tempfile.TemporaryDirectory() as project:
        VerilogModel(pipeline, "network", project, print_latency=False).write()
        source = Path(project) / "src"
        stages = [(source / f"network_stage{n}.v").read_text() for n in range(len(pipeline.solutions))]
        used = [path for path in sorted((source / "static").glob("*.v")) if any(f"{path.stem} " in s for s in stages)]
        static = [path.read_text() for path in used]
    ports = re.compile(r"input \[(\d+):0\] model_inp,\s*output \[(\d+):0\] model_out")
    found = [ports.search(stage) for stage in stages]
    widths = [(int(match[1]) + 1, int(match[2]) + 1) for match in found if match]
    write_text(folder / "part.v", "".join([*static, *stages, top(widths)]))
    facts = {
        "da4ml": version("da4ml"),
        "seconds": round(seconds, 2),
        "adder_bits": int(network.cost),
        "depth": int(max(network.latency)),
        "stages": len(widths),
        "inputs": fields(network.inp_kifs),
        "outputs": fields(network.out_kifs),
    }
    write_text(folder / "network.json", json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
