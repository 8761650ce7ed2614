"""A weight quantizer of your own: one class, which recipes then know by its name, down to the words of the array.

Usage: ``python examples/own_quantizer.py FOLDER`` (optional).
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import twofold
from twofold.train.quantizers import l2_scales, nearest
from twofold.train.quantizers.digits import DigitQuantizer

RECIPE = """
name = "eightfold"
method = "ptq"

[[layer]]
match = "*"
weight = { quantizer = "eightfold" }
activation = { bits = 8 }
"""


class EightfoldQuantizer(DigitQuantizer, name="eightfold"):
    """0, 1, 2 and 8 times a scale, of either sign."""

    top, magnitudes = 8.0, (0, 1, 2, 8)

    def integers(self, x: Tensor) -> Tensor:
        """The integers of weights that have been divided by their scale."""
        return torch.sign(x) * nearest(x.abs(), torch.tensor([0.0, 1.0, 2.0, 8.0]))

    def calibrate(self, weight: Tensor) -> None:
        """The scales of least squared error."""
        self.scale.data.copy_(l2_scales(weight, self.integers, self.top))


def main(folder: Path) -> None:
    """A network of random weights: what is shown is where they go."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    for layer in (model[0], model[3]):  # few large weights among many small ones, which these levels are for
        layer.weight.data = torch.randn_like(layer.weight) ** 3 / 16
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "eightfold.toml"
    recipe.write_text(RECIPE)

    form = twofold.InputFormat((3, 6, 6), bits=8, signed=True, scale=1 / 64)
    quantized = twofold.convert(model, twofold.load_recipe(recipe), form)
    twofold.calibrate(quantized, torch.randint(-128, 128, (64, 3, 6, 6)) / 64)
    config = twofold.load_config("subset_8x8")
    twofold.snap(quantized, config)
    network = twofold.export(quantized, config)
    twofold.save(network, folder / "network")

    for layer in network.layers:
        for branch in layer.branches:
            weights = branch.weights(network.point_sets[branch.point_set])
            levels = sorted(set(abs(weights).ravel().tolist()))
            print(f"{layer.name}: {len(branch.shifts)} word(s) a weight, magnitudes {levels}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/examples/own_quantizer"))
