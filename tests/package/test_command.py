"""The command: what it hands over to, its help, its errors, where it writes; builds and recipes by name."""

import subprocess
import sys
from pathlib import Path

import pytest

import twofold
from twofold import __version__
from twofold.command import COMMANDS, main
from twofold.golden.config import load_config
from twofold.support import output, resources
from twofold.support.commands import Parser, complain, failed
from twofold.train.recipe import load_recipe


def ends(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_its_name_and_examples(name, capsys):
    assert ends([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: twofold {name} ")
    assert f"\nexamples:\n  twofold {name}" in text


def test_the_help_lists_all_commands(capsys):
    assert ends(["--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in text] == []
    assert ends(["--version"]) == 0
    assert capsys.readouterr().out == f"twofold {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], f"Command must be one of {', '.join(COMMANDS)}, not 'frob'"),
        ([], f"Command must be given, one of {', '.join(COMMANDS)}"),
        (["--frob"], "unrecognized arguments: --frob"),
        (["emit"], "the following arguments are required: --config"),
        (["bench", "area", "--frob"], "unrecognized arguments: --frob"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys):
    assert ends(arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_an_unknown_build_is_one_line(capsys):
    assert main(["emit", "--config", "log_9x9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Build must be a TOML file or one of ('imagenet_16x16', 'linear_16x16', ")
    assert error.endswith(", not 'log_9x9'\n") and error.count("\n") == 1


def test_a_missing_package_names_what_brings_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(twofold, "train", None, raising=False)  # is there again in the end
    for name in [name for name in sys.modules if name.startswith("twofold.train")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["train", "fit"]) == 2
    assert capsys.readouterr().err == "error: Package 'torch' must be installed: pip install 'twofold[train]'\n"


def test_emit_imports_no_training(tmp_path):
    script = (
        "import sys; from twofold.command import main; assert main(sys.argv[1:]) == 0;"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, "--build", str(tmp_path / "made"), "emit", "--config", "log_4x4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "made" / "verilog").iterdir()) == [
        "twofold_log_4x4.json",
        "twofold_log_4x4.md",
        "twofold_log_4x4.v",
    ]


def test_where_things_are_made(monkeypatch):
    monkeypatch.delenv(output.VARIABLE, raising=False)
    assert output.build_folder("sim") == Path("build/sim")
    monkeypatch.setenv(output.VARIABLE, "/elsewhere")
    assert output.build_folder("sim", "runs") == Path("/elsewhere/sim/runs")


def test_builds_and_recipes_go_by_name(tmp_path, monkeypatch):
    assert load_config("log_8x8") == load_config("configs/log_8x8.toml")
    assert load_config("ulx3s_85f") == load_config("boards/ulx3s_85f.toml")
    assert load_recipe("subset_w4a8") == load_recipe("recipes/subset_w4a8.toml")
    assert [path.stem for path in resources.shipped("configs")] == sorted(
        p.stem for p in Path("configs").glob("*.toml")
    )
    assert resources.shown("configs", resources.find("configs", "log_8x8")) == "log_8x8"
    assert resources.shown("configs", Path("mine.toml")) == "mine.toml"
    monkeypatch.chdir(tmp_path)
    assert load_config("log_8x8").name == "log_8x8"
    Path("log_8x8").write_text(Path(resources.find("configs", "log_4x4")).read_text())
    assert load_config("log_8x8").name == "log_4x4"  # a file of the user's comes first
    with pytest.raises(FileNotFoundError, match=r"^Recipe must be a TOML file or one of \(.*\), not 'none'$"):
        load_recipe("none")


def test_the_sources_are_found(monkeypatch, tmp_path):
    assert resources.SOURCES == Path.cwd()
    resources.need_sources()
    monkeypatch.setattr(resources, "SOURCES", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^Twofold must lie in a clone of its sources for this, not in "):
        resources.need_sources()


def test_a_parser_without_examples_has_none():
    assert "examples" not in Parser(prog="x", description="Y.").format_help()


def test_errors_of_tools_keep_their_lines(capsys):
    assert failed(ValueError("one\n  two")) == 2
    complain(RuntimeError("log:\ntwo"))
    assert capsys.readouterr().err == "error: one two\nerror: log:\ntwo\n"
