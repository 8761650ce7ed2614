import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import twofold.train.reference
from twofold.golden import container, image_folder, layers
from twofold.golden.config import load_config
from twofold.golden.order import channels_last
from twofold.mapper import builds
from twofold.mapper.compiler import compile_network
from twofold.mapper.layer_table import layer_table
from twofold.sim import __main__ as command
from twofold.sim import fast, images, jobs, random_check, runner, tools
from twofold.sim.__main__ import bench_names, main
from twofold.sim.fast import Batch
from twofold.sim.probe import probed
from twofold.support.jobs import Processes
from twofold.testing.random_network import random_inputs, random_network


@pytest.fixture
def report(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    real = runner.report
    monkeypatch.setattr(runner, "report", lambda results, **facts: real(results, path, **facts))
    return path


def test_random_networks_leave_a_report(report, capsys):
    arguments = ["--config", "configs/log_4x4.toml", "--random", "2", "--seed", "40", "--jobs", "1"]
    assert main([*arguments, "--reference", "twofold.train.reference:run"]) == 0
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


def test_a_network_of_the_users_runs(report, tmp_path, capsys):
    config = load_config("configs/log_4x4.toml")
    network = random_network(3, config, layers=2, name="mine")
    network = replace(network, orders={network.output.name: channels_last(network.output.output.shape)})
    container.save(network, tmp_path / "network")
    assert main(["--config", "configs/log_4x4.toml", "--network", str(tmp_path / "network"), "--jobs", "1"]) == 0
    table = json.loads(report.read_text())
    assert [bench["test"] for bench in table["benches"]] == ["log_4x4 mine"] * 2
    image = compile_network(container.load(tmp_path / "network"), config)
    assert (table["network"], table["build"], table["images"], table["mismatches"]) == ("mine", "log_4x4", 3, 0)
    assert table["cycles_predicted"] == table["cycles_simulated"] == image.cycles
    assert table["utilisation"] == image.utilisation() and table["lost"] == image.lost
    assert table["wall_seconds_per_image"] > 0 and "accuracy" not in table
    assert [(layer["name"], layer["cycles"], layer["lost"]) for layer in table["layers"]] == [
        (layer.name, layer.cycles, layer.lost) for layer in image.layers
    ]
    assert layer_table(image) in capsys.readouterr().out


def test_a_networks_images_come_from_a_data_set(report, tmp_path, monkeypatch, capsys):
    arguments, asked = [*save(tmp_path, "configs/log_4x4.toml"), "--config", "log_4x4", "--jobs", "1"], []
    network = container.load(tmp_path / "net")
    inputs = random_inputs(5, network, 7)
    right = layers.run(network, inputs)[network.output.name].reshape(7, -1).argmax(axis=1)

    def held_out(network, *given):
        asked.append((network.name, *given))
        return inputs, np.where(np.arange(7) < 2, -1, right)

    monkeypatch.setattr(twofold.train.reference, "held_out", held_out)
    monkeypatch.setattr(jobs, "check_network", lambda *a, **k: runner.BenchResult("networks", "x", True, 1, 0.1))
    assert main([*arguments, "--images", "7", "--data", "some/where"]) == 0
    assert asked == [("mine", "some/where", 7, None)]
    table = json.loads(report.read_text())
    assert (table["images"], table["mismatches"], table["accuracy"]) == (7, 0, 5 / 7)
    assert "mine on log_4x4: 7 images, 0 integers differ" in capsys.readouterr().out
    monkeypatch.setattr(images.layers, "run", lambda network, part: {network.output.name: 0 * part})
    monkeypatch.setattr(images, "run_images", lambda image, part, **rest: fake_batch(image, part, part * 0 + 1))
    assert main([*arguments, "--data", "some/where"]) == 1
    assert json.loads(report.read_text())["mismatches"] == inputs.size
    out = capsys.readouterr().out
    assert f"Output must be golden's, but {inputs.size} of {inputs.size} integers differ" in out
    assert "--network" in out and "--data some/where --config log_4x4 --seed 1" in out


def fake_batch(image, inputs, outputs, late=0):
    counts = np.full(len(inputs), image.cycles) + np.eye(1, len(inputs), dtype=int)[0] * late
    return Batch((outputs,), {}, counts, 0 * counts)


def test_long_inferences_have_the_time_that_they_need(monkeypatch):
    config, limits = load_config("log_4x4"), []
    network = random_network(3, config, layers=2)
    image = replace(compile_network(network, config), cycles=50_000_000)
    for module in (fast, random_check):
        monkeypatch.setattr(module, "run", lambda *a, limit, **k: limits.append(limit) or [])
    with pytest.raises(ValueError):  # without hardware there is no output
        fast.run_images(image, random_inputs(5, network, 1), workers=1, program=Path("none"))
    assert not random_check.check_network(config, network, 1, image=image, program=Path("none")).passed
    probe = probed(image)
    assert limits[0] > image.cycles and limits[1] > probe.cycles and len(limits) == 2


class Wide(Processes):
    """Two jobs side by side, as far as anybody can tell; what tests change is not changed in other processes."""

    def results(self, jobs, done):
        self.width = 1
        return super().results(jobs, done)


def test_images_are_shared_among_simulators_in_order(monkeypatch):
    image = compile_network(random_network(3, load_config("log_4x4"), layers=2), load_config("log_4x4"))
    network = random_network(3, load_config("log_4x4"), layers=2)
    inputs, counts = np.arange(130).reshape(-1, 1, 1, 1), []
    monkeypatch.setattr(images, "run_images", lambda image, part, **rest: fake_batch(image, part, part + 1))
    monkeypatch.setattr(images.layers, "run", lambda network, part: {network.output.name: part + 1})
    monkeypatch.setattr(images, "build_machine", lambda config: None)
    run = images.run_all(image, network, inputs, Wide(2), done=counts.append)
    assert run.outputs[0].tolist() == (inputs + 1).tolist() and run.wrong == ""
    assert counts == [33, 33, 32, 32]
    monkeypatch.setattr(images, "run_images", lambda image, part, **rest: fake_batch(image, part, part + 1, late=3))
    run = images.run_all(image, network, inputs[:4], Processes(1))
    assert run.wrong == f"Cycles must be {image.cycles}, not {[image.cycles, image.cycles + 3]}"
    assert run.facts(None)["cycles_simulated"] == image.cycles + 3 and not run.result().passed


def test_a_failure_is_exit_code_1(report, monkeypatch):
    monkeypatch.setattr(runner, "run", lambda *a, **k: [runner.BenchResult("host", "x", False, 1, 0.1, "why")])
    assert main(["host", "--config", "configs/log_4x4.toml"]) == 1
    assert json.loads(report.read_text())["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "no.toml"], "error: [Errno 2] No such file or directory: 'no.toml'"),
        (["nothing"], f"Bench must be one of {tuple(bench_names())}, not 'nothing'"),
        (["--random", "1", "--sim", "icarus"], "must be given without benches, --waves and --sim icarus"),
        (["--network", "x", "--random", "1"], "--network must be given without benches and --random"),
        (["--picture", "x.svg"], "--picture must be given with --network"),
        (["--images", "2"], "--images and --data must be given with --network and without --waves and --sim icarus"),
        (["--network", "x", "--images", "0"], "--images must be at least 1, not 0"),
        (["--jobs", "-2"], "--jobs must be at least 1, not -2"),
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


@pytest.fixture
def no_simulator(monkeypatch):
    def looked_for(simulator):
        raise AssertionError("No simulator must be looked for")

    monkeypatch.setattr(tools, "find", looked_for)


@pytest.fixture
def no_images(monkeypatch):
    def run(image, network, inputs, engine, **rest):
        outputs = layers.run(network, inputs)[network.output.name]
        return images.ImagesRun(image, outputs, 0, np.full(len(inputs), image.cycles), 0.1)

    monkeypatch.setattr(command, "run_all", run)


def save(tmp_path, config, **changes):
    container.save(random_network(3, load_config(config), layers=2, name="mine", **changes), tmp_path / "net")
    return ["--network", str(tmp_path / "net")]


def test_another_weight_format_names_the_builds_to_take(no_simulator, tmp_path, capsys):
    arguments = save(tmp_path, "configs/subset_4x4.toml")
    assert main([*arguments, "--config", "configs/log_4x4.toml"]) == 2
    error = capsys.readouterr().err
    assert "must be of the build's format" in error
    paths = "subset_4x4, subset_8x8, linear_16x16, mobilenet_16x16, stream_16x16, subset_16x16, imagenet_16x16"
    assert f"Network 'mine' was made for a build of its weight format: {paths}" in error
    assert error.endswith("It fits subset_4x4\n")


def test_a_network_that_does_not_fit_is_exit_code_2(no_simulator, tmp_path, capsys):
    arguments = save(tmp_path, "configs/log_4x4.toml")
    short = Path("configs/log_4x4.toml").read_text().replace("program_depth = 4096", "program_depth = 4")
    (tmp_path / "short.toml").write_text(short)
    assert main([*arguments, "--config", str(tmp_path / "short.toml")]) == 2
    assert "program memory must have" in capsys.readouterr().err


def test_without_a_build_the_networks_own_is_taken(report, no_images, tmp_path, capsys, monkeypatch):
    seen = []
    done = runner.BenchResult("networks", "x", True, 1, 0.1)
    monkeypatch.setattr(jobs, "check_network", lambda config, *a, **k: seen.append(config.name) or done)
    assert main([*save(tmp_path, "configs/subset_4x4.toml"), "--picture", str(tmp_path / "timeline.svg")]) == 0
    assert (tmp_path / "timeline.svg").read_text().startswith("<?xml")
    assert seen == ["subset_4x4"]
    assert "was made for" in capsys.readouterr().out


def test_a_network_of_the_users_leaves_waves(report, tmp_path):
    path = tmp_path / "small.toml"
    text = Path("configs/log_4x4.toml").read_text().replace("log_4x4", "small")
    path.write_text(re.sub(r"^(rows|cols) = 4$", r"\1 = 2", text, flags=re.MULTILINE))
    assert load_config(path).cols == 2  # of what is recorded, building the simulator takes most
    assert main([*save(tmp_path, path, max_side=4), "--config", str(path), "--waves"]) == 0
    (bench,) = json.loads(report.read_text())["benches"]
    assert bench["test"] == "small network_equals_golden"
    assert Path(bench["waves"]).stat().st_size > 1000


def test_a_network_of_the_users_runs_in_icarus_with_waves(report, tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    assert main([*save(tmp_path, "configs/log_4x4.toml", max_side=4), "--sim", "icarus", "--waves"]) == 0
    table = json.loads(report.read_text())
    (bench,) = table["benches"]
    assert table["simulator"].startswith("Icarus") and bench["cycles"] > 50
    assert Path(bench["waves"]).stat().st_size > 1000


def test_a_network_is_mapped_once(report, no_images, tmp_path, monkeypatch):
    calls = []
    real = builds.compile_network
    monkeypatch.setattr(builds, "compile_network", lambda *a: calls.append(a) or real(*a))
    monkeypatch.setattr(random_check, "compile_network", builds.compile_network)
    monkeypatch.setattr(random_check, "build_machine", lambda config: None)
    monkeypatch.setattr(random_check, "run", lambda *a, **k: [])
    arguments = save(tmp_path, "configs/log_4x4.toml", max_side=4)
    for config in ([], ["--config", "configs/log_4x4.toml"]):
        main([*arguments, *config])  # without hardware it fails
        assert len(calls) == 1
        calls.clear()


def test_a_bench_takes_the_image_that_was_mapped(report, tmp_path, monkeypatch):
    given = []
    done = runner.BenchResult("network_bench", "x", True, 1, 0.1)
    monkeypatch.setattr(runner, "build", lambda *a, **k: None)
    monkeypatch.setattr(runner, "run", lambda *a, settings, **k: given.append(settings) or [done])
    assert main([*save(tmp_path, "configs/log_4x4.toml", max_side=4), "--waves"]) == 0
    image = image_folder.load(given[0]["image"])
    assert (image.network, image.config.name) == ("mine", "log_4x4")


def test_the_build_that_a_network_names_is_taken_first(report, no_images, tmp_path, capsys, monkeypatch):
    seen = []
    done = runner.BenchResult("networks", "x", True, 1, 0.1)
    monkeypatch.setattr(jobs, "check_network", lambda config, *a, **k: seen.append(config.name) or done)
    mine = random_network(3, load_config("configs/log_4x4.toml"), layers=2, name="mine")
    for named, taken in (("log_8x8", "log_8x8"), ("a_build_of_mine", "log_4x4"), (7, "log_4x4")):
        container.save(replace(mine, meta={"build": named}), tmp_path / "net")
        assert main(["--network", str(tmp_path / "net")]) == 0
        assert seen.pop() == taken
    assert "was made for build 'a_build_of_mine': log_4x4" in capsys.readouterr().out


def test_a_network_that_fits_no_build_is_told_what_to_do(no_simulator, tmp_path, capsys):
    config = replace(load_config("configs/log_4x4.toml"), word_bits=5)
    container.save(random_network(3, config, layers=2, name="mine"), tmp_path / "net")
    hint = "It fits none of configs/: `twofold fit NETWORK` gives the smallest build file that it does\n"
    for build in ([], ["--config", "configs/log_4x4.toml"]):
        assert main(["--network", str(tmp_path / "net"), *build]) == 2
        (line,) = capsys.readouterr().err.splitlines(keepends=True)
        assert line.startswith("error: ") and line.endswith(hint)


def test_a_failure_says_what_repeats_it(report, monkeypatch, capsys):
    monkeypatch.setattr(runner, "build", lambda *a, **k: None)
    monkeypatch.setattr(runner, "run", lambda *a, **k: [runner.BenchResult("host", "x", False, 1, 0.1, "why")])
    assert main(["host", "--config", "configs/log_4x4.toml", "--seed", "7"]) == 1
    repeat = "twofold sim host --networks 3 --config configs/log_4x4.toml --seed 7"
    assert f"why\nseed 7; to repeat: {repeat}\n" in capsys.readouterr().out


def test_a_random_network_that_fails_is_repeated_by_itself(report, monkeypatch, capsys):
    def result(config, count, seed, **rest):
        return [runner.BenchResult("networks", "x", seed == 7, 1, 0.1, "why")]

    monkeypatch.setattr(jobs, "check_networks", result)
    monkeypatch.setattr(jobs, "check_programs", lambda *a, **k: [runner.BenchResult("programs", "x", True, 1, 0.1)])
    assert main(["--random", "2", "--config", "configs/log_4x4.toml", "--seed", "7", "--jobs", "1"]) == 1
    repeat = "twofold sim --random 1 --config configs/log_4x4.toml --seed 8"
    assert f"why\nseed 8; to repeat: {repeat}\n" in capsys.readouterr().out


def test_a_reference_stands_where_the_command_is_run(tmp_path, monkeypatch):
    (tmp_path / "my_reference.py").write_text("def compute(network, inputs):\n    return {}\n")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(Path.cwd()))])
    monkeypatch.chdir(tmp_path)
    assert jobs.function("my_reference:compute")(None, None) == {}
