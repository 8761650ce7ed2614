"""The variables of the Makefile: spaces in paths, and names that it does not know."""

import os
import shlex
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments):
    # Under `make test` it would be a sub-make, which says more.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], capture_output=True, text=True, env=environment)


def dry_run(*arguments):
    return make("-n", *arguments)


def words(*arguments):
    """Arguments of the last command that would be run."""
    run = dry_run(*arguments)
    assert run.returncode == 0, run.stderr
    return shlex.split(run.stdout.replace("\\\n", " ").splitlines()[-1])


@pytest.mark.parametrize("name", ["NETWROK", "config", "VERBOSE"])
def test_unknown_variables_are_errors(name):
    run = dry_run("help", f"{name}=x")
    assert run.returncode == 2
    assert f"Variable must be one of those that `make help` shows, not {name}." in run.stderr


def test_known_variables_are_none():
    """All that the help names."""
    text = make("help").stdout
    names = [word.split("=")[0] for word in text[text.index("Variables:") :].split()[1:]]
    assert "CONFIG" in names and "BOARD" in names
    run = dry_run("clean", *(f"{name}=1" for name in names))
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["my build.toml", "it's mine.toml", "plain.toml", "a;b&c.toml"])
@pytest.mark.parametrize("target", ["verilog", "sim", "synth", "bitstream"])
def test_configurations_with_spaces(tmp_path, target, name):
    path = tmp_path / name
    path.touch()
    found = words(target, f"CONFIG={path}")
    assert found[found.index("--config") + 1] == str(path)


@pytest.mark.parametrize("name", ["my build.toml", "it's mine.toml", "plain.toml"])
def test_a_package_of_a_path_with_spaces(name):
    assert words("package", f"CONFIG={name}", f"NETWORK=my {name}")[2:5] == [name, "--network", f"my {name}"]


def test_lists_of_configurations():
    assert words("synth", "CONFIG=a.toml b.toml")[-3:] == ["--config", "a.toml", "b.toml"]
    assert words("sim", "CONFIG=a.toml b.toml")[-4:] == ["--config", "a.toml", "--config", "b.toml"]
    assert words("synth")[-3:] == ["--config", "configs/log_8x8.toml", "configs/subset_8x8.toml"]


@pytest.mark.parametrize(
    ("target", "variable", "option"),
    [("sim", "NETWORK", "--network"), ("synth", "LIBERTY", "--liberty"), ("results", "DATA", "--data")],
)
@pytest.mark.parametrize("path", ["/some where/it's here", "/a;b&c|d", "/$$HOME (x)"])
def test_paths_with_spaces(target, variable, option, path):
    found = words(target, f"{variable}={path}")
    assert found[found.index(option) + 1] == path.replace("$$", "$")


def test_a_python_with_spaces(tmp_path):
    """Where it makes the environment: in a checkout that has none."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(name, tmp_path)
    shutil.copytree("requirements", tmp_path / "requirements")
    run = make("-n", "-C", str(tmp_path), "verilog", "PYTHON=/some where/it's python")
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stdout.splitlines() if "-m venv" in line]
    assert [shlex.split(line)[0] for line in lines] == ["/some where/it's python"]


@pytest.mark.parametrize("variable", ["WEIGHTS", "LIBERTY"])
def test_paths_that_benchmarks_find_in_their_environment(tmp_path, variable):
    text = "bench:\n\t@printenv " + variable + "\n"
    (tmp_path / "more.mk").write_text(text)
    options = ("--silent", "-f", "Makefile", "-f", str(tmp_path / "more.mk"), "-o", "build/venv/.train")
    run = make(*options, "bench", f"{variable}=/some where/it's here", "BENCH=none")
    assert run.stdout == "/some where/it's here\n", run.stderr


def test_every_variable_with_a_path_is_tried():
    text = make("help").stdout
    pairs = [word.split("=") for word in text[text.index("Variables:") :].split()[1:]]
    paths = {name for name, value in pairs if value in ("folder", "file", "configs/x.toml", "python3")}
    assert paths == {"CONFIG", "NETWORK", "DATA", "LIBERTY", "WEIGHTS", "PYTHON"}


def test_a_networks_images():
    found = words("sim", "NETWORK=my net", "IMAGES=30", "DATA=my data", "JOBS=2")
    given = {name: found[found.index(f"--{name}") + 1] for name in ("network", "images", "data", "jobs")}
    assert given == {"network": "my net", "images": "30", "data": "my data", "jobs": "2"}


def test_style_and_types_are_checked_beside_the_tests():
    lines = dry_run("test").stdout.splitlines()
    (beside,) = [line for line in lines if line.endswith(" pytest lint")]
    assert "--jobs 2" in beside
    for command in ("-m pytest -n 2", "-m ruff check .", "-m ruff format --check .", "-m mypy"):
        assert [line for line in lines if command in line], command
