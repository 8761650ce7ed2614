"""From sums of real numbers to a network's layers: integer words, biases, multipliers."""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from twofold.exchange.sums import all_terms
from twofold.exchange.values import Floats, Integers, Most, Sum, Term
from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.network import INPUT, Branch, Layer, SkipTensor, Tensor
from twofold.golden.parts import Part
from twofold.golden.rounding import scale_multiplier

#: Name of the one point set.
DIGITS = "digits"
#: Scales this near to each other are the same: products of float32 are.
SAME = 1e-6
#: Relative error of a residual's constant, and error of a bias (LSBs of the output), that need no more fraction bits.
RESIDUAL_ERROR, BIAS_ERROR = 2.0**-12, 2.0**-6
#: Fraction bits of the accumulator where no weight says otherwise.
FREE_BITS = 8


@dataclass(frozen=True, eq=False)
class _Fit:
    """Integer weights of each term, with a number of fraction bits, and what rounding them costs."""

    unit: Floats
    weights: tuple[Integers, ...]
    bias: Integers
    residual_error: float
    bias_error: float

    @property
    def good(self) -> bool:
        return self.residual_error <= RESIDUAL_ERROR and self.bias_error <= BIAS_ERROR


class LayerBuilder:
    """Layers of a network for a build, in order; `report` has their errors as `Network.meta` does."""

    def __init__(self, config: ArrayConfig, input: Tensor) -> None:
        self.config, self.points = config, digit_points(config.fmt)
        self.tensors = {INPUT: input}
        self.layers: list[Layer] = []
        self.report: dict[str, dict[str, float]] = {}
        #: Layers that only bound the integers of their source.
        self.bounds: set[str] = set()

    def add(self, name: str, value: Sum | Most, output: Tensor, low: int, high: int) -> None:
        """Adds a layer.

        Parameters
        ----------
        name
            Of the layer.
        value
            What it computes; its own bounds are in `low` and `high` already.
        output, low, high
            Format of the result, and bounds of its integers.

        Raises
        ------
        ValueError
            If a ratio of scales is out of the requantiser's reach, or sums exceed the accumulator.
        """
        build = self._most if isinstance(value, Most) else self._sum
        self.report[name] = {}
        layer = replace(build(name, value, output), low=low, high=high)  # type: ignore[arg-type]
        if isinstance(value, Sum) and not value.terms and len(value.plains) == 1 and not value.bias.any():
            if value.plains[0].unit == output.scale:
                self.bounds.add(name)
        self.layers.append(layer)
        self.tensors[name] = output

    def tighten(self, name: str, output: Tensor, low: int, high: int) -> None:
        """Other bounds and format of a layer that nothing has taken yet, or of the input."""
        self.tensors[name] = output
        for n, layer in enumerate(self.layers):
            if layer.name == name:
                bottom, top = (min(max(bound, low), high) for bound in (layer.low, layer.high))
                self.layers[n] = replace(layer, output=output, low=bottom, high=top)

    def rescale(self, name: str, scale: float) -> None:
        """Another scale of the newest layer's integers, which stay what they are."""
        output = self.tensors[name] = replace(self.tensors[name], scale=scale)
        self.layers[-1] = replace(self.layers[-1], output=output)

    def needed(self, names: Collection[str]) -> list[Layer]:
        """The layers that some need, in order; one that only bounds another's integers is part of that."""
        layers: list[Layer] = []
        bounds = set(self.bounds)
        uses = Counter(names)
        for layer in reversed(self.layers):
            if not uses[layer.name]:
                continue
            after = next((one for one in layers if layer.name in one.sources), None)
            if uses[layer.name] == 1 and after is not None and after.name in bounds:
                low, high = (min(max(bound, after.low), after.high) for bound in (layer.low, layer.high))
                merged = replace(layer, name=after.name, output=after.output, low=low, high=high)
                self.report[after.name] = self.report[layer.name]
                if layer.name not in bounds:
                    bounds.remove(after.name)
                layers[layers.index(after)] = layer = merged
            else:
                layers.insert(0, layer)
            uses.update(layer.sources)
        return layers

    def _most(self, name: str, most: Most, output: Tensor) -> Layer:
        weights = np.full((most.shape[0], 1, *most.kernel), most.sign, dtype=np.int64)
        term = Term(most.tensor, weights, most.unit, most.stride, most.padding, most.dilation, most.shape[0])
        branch = self._branch(term, weights)
        empty = Sum(most.shape, (), (), most.bias + most.unit * most.shift)
        tensor = self.tensors[most.tensor]
        for bits in range(self.config.max_pass_shift + 1):
            fit = _rounded(empty, (), most.unit * 2.0**-bits, output.scale)
            worst = int(np.abs(fit.bias).max()) + (max(-tensor.low, tensor.high) << bits)
            if fit.good or worst << self.config.fmt.digit_shift + 1 >= 1 << (self.config.acc_width - 1):
                break
        self.report[name]["bias_error"] = fit.bias_error
        raised = replace(branch, shifts=(branch.shifts[0] + bits,))
        return self._layer(name, "maxpool", [raised], output, fit.unit, fit.bias)

    def _sum(self, name: str, sum: Sum, output: Tensor) -> Layer:
        """With one plain value as a skip where its scale is a power of two times the output's."""
        if len(sum.terms) + len(sum.plains) > 1:
            for plain in sum.plains:
                shift = _power(plain.unit / output.scale)
                if shift is None or self.tensors[plain.tensor].shape != output.shape:
                    continue
                rest = tuple(other for other in sum.plains if other is not plain)
                layer = self._raised(self._terms(name, replace(sum, plains=rest), output), shift)
                if layer is not None:
                    return replace(layer, skip=SkipTensor(plain.tensor, shift))
        return self._terms(name, sum, output)

    def _raised(self, layer: Layer, shift: int) -> Layer | None:
        """The layer with a right shift that lets a skip be shifted by so much more; None if there is none."""
        lift = np.maximum(0, -(shift + layer.right))
        right, most = layer.right + lift, min(62, self.config.scaled_bits)
        span = max(int(m).bit_length() - 1 + int(k) for m, k in zip(layer.multiplier, lift, strict=True))
        if span > self.config.digit_span or right.max() > most or shift + right.max() > 62:
            return None
        return replace(layer, multiplier=np.left_shift(layer.multiplier, lift), right=right)

    def _terms(self, name: str, sum: Sum, output: Tensor) -> Layer:
        terms = all_terms(sum)
        fit = self._fit(name, sum, terms, output)
        self.report[name] |= {"residual_error": fit.residual_error, "bias_error": fit.bias_error}
        branches = [self._branch(term, weights) for term, weights in zip(terms, fit.weights, strict=True)]
        return self._layer(name, _kind(sum, terms), branches, output, fit.unit, fit.bias, sum.parts)

    def _fit(self, name: str, sum: Sum, terms: tuple[Term, ...], output: Tensor) -> _Fit:
        """The fewest fraction bits with which constants and biases are good, or the best that the accumulator holds."""
        base = np.full(len(sum.bias), output.scale * 2.0**-FREE_BITS)
        for term in reversed(terms):
            part = slice(term.channel, term.channel + len(term.unit))
            # A filter of zeros may have any unit, so its own only if it is of a useful size.
            size = term.unit / output.scale
            useful = term.weights.any(axis=(1, 2, 3)) | ((size > 2.0**-16) & (size <= 1))
            base[part] = np.where(useful, term.unit, base[part])
        best: _Fit | None = None
        for bits in range(self.config.max_pass_shift + 1):
            fit = _rounded(sum, terms, base * 2.0**-bits, output.scale)
            if self._worst(terms, fit) >= 1 << (self.config.acc_width - 1):
                break
            if best is None or fit.residual_error + fit.bias_error < best.residual_error + best.bias_error:
                best = fit
            if fit.good:
                break
        if best is None:
            raise ValueError(f"Layer {name!r}: sums must fit {self.config.acc_width} bits, the build's accumulator")
        return best

    def _worst(self, terms: tuple[Term, ...], fit: _Fit) -> int:
        worst = np.abs(fit.bias).astype(object)
        for term, weights in zip(terms, fit.weights, strict=True):
            tensor, part = self.tensors[term.tensor], slice(term.channel, term.channel + len(term.unit))
            worst[part] += np.abs(weights).sum(axis=(1, 2, 3)).astype(object) * max(-tensor.low, tensor.high)
        return int(worst.max()) << self.config.fmt.digit_shift

    def _branch(self, term: Term, weights: Integers) -> Branch:
        codes, shifts = digit_codes(weights, self.points)
        geometry = (term.stride, term.padding, term.dilation, term.groups, term.channel, term.channels)
        return Branch(term.tensor, DIGITS, codes, shifts, *geometry)

    def _layer(
        self,
        name: str,
        kind: str,
        branches: list[Branch],
        output: Tensor,
        unit: Floats,
        bias: Integers,
        parts: tuple[Part, ...] = (),
    ) -> Layer:
        config, ratios = self.config, unit / output.scale * 2.0**-self.config.fmt.digit_shift
        limits = {"digits": config.digits, "span": config.digit_span, "max_right": min(62, config.scaled_bits)}
        try:
            pairs = [scale_multiplier(float(ratio), **limits) for ratio in ratios]
        except ValueError as error:
            raise ValueError(f"Layer {name!r}: {error}") from error
        errors = [abs(m * 2.0**-r / ratio - 1) for (m, r), ratio in zip(pairs, ratios, strict=True)]
        self.report[name]["multiplier_error"] = float(max(errors))
        multiplier, right = np.array(pairs, dtype=np.int64).T
        maximum = kind == "maxpool"
        shifted = bias << config.fmt.digit_shift
        numbers = (shifted, multiplier.copy(), right.copy(), output.low, output.high)
        return Layer(name, kind, tuple(branches), output, *numbers, maximum=maximum, parts=parts)


def _rounded(sum: Sum, terms: tuple[Term, ...], unit: Floats, lsb: float) -> _Fit:
    """All terms in one unit."""
    weights, worst = [], 0.0
    for term in terms:
        ratio = term.unit / unit[term.channel : term.channel + len(term.unit)]
        factors = np.rint(ratio)
        used = term.weights.any(axis=(1, 2, 3))
        apart = np.abs(factors / ratio - 1)[used].max(initial=0.0)
        worst = max(worst, float(apart) if apart > SAME else 0.0)
        weights.append(term.weights * np.where(used, factors, 0).astype(np.int64)[:, None, None, None])
    bias = np.rint(sum.bias / unit)
    apart = np.abs(sum.bias - bias * unit)
    error = float(np.where(apart > SAME * np.abs(sum.bias), apart, 0).max() / lsb)
    return _Fit(unit, tuple(weights), bias.astype(np.int64), worst, error)


def _power(ratio: float) -> int | None:
    """The exponent of a power of two."""
    if ratio <= 0:
        return None
    exponent = round(math.log2(ratio))
    return exponent if abs(ratio * 2.0**-exponent - 1) < SAME else None


def _kind(sum: Sum, terms: tuple[Term, ...]) -> str:
    """What the layer was; its arithmetic does not depend on it."""
    if not sum.terms:
        return "add"
    term = terms[0]
    if len(terms) == 1 and term.weights[0].size > 1 and term.weights.shape[1] == 1 and (term.weights == 1).all():
        return "avgpool"
    return "linear" if sum.flat else "conv2d"
