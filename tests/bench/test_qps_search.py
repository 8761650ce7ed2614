import json

import numpy as np
import pytest

from twofold.bench import qps_search
from twofold.golden import catalog


@pytest.fixture
def weights():
    return np.random.default_rng(0).laplace(size=(4, 50))


def test_the_peer_is_the_papers_procedure():
    # From scale 1 on {1/2, 1}: 0.7 is nearest to 1/2, then, the scale being 0.9, to 0.9.
    size, points = np.array([0.2, 0.7, 0.9]), np.array([0.5, 1.0])
    scale = (0.1 + 0.7 + 0.9) / 2.25
    assert qps_search.peer_fit(size, points)[0] == pytest.approx(scale)
    error = (0.2 - scale / 2) ** 2 + (0.7 - scale) ** 2 + (0.9 - scale) ** 2
    assert qps_search.peer_fit(size, points)[1] == pytest.approx(error)


@pytest.mark.parametrize("bits", [2, 3])
def test_the_error_is_never_larger(weights, bits):
    result = qps_search.measure(weights, catalog.subset_format(bits), sample=10, repeats=1)
    assert result["error_ratio"] <= 1 + 1e-12
    assert result["proven_lower_bound"] <= result["error"]
    assert result["speedup"] > 0 and result["subsets"] == {2: 105, 3: 1365}[bits]


def test_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(qps_search, "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(qps_search, "SHAPE", (4, 4, 3, 3))
    assert qps_search.main(["--bits", "2", "--sample", "5", "--repeats", "1"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["layer"] == "synthetic" and report["qps_search"]["peer"]["subsets_timed"] == 5
    assert "Twofold, proven optimum" in capsys.readouterr().out


def test_weights_by_path(tmp_path, capsys):
    path = tmp_path / "weights.npz"
    np.savez(path, small=np.ones(3), right=np.ones(qps_search.SHAPE, dtype=np.float32))
    weights, source = qps_search.layer_weights(path)
    assert source == "right" and weights.shape == (64, 64, 3, 3) and weights.dtype == np.float64
    np.savez(path, small=np.ones(3))
    assert qps_search.main(["--weights", str(path)]) == 2
    message = f"error: Weights must have an array of shape (64, 64, 3, 3), not so in {str(path)!r}\n"
    assert capsys.readouterr().err == message
    with pytest.raises(FileNotFoundError, match=r"^Weights must be an npz file, not 'none.npz'$"):
        qps_search.layer_weights(qps_search.Path("none.npz"))
