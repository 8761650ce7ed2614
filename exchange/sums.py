"""Arithmetic on sums: their channels and places, factors, additions, concatenations."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twofold.exchange.values import Floats, Joined, Plain, Sum, Term
from twofold.golden.network import Pair
from twofold.golden.parts import Part


def identity(plain: Plain) -> Term:
    """A plain value, without shift and padding, as a convolution."""
    channels = plain.shape[0]
    weights = np.full((channels, 1, 1, 1), 1 if plain.unit > 0 else -1, dtype=np.int64)
    return Term(plain.tensor, weights, np.full(channels, abs(plain.unit)), groups=channels, channels=plain.channels)


def as_sum(value: Plain | Joined) -> Sum:
    """Plain values as a sum; what zero points leave is a bias."""
    bias = np.concatenate([np.full(piece.shape[0], piece.unit * piece.shift) for piece in value.pieces])
    if isinstance(value, Plain) and value.whole:
        return Sum(value.shape, (), (replace(value, shift=0),), bias, flat=value.flat)
    return Sum(value.shape, tuple(identities(value.pieces)), (), bias, flat=value.flat)


def identities(pieces: Sequence[Plain]) -> list[Term]:
    """Pieces as convolutions, one after the other along the channels."""
    terms, start = [], 0
    for piece in pieces:
        terms.append(replace(identity(piece), channel=start))
        start += piece.shape[0]
    return terms


def all_terms(sum: Sum) -> tuple[Term, ...]:
    """Terms of a sum, its plain values included."""
    plains = [identity(plain) for plain in sum.plains]
    if not sum.parts:
        return (*sum.terms, *plains)
    return (*sum.terms, *(_at(term, part, n, sum.shape) for n, part in enumerate(sum.parts) for term in plains))


def by_channel(sum: Sum, values: Floats) -> Floats:
    """Numbers of the channels, for every part."""
    return np.tile(values, max(1, len(sum.parts)))


def times(sum: Sum, factor: Floats) -> Sum:
    """Each channel times a number that is not zero."""
    every = by_channel(sum, factor)
    sign, size = np.where(every < 0, -1, 1), np.abs(every)
    terms = []
    for term in all_terms(sum):
        part = slice(term.channel, term.channel + len(term.unit))
        weights = term.weights * sign[part, None, None, None]
        terms.append(replace(term, weights=weights, unit=term.unit * size[part]))
    return replace(sum, terms=tuple(terms), plains=(), bias=sum.bias * every)


def placed(sum: Sum, offset: Pair, step: Pair, size: Pair) -> Sum:
    """The sum at every so many places of a larger map of zeros, from an offset on; plain values become terms."""
    moved = []
    for part in sum.parts or (Part((0, 0), (1, 1), sum.shape[1:]),):
        first = (offset[0] + step[0] * part.offset[0], offset[1] + step[1] * part.offset[1])
        moved.append(Part(first, (step[0] * part.step[0], step[1] * part.step[1]), part.size))
    return replace(sum, shape=(sum.shape[0], *size), terms=all_terms(sum), plains=(), parts=tuple(moved))


def complete(sum: Sum) -> bool:
    """Whether each place is in one part."""
    return not sum.parts or bool((_times(sum) == 1).all())


def added(left: Sum, right: Sum) -> Sum:
    """The sum of two of one shape, whose parts are the same, or all of one, or apart from each other.

    Raises
    ------
    ValueError
        If parts overlap otherwise.
    """
    plains = left.plains + right.plains
    if not left.parts and right.parts:
        left, right = right, left
    if left.parts and not right.parts and not (right.terms or right.bias.any()):
        return replace(left, plains=plains)
    if left.parts and not right.parts and complete(left):
        right = _in_parts(right, left.parts)
    if left.parts == right.parts:
        return replace(left, terms=left.terms + right.terms, plains=plains, bias=left.bias + right.bias)
    if not right.parts or (_times(left) + _times(right) > 1).any():
        raise ValueError("places of sums that are added must be the same, or apart from each other")
    start = len(left.bias)
    terms = left.terms + tuple(replace(term, channel=term.channel + start) for term in right.terms)
    bias = np.concatenate([left.bias, right.bias])
    return replace(left, terms=terms, plains=plains, bias=bias, parts=left.parts + right.parts)


def joined(sums: Sequence[Sum]) -> Sum:
    """Sums without parts one after the other along the channels."""
    terms, start = list[Term](), 0
    for one in sums:
        terms += [replace(term, channel=term.channel + start) for term in all_terms(one)]
        start += one.shape[0]
    bias = np.concatenate([one.bias for one in sums])
    return replace(sums[0], shape=(start, *sums[0].shape[1:]), terms=tuple(terms), plains=(), bias=bias)


def selected(sum: Sum, rows: Sequence[int]) -> Sum:
    """Some channels, ascending, of a sum without parts."""
    picks = np.array(rows)
    terms = []
    for term in all_terms(sum):
        own = (picks >= term.channel) & (picks < term.channel + len(term.unit))
        if own.any():
            terms.append(replace(_rows(term, picks[own] - term.channel), channel=int(np.flatnonzero(own)[0])))
    return replace(sum, shape=(len(picks), *sum.shape[1:]), terms=tuple(terms), plains=(), bias=sum.bias[picks])


def shuffled(sum: Sum, block: int, *, by_column: bool) -> Sum:
    """Channels of a sum without parts moved to places of blocks, as DepthToSpace does.

    Parameters
    ----------
    by_column
        The order of channels: those of one block beside each other (CRD), or those of one place (DCR).
    """
    channels, height, width = sum.shape[0] // block**2, sum.shape[1], sum.shape[2]
    parts, terms, biases = [], list[Term](), []
    for n in range(block**2):
        rows = range(n, sum.shape[0], block**2) if by_column else range(n * channels, (n + 1) * channels)
        own = selected(sum, rows)
        parts.append(Part((n // block, n % block), (block, block), (height, width)))
        terms += [replace(term, channel=term.channel + n * channels) for term in own.terms]
        biases.append(own.bias)
    shape = (channels, height * block, width * block)
    bias = np.concatenate(biases)
    return replace(sum, shape=shape, terms=tuple(terms), plains=(), bias=bias, parts=tuple(parts))


def _rows(term: Term, rows: NDArray[np.int64]) -> Term:
    """Some output channels of a term."""
    weights, unit = term.weights[rows], term.unit[rows]
    if term.groups == 1:
        return replace(term, weights=weights, unit=unit)
    inputs, outputs = term.weights.shape[1], len(term.unit) // term.groups
    read = term.channels or tuple(range(term.groups * inputs))
    if inputs == outputs == 1:
        return replace(term, weights=weights, unit=unit, groups=len(rows), channels=tuple(read[row] for row in rows))
    dense = np.zeros((len(rows), term.groups * inputs, *weights.shape[2:]), dtype=np.int64)
    for n, row in enumerate(rows):
        first = row // outputs * inputs
        dense[n, first : first + inputs] = weights[n]
    return replace(term, weights=dense, unit=unit, groups=1)


def _in_parts(sum: Sum, parts: tuple[Part, ...]) -> Sum:
    """A sum without parts as one of parts, but for its plain values."""
    terms = tuple(_at(term, part, n, sum.shape) for n, part in enumerate(parts) for term in sum.terms)
    return replace(sum, terms=terms, bias=np.tile(sum.bias, len(parts)), parts=parts)


def _at(term: Term, part: Part, number: int, shape: tuple[int, int, int]) -> Term:
    """A term over a whole map at the places of a part alone."""
    before, after, stride = [], [], []
    for axis in (0, 1):
        step = term.stride[axis]
        last = part.offset[axis] + (part.size[axis] - 1) * part.step[axis]
        stride.append(step * part.step[axis])
        before.append(term.padding[axis] - part.offset[axis] * step)
        after.append(term.padding[2 + axis] - (shape[1 + axis] - 1 - last) * step)
    channel = term.channel + number * shape[0]
    sides = (before[0], before[1], after[0], after[1])
    return replace(term, stride=(stride[0], stride[1]), padding=sides, channel=channel)


def _times(sum: Sum) -> NDArray[np.int64]:
    """How many parts each place is in."""
    times = np.zeros(sum.shape[1:], dtype=np.int64)
    for part in sum.parts:
        times[part.places] += 1
    return times
