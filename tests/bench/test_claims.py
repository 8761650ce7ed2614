"""docs/claims.md: its tables are those of docs/claims.json, and each row is the recipe that it says, at equal steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import twofold.bench.claims.__main__ as program
from twofold.bench.claims import measure, table
from twofold.bench.claims.groups import GROUPS
from twofold.bench.claims.trials import Claim, Trial
from twofold.bench.results.rows import WEIGHTS
from twofold.train.data import InputFormat, load_data
from twofold.train.data.base import PixelImages
from twofold.train.models import build_model
from twofold.train.pipelines import trainings
from twofold.train.recipe import load_recipe

TRIALS = [(group, trial) for group in GROUPS for trial in group.trials]


def test_page_agrees_with_its_source():
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text, table.read(table.SOURCE)) == text


def test_names_are_told_apart():
    keys = [group.key for group in GROUPS]
    assert len(keys) == len(set(keys))
    for group in GROUPS:
        names = [trial.name for trial in group.trials]
        assert len(names) == len(set(names)) and "|" not in "".join(names)


@pytest.mark.parametrize(("group", "trial"), TRIALS, ids=lambda one: getattr(one, "name", getattr(one, "key", "")))
def test_rows_of_a_table_have_equal_steps(group, trial):
    recipe = trial.recipe(group.steps, 7)
    if recipe.method == "ptq":
        assert recipe.ptq.seed == 7
        return
    settings = recipe.train
    steps = settings.epochs * settings.steps * len(trainings(settings))
    assert group.steps - 30 < steps <= group.steps
    assert (settings.batch, settings.seed) == (128, 7)
    others = [other.recipe(group.steps, 7).train for other in group.trials]
    assert {one.batch_norm for one in others} == {settings.batch_norm}


def test_what_a_row_changes_is_all_that_it_changes():
    trial = Trial("one", "stlq_w3a4_r10_cifar", weight={"ratio": 0.5}, activation={"bits": 5}, train={"lr": 0.25})
    recipe, base = trial.recipe(100), load_recipe("stlq_w3a4_r10_cifar")
    rule, before = recipe.rules[0], base.rules[0]
    assert rule.weight.options == before.weight.options | {"ratio": 0.5}
    assert rule.activation == replace(before.activation, bits=5)
    assert recipe.rules[1:] == base.rules[1:] and recipe.residual == base.residual
    assert recipe.train == replace(base.train, lr=0.25, epochs=10, steps=10, batch=128)
    other = Trial("other", "stlq_w3a4_r10_cifar", weight={"quantizer": "lsq", "bits": 3}).recipe(100)
    assert other.rules[0].weight.options == {"bits": 3}
    with pytest.raises(ValueError, match="Steps must be at least 30, not 20"):
        Trial("three", "sigma_w3a3").recipe(20)


def test_changes_of_rows_are_their_names():
    """What the names of some rows say, read off their recipes."""
    found = {(group.key, trial.name): trial.recipe(group.steps) for group, trial in TRIALS}
    for ratio in (0, 5, 10, 15, 30, 100):
        assert found["stlq-ratio", f"R = {ratio} %"].rules[0].weight.options["ratio"] == ratio / 100
    everything = found["ablation", "all of it"]
    assert everything.residual.bits == 8 and everything.rules[0].weight.options["granularity"] == "channel"
    nothing = found["ablation", "none of these: the recipe `lsq_w3a3`"]
    plain = load_recipe("lsq_w3a3")
    assert nothing.residual.bits == 0 and nothing.rules[0].weight.options["granularity"] == "layer"
    for key in ("optimizer", "lr", "nesterov", "momentum", "weight_decay", "warmup", "distill", "batch_norm"):
        assert getattr(nothing.train, key) == getattr(plain.train, key), key
    assert found["subset-w3a8", "option 2"].rules[0].weight.options["universal_set"] == 2
    assert found["subset-w3a8", "uniform, the same reconstruction"].ptq == found["subset-w3a8", "option 5"].ptq


def entry(name, accuracy, **more):
    return {"group": "g", "name": name, "seed": 0, "accuracy": accuracy, "date": "2026-01-02", "commit": "abc"} | more


def test_a_table(monkeypatch):
    group = Claim("g", (Trial("a", "lsq_w3a3"), Trial("b", "lsq_w3a3"), Trial("c", "lsq_w3a3")), seeds=(0, 1))
    entries = [entry("a", 0.5), entry("a", 0.6, seed=1), entry("b", 0.6, gained=30, lost=20)]
    assert table.table(group, entries).splitlines()[2:] == [
        "| a | 55.00 ± 7.07 |  |  | 2026-01-02, abc, seeds 0, 1 |",
        "| b | 60.00 | +5.00 | +1.4 sd | 2026-01-02, abc |",
        "| c | not run | | | `twofold claims --data DATA --group g` |",
    ]
    assert table.sureness(0, 0) == 0.0
    monkeypatch.setattr(table, "GROUPS", (group,))
    text = f"x\n{table.begin(group)}\nold\n{table.END}\ny\n"
    assert table.page(text, entries) == f"x\n{table.begin(group)}\n{table.table(group, entries)}\n{table.END}\ny\n"
    with pytest.raises(ValueError, match="Page must have the line"):
        table.page("nothing", entries)
    assert [one["name"] for one in table.put(entries, entry("c", 0.1))] == ["a", "a", "b", "c"]
    assert table.put(entries, entry("gone", 0.1)) == entries


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Random images, a random network, and nowhere else to write to."""
    from safetensors.torch import save_file

    numbers = torch.Generator().manual_seed(3)
    pixels = PixelImages(torch.randint(256, (96, 1, 8, 8), generator=numbers, dtype=torch.uint8), (0.5,), (0.5,))
    labels = torch.randint(10, (96,), generator=numbers)
    form = InputFormat((1, 8, 8), 8, True, 1 / 127)
    data = replace(
        load_data("digits"), train_x=pixels, train_y=labels, test_x=pixels[:40], test_y=labels[:40], input=form
    )
    torch.manual_seed(4)
    save_file(build_model("demo", classes=10, inputs=1).state_dict(), tmp_path / "demo.safetensors")
    monkeypatch.setitem(WEIGHTS, "demo", "demo.safetensors")
    monkeypatch.setattr(measure, "FOLDER", tmp_path / "out")
    monkeypatch.setattr(measure, "HELD_OUT", 32)
    monkeypatch.setattr(measure, "load_data", lambda *arguments: data)
    monkeypatch.setattr(program, "REPORT", tmp_path / "out" / "report.json")
    group = Claim(
        "mine",
        (Trial("two", "lsq_w2a2"), Trial("three", "lsq_w3a3")),
        steps=10,
        config="subset_8x8",
        network="demo",
        judged="train",
    )
    monkeypatch.setattr(program, "GROUPS", (group,))
    monkeypatch.setattr(table, "GROUPS", (group,))
    monkeypatch.setattr(table, "SOURCE", tmp_path / "claims.json")
    monkeypatch.setattr(table, "PAGE", tmp_path / "claims.md")
    (tmp_path / "claims.md").write_text(f"{table.begin(group)}\n{table.END}\n")
    return tmp_path


def test_rows_are_measured_once_and_entered(made_up, capsys):
    assert program.main(["--data", str(made_up)]) == 0
    report = table.read(program.REPORT)
    assert [(one["name"], one["images"], one["steps"]) for one in report] == [("two", 32, 10), ("three", 32, 10)]
    two, three = (np.load(made_up / "out" / f"mine-{name}-0.npy") for name in ("two", "three"))
    assert report[1]["accuracy"] == three.mean() and report[0]["accuracy"] == two.mean()
    assert (report[1]["gained"], report[1]["lost"]) == (int((three & ~two).sum()), int((two & ~three).sum()))
    assert (report[0]["gained"], report[0]["lost"]) == (0, 0)
    capsys.readouterr()
    assert program.main(["--data", str(made_up)]) == 0
    assert "==" not in capsys.readouterr().out
    assert program.main(["--write"]) == 0
    assert f"| three | {100 * three.mean():.2f} |" in (made_up / "claims.md").read_text()


def test_held_out_images_are_in_no_training(made_up):
    whole, within = measure.load(made_up)["test"], measure.load(made_up)["train"]
    parts = [{image.tobytes() for image in one.pixels.numpy()} for one in (within.train_x, within.test_x)]
    assert len(within.test_x) == 32 and len(within.train_x) == 64 and not parts[0] & parts[1]
    assert parts[0] | parts[1] == {image.tobytes() for image in whole.train_x.pixels.numpy()}
    assert torch.equal(within.test_x[:], PixelImages(within.test_x.pixels, (0.5,), (0.5,))[:])


def test_wrong_arguments(capsys, tmp_path):
    assert program.main(["--group", "none"]) == 2
    assert "Group must be one of ('ablation'," in capsys.readouterr().err
    assert program.main(["--data", str(tmp_path / "gone")]) == 2
    assert program.main(["--list", "--group", "ablation"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "ablation: all of it"
