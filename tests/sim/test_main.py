import json

import pytest

from golden import container
from golden.config import load_config
from golden.random_network import random_network
from sim import runner, tools
from sim.__main__ import bench_names, main


@pytest.fixture
def report(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    real = runner.report
    monkeypatch.setattr(runner, "report", lambda results, **facts: real(results, path, **facts))
    return path


def test_random_networks_leave_a_report(report, capsys):
    arguments = ["--config", "configs/log_4x4.toml", "--random", "2", "--seed", "40"]
    assert main([*arguments, "--reference", "tests.torch_reference:run"]) == 0
    table = json.loads(report.read_text())
    assert table["passed"] is True
    assert [bench["test"] for bench in table["benches"]] == [
        "log_4x4 random_40",
        "log_4x4 random_41",
        "log_4x4 program_40",
        "log_4x4 program_41",
    ]
    assert all(bench["cycles"] > 50 for bench in table["benches"])
    assert "4 of 4 passed" in capsys.readouterr().out


def test_a_network_of_the_users_runs(report, tmp_path):
    config = load_config("configs/log_4x4.toml")
    container.save(random_network(3, config, layers=2, name="mine"), tmp_path / "network")
    assert main(["--config", "configs/log_4x4.toml", "--network", str(tmp_path / "network")]) == 0
    assert json.loads(report.read_text())["benches"][0]["test"] == "log_4x4 mine"


def test_a_failure_is_exit_code_1(report, monkeypatch):
    monkeypatch.setattr(runner, "run", lambda *a, **k: [runner.Result("host", "x", False, 1, 0.1, "why")])
    assert main(["host", "--config", "configs/log_4x4.toml"]) == 1
    assert json.loads(report.read_text())["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "no.toml"], "error: [Errno 2] No such file or directory: 'no.toml'"),
        (["nothing"], f"Bench must be one of {tuple(bench_names())}, not 'nothing'"),
        (["--random", "1", "--sim", "icarus"], "must be given without benches, --waves and --sim icarus"),
    ],
)
def test_bad_arguments_are_exit_code_2(arguments, message, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_missing_tool_is_exit_code_2(monkeypatch, capsys):
    def missing(simulator):
        raise tools.ToolError("Verilator must be installed")

    monkeypatch.setattr(tools, "find", missing)
    assert main(["machine"]) == 2
    assert capsys.readouterr().err == "error: Verilator must be installed\n"
