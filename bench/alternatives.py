"""Post-training quantization that a user would take instead, on the same float weights: accuracy side by side.

ResNet-20 on CIFAR-10, 1,024 calibration images without labels, all test images. onnxruntime's static int8 runs with its
defaults and a scale a channel, Brevitas as its own example of post-training, first and last layers in 8 bits. Ours are
the recipes named, fake-quantized, scales exact for the build. Brevitas has an environment of its own (`make bench`).
"""

import copy
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from twofold.bench.qat_step import PEERS
from twofold.bench.tools.console import data_folder, run_benchmark, show_table
from twofold.bench.tools.float_network import float_network
from twofold.golden.config import load_config
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.train.data import DataSet, load_data
from twofold.train.loop import accuracy
from twofold.train.pipelines import apply

REPORT = build_folder("bench", "alternatives.json")
#: Calibration images of all, and images of a step.
IMAGES, BATCH = 1024, 256
#: Bits of weights and activations that Brevitas is asked for.
BITS = ((8, 8), (4, 8), (3, 8), (4, 4))
RECIPES = ("ptq_l2_w8a8", "ptq_l2_w4a8", "sq_w4a8", "sq_w3a8", "sq_w4a4")


def network(folder: Path) -> tuple[nn.Module, DataSet]:
    """The float network and its data."""
    data = load_data("cifar10", folder / "cifar10")
    return float_network("resnet20", data, folder), data


def onnxruntime_int8(model: nn.Module, data: DataSet) -> float:
    """Static quantization: a scale a channel for weights, a scale and a zero point a tensor for activations."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = data.train_x[:IMAGES].numpy()

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts: Iterator[Any] = iter(np.split(images, IMAGES // BATCH))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self.parts, None)
            return None if part is None else {"x": part}

    with tempfile.TemporaryDirectory() as name:
        plain, ready, small = (str(Path(name) / f"{step}.onnx") for step in ("float", "ready", "int8"))
        sizes = {"x": {0: "n"}, "y": {0: "n"}}
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": sizes, "dynamo": False}
        with warnings.catch_warnings():
            # The exporter that PyTorch prefers needs another library.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(model, (data.train_x[:1],), plain, **names)
        quant_pre_process(plain, ready)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(ready, small, Reader(), per_channel=True, **types)
        session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
        right = 0
        for n in range(0, len(data.test_x), BATCH):
            logits = session.run(None, {"x": data.test_x[n : n + BATCH].numpy()})[0]
            right += int((logits.argmax(1) == data.test_y[n : n + BATCH].numpy()).sum())
    return right / len(data.test_x)


def brevitas_ptq(model: nn.Module, data: DataSet, weight_bits: int, act_bits: int) -> float:
    """Brevitas' own recipe for post-training: folding, equalization, its quantizers, calibration, bias correction.

    The model is changed.
    """
    from brevitas.graph.calibrate import (  # type: ignore[import-not-found]
        bias_correction_mode,
        calibration_mode,
    )
    from brevitas.graph.quantize import preprocess_for_quantize  # type: ignore[import-not-found]
    from brevitas_examples.imagenet_classification.ptq.ptq_common import (  # type: ignore[import-not-found]
        quantize_model,
    )

    folded = preprocess_for_quantize(model, equalize_iters=20, equalize_merge_bias=True)
    quantized = quantize_model(
        folded,
        "fx",
        weight_bit_width=weight_bits,
        act_bit_width=act_bits,
        bias_bit_width=32,
        scale_factor_type="float_scale",
        weight_quant_granularity="per_channel",
        weight_param_method="mse",
        act_param_method="stats",
        act_quant_percentile=99.999,
        weight_quant_type="sym",
        act_quant_type="sym",
        quant_format="int",
        layerwise_first_last_bit_width=8,
        device="cpu",
        dtype=torch.float32,
    )
    parts = [data.train_x[n : n + BATCH] for n in range(0, IMAGES, BATCH)]
    with torch.no_grad():
        with calibration_mode(quantized):
            for part in parts:
                quantized(part)
        with bias_correction_mode(quantized):
            for part in parts:
                quantized(part)
    return accuracy(quantized.eval(), data.test_x, data.test_y)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 2 on wrong arguments."""
    options = _parser().parse_args(arguments)
    if options.data is None:
        print("not run: it needs the data, --data FOLDER")
        return 0
    torch.set_num_threads(1)
    model, data = network(data_folder(options.data))
    if options.brevitas:
        print(json.dumps({f"W{w}A{a}": brevitas_ptq(copy.deepcopy(model), data, w, a) for w, a in BITS}))
        return 0
    rows: dict[str, float] = {}
    for name, one in _measured(model, data, options.data):
        print(f"{name}: {100 * one:.2f} %", flush=True)
        rows[name] = one
        write_text(REPORT, json.dumps(rows, indent=1) + "\n")
    show_table(
        "post-training, ResNet-20 on CIFAR-10",
        ("what", "accuracy", "beside float"),
        [(name, f"{100 * one:.2f} %", f"{100 * (one - rows['float']):+.2f}") for name, one in rows.items()],
    )
    print(f"report: {REPORT}")
    return 0


def _measured(model: nn.Module, data: DataSet, folder: Path) -> Iterator[tuple[str, float]]:
    """What was measured, and its accuracy, one after the other."""
    yield "float", accuracy(model, data.test_x, data.test_y)
    yield "onnxruntime, W8A8", onnxruntime_int8(model, data)
    if PEERS.is_file():
        yield from _brevitas(folder).items()
    for recipe in RECIPES:
        yield recipe, apply(model, data, recipe, load_config("subset_16x16")).accuracy


def _brevitas(folder: Path) -> dict[str, float]:
    command = [str(PEERS), "-m", "twofold.bench.alternatives", "--brevitas", "--data", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Brevitas must run in {PEERS}, not end so: {done.stderr.strip().splitlines()[-1]}")
    return {f"Brevitas, {bits}": one for bits, one in json.loads(done.stdout.splitlines()[-1]).items()}


def _parser() -> Parser:
    parser = Parser(prog="twofold bench alternatives", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="has cifar10 and resnet20_cifar10")
    parser.add_argument("--brevitas", action="store_true", help="only Brevitas, as one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
