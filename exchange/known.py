"""What the writers know of a network: a field that they do not know must be refused, not left out."""

from collections.abc import Collection
from dataclasses import fields

from twofold.golden.narrow import Narrow
from twofold.golden.network import Branch, Layer, Network, SkipTensor, Tensor
from twofold.golden.order import Order
from twofold.golden.parts import Part
from twofold.golden.table import PointwiseTable

KNOWN: dict[type, frozenset[str]] = {
    Network: frozenset({"name", "input", "layers", "point_sets", "meta", "heads", "orders"}),
    Tensor: frozenset({"shape", "bits", "signed", "scale"}),
    Branch: frozenset(
        {
            "source",
            "point_set",
            "codes",
            "shifts",
            "stride",
            "padding",
            "dilation",
            "groups",
            "channel",
            "channels",
            "narrow",
        }
    ),
    Narrow: frozenset({"drop", "bits", "signed"}),
    SkipTensor: frozenset({"source", "shift"}),
    Order: frozenset({"split", "axes", "shape"}),
    Part: frozenset({"offset", "step", "size"}),
    PointwiseTable: frozenset({"bits", "signed", "scale", "entries"}),
    Layer: frozenset(
        {
            "name",
            "kind",
            "branches",
            "output",
            "bias",
            "multiplier",
            "right",
            "low",
            "high",
            "maximum",
            "skip",
            "table",
            "parts",
        }
    ),
}


def check_known(network: Network, outputs: Collection[str]) -> None:
    """Refuses to write a network that holds, or may hold, what the writers would leave out.

    Raises
    ------
    TypeError
        If a part of a network has a field that is not in `KNOWN`.
    ValueError
        If an output that is asked for is no layer.
    """
    names = tuple(layer.name for layer in network.layers)
    for kind, known in KNOWN.items():
        unknown = sorted({spec.name for spec in fields(kind)} - known)
        if unknown:
            raise TypeError(f"Fields of {kind.__name__} must be those that ONNX is written for, not also {unknown}")
    for name in outputs:
        if name not in names:
            raise ValueError(f"Output must be one of {names}, not {name!r}")
