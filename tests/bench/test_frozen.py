"""Frozen weights against the array: quantized matrices, crossovers, vectors through Verilog, reports."""

import json
import shutil

import numpy as np
import pytest

from tests.figures import faults
from twofold.bench import frozen
from twofold.bench.peers import vectors
from twofold.golden import catalog

#: y0 = 3 * x0 - x1 and y1 = 4 * x1, two cycles later; y1 leaves its two zeros out.
PART = """module part (input clk, input [15:0] x, output reg [19:0] y);
  reg [15:0] r;
  wire [9:0] triple = 3 * r[7:0];
  always @(posedge clk) begin
    r <= x;
    y[11:0] <= {2'b0, triple} - {4'b0, r[15:8]};
    y[19:12] <= r[15:8];
  end
endmodule
"""
INPUTS, OUTPUTS = [[0, 8, 0], [0, 8, 0]], [[1, 12, 0], [0, 8, 2]]


@pytest.mark.parametrize(
    ("areas", "flat", "expected"),
    [
        ([10, 20, 40], 30, 150.0),
        ([10, 20, 40], 20, 100.0),
        ([10, 20, 40], 41, None),
        ([10, 20, 40], 5, 0.0),
        ([10, 35, 20], 30, 90.0),
    ],
)
def test_crossover_lies_straight_between_the_points(areas, flat, expected):
    assert frozen.crossover([50, 100, 200], areas, flat) == expected
    assert frozen.crossover([200, 100, 50], areas[::-1], flat) == expected


def test_crossover_in_words():
    rows = [{"weights": 64}, {"weights": 2304}]
    assert frozen.crossing(1801, rows) == "from 1801 weights on"
    assert frozen.crossing(0, rows) == "at every size measured"
    assert frozen.crossing(None, rows) == "at none of the sizes measured, up to 2304 weights"


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"), [(16, 4, 1), (16, 16, 1), (17, 16, 2), (144, 16, 9), (288, 32, 36)]
)
def test_passes_of_the_array(inputs, outputs, expected):
    assert frozen.passes(inputs, outputs) == expected


def test_weights_become_the_formats_levels():
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    for fmt in (catalog.log_format(4), catalog.subset_format(3)):
        matrix = frozen.quantize(weights, fmt)
        assert matrix.shape == (27, 4)
        assert set(np.abs(matrix).ravel().tolist()) <= set(fmt.universal_set)
        assert len(set(np.abs(matrix).ravel().tolist())) <= fmt.point_count
        # The scale a channel is one number, and the matrix is near the weights.
        flat = weights.reshape(4, -1).T
        scales = (flat * matrix).sum(axis=0) / (matrix**2).sum(axis=0)
        assert ((flat - scales * matrix) ** 2).sum() < 0.05 * (flat**2).sum()
        assert (np.sign(matrix) * np.sign(flat) >= 0).all()
    # Weights that are levels of a format stay, up to a channel's scale.
    exact = np.array([[1.0, -2.0, 4.0, 0.0], [64.0, -32.0, 8.0, 16.0]]) * 0.125
    matrix = frozen.quantize(exact.reshape(2, 4), catalog.log_format(4)).T
    assert [(row / row[0]).tolist() for row in matrix] == [[1, -2, 4, 0], [1, -0.5, 0.125, 0.25]]


def test_smaller_cuts_lie_in_larger_ones():
    matrix = np.arange(144 * 16).reshape(144, 16)
    small, large = frozen.cut(matrix, 16, 4), frozen.cut(matrix, 64, 16)
    assert small.shape == (16, 4) and large.shape == (64, 16)
    assert set(small.ravel().tolist()) < set(large.ravel().tolist())
    assert np.array_equal(frozen.cut(matrix, 144, 16), matrix)


def test_every_cut_is_of_a_layer():
    counts = [inputs * outputs for _, inputs, outputs in frozen.CUTS]
    assert counts == sorted(counts)
    for layer, inputs, outputs in frozen.CUTS:
        shape = frozen.LAYERS[layer]
        assert inputs <= np.prod(shape[1:]) and outputs <= shape[0]


def test_weights_by_path(tmp_path, capsys):
    path = tmp_path / "weights.npz"
    arrays = {name: np.ones(shape, dtype=np.float32) for name, shape in frozen.LAYERS.items()}
    np.savez(path, **arrays)
    layers, source = frozen.layer_weights(path)
    assert source == "weights.npz" and set(layers) == set(frozen.LAYERS)
    missing = arrays.popitem()
    np.savez(path, **arrays)
    assert frozen.main(["--weights", str(path)]) == 2
    message = f"error: Weights must have an array {missing[0]!r} of shape {missing[1].shape}, not so in {str(path)!r}\n"
    assert capsys.readouterr().err == message
    assert frozen.main(["--weights", "none.npz"]) == 2
    assert capsys.readouterr().err == "error: Weights must be an npz file, not 'none.npz'\n"
    assert frozen.main(["--liberty", "none.lib"]) == 2
    assert capsys.readouterr().err == "error: Liberty file must exist, not 'none.lib'\n"
    assert frozen.main(["--most", "63"]) == 2
    assert capsys.readouterr().err == "error: Most weights must be at least 64, not 63\n"


def test_synthetic_weights_are_seeded():
    first, source = frozen.layer_weights(None)
    assert source == "synthetic"
    again, _ = frozen.layer_weights(None)
    for name, shape in frozen.LAYERS.items():
        assert first[name].shape == shape and np.array_equal(first[name], again[name])


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_vectors_go_through_verilog(simulator, monkeypatch):
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    find = vectors.tools.find

    def only(name):
        if name != simulator:
            raise vectors.tools.ToolError("not here")
        return find(name)

    monkeypatch.setattr(vectors.tools, "find", only)
    given = np.array([[0, 0], [255, 0], [0, 255], [255, 255], [1, 7]])
    expected = given @ np.array([[3, 0], [-1, 4]])
    assert np.array_equal(vectors.run_vectors(PART, INPUTS, OUTPUTS, 2, given), expected)
    if simulator == "icarus":
        wrong = vectors.run_vectors(PART.replace("3 * r", "2 * r"), INPUTS, OUTPUTS, 2, given)
        assert not np.array_equal(wrong, expected)
    with pytest.raises(RuntimeError, match=r"^Simulator must end well, not with exit code \d+: "):
        vectors.run_vectors(PART.replace("endmodule", ""), INPUTS, OUTPUTS, 2, given)


@pytest.fixture(autouse=True)
def no_files_from_outside(monkeypatch):
    for name in ("WEIGHTS", "LIBERTY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def report(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "REPORT", tmp_path / "frozen.json")
    monkeypatch.setattr(frozen, "PICTURE", tmp_path / "frozen.svg")
    return tmp_path


def test_without_da4ml_the_report_says_so(report, monkeypatch, capsys):
    monkeypatch.setattr(frozen, "PEERS", report / "python")
    assert frozen.main([]) == 0
    reason = f"not run: there is no {report / 'python'}"
    assert json.loads((report / "frozen.json").read_text()) == {"frozen": reason}
    assert reason in capsys.readouterr().out


def test_report_table_and_picture(report, monkeypatch, capsys):
    # Mapped sizes stand in for Yosys and da4ml: what is tested is what the benchmark makes of them.
    arrays = {"area": 5000, "registers": 900, "beside": {"window": 100}, "area_with_beside": 5100}
    facts = {"da4ml": "0.6.0", "seconds": 0.1, "adder_bits": 1, "depth": 4, "stages": 2}
    monkeypatch.setattr(frozen, "missing", lambda: "")
    monkeypatch.setattr(frozen, "array_sizes", lambda *_: arrays)
    monkeypatch.setattr(frozen, "network", lambda matrix, step: (str(matrix.size), facts))
    monkeypatch.setattr(frozen, "sizes", lambda verilog, _: {"area": int(verilog) * 10, "registers": 3})
    assert frozen.main(["--most", "1024"]) == 0
    written = json.loads((report / "frozen.json").read_text())
    assert written["weights"] == "synthetic" and written["array"] == [16, 16] and written["act_bits"] == 8
    assert set(written["frozen"]) == {"ecp5"} and set(written["frozen"]["ecp5"]) == {"log4", "subset4"}
    for result in written["frozen"]["ecp5"].values():
        assert result["crossover"] == 500 and result["crossover_with_beside"] == 510
        assert [row["weights"] for row in result["rows"]] == [64, 128, 256, 1024]
        last = result["rows"][-1]
        assert last["array_cycles"] == 4 and last["weight_bits"] == 4096
        assert last["area_cycles_ratio"] == round(5000 * 4 / 10240, 2)
    assert (report / "frozen.svg").read_text().startswith("<?xml")
    both = {"ecp5": written["frozen"]["ecp5"], "sky130": written["frozen"]["ecp5"]}
    assert [faults(frozen.picture(tables)) for tables in (written["frozen"], both)] == [[], []]
    out = capsys.readouterr().out
    assert "the array (5,000 LUT sites) is smaller from 500 weights on" in out
    assert "standard cells: not measured (no LIBERTY=path)" in out
