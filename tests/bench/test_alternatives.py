"""What other tools make of a network is measured as ours is."""

import json
from dataclasses import replace

import pytest

from twofold.bench import alternatives
from twofold.train.data import load_data
from twofold.train.loop import accuracy
from twofold.train.pipelines import FLOAT, float_model


@pytest.fixture(scope="module")
def trained():
    data = load_data("digits")
    return float_model(data, "demo", replace(FLOAT, epochs=3))[0].eval(), data


def test_onnxruntime_is_near_the_float_network(trained, monkeypatch):
    model, data = trained
    monkeypatch.setattr(alternatives, "IMAGES", 512)
    found = alternatives.onnxruntime_int8(model, data)
    assert found == pytest.approx(accuracy(model, data.test_x, data.test_y), abs=0.02)
    assert found * len(data.test_y) == pytest.approx(round(found * len(data.test_y)))


def test_rows_of_all_tools_are_in_one_table(trained, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(alternatives, "network", lambda folder: trained)
    monkeypatch.setattr(alternatives, "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(alternatives, "RECIPES", ("ptq_l2_w8a8",))
    monkeypatch.setattr(alternatives, "IMAGES", 512)
    monkeypatch.setattr(alternatives, "PEERS", tmp_path / "none")
    assert alternatives.main(["--data", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "report.json").read_text())
    assert list(rows) == ["float", "onnxruntime, W8A8", "ptq_l2_w8a8"]
    assert abs(rows["ptq_l2_w8a8"] - rows["float"]) < 0.02
    assert "ptq_l2_w8a8" in capsys.readouterr().out


def test_without_data_it_says_so(tmp_path, capsys):
    assert alternatives.main([]) == 0
    assert "it needs the data, --data FOLDER" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Argument --data must be a folder"):
        alternatives.main(["--data", str(tmp_path / "gone")])
