"""The table of docs/results.md is that of docs/results.json, and rows are measured by their own commands."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import twofold.bench.results.__main__ as program
from twofold.bench.results import measure, rows, table
from twofold.bench.results.rows import ROWS, Row, find_row
from twofold.golden.config import load_config
from twofold.train.__main__ import _parser
from twofold.train.__main__ import main as train
from twofold.train.quantizers import build_quantizer
from twofold.train.recipe import load_recipe

ENTRY = {
    "network": "resnet20",
    "data": "cifar10",
    "recipe": "lsq_w3a3",
    "weight_bits": 3,
    "act_bits": 3,
    "seed": 5,
    "float_accuracy": 0.9173,
    "accuracy": 0.9,
    "integer_accuracy": 0.8973,
    "epochs": 3,
    "seconds": 12,
    "cycles": 777,
    "date": "2026-01-02",
    "commit": "abc1234",
}
CELLS = "90.00 | 89.73 | 2.00 |  | 777 | 3 | 5 | 12 | 2026-01-02, abc1234 |"


def test_page_agrees_with_its_source():
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text, table.read(table.SOURCE)) == text


def test_source_has_no_row_twice_and_only_rows_that_are_known():
    keys = [table.key(entry) for entry in table.read(table.SOURCE)]
    assert len(keys) == len(set(keys))
    assert set(keys) <= {row.key for row in ROWS}
    for entry in table.read(table.SOURCE):
        row = rows.find_row(table.key(entry))
        assert (entry["weight_bits"], entry["act_bits"]) == (row.weight_bits, row.act_bits)
        for name in ("accuracy", "float_accuracy", *(["integer_accuracy"] if row.recipe else [])):
            assert 0 < entry[name] < 1
            assert round(entry[name] * entry["images"], 6) % 1 == 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_rows_are_their_recipes(row):
    options = _parser().parse_args(row.command(Path("there"), ("--epochs", "7")))
    assert options.data_path == Path("there") / row.data
    assert options.out == Path("build/results/runs") / row.key
    if row.recipe is None:
        assert (row.name, options.recipe, options.weights, options.epochs) == ("float", None, None, 7)
        return
    assert row.recipe.name == row.name
    assert load_recipe(options.recipe) == row.recipe
    assert load_config(options.config).name == row.config
    assert (options.start is None) != (options.weights is None)
    assert options.run.__name__ == {"qat": "fit", "ptq": "ptq"}[row.recipe.method]
    assert getattr(options, "epochs", None) == (7 if row.recipe.method == "qat" else None)
    weight, activation = row.recipe.settings("anywhere", ("@conv2d",))
    assert activation.bits == row.act_bits
    given = weight.options.get("members", [weight.options])[0]
    assert given["bits"] == row.weight_bits
    if weight.quantizer == "stlq":
        assert weight.options["ratio"] == int(row.name.split("_r")[1][:2]) / 100
        assert build_quantizer("stlq", (32, 32, 3, 3), **weight.options).units.size == 4 * 9
        assert weight.options["tile"] == (16, 16)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_rows_of_a_schedule_train_the_same_number_of_steps(row):
    options = _parser().parse_args(row.command(Path("there"), row.schedule))
    if row.recipe is None:
        assert (options.epochs, options.steps, options.bf16) == (4, None, True)
    elif row.recipe.method == "ptq":
        assert row.schedule == ()
    elif row.long:
        assert (options.epochs, options.steps, options.bf16) == (rows.LONG_EPOCHS, None, False)
    else:
        rule = row.recipe.train
        steps = options.epochs * options.steps * (len(rule.stages) + 1 + rule.again)
        assert 385 <= steps <= 390
        assert options.epochs > rule.warmup
        assert options.bf16


def test_options_take_the_place_of_the_schedule(capsys):
    def commands(*options):
        assert program.main(["--list", *options]) == 0
        return dict(line.split(": ") for line in capsys.readouterr().out.splitlines())

    float_row, trained, other = (
        find_row(f"small_vgg_mnist-fashion_mnist-{n}").key for n in ("float", "lsq_w3a3", "sq_w4a8")
    )
    assert commands()[trained].endswith(" --epochs 1 --steps 390 --bf16")
    assert commands()[float_row].endswith(" --epochs 4 --bf16")
    for options, end in {
        ("--epochs", "3"): " --epochs 3",
        ("--steps", "9", "--bf16"): " --steps 9 --bf16",
        ("--full",): trained,
    }.items():
        assert commands(*options)[trained].endswith(end)
    assert commands("--full")[float_row].endswith(float_row)
    assert commands("--epochs", "3")[other] == commands()[other]


def test_a_row_that_was_not_run_says_so_with_its_command():
    empty, full = table.tables([]), table.tables([ENTRY])
    line = "| `lsq_w3a3` | 3 | 3 |"
    assert empty.count("not run") == len(ROWS)
    assert f"{line} not run | | | | | | | | `make results DATA=folder ROW=resnet20-cifar10-lsq_w3a3` |" in empty
    assert f"{line} {CELLS}" in full
    assert full.count("not run") == len(ROWS) - 1


def test_page_must_have_its_marks():
    text = f"a\n{table.END}\n{table.BEGIN}\n"
    with pytest.raises(ValueError) as error:
        table.page(text, [])
    assert str(error.value) == (
        f"Page must have the lines {table.BEGIN!r} and {table.END!r}, once each and in this order"
    )


def test_a_damaged_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('[{"network": "demo"}]')
    with pytest.raises(ValueError) as error:
        table.read(tmp_path / "report.json")
    assert str(error.value) == f"{tmp_path / 'report.json'}: file must be a list of results, not this: KeyError('data')"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Argument --data must be a folder, not ''"),
        (["--data", "nowhere"], "Argument --data must be a folder, not 'nowhere'"),
        (["--data", ".", "--row", "x"], "Row must be one of those that --list prints, not 'x'"),
        (["--data", ".", "--add", "x"], "Argument --row must be given with --add, not left out"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert program.main(arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders of the program's files, and a page."""
    (tmp_path / "page.md").write_text(f"before\n\n{table.BEGIN}\n{table.END}\n\nafter\n")
    monkeypatch.setattr(rows, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(program, "REPORT", tmp_path / "results" / "report.json")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(table, "SOURCE", tmp_path / "source.json")
    return tmp_path


def write_fashion(folder):
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0)
    for part, count in (("train", 64), ("t10k", 32)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = pixels.integers(0, 256, (count, 28, 28), dtype=np.uint8) // 4 + labels[:, None, None] * 19
        head = struct.pack(">4BIII", 0, 0, 8, 3, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        head = struct.pack(">4BI", 0, 0, 8, 1, count)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))


@pytest.fixture
def floats_alone(monkeypatch):
    """Only the float network's command is a process of its own: each of them imports PyTorch."""
    run = subprocess.run

    def here(command, **options):
        if command[:3] != [sys.executable, "-m", "twofold.train"] or "--recipe" not in command:
            return run(command, **options)
        return subprocess.CompletedProcess(command, train(command[3:]))

    monkeypatch.setattr(measure.subprocess, "run", here)


@pytest.mark.usefixtures("floats_alone")
def test_rows_are_run_once_each_after_the_float_network(place, monkeypatch, capsys):
    write_fashion(place / "data" / "fashion_mnist")
    row = Row("small_vgg_mnist", "fashion_mnist", "subset_w4a8", 4, 8)
    trained = Row("small_vgg_mnist", "fashion_mnist", "lsq_w3a3", 3, 3)
    monkeypatch.setattr(program, "ROWS", (row, trained))
    assert program.main(["--data", str(place / "data"), "--epochs", "1", "--steps", "2", "--bf16"]) == 0
    entries = {entry["recipe"]: entry for entry in json.loads(program.REPORT.read_text())}
    assert set(entries) == {"float", "subset_w4a8", "lsq_w3a3"}
    assert [entries[name]["epochs"] for name in ("float", "subset_w4a8", "lsq_w3a3")] == [1, 0, 1]
    for entry in entries.values():
        assert entry["float_accuracy"] == entries["float"]["accuracy"]
        assert entry["images"] == 32
        assert entry["seconds"] >= 1
    for name in ("subset_w4a8", "lsq_w3a3"):
        assert 0 <= entries[name]["integer_accuracy"] <= 1
        assert entries[name]["array_bits"] >= 4  # a word of the build has 4 bits
        assert entries[name]["cycles"] > 28 * 28
    assert entries["lsq_w3a3"]["note"] == "with --epochs 1 --steps 2 --bf16"
    assert entries["float"]["note"] == "with --epochs 1 --steps 2 --bf16"
    assert "note" not in entries["subset_w4a8"]
    assert "weights_only_accuracy" in entries["subset_w4a8"] and "weights_only_accuracy" not in entries["lsq_w3a3"]
    assert table.read(table.SOURCE) == table.read(program.REPORT)
    page = table.PAGE.read_text()
    assert page.startswith("before\n") and page.endswith("\nafter\n")
    assert page.count("not run") == len(ROWS) - 2

    monkeypatch.setattr(measure, "run", lambda *rest: pytest.fail("A row that is in the report was run again"))
    assert program.main(["--data", str(place / "data")]) == 0
    # A run that is there is entered under its own name only.
    monkeypatch.setattr(program, "find_row", lambda key: row)
    capsys.readouterr()
    assert program.main(["--data", str(place / "data"), "--row", row.key, "--add", str(trained.folder)]) == 2
    assert capsys.readouterr().err == (
        f"error: Run {str(trained.folder)!r} must be of 'small_vgg_mnist-fashion_mnist-subset_w4a8', "
        "not 'small_vgg_mnist-fashion_mnist-lsq_w3a3'\n"
    )
    timed = ["--data", str(place / "data"), "--row", row.key, "--add", str(row.folder), "--seconds", "3.6"]
    assert program.main(timed) == 0
    assert {table.key(e): e["seconds"] for e in table.read(program.REPORT)}[row.key] == 4
    # How an entered run was trained is what the user says of it, not the page's schedule.
    monkeypatch.setattr(program, "find_row", lambda key: trained)
    for options, note in (([], None), (["--epochs", "1", "--steps", "2"], "with --epochs 1 --steps 2")):
        enter = ["--data", str(place / "data"), "--row", trained.key, "--add", str(trained.folder)]
        assert program.main([*enter, *options]) == 0
        assert {table.key(e): e.get("note") for e in table.read(program.REPORT)}[trained.key] == note


def test_a_failed_row_leaves_no_entry(place, monkeypatch, capsys):
    (place / "data").mkdir()
    monkeypatch.setattr(program, "ROWS", (ROWS[0],))
    assert program.main(["--data", str(place / "data")]) == 1
    assert "error: Row 'resnet20-cifar10-sq_w4a8': command failed: twofold train ptq " in capsys.readouterr().err
    assert not program.REPORT.exists()


def test_make_passes_its_variables_on():
    line = subprocess.run(
        ["make", "--dry-run", "results", "DATA=some where", "ROW=a", "EPOCHS=3", "FULL=1"],
        capture_output=True,
        text=True,
    ).stdout
    assert "bin/twofold results --data 'some where' --row a --epochs 3 --full\n" in line
