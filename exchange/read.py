"""A quantized network read from an ONNX file."""

from pathlib import Path

from twofold.exchange import moves, operators, quantization, transposed, windows
from twofold.exchange.model_file import read_graph
from twofold.exchange.qoperators import with_real_operators
from twofold.exchange.reader import Handler, Reader
from twofold.golden.config import ArrayConfig
from twofold.golden.network import Network

_TABLES = (operators, quantization, windows, moves, transposed)
HANDLERS: dict[str, Handler] = {name: one for table in _TABLES for name, one in table.HANDLERS.items()}


def from_onnx(path: Path | str, config: ArrayConfig) -> Network:
    """A network of integers from a quantized ONNX file, for arrays of that build.

    Files with QuantizeLinear and DequantizeLinear, or with QONNX's Quant, around convolutions, linear layers, poolings
    and additions. Weights and activations keep their integers. Scales become the nearest that requantisation can do:
    `Network.meta` has the errors, as after `train.export.export`.

    Parameters
    ----------
    path
        The file.
    config
        The build: its format, accumulator and multipliers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or something in it cannot be exact, with the node's name.
    """
    graph = read_graph(path)
    try:
        return Reader(with_real_operators(graph), config).run(HANDLERS)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
