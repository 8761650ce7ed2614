"""Runs vectors through a pipelined Verilog design and reads what comes out, with Icarus Verilog or Verilator."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.sim import tools
from twofold.support.files import write_text

Integers = NDArray[np.int64]
#: Signed or not, bits, and left shift of the value (bits) of each port field, first in the low bits.
Fields = list[list[int]]


def run_vectors(verilog: str, inputs: Fields, outputs: Fields, stages: int, vectors: Integers) -> Integers:
    """What the module ``part`` gives for each vector.

    Parameters
    ----------
    verilog
        The module, with ports ``clk``, ``x`` and ``y``, that takes a vector in each cycle.
    inputs, outputs
        Fields of ``x`` and ``y``.
    stages
        Clock edges from a vector to its result.
    vectors : shape (N, inputs)

    Returns
    -------
    Shape (N, outputs).

    Raises
    ------
    RuntimeError
        If the simulator fails; the message has its last line.
    """
    width, out = (sum(field[1] for field in fields) for fields in (inputs, outputs))
    lines = [_pack(vector, inputs) for vector in vectors.tolist()] + [0] * stages
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "part.v", verilog)
        write_text(folder / "bench.v", _BENCH % {"x": width - 1, "y": out - 1, "n": len(lines)})
        write_text(folder / "vectors.hex", "".join(f"{line:x}\n" for line in lines))
        for command in _commands():
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
                raise RuntimeError(f"Simulator must end well, not with exit code {done.returncode}: {last}")
        results = (folder / "results.hex").read_text().split()[stages - 1 : stages - 1 + len(vectors)]
    return np.array([_unpack(int(text, 16), outputs) for text in results], dtype=np.int64)


def _pack(values: list[int], fields: Fields) -> int:
    word = place = 0
    for value, (_, bits, shift) in zip(values, fields, strict=True):
        word |= ((value >> shift) & ((1 << bits) - 1)) << place
        place += bits
    return word


def _unpack(word: int, fields: Fields) -> list[int]:
    values = []
    for signed, bits, shift in fields:
        value = word & ((1 << bits) - 1)
        if signed and value >> (bits - 1):
            value -= 1 << bits
        values.append(value << shift)
        word >>= bits
    return values


def _commands() -> list[list[str]]:
    try:
        icarus = tools.find("icarus").path
        return [[str(icarus), "-g2012", "-s", "bench", "-o", "bench.vvp", "part.v", "bench.v"], ["vvp", "bench.vvp"]]
    except tools.ToolError:
        verilator = tools.find("verilator").path.resolve()
        options = ["--binary", "-j", "1", "--timing", "-Wno-fatal", "-Wno-lint", "--top-module", "bench"]
        # Given to Verilator's own make: the runtime is compiled once, not once for each design.
        options += ["-MAKEFLAGS", f"OBJCACHE={tools.object_cache()}"]
        return [[str(verilator), *options, "part.v", "bench.v"], ["obj_dir/Vbench"]]


_BENCH = """`timescale 1ns/1ps
module bench;
  reg clk = 0;
  reg [%(x)d:0] x;
  wire [%(y)d:0] y;
  reg [%(x)d:0] vectors [0:%(n)d-1];
  integer i, file;
  part part(.clk(clk), .x(x), .y(y));
  initial begin
    $readmemh("vectors.hex", vectors);
    file = $fopen("results.hex", "w");
    for (i = 0; i < %(n)d; i = i + 1) begin
      x = vectors[i];
      #1 clk = 1;
      #1 $fdisplay(file, "%%h", y);
      clk = 0;
      #1;
    end
    $fclose(file);
    $finish;
  end
endmodule
"""
