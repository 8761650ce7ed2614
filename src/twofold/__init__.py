"""Multiplier-free neural network accelerators, generated from PyTorch and verified bit for bit.

The names of `__all__` are what others may build on; whatever lies deeper may change. Each is imported when it is first
used: only those of training need PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "ArrayConfig",
    "Board",
    "DataSet",
    "Device",
    "Image",
    "InputFormat",
    "LiveMachine",
    "Network",
    "PynqLink",
    "QuantTraining",
    "Recipe",
    "SerialPort",
    "calibrate",
    "compile_network",
    "convert",
    "emit",
    "execute",
    "export",
    "from_onnx",
    "input_frame",
    "load",
    "load_config",
    "load_image",
    "load_model",
    "load_recipe",
    "quantize",
    "read_output",
    "read_outputs",
    "run_network",
    "save",
    "save_image",
    "save_model",
    "simulate",
    "snap",
    "to_onnx",
    "torch_from_onnx",
]

if TYPE_CHECKING:
    from twofold.boards.device import Device
    from twofold.boards.host import Board, SerialPort
    from twofold.boards.pynq import PynqLink
    from twofold.exchange.read import from_onnx
    from twofold.exchange.write import to_onnx
    from twofold.golden.config import ArrayConfig, load_config
    from twofold.golden.container import load, save
    from twofold.golden.image import Image, input_frame, read_output, read_outputs
    from twofold.golden.image_folder import load as load_image
    from twofold.golden.image_folder import save as save_image
    from twofold.golden.layers import run as run_network
    from twofold.golden.machine import execute
    from twofold.golden.network import Network
    from twofold.hdl.emit import emit
    from twofold.mapper.compiler import compile_network
    from twofold.sim.fast import run_images as simulate
    from twofold.sim.live import LiveMachine
    from twofold.train.convert import calibrate, convert
    from twofold.train.data import DataSet, InputFormat
    from twofold.train.export import export
    from twofold.train.hooks import QuantTraining
    from twofold.train.onnx_model import torch_from_onnx
    from twofold.train.pipelines import apply as quantize
    from twofold.train.recipe import Recipe, load_recipe
    from twofold.train.saved import load_model, save_model
    from twofold.train.snap import snap

#: Where each name is: its module, and its name there.
_PLACES = {
    "ArrayConfig": "golden.config:ArrayConfig",
    "Board": "boards.host:Board",
    "DataSet": "train.data:DataSet",
    "Device": "boards.device:Device",
    "Image": "golden.image:Image",
    "InputFormat": "train.data:InputFormat",
    "LiveMachine": "sim.live:LiveMachine",
    "Network": "golden.network:Network",
    "PynqLink": "boards.pynq:PynqLink",
    "QuantTraining": "train.hooks:QuantTraining",
    "Recipe": "train.recipe:Recipe",
    "SerialPort": "boards.host:SerialPort",
    "calibrate": "train.convert:calibrate",
    "compile_network": "mapper.compiler:compile_network",
    "convert": "train.convert:convert",
    "emit": "hdl.emit:emit",
    "execute": "golden.machine:execute",
    "export": "train.export:export",
    "from_onnx": "exchange.read:from_onnx",
    "input_frame": "golden.image:input_frame",
    "load": "golden.container:load",
    "load_config": "golden.config:load_config",
    "load_image": "golden.image_folder:load",
    "load_model": "train.saved:load_model",
    "load_recipe": "train.recipe:load_recipe",
    "quantize": "train.pipelines:apply",
    "read_output": "golden.image:read_output",
    "read_outputs": "golden.image:read_outputs",
    "run_network": "golden.layers:run",
    "save": "golden.container:save",
    "save_image": "golden.image_folder:save",
    "save_model": "train.saved:save_model",
    "simulate": "sim.fast:run_images",
    "snap": "train.snap:snap",
    "to_onnx": "exchange.write:to_onnx",
    "torch_from_onnx": "train.onnx_model:torch_from_onnx",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inner = _PLACES[name].partition(":")
    globals()[name] = value = getattr(import_module(f"{__name__}.{module}"), inner)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
