"""Integer weights as words of whatever array: base of the quantizers whose levels are integers of their own choice."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twofold.golden import catalog
from twofold.golden.digit_words import digit_codes
from twofold.golden.formats import PointSet, WeightFormat
from twofold.train.quantizers.base import CodedWeights, WeightQuantizer, encode_values, filled, per_channel

#: Codes, shift of each word, point set, and the left shift of the sum of the words against the values.
Words = tuple[NDArray[np.uint8], tuple[int, ...], PointSet, int]


class DigitQuantizer(WeightQuantizer):
    """Weights that are integers times a scale."""

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """Every magnitude of a weight (LSBs), where they may fit into one word."""
        return ()

    @property
    def terms(self) -> tuple[tuple[int, ...], ...]:
        """Menus of which a magnitude is a sum, one entry of each, where there are such."""
        return ()

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        """As few words as `words_of` finds."""
        with torch.no_grad():
            values = self.integers(self.prepare(weight) / per_channel(self.scale)) * filled(weight)
        codes, shifts, points, shift = words_of(values.numpy().astype(np.int64), fmt, self.magnitudes, self.terms)
        scale = (self.scale * self.gain).double().numpy() / (1 << shift)
        return CodedWeights(codes, shifts, points, scale)


def words_of(
    values: NDArray[np.int64], fmt: WeightFormat, magnitudes: Sequence[int], terms: Sequence[Sequence[int]] = ()
) -> Words:
    """Words of integers.

    One signed digit where that is enough, as all layers share the set of digits; one word, where the format has all
    magnitudes, times some power of two; on a log array a word a term, where it has all terms; else signed digits.

    Parameters
    ----------
    values : any shape
        The integers.
    fmt
        The array's format.
    magnitudes
        All that values can have; none: not known.
    terms
        See `DigitQuantizer.terms`.

    Raises
    ------
    ValueError
        If a value is none of the magnitudes.
    """
    points = catalog.digit_points(fmt)
    codes, shifts = digit_codes(values, points)
    if len(codes) > 1:
        for shift in range(fmt.max_level.bit_length()):
            words = _one_word(values, magnitudes, fmt, shift) or _term_words(values, terms, fmt, shift)
            if words is not None:
                return words[0], (0,) * len(words[0]), words[1], shift
    return codes, shifts, points, fmt.digit_shift


def _one_word(
    values: NDArray[np.int64], magnitudes: Sequence[int], fmt: WeightFormat, shift: int
) -> tuple[NDArray[np.uint8], PointSet] | None:
    levels = tuple(magnitude << shift for magnitude in magnitudes)
    if not levels:
        return None
    if len(fmt.menus) == 1:
        points = catalog.log_points(fmt)
        if any(level not in points.codes or -level not in points.codes for level in levels):
            return None
    else:
        if len(levels) > fmt.point_count or any(level not in fmt.picks for level in levels):
            return None
        points = PointSet(fmt, levels + (levels[-1],) * (fmt.point_count - len(levels)))
    return encode_values(values << shift, points)[None], points


def _term_words(
    values: NDArray[np.int64], terms: Sequence[Sequence[int]], fmt: WeightFormat, shift: int
) -> tuple[NDArray[np.uint8], PointSet] | None:
    if not terms or len(fmt.menus) != 1:
        return None
    points = catalog.log_points(fmt)
    every = [term << shift for menu in terms for term in menu]
    if any(term not in points.codes or -term not in points.codes for term in every):
        return None
    parts = {sum(choice): choice for choice in product(*terms)}
    sums = sorted(parts)
    table = np.array([parts[level] for level in sums], dtype=np.int64)
    words = np.moveaxis(table[np.searchsorted(np.array(sums), np.abs(values))], -1, 0) * np.sign(values) << shift
    return np.stack([encode_values(word, points) for word in words]), points


def weight_bits(bits: int, name: str, most: int = 8) -> int:
    """The same number, if a weight can have so many bits."""
    if type(bits) is not int or not 2 <= bits <= most:
        raise ValueError(f"{name} weight must be 2 to {most} bits, not {bits!r}")
    return bits
