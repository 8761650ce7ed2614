"""Where the cycles of an inference go, layer by layer and instruction by instruction: no simulator is needed.

Usage: ``python examples/read_the_timing.py FOLDER`` (optional); the folder gets the table as CSV.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import twofold

BUILDS = ("log_4x4", "log_8x8")


def small_network(config: twofold.ArrayConfig) -> twofold.Network:
    """A network of random weights: time depends on shapes and on words a weight, not on values."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    ).eval()
    form = twofold.InputFormat((1, 8, 8), bits=8, scale=1 / 16)
    quantized = twofold.convert(model, twofold.load_recipe("ptq_l2_w4a8"), form)
    twofold.calibrate(quantized, torch.randint(0, 17, (64, 1, 8, 8)) / 16)
    twofold.snap(quantized, config)
    return twofold.export(quantized, config)


def main(folder: Path) -> None:
    """A table a build, and the first instructions of the last one."""
    rows = ["build,layer,cycles,passes,utilisation"]
    for name in BUILDS:
        config = twofold.load_config(name)
        image = twofold.compile_network(small_network(config), config)
        print(f"{name}: {image.cycles} cycles an inference, {image.utilisation():.1%} of the PEs' time")
        for layer in image.layers:
            spent = ", ".join(f"{cycles} {what}" for what, cycles in layer.spent.items() if cycles)
            print(f"  {layer.name:<8} {layer.cycles:>5} cycles, {layer.passes:>3} passes: {spent}")
            rows.append(f"{name},{layer.name},{layer.cycles},{layer.passes},{image.utilisation(layer):.3f}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timing.csv").write_text("\n".join(rows) + "\n")

    x = torch.randint(0, 17, image.input.tensor.shape).numpy()
    run = twofold.execute(image, x).run
    print(f"the first of {len(run.steps)} instructions: line, fetched and accepted in cycle, cycles since the last")
    for line, step in enumerate(run.steps[:6]):
        print(f"  {line:>4} {step.fetched:>4} {step.accepted:>4} {step.cycles:>4}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/read_the_timing"))
