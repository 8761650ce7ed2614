"""Speed of the golden arithmetic on a CIFAR-sized ResNet-20, beside what one would otherwise use.

Peers, in the same run, on the same network and inputs: the layers written plainly in int64 NumPy (unfold, then one
matrix product), and PyTorch's float32 convolutions with the requantisation in float32. Integers that differ from the
golden ones are counted.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden import catalog, layers
from twofold.golden.formats import PointSet
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.golden.rounding import scale_multiplier
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder

REPORT = build_folder("bench", "golden_speed.json")
Runner = Callable[[Network, NDArray[np.int64]], dict[str, NDArray[np.int64]]]


def resnet20(seed: int = 0) -> Network:
    """ResNet-20 for 32x32x3 inputs: 4-bit log words, 8-bit first and last layers, 4-bit activations, random weights."""
    rng = np.random.default_rng(seed)
    points = {"log": catalog.log_points(catalog.log_format(4))}
    network = Network("resnet20", Tensor((3, 32, 32), 8, True, 1.0), (_placeholder(),), points)
    sample = {INPUT: rng.integers(-128, 128, (8, 3, 32, 32))}
    built: list[Layer] = []

    def add(
        name: str, kind: str, branches: tuple[Branch, ...], shape: tuple[int, int, int], bits: int, signed: bool
    ) -> str:
        nonlocal network
        ones = np.ones(shape[0], dtype=np.int64)
        tensor = Tensor(shape, bits, signed, 1.0)
        draft = Layer(name, kind, branches, tensor, 0 * ones, ones, ones, tensor.low, tensor.high)
        network = Network("resnet20", network.input, (*built, draft), points)
        acc = layers.accumulate(network, draft, sample)
        pairs = [
            scale_multiplier(
                tensor.high / (2 * float(np.sqrt(np.mean(sums.astype(float) ** 2))) + 1),
                digits=3,
                span=12,
                max_right=40,
            )
            for sums in acc.swapaxes(0, 1)
        ]
        multiplier, right = np.array(pairs, dtype=np.int64).T
        built.append(Layer(name, kind, branches, tensor, 0 * ones, multiplier, right, tensor.low, tensor.high))
        sample[name] = layers.requantise(built[-1], acc)
        network = Network("resnet20", network.input, tuple(built), points)
        return name

    def conv(source: str, inputs: int, outputs: int, kernel: int, stride: int, words: int) -> Branch:
        codes = rng.integers(0, 16, (words, outputs, inputs, kernel, kernel), dtype=np.uint8)
        shifts = tuple(range(0, 2 * words, 2))
        return Branch(source, "log", codes, shifts, stride=(stride, stride), padding=(kernel // 2, kernel // 2))

    here = add("conv", "conv2d", (conv(INPUT, 3, 16, 3, 1, 4),), (16, 32, 32), 4, False)
    inputs, side = 16, 32
    for stage, outputs in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            side //= stride
            shape = (outputs, side, side)
            skip = here
            name = f"stage{stage}.{block}"
            here = add(f"{name}.conv1", "conv2d", (conv(here, inputs, outputs, 3, stride, 1),), shape, 4, False)
            residual = _constant(skip, points["log"], inputs, 16, stride, (outputs - inputs) // 2)
            branches = (conv(here, outputs, outputs, 3, 1, 1), residual)
            here = add(f"{name}.conv2", "conv2d", branches, shape, 4, False)
            inputs = outputs
    pool = _constant(here, points["log"], 64, 1, 1, 0, kernel=8)
    here = add("pool", "avgpool", (pool,), (64, 1, 1), 8, False)
    add("fc", "linear", (conv(here, 64, 10, 1, 1, 4),), (10, 1, 1), 8, True)
    return network


def _placeholder() -> Layer:
    one = np.ones(1, dtype=np.int64)
    branch = Branch(INPUT, "log", np.zeros((1, 1, 3, 1, 1), dtype=np.uint8), (0,))
    return Layer("placeholder", "conv2d", (branch,), Tensor((1, 32, 32), 2, False, 1.0), 0 * one, one, one, 0, 1)


def _constant(
    source: str, points: PointSet, channels: int, value: int, stride: int, offset: int, kernel: int = 1
) -> Branch:
    codes = np.full((1, channels, 1, kernel, kernel), points.encode(value), dtype=np.uint8)
    return Branch(source, "log", codes, (0,), stride=(stride, stride), groups=channels, channel=offset)


def run_golden(network: Network, x: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The golden arithmetic, every layer's output kept."""
    return layers.run(network, x)


def run_plain(network: Network, x: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Each layer as one would first write it: int64 throughout, windows unfolded, one matrix product a branch."""
    values = {INPUT: x}
    for layer in network.layers:
        acc = np.zeros((len(x), *layer.output.shape), dtype=np.int64) + layer.bias[:, None, None]
        for branch in layer.branches:
            weights = branch.weights(network.point_sets[branch.point_set])
            (pad_y, pad_x), (step_y, step_x) = branch.begin, branch.stride
            padded = np.pad(values[branch.source], ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
            windows = sliding_window_view(padded, branch.kernel, (2, 3))[:, :, ::step_y, ::step_x]
            target = acc[:, branch.channel : branch.channel + branch.out_channels]
            if branch.groups > 1:
                target += np.einsum("bchwyx,cyx->bchw", windows, weights[:, 0])
            else:
                columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, weights[0].size)
                sums = columns @ weights.reshape(len(weights), -1).T
                target += sums.reshape(len(x), *target.shape[2:], -1).transpose(0, 3, 1, 2)
        values[layer.name] = layers.requantise(layer, acc)
    del values[INPUT]
    return values


def torch_runner(network: Network) -> Runner:
    """The same network in PyTorch: float32 convolutions, requantisation in float32."""
    import torch

    prepared = []
    for layer in network.layers:
        weights = [
            torch.from_numpy(branch.weights(network.point_sets[branch.point_set])).float() for branch in layer.branches
        ]
        scale = torch.from_numpy(layer.multiplier * 2.0**-layer.right).float()[:, None, None]
        prepared.append((layer, weights, scale, torch.from_numpy(layer.bias).float()[:, None, None]))

    @torch.inference_mode()
    def runner(_: Network, x: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        values = {INPUT: torch.from_numpy(x).float()}
        for layer, weights, scale, bias in prepared:
            acc = torch.zeros((len(x), *layer.output.shape))
            for branch, weight in zip(layer.branches, weights, strict=True):
                acc[:, branch.channel : branch.channel + branch.out_channels] += torch.nn.functional.conv2d(
                    values[branch.source], weight, None, branch.stride, branch.padding, branch.dilation, branch.groups
                )
            values[layer.name] = ((acc + bias) * scale).round_().clamp_(layer.low, layer.high)
        return {layer.name: values[layer.name].long().numpy() for layer in network.layers}

    return runner


def macs(network: Network) -> int:
    """Multiplications of weights and activations an image, identity and pooling branches left out."""
    return sum(
        branch.codes[0].size * layer.output.shape[1] * layer.output.shape[2]
        for layer in network.layers
        for branch in layer.branches
        if branch.groups == 1
    )


def measure(runner: Runner, network: Network, x: NDArray[np.int64], *, repeats: int) -> tuple[float, dict]:
    """Best images a second of some repeats, and the results."""
    result = runner(network, x[: max(1, len(x) // 4)])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = runner(network, x)
        seconds.append(time.perf_counter() - start)
    return len(x) / min(seconds), result


def compare(network: Network, *, images: int = 256, few: int = 4, repeats: int = 3) -> dict[str, dict[str, Any]]:
    """Speed of golden and its peers, by name; plain NumPy does only `few` of the images."""
    x = np.random.default_rng(1).integers(-128, 128, (images, 3, 32, 32))
    peers: dict[str, tuple[Runner, int]] = {"golden": (run_golden, len(x)), "NumPy int64": (run_plain, few)}
    if importlib.util.find_spec("torch") is not None:
        peers["torch float32"] = (torch_runner(network), len(x))
    speeds, mismatches = {}, {}
    expected: dict[str, NDArray[np.int64]] = {}
    for name, (runner, count) in peers.items():
        speeds[name], result = measure(runner, network, x[:count], repeats=repeats)
        expected = expected or result
        mismatches[name] = sum(int((result[key] != expected[key][:count]).sum()) for key in expected)
    return {
        name: {
            "images": peers[name][1],
            "images_per_second": round(speed, 2),
            "golden_is_faster_by": round(speeds["golden"] / speed, 2),
            "mismatching_integers": mismatches[name],
        }
        for name, speed in speeds.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report. Fails if the plain integers differ."""
    Parser(prog="twofold bench golden_speed", description=str(__doc__).split("\n", 1)[0]).parse_args(arguments)
    network = resnet20()
    found = compare(network)
    report = {
        "network": network.name,
        "macs": macs(network),
        "cores": os.cpu_count(),
        "rows": [{"name": name, **row} for name, row in found.items()],
    }
    show_table(
        f"{network.name}, {macs(network) / 1e6:.1f} M MACs an image, {report['cores']} cores",
        ("", "images/s", "golden is faster by", "mismatches"),
        [
            (
                name,
                f"{row['images_per_second']:.1f}",
                f"{row['golden_is_faster_by']:.2f}",
                str(row["mismatching_integers"]),
            )
            for name, row in found.items()
        ],
    )
    write_text(REPORT, json.dumps(report, indent=2) + "\n")
    return 1 if found["NumPy int64"]["mismatching_integers"] else 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
