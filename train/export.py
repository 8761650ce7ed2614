"""From a quantized model to the integers that the machine computes with."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.formats import PointSet
from twofold.golden.network import INPUT, Branch, Layer, Network, SkipTensor, Tensor
from twofold.golden.parts import Part
from twofold.golden.phases import axis_phases
from twofold.support.names import free_name
from twofold.train.add_layer import AddLayer
from twofold.train.compare import check_finite
from twofold.train.exported_formats import check_reads, multiplier, table_of, tensor_formats
from twofold.train.facts import ratios
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel
from twofold.train.outputs import written
from twofold.train.phases import split
from twofold.train.pool_layers import AverageLayer, MaxLayer
from twofold.train.pooling import average_branches, between_branches, mosaic_branches, window_branch
from twofold.train.quantizers import CodedWeights
from twofold.train.quantizers.units import UnitGrid
from twofold.train.reads import conv_branches, largest, octaves, scale_units, unit_scale
from twofold.train.residual import addend_branch, fraction_bits
from twofold.train.resize import BilinearLayer, ResizeLayer
from twofold.train.scale_layer import ScaleLayer
from twofold.train.skip import Skip
from twofold.train.streams import plain_skip, tie_costs


def export(model: QuantModel, config: ArrayConfig, *, meta: Mapping[str, object] | None = None) -> Network:
    """The quantized model in integers, for arrays of that build.

    Scales become the nearest that requantisation can do; `train.snap` makes them so beforehand, and nothing is lost
    here. `Network.meta` says what was: ``layers`` has for each layer the largest relative error of the multipliers and
    of the residuals' constants, and the shift of a residual that requantisation adds; ``ties`` is what tying scales has
    cost (`train.streams`); ``weight_bits`` counts the bits of all words that some tile schedules; ``build`` is the
    build's name.

    Parameters
    ----------
    model
        Calibrated, training finished.
    config
        Its format, limits of shifts, accumulator and multipliers.
    meta
        More facts to keep.

    Raises
    ------
    ValueError
        If the model has not been calibrated, or a layer cannot be expressed on the build, naming it.
    """
    if not model.calibrated:
        raise ValueError(f"Network {model.name!r} must be calibrated before it is exported, not just converted")
    return _Exporter(model, config).run(dict(meta or {}))


#: Fraction bits of the accumulator (below the output's LSB) where a filter has no weight that says otherwise.
FREE_BITS = 8
#: More of them where the output is of a residual stream, in which errors of biases would add up.
STREAM_BITS = 2


class _Exporter:
    def __init__(self, model: QuantModel, config: ArrayConfig):
        self.model, self.config = model, config
        self.formats = tensor_formats(model)
        self.point_sets: dict[str, PointSet] = {}
        self.report: dict[str, dict[str, object]] = {}
        self.words = self.weights = 0
        #: Real value of an LSB of each layer's rounded sums.
        self.units = {
            layer.name: self.formats[layer.name].scale if layer.before is None else float(layer.before.scale)
            for layer in model.quant_layers
        }
        #: What tensors of a residual stream are raised by, so that leaving bits out rounds (`golden.narrow`).
        self.raised = {
            layer.name: layer.quantizer.lift * self.units[layer.name]
            for layer in model.quant_layers
            if layer.quantizer is not None and layer.quantizer.lift
        }

    def run(self, meta: dict[str, object]) -> Network:
        check_finite(self.model.quant_layers)
        layers = tuple(one for layer in self.model.quant_layers for one in self._layers(layer))
        meta |= ratios([layer.weight_quantizer.facts() for layer in self.model.conv_layers])
        meta["recipe"], meta["build"] = self.model.recipe, self.config.name
        meta["weight_bits"] = self.words * self.config.fmt.code_bits / max(1, self.weights)
        meta["layers"] = self.report
        if self.model.bases:
            meta["ties"] = tie_costs(self.model)
        outputs = written(self.model.heads, layers)
        return Network(self.model.name, self.formats[INPUT], layers, self.point_sets, meta, *outputs)

    def _layers(self, layer: QuantLayer) -> list[Layer]:
        self.report[layer.name] = {}
        try:
            if isinstance(layer, ConvLayer):
                return [self._conv(layer)]
            if isinstance(layer, AddLayer):
                return [self._add(layer)]
            if isinstance(layer, ScaleLayer):
                return [self._scaled(layer)]
            if isinstance(layer, ResizeLayer):
                return [self._resized(layer)]
            if isinstance(layer, BilinearLayer):
                return [self._between(layer)]
            if isinstance(layer, MaxLayer):
                return [self._max(layer)]
            if isinstance(layer, AverageLayer):
                return self._average(layer)
        except ValueError as error:
            raise ValueError(f"Layer {layer.name!r}: {error}") from error
        raise TypeError(f"Layer {layer.name!r} must be one of the kinds that export knows, not {type(layer).__name__}")

    def _points(self, points: PointSet, name: str) -> str:
        """Name of the set in the network; equal sets share one, and another set of that name is never meant."""
        digits = points == digit_points(self.config.fmt)
        name = "digits" if digits else name
        for known, there in self.point_sets.items():
            if there == points:
                return known
        unique = free_name(name, lambda name: name in self.point_sets or (name == "digits" and not digits))
        self.point_sets[unique] = points
        return unique

    def _digits(self) -> str:
        return self._points(digit_points(self.config.fmt), "digits")

    def _shifted(self, layer: ConvLayer | AddLayer, build: Callable[[tuple[Skip, ...]], Layer]) -> Layer:
        """The layer with one addend in requantisation, where scales allow it, and the others as branches.

        Parameters
        ----------
        build
            The layer with branches for these addends.
        """
        skip = plain_skip(self.model, layer) if self.model.ties else None
        if skip is not None:
            fraction, exponent = math.frexp(self.formats[skip.source].scale / self.formats[layer.name].scale)
            shift, rest = exponent - 1, list(layer.skips)
            rest.remove(skip)
            built = build(tuple(rest)) if fraction == 0.5 else None
            if built is not None and 0 <= shift + int(built.right.min()) and shift + int(built.right.max()) <= 62:
                self.report[layer.name]["residual_shift"] = shift
                return replace(built, skip=SkipTensor(skip.source, shift))
        return build(layer.skips)

    def _conv(self, layer: ConvLayer) -> Layer:
        check_reads(layer, self.config)
        coded = layer.weight_quantizer.encode(layer.float_weight.detach(), self.config.fmt)
        self._count(layer, coded)
        return self._shifted(layer, lambda skips: self._sums(layer, coded, skips))

    def _sums(self, layer: ConvLayer, coded: CodedWeights, skips: tuple[Skip, ...]) -> Layer:
        """A layer with weights, and branches for these addends."""
        unit = self._unit(layer, coded)
        bits, branches = (
            self._addends(layer, coded, unit, skips) if skips else (self._fine_bits(layer, coded, unit), [])
        )
        unit = unit * 2.0**-bits
        branch = Branch(
            layer.reads[0].source,
            self._points(coded.points, layer.name),
            coded.codes,
            tuple(shift + bits for shift in coded.shifts),
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            narrow=None if layer.reader is None else layer.reader.narrow,
        )
        bias = np.rint((layer.bias.detach().double().numpy() + self._raised(layer, layer.skips)) / unit).astype(
            np.int64
        )
        weights = conv_branches(layer, branch, self.formats)
        if not layer.transposed:
            return self._requantised(layer, (*weights, *branches), unit, bias)
        geometry = zip(branch.kernel, layer.stride, layer.begin, layer.dilation, layer.shape[1:], strict=True)
        rows, columns = (axis_phases(*axis) for axis in geometry)
        sizes = {name: (tensor.shape[1], tensor.shape[2]) for name, tensor in self.formats.items()}
        parts, found = split(weights, branches, rows, columns, layer.shape[0], sizes)
        return self._requantised(layer, found, unit, bias, parts)

    def _unit(self, layer: ConvLayer, coded: CodedWeights) -> NDArray[np.float64]:
        """Real value of an accumulator's LSB, shape (M,). Filters of zeros leave it free: fine, for their biases."""
        unit = coded.scale * unit_scale(layer, self.formats)
        return np.where(coded.integers.any(axis=(1, 2, 3)), unit, self.units[layer.name] * 2.0**-FREE_BITS)

    def _fine_bits(self, layer: ConvLayer, coded: CodedWeights, unit: NDArray[np.float64]) -> int:
        """Fraction bits of the accumulator with which a rounded bias is off by half an LSB of the output at most."""
        wanted = int(np.ceil(np.log2((unit / self.units[layer.name]).max())))
        if layer.name in self.raised:
            wanted += STREAM_BITS
        if wanted <= 0:
            return 0
        most = min(self._spare_shift(layer, coded), self._spare_bits(layer, coded, unit))
        return max(0, min(wanted, most))

    def _addends(
        self, layer: ConvLayer, coded: CodedWeights, unit: NDArray[np.float64], skips: tuple[Skip, ...]
    ) -> tuple[int, list[Branch]]:
        """Fraction bits of the accumulator, and a branch for each skip."""
        config = self.config
        ratios = [(self.formats[s.source].scale / unit[self._span(s)], self.formats[s.source]) for s in skips]
        most = min(
            self._spare_shift(layer, coded),
            self._spare_bits(layer, coded, unit, list(zip(skips, ratios, strict=True))),
        )
        bits = fraction_bits(ratios, shift=config.fmt.digit_shift, most=most)
        return bits, self._branches(layer, skips, [ratio for ratio, _ in ratios], bits)

    def _branches(
        self, layer: QuantLayer, skips: tuple[Skip, ...], ratios: list[NDArray[np.float64]], bits: int
    ) -> list[Branch]:
        """A branch for each addend, its constants rounded with `bits` fraction bits."""
        branches, worst = [], 0.0
        for skip, ratio in zip(skips, ratios, strict=True):
            wanted = ratio * 2.0 ** (bits - self.config.fmt.digit_shift)
            factors = np.rint(wanted)
            worst = max(worst, float((np.abs(factors - wanted) / wanted).max()))
            branches.append(addend_branch(self.config, skip, factors.astype(np.int64), self._digits()))
        self.report[layer.name]["residual_error"] = worst
        return branches

    def _raised(self, layer: QuantLayer, skips: tuple[Skip, ...]) -> NDArray[np.float64]:
        """What a layer's sums are to be raised by, shape (M,): its own result is, less what its addends are."""
        found = np.full(layer.shape[0], self.raised.get(layer.name, 0.0))
        for skip in skips:
            found[self._span(skip)] -= self.raised.get(skip.source, 0.0)
        return found

    def _span(self, skip: Skip) -> slice:
        return slice(skip.channel, skip.channel + skip.taken.count(self.formats[skip.source].shape[0]))

    def _spare_shift(self, layer: ConvLayer, coded: CodedWeights) -> int:
        """Fraction bits for which the build's passes can still shift every word."""
        return self.config.max_pass_shift - max(coded.shifts) - max(octaves(layer, self.formats))

    def _spare_bits(
        self,
        layer: ConvLayer,
        coded: CodedWeights,
        unit: NDArray[np.float64],
        addends: Iterable[tuple[Skip, tuple[NDArray[np.float64], Tensor]]] = (),
    ) -> int:
        """Fraction bits for which the worst case still fits the accumulator."""
        worst = (np.abs(coded.integers).sum(axis=(2, 3)) * largest(layer, self.formats)).sum(axis=1)
        worst = worst + np.abs(layer.bias.detach().double().numpy() / unit)
        for skip, (ratio, tensor) in addends:
            worst[self._span(skip)] += ratio * max(-tensor.low, tensor.high)
        return int(np.floor(self.config.acc_width - 1 - np.log2(worst.max() * 1.01 + 2)))

    def _add(self, layer: AddLayer) -> Layer:
        return self._shifted(layer, lambda skips: self._sum(layer, skips))

    def _sum(self, layer: AddLayer, skips: tuple[Skip, ...]) -> Layer:
        """Branches for these addends."""
        tensors = [self.formats[skip.source] for skip in skips]
        # A scale that is tied has not been moved to what a multiplier can do (`train.snap`).
        tied = layer.rounding is not None and layer.rounding.stream is not None
        base = self.units[layer.name] if tied else min(tensor.scale for tensor in tensors)
        counts = [skip.taken.count(self.formats[skip.source].shape[0]) for skip in skips]
        ratios = [np.full(count, tensor.scale / base) for count, tensor in zip(counts, tensors, strict=True)]
        worst = sum(float(r[0]) * max(-t.low, t.high) for r, t in zip(ratios, tensors, strict=True))
        room = int(np.floor(self.config.acc_width - 1 - np.log2(worst * 1.01 + 2)))
        shift = self.config.fmt.digit_shift
        bits = fraction_bits(list(zip(ratios, tensors, strict=True)), shift=shift, most=room)
        unit = np.full(layer.shape[0], base * 2.0**-bits)
        branches = self._branches(layer, skips, ratios, bits)
        bias = np.rint(self._raised(layer, layer.skips) / unit).astype(np.int64)
        return self._requantised(layer, tuple(branches), unit, bias)

    def _scaled(self, layer: ScaleLayer) -> Layer:
        """A branch of ones for each tensor; the gains are the multipliers."""
        config, output = self.config, self.units[layer.name]
        gain, unit = layer.gain.detach().double().numpy(), scale_units(layer, self.formats)
        unit = np.where(gain == 0, output * 2.0**-FREE_BITS, unit / (1 << config.fmt.digit_shift))
        bias = layer.bias.detach().double().numpy()
        sources = [self.formats[read.source] for read in layer.reads]
        most = max(max(-tensor.low, tensor.high) for tensor in sources) << config.fmt.digit_shift
        room = int(np.floor(config.acc_width - 1 - np.log2((most + np.abs(bias / unit)).max() * 1.01 + 2)))
        wanted = int(np.ceil(np.log2((unit / output).max())))
        bits = max(0, min(wanted, room, config.max_pass_shift - config.fmt.digit_shift))
        factors, branches, start = np.sign(gain).astype(np.int64) << bits, [], 0
        for read, tensor in zip(layer.reads, sources, strict=True):
            skip = Skip(read.source, channel=start, channels=read.channels)
            end = start + read.count(tensor.shape[0])
            branches.append(addend_branch(config, skip, factors[start:end], self._digits()))
            start = end
        unit = unit * 2.0**-bits
        return self._requantised(layer, tuple(branches), unit, np.rint(bias / unit).astype(np.int64))

    def _max(self, layer: MaxLayer) -> Layer:
        channels, source = layer.shape[0], self.formats[layer.source]
        branch = window_branch(self.config, layer.source, self._digits(), channels, layer.kernel)
        branch = replace(branch, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
        branch = replace(branch, channels=layer.read.channels)
        unit = np.full(channels, source.scale / (1 << self.config.fmt.digit_shift))
        return self._requantised(layer, (branch,), unit, np.zeros(channels, dtype=np.int64))

    def _resized(self, layer: ResizeLayer) -> Layer:
        channels, source = layer.shape[0], self.formats[layer.source]
        same = window_branch(self.config, layer.source, self._digits(), channels, (1, 1))
        parts, branches = [], []
        for number, (part, chosen) in enumerate(layer.parts(source.shape[0])):
            parts.append(part)
            branches.append(replace(same, channel=number * channels, channels=chosen))
        unit = np.full(channels, source.scale / (1 << self.config.fmt.digit_shift))
        return self._requantised(layer, tuple(branches), unit, np.zeros(channels, dtype=np.int64), tuple(parts))

    def _between(self, layer: BilinearLayer) -> Layer:
        channels, source = layer.shape[0], self.formats[layer.source]
        pairs = between_branches(self.config, layer, source.shape[1:], self._digits())
        parts, branches = zip(*pairs, strict=True)
        unit = np.full(channels, source.scale / layer.divisor / (1 << self.config.fmt.digit_shift))
        return self._requantised(layer, branches, unit, np.zeros(channels, dtype=np.int64), parts)

    def _average(self, layer: AverageLayer) -> list[Layer]:
        """One layer, or one for each region whose windows are alike and one that puts them together."""
        channels, config, size = layer.shape[0], self.config, self.formats[layer.source].shape[1:]
        unit = np.full(channels, self.formats[layer.source].scale / layer.divisor / (1 << config.fmt.digit_shift))
        zeros, parts = np.rint(-self.raised.get(layer.source, 0.0) / unit).astype(np.int64), []
        for place, branch in average_branches(config, layer, size, self._digits()):
            whole = self._requantised(layer, (branch,), unit, zeros)
            shape = (channels, *branch.output_size(*size))
            parts.append(replace(whole, name=f"{layer.name}{place}", output=replace(whole.output, shape=shape)))
        if len(parts) == 1:
            return [replace(parts[0], name=layer.name)]
        right = np.full(channels, config.fmt.digit_shift, dtype=np.int64)
        branches = tuple(mosaic_branches(config, layer, [part.name for part in parts], self._digits()))
        return [*parts, replace(whole, branches=branches, multiplier=np.ones_like(right), right=right)]

    def _requantised(
        self,
        layer: QuantLayer,
        branches: tuple[Branch, ...],
        unit: NDArray[np.float64],
        bias: NDArray[np.int64],
        parts: tuple[Part, ...] = (),
    ) -> Layer:
        """The layer; its parts, if it has any, have like biases and multipliers."""
        times = max(1, len(parts))
        output, table = self.formats[layer.name], table_of(layer)
        ratios = unit / self.units[layer.name]
        pairs = [multiplier(self.config, float(ratio)) for ratio in ratios]
        errors = [abs(m * 2.0**-r / ratio - 1) for (m, r), ratio in zip(pairs, ratios, strict=True)]
        self.report[layer.name]["multiplier_error"] = float(max(errors))
        low, high = max(output.low, 0) if layer.relu else output.low, output.high
        if layer.quantizer is not None:
            lift = layer.quantizer.lift
            low, high = low + lift, layer.quantizer.high + lift
        if table is not None:
            low, high = table.low, table.high
        return Layer(
            name=layer.name,
            kind=layer.kind,
            branches=branches,
            output=output,
            bias=np.tile(bias, times),
            multiplier=np.tile(np.array([m for m, _ in pairs], dtype=np.int64), times),
            right=np.tile(np.array([r for _, r in pairs], dtype=np.int64), times),
            low=low,
            high=high,
            maximum=layer.kind == "maxpool",
            table=table,
            parts=parts,
        )

    def _count(self, layer: ConvLayer, coded: CodedWeights) -> None:
        """Words that some tile of the array schedules: those of a tile that are not all zero."""
        grid = UnitGrid(coded.codes.shape[1:], "tile", (self.config.cols, self.config.rows))
        values = np.array(coded.points.values)
        scheduled = 0
        for word in coded.codes:
            busy = grid.total(torch.tensor((values[word] != 0).astype(np.float32))) > 0
            scheduled += int(grid.counts[busy].sum())
        weights = coded.codes[0].size
        self.words += scheduled
        self.weights += weights
        self.report[layer.name]["weight_bits"] = scheduled * self.config.fmt.code_bits / weights
        self.report[layer.name]["pruned"] = float(np.mean(coded.integers == 0))
        self.report[layer.name] |= ratios([layer.weight_quantizer.facts()])
