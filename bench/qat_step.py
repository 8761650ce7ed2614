"""Cost of a quantization-aware training step beside the float step of the same network: ResNet-20, batch of 128, CPU.

Every recipe of method "qat", and Brevitas' int4 weight and activation layers where they are installed (`make bench`
sets them up in an environment of their own), measured in turn with the float network in one process each. Time is the
CPU time of one thread, the least of some steps; memory is the peak of what PyTorch allocates in a step, weights and
optimizer state included. A step is forward, loss, backward and optimizer, without distillation's teacher.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.support import resources
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet, InputFormat
from twofold.train.loop import Training
from twofold.train.models import build_model
from twofold.train.recipe import Recipe, TrainSettings, load_recipe

REPORT = build_folder("bench", "qat_step.json")
PEERS = build_folder("venv-bench", "bin", "python")
BATCH = 128
FLOAT = TrainSettings(epochs=1000, batch=BATCH, lr=0.01, optimizer="sgd")
Step = Callable[[], object]


def data() -> DataSet:
    """One batch of random images."""
    generator = torch.Generator().manual_seed(0)
    form = InputFormat((3, 32, 32), signed=True, scale=1 / 64)
    x = torch.randn(BATCH, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (BATCH,), generator=generator)
    return DataSet("random", x, y, x, y, form, 10)


def step_of(model: nn.Module, settings: TrainSettings) -> Step:
    """A step of the project's own training loop."""
    model.train()
    training = Training(model, data(), settings)
    return lambda: training.step(torch.arange(BATCH))


def float_step() -> Step:
    """Of the float network, batch norm included."""
    torch.manual_seed(0)
    return step_of(build_model("resnet20"), FLOAT)


def recipe_step(recipe: Recipe) -> Step:
    """Of the quantized network, in the phase in which everything is trained."""
    torch.manual_seed(0)
    model = build_model("resnet20").eval()
    images = data()
    quantized = convert(model, recipe, images.input, training=True)
    calibrate(quantized, images.train_x[:32])
    return step_of(quantized, replace(recipe.train, epochs=1000, batch=BATCH, distill=0.0, optimizer="sgd"))


def brevitas_step() -> Step:
    """Of the same network built of Brevitas' layers: 4-bit weights and activations, its defaults otherwise."""
    from brevitas import nn as qnn  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model: Any = build_model("resnet20")

    def replaced(module: nn.Module) -> None:
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                options = {"stride": child.stride, "padding": child.padding, "bias": False, "weight_bit_width": 4}
                setattr(module, name, qnn.QuantConv2d(child.in_channels, child.out_channels, 3, **options))
            elif isinstance(child, nn.Linear):
                setattr(module, name, qnn.QuantLinear(child.in_features, child.out_features, True, weight_bit_width=4))
            else:
                replaced(child)

    class Block(nn.Module):
        def __init__(self, block: Any):
            super().__init__()
            self.block: Any = block
            self.relu1, self.relu2 = qnn.QuantReLU(bit_width=4), qnn.QuantReLU(bit_width=4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            block = self.block
            y = block.bn2(block.conv2(self.relu1(block.bn1(block.conv1(x)))))
            if block.stride != 1 or block.pad:
                x = F.pad(x[:, :, :: block.stride, :: block.stride], (0, 0, 0, 0, block.pad, block.pad))
            return self.relu2(y + x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1, self.relu = model.conv1, model.bn1, qnn.QuantReLU(bit_width=4)
            stages = (model.layer1, model.layer2, model.layer3)
            self.blocks = nn.Sequential(*(Block(block) for stage in stages for block in stage))
            self.linear = model.linear

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.blocks(self.relu(self.bn1(self.conv1(x))))
            return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))

    replaced(model)
    return step_of(Net(), FLOAT)


def peak_bytes(step: Step) -> int:
    """Most bytes that PyTorch holds in a step, beyond what it holds before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    now = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def measure(make: Callable[[], Step], *, steps: int) -> dict[str, float]:
    """CPU seconds and bytes of a step and of a float step, taken in turn; and their ratios."""
    pair = {"step": make(), "float": float_step()}
    times: dict[str, list[float]] = {"step": [], "float": []}
    for number in range(steps + 1):
        for name, run in pair.items():
            start = time.process_time()
            run()
            if number:
                times[name].append(time.process_time() - start)
    row = {}
    for name, run in pair.items():
        row[f"{name}_seconds"], row[f"{name}_bytes"] = min(times[name]), peak_bytes(run)
    row["time_ratio"] = row["step_seconds"] / row["float_seconds"]
    row["memory_ratio"] = row["step_bytes"] / row["float_bytes"]
    return row


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report."""
    parser = Parser(prog="twofold bench qat_step", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="steps of each (default: %(default)s)")
    parser.add_argument("--recipe", type=Path, nargs="+", help="recipes (default: all of method 'qat')")
    parser.add_argument("--brevitas", action="store_true", help="only Brevitas, as one line of JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.brevitas:
        print(json.dumps(measure(brevitas_step, steps=options.steps)))
        return 0
    paths = options.recipe or resources.shipped("recipes")
    for path in paths:
        if not resources.find("recipes", path).is_file():
            parser.error(f"Recipe must be a file, not {str(path)!r}")
    recipes = [recipe for recipe in map(load_recipe, paths) if recipe.method == "qat"]
    rows: dict[str, dict[str, float] | str] = {}
    for recipe in recipes:
        rows[recipe.name] = measure(partial(recipe_step, recipe), steps=options.steps)
    rows["brevitas_int4"] = _peer(options.steps)
    heads = ("", "time", "in float", "ratio", "memory", "in float", "ratio")
    show_table("A step of training", heads, [_line(name, row) for name, row in rows.items()])
    facts = {"network": "resnet20", "batch": BATCH, "threads": 1, "torch": torch.__version__}
    report = facts | {"qat_step": rows}
    write_text(REPORT, json.dumps(report, indent=2) + "\n")
    return 0


def _peer(steps: int) -> dict[str, float] | str:
    if not PEERS.exists():
        return f"not run: there is no {PEERS}"
    done = subprocess.run(
        [str(PEERS), "-m", "twofold.bench.qat_step", "--brevitas", "--steps", str(steps)],
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return f"not run: {(done.stderr.splitlines() or ['no output'])[-1]}"
    return json.loads(lines[-1])


def _line(name: str, row: dict[str, float] | str) -> tuple[str, ...]:
    if isinstance(row, str):
        return name, row
    return (
        name,
        f"{row['step_seconds']:.3f} s",
        f"{row['float_seconds']:.3f} s",
        f"{row['time_ratio']:.2f}",
        f"{row['step_bytes'] / 1e6:.0f} MB",
        f"{row['float_bytes'] / 1e6:.0f} MB",
        f"{row['memory_ratio']:.2f}",
    )


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
