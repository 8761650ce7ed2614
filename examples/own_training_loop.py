"""Quantization-aware training in a loop of your own; the integer network comes out at the end.

Usage: ``python examples/own_training_loop.py FOLDER`` (optional).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import twofold

EPOCHS = 6


def batches(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled batches of 64."""
    return [(images[part], labels[part]) for part in torch.randperm(len(images)).split(64)]


def main(folder: Path) -> None:
    """Float training, quantization-aware training, export."""
    torch.set_num_threads(1)  # the fastest for tensors so small
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    train_x, train_y, test_x, test_y = images[:1200], labels[:1200], images[1200:], labels[1200:]
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    float_optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        for x, y in batches(train_x, train_y):
            float_optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            float_optimizer.step()
    model.eval()
    print(f"float accuracy {accuracy(model, test_x, test_y):.1%}")

    form = twofold.InputFormat((1, 8, 8), bits=8, scale=1 / 16)
    recipe = twofold.load_recipe("stlq_w3a4_r10")
    quantized = twofold.convert(model, recipe, form, training=True)
    twofold.calibrate(quantized, train_x[:256])
    print(f"calibrated, not trained: {accuracy(quantized, test_x, test_y):.1%}")

    steps = EPOCHS * len(batches(train_x, train_y))
    # All that quantizers need before and after a step, and at the end of the training.
    with twofold.QuantTraining(quantized, steps=steps, epochs=EPOCHS, settle=0.2) as training:
        optimizer = torch.optim.Adam(training.groups(), lr=2e-3)
        for _ in range(EPOCHS):
            for x, y in batches(train_x, train_y):
                with training.step(optimizer):
                    (cross_entropy(quantized(x), y) + 0.05 * training.penalty()).backward()
    print(f"trained with quantizers: {accuracy(quantized, test_x, test_y):.1%}")

    config = twofold.load_config("log_8x8")
    twofold.snap(quantized, config)
    network = twofold.export(quantized, config)
    twofold.save(network, folder / "network")
    integers = np.round(test_x.numpy() / form.scale).astype(np.int64)
    scores = twofold.run_network(network, integers)[network.output.name].reshape(len(integers), -1)
    right = float((scores.argmax(1) == test_y.numpy()).mean())
    print(f"exported integers: {right:.1%}; {folder / 'network'}")


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Part of the images whose largest score is the label's."""
    return float((model(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/own_training_loop"))
