"""The integer arithmetic of a network, exactly: this is what training, compiler and hardware must agree with.

Products run in float32 or float64 matrix routines where the worst case over all inputs proves that no
partial sum can lose a bit, and in int64 where it does not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from twofold.golden.convolution import BranchKernel, Numbers
from twofold.golden.network import INPUT, Layer, Network, Tensor
from twofold.golden.parts import Part
from twofold.golden.rounding import rne

#: Bytes of the largest activation tensor of a batch: it should stay in the cache from layer to layer.
BATCH_BYTES = 1 << 20
#: Integers that float32 and float64 hold exactly reach up to these.
FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53


def run(network: Network, x: NDArray[np.int64], *, keep: Collection[str] | None = None) -> dict[str, NDArray[np.int64]]:
    """Every layer's integer output.

    Parameters
    ----------
    network
        What to compute.
    x : int64, shape (B, C, H, W)
        Inputs, in input LSBs.
    keep
        Names of the layers whose outputs to return; None for all. The others are dropped as soon as possible.

    Returns
    -------
    Layer name to int64 array of shape (B, M, Ho, Wo), in output LSBs.

    Raises
    ------
    TypeError
        If the inputs are not int64.
    ValueError
        If the inputs have another shape or exceed their format, a kept name is unknown, or 64 bits could overflow.
    """
    check_tensor("Input", network.input, x)
    names = tuple(layer.name for layer in network.layers)
    for name in names if keep is None else keep:
        if name not in names:
            raise ValueError(f"Kept layer must be one of {names}, not {name!r}")
    kept = set(names if keep is None else keep)
    plans = [[(part, _Plan.of(network, piece)) for part, piece in layer.pieces] for layer in network.layers]
    last_use = {source: n for n, layer in enumerate(network.layers) for source in layer.sources}
    results = {name: np.empty((len(x), *network.tensors[name].shape), dtype=np.int64) for name in names if name in kept}
    batch = max(1, BATCH_BYTES // (4 * max(int(np.prod(tensor.shape)) for tensor in network.tensors.values())))
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        values = {INPUT: np.ascontiguousarray(x[part].transpose(0, 2, 3, 1), dtype=np.float32)}
        for n, layer in enumerate(network.layers):
            values[layer.name] = _evaluate(layer, plans[n], values)
            if layer.name in kept:
                results[layer.name][part] = values[layer.name].transpose(0, 3, 1, 2)
            for name in [name for name in values if last_use.get(name, 0) <= n]:
                del values[name]
    return results


def evaluate(network: Network, layer: Layer, tensors: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """A layer's result, of all its parts: as `accumulate` and `requantise`; int64, shape (B, M, Ho, Wo)."""
    values = {name: np.ascontiguousarray(tensors[name].transpose(0, 2, 3, 1), np.float32) for name in layer.sources}
    plans = [(part, _Plan.of(network, piece)) for part, piece in layer.pieces]
    return np.ascontiguousarray(_evaluate(layer, plans, values).transpose(0, 3, 1, 2), dtype=np.int64)


def accumulate(network: Network, layer: Layer, tensors: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Accumulators of one layer, bias included, before requantisation.

    Parameters
    ----------
    network, layer
        A layer of the network.
    tensors : name to int64, shape (B, N, H, W)
        At least the layer's sources.

    Returns
    -------
    int64, shape (B, M, Ho, Wo)

    Raises
    ------
    TypeError, ValueError
        As `run`, or if the layer has parts, which have accumulators each.
    """
    if layer.parts:
        raise ValueError(f"Layer {layer.name!r}: accumulators must be of a layer without parts, not {len(layer.parts)}")
    values = {}
    for name in dict.fromkeys(branch.source for branch in layer.branches):
        check_tensor(f"Tensor {name!r}", network.tensors[name], tensors[name])
        values[name] = np.ascontiguousarray(tensors[name].transpose(0, 2, 3, 1), dtype=np.float32)
    sums = _Plan.of(network, layer).accumulate(values)
    return np.ascontiguousarray(sums.transpose(0, 3, 1, 2), dtype=np.int64)


def requantise(layer: Layer, acc: NDArray[np.int64], skip: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """``clip(rne((acc * multiplier + (skip << (shift + right))) * 2**-right), low, high)``, in 64-bit integers.

    Where the layer has a table, its entry for that.

    Parameters
    ----------
    layer
        Gives multiplier, right shift, bounds, the skip's shift, and the table.
    acc : int64, shape (B, M, Ho, Wo)
        Accumulators, bias included; times the multiplier, and with the skip, they must fit in 64 bits (`worst_scaled`).
    skip : int64, shape (B, M, Ho, Wo)
        The layer's skip tensor; None exactly where it has none.

    Raises
    ------
    ValueError
        If the skip is missing, or the layer has none.
    """
    if (skip is None) != (layer.skip is None):
        given, wanted = ("no tensor", "a tensor") if skip is None else ("a tensor", "no tensor")
        raise ValueError(f"Layer {layer.name!r}: skip must be {wanted}, not {given}")
    multiplier, right = layer.multiplier[:, None, None], layer.right[:, None, None]
    scaled = acc * multiplier
    if skip is not None and layer.skip is not None:
        scaled += np.left_shift(skip, layer.skip.shift + right)
    clipped = np.clip(rne(scaled, right), layer.low, layer.high)
    return clipped if layer.table is None else layer.table.look_up(clipped)


def classify(network: Network, x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the largest output of each image (the first of equals), shape (B,)."""
    names = tuple(layer.name for layer in network.outputs)
    scores = network.results(run(network, x, keep=names))[0]
    best: NDArray[np.int64] = scores.reshape(len(x), -1).argmax(axis=1)
    return best


def accuracy(network: Network, x: NDArray[np.int64], labels: NDArray[np.integer]) -> float:
    """Share of images whose largest output is the label's."""
    return float(np.mean(classify(network, x) == labels))


def worst_case(network: Network, layer: Layer) -> list[int]:
    """Largest magnitude that each accumulator of a layer can reach, partial sums in any order included.

    Returns
    -------
    One bound a channel, in accumulator units: ``|bias| + sum(|weights|) * largest |activation|``.

    Raises
    ------
    ValueError
        If weights or their sums do not fit in 64 bits.
    """
    bounds = [abs(int(bias)) for bias in layer.bias]
    for branch, sums in zip(layer.branches, _magnitudes(network, layer), strict=True):
        for channel, value in enumerate(sums, branch.channel):
            bounds[channel] += value
    return bounds


def worst_scaled(network: Network, layer: Layer) -> list[int]:
    """Largest magnitude that each channel of a layer can reach before its right shift, skip included.

    Returns
    -------
    One bound a channel: `worst_case` times the multiplier, and ``largest |activation| << (shift + right)`` of the skip.

    Raises
    ------
    ValueError
        As `worst_case`.
    """
    return _scaled(network, layer, worst_case(network, layer))


def _scaled(network: Network, layer: Layer, bounds: list[int]) -> list[int]:
    """`worst_scaled`, with `worst_case` at hand."""
    scaled = [bound * int(m) for bound, m in zip(bounds, layer.multiplier, strict=True)]
    if layer.skip is None:
        return scaled
    source = network.tensors[layer.skip.source]
    largest = max(-source.low, source.high)
    return [one + (largest << (layer.skip.shift + int(r))) for one, r in zip(scaled, layer.right, strict=True)]


def check_tensor(what: str, tensor: Tensor, array: NDArray[np.int64]) -> None:
    """Refuses an array that is not a batch of a tensor.

    Raises
    ------
    TypeError
        If it is not int64.
    ValueError
        If its shape is not (B, C, H, W) or a value exceeds the format.
    """
    if array.dtype != np.int64:
        raise TypeError(f"{what} must be int64, not {array.dtype}")
    if array.ndim != 4 or array.shape[1:] != tensor.shape:
        shape = ", ".join(map(str, tensor.shape))
        raise ValueError(f"{what} must be of shape (B, {shape}), not {array.shape!r}")
    for value in (array.min(initial=0), array.max(initial=0)):
        if not tensor.low <= value <= tensor.high:
            raise ValueError(f"{what} must be {tensor.low} to {tensor.high}, not {int(value)!r}")


def _magnitudes(network: Network, layer: Layer) -> list[list[int]]:
    """For each branch, the largest magnitude of each of its M sums."""
    result = []
    for branch in layer.branches:
        points, source = network.point_sets[branch.point_set], network.tensors[branch.source]
        weight = sum(max(map(abs, points.values)) << shift for shift in branch.shifts)
        fan_in = branch.codes[0, 0].size
        if weight * fan_in >= 1 << 63:
            raise ValueError(f"Layer {layer.name!r}: sums of weights must be below 2**63, not {weight * fan_in}")
        weights = np.abs(branch.weights(points)).reshape(branch.out_channels, -1)
        totals = weights.max(axis=1) if layer.maximum else weights.sum(axis=1)
        result.append([int(total) * max(-source.low, source.high) for total in totals])
    return result


def _evaluate(
    layer: Layer, plans: Sequence[tuple[Part, "_Plan"]], values: Mapping[str, Numbers]
) -> NDArray[np.float32]:
    """Activations of a layer, (B, H, W, M): each part's at its places."""
    skip = None if layer.skip is None else values[layer.skip.source]
    if not layer.parts:
        ((_, plan),) = plans
        return plan.requantise(plan.accumulate(values), skip)
    channels, *size = layer.output.shape
    result = np.empty((len(values[layer.sources[0]]), *size, channels), dtype=np.float32)
    for part, plan in plans:
        rows, columns = part.places
        own = None if skip is None else skip[:, rows, columns]
        result[:, rows, columns] = plan.requantise(plan.accumulate(values), own)
    return result


def _exact_type(bound: int) -> DTypeLike:
    """Fastest number type that holds every integer up to the bound."""
    if bound < FLOAT32_EXACT:
        return np.float32
    return np.float64 if bound < FLOAT64_EXACT else np.int64


@dataclass(frozen=True, eq=False)
class _Plan:
    """A layer made ready: weights laid out, number types chosen. Tensors are (B, H, W, C) and float32.

    `scale` is ``multiplier * 2**-right`` where float64 holds every product exactly, else None; `entries` are those of
    the table, the first for the value `least`.
    """

    layer: Layer
    kernels: tuple[BranchKernel, ...]
    dtype: DTypeLike
    scale: NDArray[np.float64] | None
    entries: NDArray[np.float32] | None = None
    least: int = 0

    @classmethod
    def of(cls, network: Network, layer: Layer) -> "_Plan":
        bounds = worst_case(network, layer)
        scaled = max(_scaled(network, layer, bounds))
        if max(max(bounds), scaled) >= 1 << 63:
            worst = max(max(bounds), scaled)
            raise ValueError(f"Layer {layer.name!r}: accumulator times multiplier must be below 2**63, not {worst}")
        kernels = tuple(
            BranchKernel(branch, branch.weights(network.point_sets[branch.point_set]), dtype=_exact_type(max(sums)))
            for branch, sums in zip(layer.branches, _magnitudes(network, layer), strict=True)
        )
        scale = layer.multiplier * 2.0**-layer.right if scaled < FLOAT64_EXACT else None
        plan = cls(layer, kernels, _exact_type(max(bounds)), scale)
        if layer.table is None:
            return plan
        return replace(plan, entries=layer.table.entries.astype(np.float32), least=layer.table.low)

    def accumulate(self, values: Mapping[str, Numbers]) -> Numbers:
        """Accumulators, bias included; of type `dtype`."""
        layer = self.layer
        acc: Numbers | None = None
        for kernel in self.kernels:
            x = values[kernel.branch.source]
            sums = (kernel.maximum(x) if layer.maximum else kernel.sum(x)).astype(self.dtype, copy=False)
            if acc is None and kernel.branch.out_channels == len(layer.bias):
                acc = sums
                continue
            if acc is None:
                acc = np.zeros((*sums.shape[:3], len(layer.bias)), dtype=self.dtype)
            acc[..., kernel.branch.channel : kernel.branch.channel + kernel.branch.out_channels] += sums
        assert acc is not None
        acc += layer.bias.astype(self.dtype)
        return acc

    def requantise(self, acc: Numbers, skip: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Activations, float32."""
        clipped = self._clipped(acc, skip)
        return clipped if self.entries is None else self.entries[clipped.astype(np.intp) - self.least]

    def _clipped(self, acc: Numbers, skip: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Activations, or what the table is asked with."""
        layer = self.layer
        if self.scale is None:
            total = acc.astype(np.int64) * layer.multiplier
            if skip is not None and layer.skip is not None:
                total += np.left_shift(skip.astype(np.int64), layer.skip.shift + layer.right)
            return np.clip(rne(total, layer.right), layer.low, layer.high).astype(np.float32)
        # The scaled sum is an integer below 2**53 and the power of two is exact, so rint rounds the true value.
        scaled = np.multiply(acc, self.scale, dtype=np.float64)
        if skip is not None and layer.skip is not None:
            scaled += np.multiply(skip, 2.0**layer.skip.shift, dtype=np.float64)
        np.rint(scaled, out=scaled)
        np.clip(scaled, layer.low, layer.high, out=scaled)
        return scaled.astype(np.float32)
