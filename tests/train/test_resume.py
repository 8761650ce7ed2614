"""Stopped trainings, several processes, schedules, reports: whatever `train.loop.fit` promises of how it runs."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from twofold.train.__main__ import main
from twofold.train.checkpoint import LoopState, load_state, read_progress, save_state
from twofold.train.convert import calibrate, convert
from twofold.train.data import Augment, DataSet, load_data
from twofold.train.distributed import World
from twofold.train.loop import FitOptions, Training, accuracy, fit
from twofold.train.models import build_model
from twofold.train.recipe import TrainSettings, load_recipe
from twofold.train.report import both, json_lines, read_lines
from twofold.train.run_files import STATE
from twofold.train.schedule import rate

ROOT = Path(__file__).parents[2]
QAT = [path for path in sorted((ROOT / "recipes").glob("*.toml")) if load_recipe(path).method == "qat"]
BASE = TrainSettings(epochs=10, lr=1.0)


@pytest.fixture(scope="module")
def few():
    """A quarter of the digits, augmented."""
    whole = load_data("digits")
    return DataSet(
        "few",
        whole.train_x[:320],
        whole.train_y[:320],
        whole.test_x[:100],
        whole.test_y[:100],
        whole.input,
        10,
        augment=Augment(shift=1, flip=True),
    )


class StoppedError(Exception):
    pass


def interrupt(epoch):
    def report(metrics):
        if metrics["epoch"] == epoch:
            raise StoppedError

    return report


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


def train(data, build, settings, **kwargs):
    torch.manual_seed(3)
    model = build()
    fit(model, data, settings, **kwargs)
    return model.state_dict()


# Resuming


def once(build):
    """`build` that is done once: then there are copies, and the random numbers are what they were after it."""
    made = []

    def copy():
        if not made:
            made[:] = build(), torch.get_rng_state()
        torch.set_rng_state(made[1])
        return deepcopy(made[0])

    return copy


def resumed(tmp_path, data, build, settings, *, stop, every=0, rebuild=None):
    """Final state of a training that is interrupted in epoch `stop`, before its end is saved, and resumed.

    The latter is of a model that `rebuild` makes, or else `build`, among other random numbers.
    """
    options = FitOptions(state=tmp_path / STATE, every=every)
    with pytest.raises(StoppedError):
        train(data, build, settings, report=interrupt(stop), options=options)
    torch.manual_seed(99)
    torch.rand(5)
    model = (rebuild or build)()
    fit(model, data, settings, options=replace(options, resume=True))
    return model.state_dict()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("every", [0, 3], ids=["epochs", "steps"])
def test_resumed_float_training_ends_with_the_same_bits(tmp_path, few, optimizer, every):
    def build():
        torch.manual_seed(1)
        model = build_model("demo")
        model.linear = nn.Sequential(nn.Dropout(0.3), model.linear)
        torch.manual_seed(7)
        return model

    settings = TrainSettings(epochs=4, batch=32, lr=0.01, optimizer=optimizer, warmup=1)
    whole = train(few, build, settings)
    assert same(whole, resumed(tmp_path, few, build, settings, stop=3, every=every))
    assert read_progress(tmp_path / STATE)[0] == 4
    assert not same(whole, train(few, build, replace(settings, seed=1)))


@pytest.mark.parametrize("path", QAT, ids=[path.stem for path in QAT])
def test_resumed_quantized_training_ends_with_the_same_bits(tmp_path, few, path):
    recipe = load_recipe(path)
    few = replace(few, train_x=few.train_x[:192], train_y=few.train_y[:192])
    torch.manual_seed(0)
    model = build_model("demo").eval()

    def build():
        quantized = convert(model, recipe, few.input, training=True)
        calibrate(quantized, few.train_x[:64])
        return quantized

    settings = replace(recipe.train, epochs=4, batch=64, settle=0.3, distill=0.0)
    first, second = once(build), once(build)
    whole = train(few, first, settings)
    assert same(whole, resumed(tmp_path / "before", few, first, settings, stop=2, every=2, rebuild=second))
    assert same(whole, resumed(tmp_path / "settled", few, first, settings, stop=4, rebuild=second))


#: Kills itself in the middle of an epoch, and of what is done between two savings.
KILLED = """
import os, signal, sys
from twofold.train.__main__ import main
from twofold.train.loop import Training
step, left = Training.step, [int(sys.argv[1])]
def counted(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)
Training.step = counted
main(sys.argv[2:])
"""


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    command = ["fit", "--epochs", "6", "--batch", "64", "--device", "cpu", "--save-every", "7"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    steps = len(load_data("digits").train_x) // 64
    lived = 3 * steps + 7 + 4
    program = [sys.executable, "-c", KILLED, str(lived), *command, "--out", str(killed)]
    assert subprocess.run(program, cwd=ROOT, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert read_progress(killed / STATE)[0] == 3
    assert main([*command, "--out", str(killed), "--resume"]) == 0
    assert main([*command, "--out", str(whole)]) == 0
    assert same(load_file(killed / "model.safetensors"), load_file(whole / "model.safetensors"))
    assert [line["epoch"] for line in read_lines(killed / "metrics.jsonl")] == list(range(1, 7))
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def test_states_that_do_not_fit(tmp_path, few, capsys):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    generator = torch.Generator()
    file = tmp_path / STATE
    with pytest.raises(FileNotFoundError, match=rf"^Training must have a file '{STATE}' to resume from, not so "):
        load_state(file, model, [optimizer], generator, {})
    save_state(file, model, [optimizer], generator, LoopState(epoch=2), {"lr": 1})
    assert read_progress(file)[0] == 2
    with pytest.raises(ValueError, match=r"state\.safetensors: lr must be that of the interrupted run, 1, not 2$"):
        load_state(file, model, [optimizer], generator, {"lr": 2})
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"state\.safetensors: file must be a training's state, not damaged: "):
        read_progress(file)[0]
    assert main(["fit", "--out", str(tmp_path / "none"), "--epochs", "1", "--resume"]) == 2
    expected = f"error: Training must have a file {STATE!r} to resume from, not so {str(tmp_path / 'none')!r}\n"
    assert capsys.readouterr().err.endswith(expected)


# Several processes

WORKER = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from twofold.train.convert import calibrate, convert
from twofold.train.data import Augment, DataSet, InputFormat, load_data
from twofold.train.distributed import world
from twofold.train.loop import FitOptions, fit
from twofold.train.models import build_model
from twofold.train.recipe import TrainSettings, load_recipe
from safetensors.torch import save_file
torch.set_num_threads(1)
whole = load_data("digits")
data = DataSet("few", whole.train_x[:160].double(), whole.train_y[:160], whole.test_x, whole.test_y, whole.input, 10,
    augment=Augment(shift=1, flip=True))
out = sys.argv[1]
with world("cpu") as here:
    options = FitOptions(world=here)
    torch.manual_seed(0)
    model = build_model("demo").double()
    fit(model, data, TrainSettings(epochs=2, batch=32, lr=0.05, optimizer="sgd"), options=options)
    recipe = load_recipe("recipes/stlq_w3a4_r10.toml")
    quantized = convert(model.float(), recipe, whole.input, training=True)
    calibrate(quantized, whole.train_x[:64])
    quantized.double()
    settings = replace(recipe.train, epochs=1, batch=32, optimizer="sgd", lr=0.01, settle=0.0)
    fit(quantized, data, settings, options=options)
    if here.first:
        save_file({"size": torch.tensor(here.size)}, out + ".size")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out + ".float")
        save_file({k: v.contiguous() for k, v in quantized.state_dict().items()}, out + ".quantized")
# A thread of the group that is left may abort the process while Python ends.
names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in names if "gloo" in name], names
"""


def test_two_processes_do_as_one(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(script), str(tmp_path / "two")],
        cwd=ROOT,
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The one is this one.
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "one")])
    exec(WORKER, {"__name__": "__main__"})
    assert int(load_file(tmp_path / "two.size")["size"]) == 2 and int(load_file(tmp_path / "one.size")["size"]) == 1
    for part in ("float", "quantized"):
        one, two = load_file(tmp_path / f"one.{part}"), load_file(tmp_path / f"two.{part}")
        assert one.keys() == two.keys()
        for key in one:
            # Float64 throughout (the float model is stored as float32): only the order of additions differs.
            torch.testing.assert_close(two[key], one[key], rtol=1e-6, atol=1e-9, msg=key)


def test_batches_are_shared_out_evenly():
    parts = [list(range(12))[World(rank, 3).part(12)] for rank in range(3)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(ValueError, match=r"^Batch must be a multiple of 3 \(processes\), not 10$"):
        World(0, 3).part(10)


def test_a_part_of_a_batch_is_augmented_as_in_the_whole():
    images, augment = torch.rand(8, 2, 6, 6), Augment(shift=2, flip=True)
    whole = augment(images, torch.Generator().manual_seed(5))
    part = augment(images[4:], torch.Generator().manual_seed(5), count=8, part=slice(4, 8))
    assert torch.equal(whole[4:], part) and not torch.equal(whole, images)
    flipped = Augment(flip=True)(images, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, images, strict=True)]
    assert 0 < sum(mirrored) < 8
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, flipped, images, strict=True))


# Schedules


def test_schedules():
    cosine = [rate(BASE, step, 100, 10) for step in range(100)]
    assert cosine[0] == 1 and abs(cosine[50] - 0.5) < 1e-12 and 0 < cosine[99] < 1e-3
    steps = replace(BASE, schedule="step", milestones=(0.5, 0.75), decay=0.1)
    assert [round(rate(steps, step, 100, 10), 9) for step in (0, 49, 50, 74, 75, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rate(replace(BASE, schedule="constant"), 99, 100, 10) == 1
    warm = [rate(replace(BASE, warmup=2), step, 100, 10) for step in range(21)]
    assert all(a < b for a, b in pairwise(warm)) and warm[20] == 1
    assert math.isclose(warm[0], 1 / 21) and math.isclose(warm[9], 10 / 21)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schedule", "linear", "train.schedule must be one of ('cosine', 'step', 'constant'), not 'linear'"),
        ("milestones", (0.5, 1.5), "train.milestones must be numbers between 0 and 1, not (0.5, 1.5)"),
        ("milestones", 0.5, "train.milestones must be a list of numbers, not 0.5"),
        ("warmup", -1, "train.warmup must be at least 0, not -1"),
        ("steps", -1, "train.steps must be at least 0, not -1"),
        ("batch_norm", "drop", "train.batch_norm must be one of ('fold', 'keep'), not 'drop'"),
        ("augment", 1, "train.augment must be true or false, not 1"),
    ],
)
def test_settings_that_do_not_exist(key, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(BASE, **{key: value})


@pytest.mark.parametrize(("steps", "wanted"), [(0, 10), (3, 3), (99, 10)])
def test_an_epoch_of_a_few_steps(few, steps, wanted, monkeypatch):
    """They see other images in each epoch, and the schedule falls over them."""
    seen, rates = [], []
    step = Training.step

    def watched(training, batch):
        result = step(training, batch)
        seen.append(tuple(batch.tolist()))
        rates.append(training.optimizers[0].param_groups[0]["lr"])
        return result

    monkeypatch.setattr(Training, "step", watched)
    train(few, lambda: build_model("demo"), TrainSettings(epochs=2, batch=32, steps=steps))
    assert len(seen) == 2 * wanted
    assert len(set(seen)) == len(seen)
    assert all(a > b for a, b in pairwise(rates)) and rates[-1] < 0.1 * rates[0]


# Where it runs, and what it reports


def test_bfloat16_and_compiled_learn_too(few):
    settings = TrainSettings(epochs=12, batch=32, lr=0.02)
    still = replace(few, augment=Augment())
    plain, reached = train(still, lambda: build_model("demo"), settings), {}
    for name, options in {"bf16": FitOptions(bf16=True), "compiled": FitOptions(compile="eager")}.items():
        torch.manual_seed(3)
        model = build_model("demo")
        fit(model, still, settings, options=options)
        reached[name] = accuracy(model, still.train_x, still.train_y)
        assert model.linear.weight.dtype == torch.float32
        # Eager compilation computes the same; bfloat16 cannot.
        assert same(plain, model.state_dict()) == (name == "compiled")
    assert min(reached.values()) > 0.8, reached


def test_reports(tmp_path, few):
    lines = []
    options = FitOptions(evaluate=2)
    fit(
        build_model("demo"),
        few,
        TrainSettings(epochs=3, batch=64),
        options=options,
        report=both(json_lines(tmp_path / "m.jsonl"), lines.append),
    )
    assert read_lines(tmp_path / "m.jsonl") == lines
    assert ["accuracy" in line for line in lines] == [False, True, False]
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    json_lines(tmp_path / "m.jsonl", keep=2)({"epoch": 3, "loss": 1.0})
    assert [line["epoch"] for line in read_lines(tmp_path / "m.jsonl")] == [1, 2, 3]
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[2]) == {"epoch": 3, "loss": 1.0}


def test_tensorboard(tmp_path):
    assert main(["fit", "--out", str(tmp_path), "--epochs", "1", "--tensorboard", "--evaluate", "1"]) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "train_accuracy", "accuracy"}
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert events.Scalars("loss")[0].step == 1 and math.isclose(
        events.Scalars("loss")[0].value, line["loss"], rel_tol=1e-6
    )
