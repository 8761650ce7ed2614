"""Multiply-accumulates as a user counts them."""

from math import prod

from twofold.golden.network import Layer
from twofold.mapper.tiles import weight_branches


def useful_macs(layer: Layer) -> int:
    """Multiply-accumulates of a layer as its user would count them, zero padding included.

    Poolings and additions have none, nor has a residual that a convolution takes in (a 1x1 branch channel by channel);
    a weight of several words counts once.
    """
    pieces = [piece for _, piece in layer.pieces]
    return sum(one.codes[0].size * prod(piece.output.shape[1:]) for piece in pieces for one in weight_branches(piece))
