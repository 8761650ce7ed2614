import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.mapper.small import DENSE, branch, build, layer, network, pointwise
from twofold.golden import container
from twofold.golden.config import load_config
from twofold.mapper.checks import used_points
from twofold.mapper.commands import main
from twofold.mapper.compiler import compile_network
from twofold.mapper.fit import best, memory_bits, positions, toml, try_build
from twofold.sim.probe import probed
from twofold.testing.random_network import random_network


@pytest.fixture
def files(tmp_path):
    container.save(pointwise(), tmp_path / "net")
    for name, config in {"wide": build(rows=8, cols=8), "small": build(), "short": build(feature_depth=20)}.items():
        (tmp_path / f"{name}.toml").write_text(toml(replace(config, name=name)))
    return tmp_path


def fit(files, *names, out=None):
    configs = [part for name in names for part in ("--config", str(files / f"{name}.toml"))]
    return main([str(files / "net"), *configs, *(["--out", str(out)] if out else [])])


def test_every_build_has_a_row_and_the_smallest_is_written(files, capsys):
    assert fit(files, "wide", "small", "short", out=files / "least.toml") == 0
    out = capsys.readouterr().out
    image = compile_network(pointwise(), build())
    row = next(line for line in out.splitlines() if " small " in line)
    assert " yes " in row and f" {image.cycles} " in row and f"{100 * image.utilisation():.1f}" in row
    assert "32/" in row
    short = next(line for line in out.splitlines() if " short " in line)
    assert " no " in short and "feature memory must have 32 lines, not 20 (12 short)" in out
    least = load_config(files / "least.toml")
    assert (least.name, least.rows, least.feature_depth) == ("small_fit", 4, 32)
    assert least.acc_width == max(image.acc_bits, least.sum_bits, 8)
    assert compile_network(pointwise(), least).cycles == image.cycles
    assert least.acc_depth == 4 * 4
    assert memory_bits(least) < memory_bits(build())


def test_the_smallest_build_is_printed(files, capsys):
    assert fit(files, "small") == 0
    text = capsys.readouterr().out.partition("# smallest build: small reduced\n")[2]
    (files / "printed.toml").write_text(text)
    compile_network(pointwise(), load_config(files / "printed.toml"))


def test_without_a_build_that_fits_the_nearest_gets_deeper_memories(files, capsys):
    (files / "shorter.toml").write_text(toml(build(feature_depth=8, weight_depth=4)))
    assert fit(files, "shorter", "short", out=files / "least.toml") == 0
    assert "short with deeper memories" in capsys.readouterr().out
    least = load_config(files / "least.toml")
    assert (least.name, least.feature_depth) == ("short_fit", 32)
    compile_network(pointwise(), least)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["log_4x4", "subset_4x4", "subset3_8x8"])
def test_the_smallest_build_is_as_fast_and_is_simulated(name, seed):
    config = load_config(f"configs/{name}.toml")
    network = random_network(seed, config, layers=3, max_side=12)
    found = try_build(network, config)
    image = compile_network(network, found.smallest)
    assert image.cycles <= found.image.cycles
    assert found.smallest.acc_depth <= config.acc_depth and positions(image) <= found.smallest.acc_depth
    sets = {network.point_sets[name].levels for name in used_points(network)}
    assert found.smallest.sets == len(sets)
    assert len(probed(image).program) <= found.smallest.program_depth


@pytest.mark.parametrize(("key", "least"), [("acc_depth", 16), ("point_sets", 1)])
def test_no_less_would_do(key, least):
    config = build(pe="subset", point_sets=4)
    used = network(
        [layer("conv", [branch(np.ones((1, 4, 4, 1, 1)), points="dense")], (4, 4, 4))], points={"dense": DENSE}
    )
    found = try_build(used, config)
    assert getattr(found.smallest, key) == least
    other = replace(found.smallest, acc_depth=8)
    with pytest.raises(ValueError):
        compile_network(used, other)


def test_another_weight_format_is_the_reason(files, capsys):
    other = build(name="other", word_bits=4)
    (files / "other.toml").write_text(toml(other))
    assert fit(files, "other") == 2
    assert "must be of the build's format" in capsys.readouterr().err
    assert best([try_build(pointwise(), other)]) is None


def test_a_closed_pipe_ends_quietly(files):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "twofold", "fit", str(files / "net"), "--config", str(files / "small.toml")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_console_that_lacks_letters_gets_others(tmp_path):
    named = replace(pointwise().layers[0], name="größe")
    container.save(replace(pointwise(), layers=(named,)), tmp_path / "net")
    (tmp_path / "small.toml").write_text(toml(build()))
    command = [sys.executable, "-m", "twofold", "map", tmp_path / "net", "--config", tmp_path / "small.toml"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*command, "--out", tmp_path / "image"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr??e" in done.stdout


def test_a_build_with_a_memory_outside_stays_as_it_is():
    roomy = build(memory="axi4", program_depth=128)
    assert (found := try_build(pointwise(), roomy)).fits and found.smallest == roomy
    short = try_build(pointwise(), replace(roomy, feature_depth=4))
    assert (
        short.smallest is None
        and short.reason.startswith("Layer ")
        and "feature_depth must be at least" in short.reason
    )
