"""A quantized network written as an ONNX file."""

from collections.abc import Callable, Collection
from pathlib import Path

from onnx import ModelProto

from twofold.exchange.exact import exact_model
from twofold.exchange.qdq import qdq_model
from twofold.golden.network import Network
from twofold.support.files import write_bytes

#: Ways to write a network.
STYLES = ("exact", "qdq")
_WRITERS: dict[str, Callable[..., ModelProto]] = {"exact": exact_model, "qdq": qdq_model}


def onnx_model(network: Network, style: str = "exact", *, outputs: Collection[str] = ()) -> ModelProto:
    """The network in ONNX; see `exchange.exact.exact_model` and `exchange.qdq.qdq_model`.

    Raises
    ------
    ValueError
        If there is no such style or output, or a layer has numbers that the style cannot hold.
    """
    if style not in _WRITERS:
        raise ValueError(f"Style must be one of {STYLES}, not {style!r}")
    return _WRITERS[style](network, outputs=outputs)


def to_onnx(network: Network, path: Path | str, *, style: str = "exact", outputs: Collection[str] = ()) -> None:
    """Write a quantized network as an ONNX file that onnxruntime executes.

    Parameters
    ----------
    network
        What to write.
    path
        File to write; an older one is replaced.
    style
        ``exact``: integers in and out, golden's at every layer. ``qdq``: real numbers in and out, for other tools; the
        integers are golden's but for values at half-way points, which float32 rounds before.
    outputs
        Names of layers whose integers are outputs, too.

    Raises
    ------
    ValueError
        As `onnx_model`.
    """
    write_bytes(Path(path), onnx_model(network, style, outputs=outputs).SerializeToString(deterministic=True))
