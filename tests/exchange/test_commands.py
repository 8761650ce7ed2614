from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.exchange.networks import random_networks, sums
from twofold.command import main
from twofold.exchange import write
from twofold.exchange.graph import activation_type
from twofold.exchange.referee import run_onnx
from twofold.golden import container
from twofold.golden.layers import run


@pytest.fixture
def folder(tmp_path):
    container.save(random_networks()[2][0], tmp_path / "net")
    return tmp_path / "net"


def test_a_network_becomes_a_file(folder, tmp_path, capsys):
    out = tmp_path / "made" / "net.onnx"
    assert main(["onnx", "write", str(folder), "--out", str(out), "--layers"]) == 0
    assert capsys.readouterr().out == f"4 layers, style exact, written to {out}\n"
    network, x = random_networks()[2]
    found, expected = run_onnx(onnx.load(out), x.astype(activation_type(network.input))), run(network, x)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_the_referee_agrees(folder, capsys):
    assert main(["onnx", "check", str(folder), "--images", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = sum(3 * int(np.prod(layer.output.shape)) for layer in random_networks()[2][0].layers)
    assert lines[-1] == f"onnxruntime and golden differ in 0 of {values} values for the same inputs of a layer"
    assert len(lines) == 4 + 5


def test_the_referee_disagrees_with_another_network(folder, capsys, monkeypatch):
    def wrong(network, **options):
        last = replace(network.output, bias=network.output.bias + 1000)
        return right(replace(network, layers=(*network.layers[:-1], last)), **options)

    right = write._WRITERS["exact"]
    monkeypatch.setitem(write._WRITERS, "exact", wrong)
    assert main(["onnx", "check", str(folder)]) == 1
    assert " differ in 0 of " not in capsys.readouterr().out
    monkeypatch.setitem(write._WRITERS, "qdq", write._WRITERS["qdq"])
    assert main(["onnx", "check", str(folder), "--style", "qdq"]) == 0


def test_errors_are_one_line(folder, tmp_path, capsys):
    assert main(["onnx", "check", str(folder), "--images", "0"]) == 2
    assert capsys.readouterr().err == "error: Argument --images must be at least 1, not 0\n"
    assert main(["onnx", "write", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.endswith("network.json: file of a quantized network must exist\n")
    with pytest.raises(ValueError, match=r"^Style must be one of \('exact', 'qdq'\), not 'frob'$"):
        write.to_onnx(sums(1, 0), tmp_path / "x", style="frob")
