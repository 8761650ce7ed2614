"""Enhancement: raw images of a sensor with a hundredth of the light, made bright again by a small network.

Made-up scenes; ``twofold train fit --task enhancement`` does the same with CamVid's images and a U-Net.
Usage: ``python examples/light_the_dark.py FOLDER`` (optional).
"""

import sys
from pathlib import Path

import torch
from torch import nn

import twofold
from twofold.train.data.low_light import amplified, dark
from twofold.train.evaluation import evaluate, evaluate_integers
from twofold.train.pipelines import train_float
from twofold.train.recipe import TrainSettings
from twofold.train.results_plot import draw_results

SIDE = 32


def scenes(count: int, generator: torch.Generator) -> torch.Tensor:
    """Images of smooth colours with an edge, uint8."""
    corners = torch.rand(count, 3, 3, 3, generator=generator)
    smooth = nn.functional.interpolate(corners, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    smooth[:, :, SIDE // 3 :, SIDE // 2 :] *= 0.5
    return (255 * smooth).round().to(torch.uint8)


def main(folder: Path) -> None:
    """Train, quantize, compare, export; the folder gets a picture and the network."""
    torch.set_num_threads(1)  # the fastest for tensors so small
    generator = torch.Generator().manual_seed(0)
    train_y, test_y = scenes(64, generator), scenes(16, generator)
    train_x, test_x = (amplified(dark(images, generator)) for images in (train_y, test_y))
    form = twofold.InputFormat((4, SIDE // 2, SIDE // 2), bits=8, scale=1 / 255)
    data = twofold.DataSet("scenes", train_x, train_y, test_x, test_y, form, classes=3, task="enhancement")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 12, 1),
        nn.PixelShuffle(2),
    )
    reached = train_float(model, data, TrainSettings(epochs=25, batch=16, lr=1e-2))
    print(f"float: {reached['psnr']:.1f} dB, SSIM {reached['ssim']:.2f}")

    config = twofold.load_config("subset_8x8")
    quantized = twofold.quantize(model, data, "subset_w4a8", config).model
    network = twofold.export(quantized, config)
    print(f"quantized: {evaluate(quantized, data)['psnr']:.1f} dB")
    print(f"integers: {evaluate_integers(quantized, network, data)['psnr']:.1f} dB")
    twofold.save(network, folder / "network")
    draw_results({"float": model, "quantized": quantized}, data).savefig(folder / "results.png", dpi=80)
    print(folder / "results.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/light_the_dark"))
