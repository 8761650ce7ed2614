"""Detection: boxes around things, with SSD's loss and COCO's average precision.

Made-up images of bright rectangles; ``twofold train fit --task detection`` does the same with blood cells and SSD-Lite.
Usage: ``python examples/find_boxes.py FOLDER`` (optional).
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

SIDE, CLASSES = 32, 3


class Detector(nn.Module):
    """Scores and offsets of the boxes of two maps, finest first: three and six a position."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.coarse = nn.Sequential(nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU())
        pairs = ((24, 3), (32, 6))
        self.scores = nn.ModuleList(nn.Conv2d(channels, boxes * CLASSES, 3, padding=1) for channels, boxes in pairs)
        self.offsets = nn.ModuleList(nn.Conv2d(channels, boxes * 4, 3, padding=1) for channels, boxes in pairs)

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        fine = self.fine(x)
        maps = (fine, self.coarse(fine))
        scores = [head(one) for head, one in zip(self.scores, maps, strict=True)]
        return scores, [head(one) for head, one in zip(self.offsets, maps, strict=True)]


def rectangles(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 0 to 1, and class, left, top, right and bottom (parts of the sides) of two things on each."""
    images = 0.1 * torch.rand(count, 3, SIDE, SIDE, generator=generator)
    targets = torch.zeros(count, 2, 5)
    for image, rows in zip(images, targets, strict=True):
        for number in range(2):
            high, wide = torch.randint(6, 12, (2,), generator=generator).tolist()
            top = int(torch.randint(0, SIDE - high, (1,), generator=generator))
            left = 16 * number + int(torch.randint(0, 16 - wide, (1,), generator=generator))
            label = int(torch.randint(1, CLASSES, (1,), generator=generator))
            image[label - 1, top : top + high, left : left + wide] += 0.8
            rows[number] = torch.tensor([label * SIDE, left, top, left + wide, top + high]) / SIDE
    return images, targets


def main(folder: Path) -> None:
    """Train, quantize, compare, export; the folder gets a picture and the network."""
    torch.set_num_threads(1)  # the fastest for tensors so small
    generator = torch.Generator().manual_seed(0)
    train_x, train_y, test_x, test_y = (*rectangles(128, generator), *rectangles(16, generator))
    form = twofold.InputFormat((3, SIDE, SIDE), bits=8, scale=1 / 255)
    names = ("red", "green")
    data = twofold.DataSet(
        "boxes", train_x, train_y, test_x, test_y, form, classes=CLASSES, task="detection", names=names
    )
    torch.manual_seed(0)
    model = Detector()
    reached = train_float(model, data, TrainSettings(epochs=25, batch=16, lr=1e-2))
    print(f"float: AP {reached['ap']:.1%}, at an overlap of 0.5 {reached['ap50']:.1%}")

    config = twofold.load_config("subset_8x8")
    quantized = twofold.quantize(model, data, "subset_w4a8", config).model
    network = twofold.export(quantized, config)
    print(f"quantized: AP {evaluate(quantized, data)['ap']:.1%}")
    print(f"integers: AP {evaluate_integers(quantized, network, data)['ap']:.1%}")
    twofold.save(network, folder / "network")
    draw_results({"float": model, "quantized": quantized}, data).savefig(folder / "results.png", dpi=80)
    print(folder / "results.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/find_boxes"))
