"""Segmentation: a class at every pixel, from float training to the integers' mean intersection over union.

Made-up images of discs and squares; ``twofold train fit --task segmentation`` does the same with CamVid and DeepLabV3+.
Usage: ``python examples/segment_shapes.py FOLDER`` (optional).
"""

import sys
from pathlib import Path

import torch
from torch import nn

import twofold
from twofold.train.evaluation import evaluate, evaluate_integers
from twofold.train.pipelines import train_float
from twofold.train.recipe import TrainSettings
from twofold.train.results_plot import draw_results

SIDE = 32


def shapes(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 0 to 1 with a disc and a square, and the class of each pixel."""
    places = torch.rand(count, 4, generator=generator) * (SIDE - 12) + 6
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    away = [(rows - places[:, n, None, None], columns - places[:, n + 1, None, None]) for n in (0, 2)]
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    labels[away[0][0] ** 2 + away[0][1] ** 2 < 36] = 1
    labels[torch.maximum(away[1][0].abs(), away[1][1].abs()) < 5] = 2
    colours = torch.tensor([[0.3, 0.5, 0.3], [0.9, 0.3, 0.2], [0.3, 0.3, 0.9]])
    noise = 0.1 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return (colours[labels.long()].permute(0, 3, 1, 2) + noise).clamp(0, 1), labels


def main(folder: Path) -> None:
    """Train, quantize, compare, export; the folder gets a picture and the network."""
    torch.set_num_threads(1)  # the fastest for tensors so small
    generator = torch.Generator().manual_seed(0)
    train_x, train_y, test_x, test_y = (*shapes(64, generator), *shapes(16, generator))
    form = twofold.InputFormat((3, SIDE, SIDE), bits=8, scale=1 / 255)
    names = ("nothing", "disc", "square")
    data = twofold.DataSet(
        "shapes", train_x, train_y, test_x, test_y, form, classes=3, task="segmentation", names=names
    )
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(16, 3, 1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    )
    reached = train_float(model, data, TrainSettings(epochs=20, batch=8, lr=1e-2))
    print(f"float: mean IoU {reached['miou']:.1%}")

    config = twofold.load_config("subset_8x8")
    quantized = twofold.quantize(model, data, "subset_w4a8", config).model
    network = twofold.export(quantized, config)
    print(f"quantized: mean IoU {evaluate(quantized, data)['miou']:.1%}")
    print(f"integers: mean IoU {evaluate_integers(quantized, network, data)['miou']:.1%}")
    twofold.save(network, folder / "network")
    draw_results({"float": model, "quantized": quantized}, data).savefig(folder / "results.png", dpi=80)
    print(folder / "results.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/segment_shapes"))
