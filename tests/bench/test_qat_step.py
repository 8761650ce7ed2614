"""What the benchmark of the training step measures, and how reports are merged."""

import json
import time

import torch

import twofold.bench.__main__ as runner
from twofold.bench import qat_step


def test_peak_is_that_of_what_lives_at_once():
    def step():
        for _ in range(5):
            a = torch.zeros(250_000)
            b = a + 1
            del a, b

    assert 2_000_000 <= qat_step.peak_bytes(step) < 2_100_000


def test_ratios_are_of_a_step_to_the_float_step(monkeypatch):
    def spin(seconds, count):
        def run():
            kept = [torch.zeros(250_000) for _ in range(count)]
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass
            return kept

        return run

    monkeypatch.setattr(qat_step, "float_step", lambda: spin(0.05, 2))
    row = qat_step.measure(lambda: spin(0.1, 3), steps=2)
    assert 1.6 < row["time_ratio"] < 2.4 and 1.4 < row["memory_ratio"] < 1.6


def test_reports_are_merged(tmp_path, capsys):
    (tmp_path / "qat_step.json").write_text('{"batch": 128, "qat_step": {"lsq": {"time_ratio": 0.9}}}')
    (tmp_path / "golden_speed.json").write_text('{"rows": []}')
    report = json.loads(runner.merge(tmp_path).read_text())
    assert report == {"golden_speed": {"rows": []}, "qat_step": {"lsq": {"time_ratio": 0.9}}}
    assert runner.main(["none"]) == 2
    assert capsys.readouterr().err == f"error: Benchmark must be one of {runner.NAMES}, not 'none'\n"
    assert "qat_step" in runner.NAMES and "__init__" not in runner.NAMES
