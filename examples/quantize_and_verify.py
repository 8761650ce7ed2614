"""A small PyTorch network of your own, from float training to the simulated machine.

Quantized after training, mapped to a 4x4 array, emitted as Verilog and simulated on it; every integer of every layer
and every cycle is compared. Usage: ``python examples/quantize_and_verify.py FOLDER`` (optional).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import twofold

BUILD, IMAGES = "subset_4x4", 20


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int = 300) -> None:
    """A plain float training."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = torch.arange(step * 64, (step + 1) * 64) % len(images)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()


def main(folder: Path) -> None:
    """Each step of the way; the folder gets network, memory image and Verilog."""
    torch.set_num_threads(1)  # the fastest for tensors so small
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    train(model, images[:1200], labels[:1200])
    model.eval()

    # The pixels are 0 to 16 by steps of 1: as real numbers, integers times 1/16.
    form = twofold.InputFormat((1, 8, 8), bits=8, scale=1 / 16)
    data = twofold.DataSet("mine", images[:1200], labels[:1200], images[1200:], labels[1200:], form, classes=10)
    config = twofold.load_config(BUILD)
    quantized = twofold.quantize(model, data, "ptq_l2_w4a8", config)
    print(f"accuracy: float {quantized.float_accuracy:.1%}, quantized {quantized.accuracy:.1%}")

    network = twofold.export(quantized.model, config)
    image = twofold.compile_network(network, config)
    twofold.save(network, folder / "network")
    twofold.save_image(image, folder / "image")
    verilog = folder / f"{BUILD}.v"
    verilog.write_text(twofold.emit(config))
    print(f"{verilog}: {verilog.stat().st_size // 1024} KB, {image.cycles} cycles an image predicted")

    integers = np.round(images[1200 : 1200 + IMAGES].numpy() / form.scale).astype(np.int64)
    simulated = twofold.simulate(image, integers, every_layer=True)
    golden = twofold.run_network(network, integers)
    wrong = sum(int((simulated.layers[name] != golden[name]).sum()) for name in simulated.layers)
    print(f"{IMAGES} images simulated: {wrong} mismatching integers in {len(simulated.layers)} layers")
    print(f"cycles an image, simulated: {sorted(set(simulated.cycles.tolist()))}")
    if wrong or set(simulated.cycles.tolist()) != {image.cycles}:
        sys.exit("the machine must give golden's integers in the predicted cycles")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/quantize_and_verify"))
