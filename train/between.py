"""Where the outputs of bilinear upsampling lie between its inputs, along an axis."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor, lcm

from twofold.golden.parts import MOST_STEP

#: Weights along an axis are multiples of one over this where they are not multiples of one over less.
FINEST = 1024


@dataclass(frozen=True)
class LineRun:
    """Outputs along an axis that are alike, each a sum of one input or of two neighbours.

    Parameters
    ----------
    offset, count, step
        The first output, how many there are, and from one to the next.
    start, stride
        Its first input, and from one output's to the next one's.
    weights
        Of the inputs; their sum is the axis's divisor.
    """

    offset: int
    count: int
    step: int
    start: int
    stride: int
    weights: tuple[int, ...]


@dataclass(frozen=True)
class Lines:
    """All outputs along an axis; the weights of each add up to `divisor`."""

    divisor: int
    runs: tuple[LineRun, ...]

    @classmethod
    def same(cls, length: int) -> "Lines":
        """Each output its input."""
        return cls(1, (LineRun(0, length, 1, 0, 1, (1,)),))

    @cached_property
    def places(self) -> list[tuple[int, Fraction]]:
        """For each output its first input and the part of the one behind it."""
        found: dict[int, tuple[int, Fraction]] = {}
        for run in self.runs:
            part = Fraction(run.weights[1] if len(run.weights) > 1 else 0, self.divisor)
            found |= {run.offset + n * run.step: (run.start + n * run.stride, part) for n in range(run.count)}
        return [line for _, line in sorted(found.items())]


def lines_between(length: int, outputs: int, *, corners: bool) -> Lines:
    """Of `torch.nn.functional.interpolate` between so many inputs, with its rule `align_corners`.

    The weights are exact where their least common denominator is at most `FINEST`, else rounded to multiples of one
    over that.
    """
    lines = [_line(n, length, outputs, corners) for n in range(outputs)]
    divisor = lcm(*(part.denominator for _, part in lines))
    if divisor > FINEST:
        divisor = FINEST
        rounded = [(first, Fraction(round(part * FINEST), FINEST)) for first, part in lines]
        lines = [(first + 1, Fraction(0)) if part == 1 else (first, part) for first, part in rounded]
    runs = []
    for part in sorted({part for _, part in lines}):
        behind = int(part * divisor)
        weights = (divisor - behind, behind) if behind else (divisor,)
        places = [(n, first) for n, (first, one) in enumerate(lines) if one == part]
        runs += [LineRun(*progression, weights) for progression in _progressions(places)]
    return Lines(divisor, tuple(sorted(runs, key=lambda run: run.offset)))


def _line(n: int, length: int, outputs: int, corners: bool) -> tuple[int, Fraction]:
    """First input of an output, and the part of the input behind it."""
    if corners:
        place = Fraction(n * (length - 1), max(1, outputs - 1))
    else:
        place = max(Fraction(0), Fraction((2 * n + 1) * length - outputs, 2 * outputs))
    first = min(floor(place), length - 1)
    return first, place - first if first < length - 1 else Fraction(0)


def _progressions(places: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int, int, int, int]]:
    """Outputs and their inputs as few steady progressions: offset, count, step, start, stride."""
    found: list[list[tuple[int, int]]] = []
    for n, first in places:
        last = found[-1] if found else []
        step, stride = (n - last[-1][0], first - last[-1][1]) if last else (0, 0)
        steady = len(last) == 1 or (len(last) > 1 and (step, stride) == _steps(last))
        if steady and step <= MOST_STEP and stride > 0:
            last.append((n, first))
        else:
            found.append([(n, first)])
    for one in found:
        step, stride = _steps(one) if len(one) > 1 else (1, 1)
        yield one[0][0], len(one), step, one[0][1], stride


def _steps(places: list[tuple[int, int]]) -> tuple[int, int]:
    return places[1][0] - places[0][0], places[1][1] - places[0][1]
